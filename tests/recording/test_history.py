"""Histories of shells: the user's own files, and what is new in them."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.recording import history
from anomaly.recording.accounts import Accounts, Home
from anomaly.recording.history import Command, Histories, added

LINES = st.lists(st.sampled_from([("0", b"a"), ("0", b"b"), ("5", b"c")]), max_size=30)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return alice's home."""
    return tmp_path


@pytest.fixture
def histories(home: Path, monkeypatch: pytest.MonkeyPatch) -> Histories:
    """Look into alice's home, which the test's user owns."""
    accounts = Accounts()
    monkeypatch.setattr(accounts, "homes", lambda: [Home(os.getuid(), "alice", home)])
    return Histories(accounts)


def commands(histories: Histories) -> list[tuple[str, str]]:
    """Look once, and return each new command with its time."""
    rows = [dict(row) for row in histories.rows()]
    assert all((row["uid"], row["username"]) == (str(os.getuid()), "alice") for row in rows)
    return [(row["time"], row["command"]) for row in rows]


def test_what_is_typed_comes_once(home: Path, histories: Histories) -> None:
    """First all that is there, then only what was added: whole lines, repetitions too."""
    file = home / ".bash_history"
    file.write_text("ls\nmake\nls")
    assert commands(histories) == [("0", "ls"), ("0", "make")]
    assert commands(histories) == []
    with file.open("a") as end:
        end.write("\n#1793585624\ntop\nls\n")
    assert commands(histories) == [("0", "ls"), ("1793585624", "top"), ("0", "ls")]
    assert commands(histories) == []


def test_a_history_that_is_trimmed_repeats_nothing(home: Path, histories: Histories) -> None:
    """Bash writes its file anew when it gets too long, zsh to drop repetitions: only the new commands are new."""
    file = home / ".zsh_history"
    file.write_text("".join(f"cmd {number % 40}\n" for number in range(100)))
    assert len(commands(histories)) == 100
    file.write_text("".join(f"cmd {number % 40}\n" for number in range(50, 103)))
    assert commands(histories) == [("0", "cmd 20"), ("0", "cmd 21"), ("0", "cmd 22")]
    file.write_text("cmd 22\nnew\ncmd 20\n")
    assert commands(histories) == [("0", "new")]
    file.unlink()
    assert commands(histories) == []


def test_a_history_that_begins_is_new_as_a_whole(home: Path, histories: Histories) -> None:
    """A user who had none has typed all that is in it."""
    assert commands(histories) == []
    (home / ".ash_history").write_text("id\n")
    assert commands(histories) == [("0", "id")]


def test_a_long_history_is_read_from_its_end(
    home: Path, histories: Histories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read is bounded, does not begin within a command, and goes on with what is added."""
    monkeypatch.setattr(history, "MAX_READ", 1000)
    file = home / ".bash_history"
    file.write_text("".join(f"command {number:05}\n" for number in range(1000)))
    found = commands(histories)
    assert found[-1] == ("0", "command 00999")
    assert 60 < len(found) < 72
    assert all(len(text) == 13 for _, text in found)
    with file.open("a") as end:
        end.write("command 01000\n")
    assert commands(histories) == [("0", "command 01000")]


def test_hostile_commands_are_escaped(home: Path, histories: Histories) -> None:
    """Bytes that are no text cost nothing but their own looks."""
    (home / ".bash_history").write_bytes(b"echo \xff\x1b]0;x\x07\n: 1793585624:0;make\\\n")
    assert commands(histories) == [("0", "echo \\xFF\\x1B]0;x\\x07"), ("1793585624", "make\\")]


@pytest.mark.parametrize("kind", ["link", "dangling", "directory", "fifo", "foreign"])
def test_only_a_file_of_the_users_own_is_read(
    home: Path, histories: Histories, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No link, pipe or file of somebody else's makes root tell what it holds, or wait."""
    other = home / "secret"
    other.write_text("secret\n")
    file = home / ".bash_history"
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "directory":
        file.mkdir()
    elif kind == "foreign":
        file.write_text("secret\n")
        monkeypatch.setattr(
            histories._accounts, "homes", lambda: [Home(os.getuid() + 1, "bob", home), Home(1, "x", Path("/\0"))]
        )
    else:
        file.symlink_to(other if kind == "link" else home / "nothing")
    assert histories.rows() == []


@given(LINES, LINES)
def test_what_is_appended_is_what_is_added(before: list[Command], more: list[Command]) -> None:
    """A history that only grows gives what it has grown by."""
    assert added(before, before + more) == more


@given(LINES, LINES)
def test_nothing_is_added_that_is_not_there(before: list[Command], now: list[Command]) -> None:
    """Whatever happened to a file, a command is new at most as often as it stands in it, and none is lost."""
    fresh = Counter(added(before, now))
    assert fresh <= Counter(now)
    assert Counter(now) - Counter(before) <= fresh
