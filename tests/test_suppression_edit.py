"""Adding suppressions to their file and taking them out."""

from __future__ import annotations

import threading
from datetime import date
from pathlib import Path

import pytest

from anomaly.errors import ConfigError, StateError, StateRefused
from anomaly.suppression import load
from anomaly.suppression_edit import add, new, remove, remove_if_there

NEVER = date(9999, 12, 31)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a file in a directory, neither of which is there yet."""
    return tmp_path / "state" / "suppressions.toml"


def test_what_is_added_is_read_again(path: Path) -> None:
    """Whatever a value holds, it is in the file as it was given; the file is the user's alone."""
    odd = 'a"b\\c\n\t\x1b[31m\u202e\'\'\'"""'
    entries = [
        new(NEVER, user="alice", note="it's fine"),
        new(NEVER, query="processes", field="cmdline", value=odd),
        new(NEVER, field="path", pattern="/opt/*"),
    ]
    for entry in entries:
        add(path, entry)
    assert load(path) == entries
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_what_people_wrote_stays(path: Path) -> None:
    """Comments and the order of a file survive its changes."""
    path.parent.mkdir(mode=0o700)
    path.write_text('# ours\n\n[[suppression]] # mind\nid = "a"\nexpires = 2030-01-01 # soon\nuser = "bob"\n')
    add(path, entry := new(NEVER, user="alice"))
    text = path.read_text()
    assert text.startswith("# ours\n\n[[suppression]] # mind\n")
    assert "expires = 2030-01-01 # soon\n" in text
    remove(path, [entry.id])
    assert [one.id for one in load(path)] == ["a"]
    assert "# soon" in path.read_text()


def test_the_last_one_can_go_and_another_come(path: Path) -> None:
    """An emptied file is a file."""
    for user in ("alice", "bob"):
        add(path, entry := new(NEVER, user=user))
        assert remove(path, [entry.id]) == [entry]
        assert load(path) == []


def test_one_of_the_same_id_is_replaced(path: Path) -> None:
    """What is added under a name takes the place of what had it."""
    add(path, new(NEVER, user="alice", name="f1"))
    add(path, second := new(NEVER, user="bob", name="f1"))
    assert load(path) == [second]


def test_what_is_not_there_cannot_go(path: Path) -> None:
    """An unknown id is an error that proposes another; all or none of several go."""
    add(path, entry := new(NEVER, user="alice", name="abcd"))
    with pytest.raises(ConfigError, match=r"has no suppression 'abce'\. Did you mean 'abcd'\?"):
        remove(path, ["abce", "abcd"])
    assert load(path) == [entry]
    assert not remove_if_there(path, "abce")
    assert remove_if_there(path, "abcd")
    assert not remove_if_there(path, "abcd")


@pytest.mark.parametrize(
    "scope",
    [{}, {"user": ""}, {"user": "a\udcff"}, {"field": "a"}, {"value": "a", "user": "b"}],
)
def test_what_does_not_fit_is_not_added(scope: dict[str, str]) -> None:
    """A suppression without a scope, or that could not be written, is an error."""
    with pytest.raises(ConfigError, match="This suppression does not fit: "):
        new(NEVER, **scope)


def test_a_file_that_does_not_fit_stays_as_it_is(path: Path) -> None:
    """What cannot be read is not overwritten."""
    path.parent.mkdir(mode=0o700)
    for text in ("nonsense", 'suppression = [{id = "a", expires = 2030-01-01, user = "b"}]\n'):
        path.write_text(text)
        with pytest.raises(ConfigError):
            add(path, new(NEVER, user="alice"))
        assert path.read_text() == text


def test_a_directory_that_others_may_write_is_refused(path: Path) -> None:
    """Neither the directory nor the lock may be somebody else's, or a link."""
    path.parent.mkdir()
    path.parent.chmod(0o777)
    with pytest.raises(StateRefused, match="everybody may write it"):
        add(path, new(NEVER, user="alice"))
    path.parent.chmod(0o700)
    path.with_name("suppressions.toml.lock").symlink_to("/tmp/elsewhere")  # noqa: S108 - nothing is made there
    with pytest.raises(StateError):
        add(path, new(NEVER, user="alice"))


def test_two_at_a_time_lose_nothing(path: Path) -> None:
    """Changes wait for each other."""
    entries = [new(NEVER, user=f"u{n}") for n in range(12)]
    threads = [threading.Thread(target=add, args=(path, entry)) for entry in entries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {entry.user for entry in load(path)} == {f"u{n}" for n in range(12)}
