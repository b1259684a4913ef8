"""Open files, less what the pack's query leaves out."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from anomaly.recording import files
from anomaly.recording.accounts import Accounts
from anomaly.recording.processes import Program
from tests.test_conf import _PACK, _TABLES

MINE = Program(os.getpid(), 1, 0.0, "python", "/usr/bin/python3", os.getuid(), os.geteuid())

PIECES = st.sampled_from(
    [
        *(
            "/dev/null",
            "/DEV/NULL",
            "/dev/pts/",
            "/dev/ptmx",
            "/dev/tty",
            "/dev/tty1",
            "/memfd:",
            "/usr/share/fonts/",
        ),
        *(
            "/.cache/",
            "/.CACHE/",
            "/.config/chromium/",
            "/.config/google-chrome/",
            "/.mozilla/firefox/",
            "/home/a",
        ),
        *("x", "\n", "pipe:[1]", "socket:[2]", "é", ""),
    ]
)


@given(st.lists(PIECES, min_size=1, max_size=4).map("".join))
@example("/home/a/.cache/x")
@example("/dev/pts/0\n")
def test_the_pack_and_the_recorder_leave_out_the_same_files(path: str) -> None:
    """SQLite, asked with the pack's query, says of each path what the recorder says."""
    with sqlite3.connect(":memory:") as machine:
        machine.executescript(_TABLES)
        machine.execute("INSERT INTO processes (pid, uid) VALUES (1, 0)")
        machine.execute("INSERT INTO process_open_files VALUES (1, 3, ?)", (path,))
        found = machine.execute(_PACK["open_files"]["query"]).fetchall()
    machine.close()
    assert files.tells(path) == bool(found)


def test_a_file_that_is_open_is_seen_once(tmp_path: Path) -> None:
    """However often it is open; a pipe has no path."""
    path = tmp_path / "notes\n"
    path.touch()
    ends = os.pipe()
    with path.open() as _, path.open() as _:
        rows = [dict(row) for row in files.opened([MINE, MINE], Accounts())]
    for end in ends:
        os.close(end)
    mine = [row for row in rows if row["path"].startswith(str(tmp_path))]
    assert mine == [
        {"path": f"{tmp_path}/notes\\x0A", "uid": str(os.getuid()), "username": Accounts().name(os.getuid())}
    ]
    assert all(row["path"].startswith("/") for row in rows)


def test_whose_files_cannot_be_seen_has_none() -> None:
    """A process that is gone, or somebody else's, is passed over."""
    assert list(files.opened([MINE._replace(pid=2**30)], Accounts())) == []
