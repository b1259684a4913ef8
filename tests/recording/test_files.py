"""Open files, less what the pack's query leaves out."""

from __future__ import annotations

import os
import sqlite3

from hypothesis import example, given, settings
from hypothesis import strategies as st

from anomaly.recording import files
from anomaly.recording.accounts import Accounts
from tests.test_conf import _PACK, _TABLES

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


@settings(deadline=None)  # each example is a database
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


def test_files_name_their_user() -> None:
    """By path; what could break a line is escaped."""
    accounts = Accounts()
    held = {("/b\n", os.getuid()), ("/a", 4_000_000), ("/dev/null", 0), ("/a", 0)}
    assert [tuple(dict(row).values()) for row in files.opened(held, accounts)] == [
        ("/a", "0", accounts.name(0)),
        ("/a", "4000000", accounts.name(4_000_000)),
        ("/b\\x0A", str(os.getuid()), accounts.name(os.getuid())),
    ]
