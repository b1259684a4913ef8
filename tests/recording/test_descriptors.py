"""What programs hold open."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from anomaly.recording.descriptors import held
from anomaly.recording.processes import Program

MINE = Program(os.getpid(), 1, 0.0, "python", "/usr/bin/python3", os.getuid(), os.geteuid())


def test_a_file_that_is_open_is_held_once(tmp_path: Path) -> None:
    """However often it is open; a pipe has no path."""
    path = tmp_path / "notes\n"
    path.touch()
    ends = os.pipe()
    with path.open() as _, path.open() as _:
        found = held([MINE, MINE])
    for end in ends:
        os.close(end)
    assert (str(path), os.getuid()) in found.files
    assert all(each.startswith("/") for each, _ in found.files)


def test_a_socket_belongs_to_the_first_who_holds_it() -> None:
    """Children that inherit a socket do not take it from their parent."""
    with socket.socket() as mine:
        inode = os.fstat(mine.fileno()).st_ino
        found = held([MINE, MINE._replace(name="child")])
    assert found.sockets[inode] is MINE


def test_whose_descriptors_cannot_be_seen_holds_nothing() -> None:
    """A process that is gone, or somebody else's, is passed over."""
    assert held([MINE._replace(pid=2**30)]) == (set(), {})
