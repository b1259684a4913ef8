"""Following without the help of inotify, which is a hint and no more."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.reliability.conftest import Daemon, Lines, Place, Start

SPARE = 64
"""Descriptors that this process needs beside those that exhaust inotify."""

DYING = """
import sys
import watchdog.observers.api as api
flag = sys.argv.pop(1)
dispatch = api.BaseObserver.dispatch_events

def die(self, *events):
    dispatch(self, *events)
    open(flag, "w").close()
    raise SystemExit  # ends the thread without a word

api.BaseObserver.dispatch_events = die
"""


@pytest.fixture
def no_inotify() -> Iterator[None]:
    """Take every inotify instance that the user may have."""
    limit = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < limit + SPARE:
        pytest.skip(f"{limit} inotify instances are more than one process may open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limit + SPARE), hard))
    libc = ctypes.CDLL(None, use_errno=True)
    taken: list[int] = []
    try:
        while (descriptor := libc.inotify_init1(os.O_CLOEXEC)) >= 0:
            taken.append(descriptor)
        assert ctypes.get_errno() == errno.EMFILE
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def delays(daemon: Daemon, place: Place, lines: list[bytes]) -> list[float]:
    """Return how many seconds the record of each line took, in which the log is rotated once."""
    found = []
    for number, line in enumerate(lines):
        if number == len(lines) // 2:
            place.rotate()
        found.append(daemon.delay(lambda line=line: place.append(line)))  # type: ignore[misc]
    return found


def test_without_inotify_instances_it_polls(
    place: Place, start: Start, actions_of: Lines, no_inotify: None
) -> None:
    """Where no watch can be had, lines come within a second each all the same, over a rotation too."""
    del no_inotify
    first, *more = actions_of(*["ls", "git diff", "make test"] * 3)
    place.append(first)
    daemon = start()
    daemon.until_records(1)
    assert "anon_inode:inotify" not in daemon.descriptors().values()
    assert statistics.median(delays(daemon, place, more)) < 1.0
    assert "Traceback" not in daemon.said


def test_a_watch_that_dies_is_not_missed(
    place: Place, start: Start, actions_of: Lines, wrapper: Callable[[str], list[str]], tmp_path: Path
) -> None:
    """When watchdog's thread ends at its first event, lines come within a second each all the same."""
    flag = tmp_path / "died"
    first, *more = actions_of(*["ls", "git diff", "make test"] * 3)
    place.append(first)
    daemon = start(program=[*wrapper(DYING), str(flag)])
    daemon.until_records(1)
    assert statistics.median(delays(daemon, place, more)) < 1.0
    assert flag.exists()
    assert "Traceback" not in daemon.said


def test_with_inotify_it_is_faster_than_the_poll(place: Place, start: Start, actions_of: Lines) -> None:
    """Where there is a watch it is used: lines come sooner than by a look four times a second."""
    first, *more = actions_of(*["ls", "git diff", "make test"] * 3)
    place.append(first)
    daemon = start()
    daemon.until_records(1)
    daemon.until(lambda: "anon_inode:inotify" in daemon.descriptors().values(), "a watch")
    assert min(delays(daemon, place, more)) < 0.1
