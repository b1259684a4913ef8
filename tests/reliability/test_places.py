"""What may stand at the log's path, or not: no regular file, no permission, another directory, nothing yet."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.reliability.conftest import Daemon, Lines, Place, Start

KINDS = ["fifo", "directory", "socket", "device"]


def put(path: Path, kind: str) -> None:
    """Make something that is no regular file."""
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "socket":
            os.mknod(path, stat.S_IFSOCK | 0o600)
        case "device":
            path.symlink_to("/dev/null")


def take_away(path: Path) -> None:
    """Remove it again."""
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink()


@pytest.fixture
def actions(actions_of: Lines) -> Iterator[bytes]:
    """Give many actions, one after the other."""
    return iter(actions_of(*["ls", "git diff", "make test"] * 20))


def has_all(daemon: Daemon, place: Place) -> bool:
    """Say whether each line that was written is a record, once and in order."""
    files = sorted(place.folder.glob(f"log*/{place.log.name}*"), key=lambda path: path.stat().st_mtime_ns)
    written = b"".join(path.read_bytes() for path in files).count(b"\n")
    times = [record["time"] for record in daemon.records]
    return len(times) == written == len(set(daemon.ids)) and times == sorted(times)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("follow", ["--follow", "--no-follow"])
def test_what_is_no_regular_file_is_refused_at_once(kind: str, follow: str, place: Place, start: Start) -> None:
    """A FIFO, a directory, a socket or a device ends it with 4 and one sentence, and hangs nothing."""
    put(place.log, kind)
    daemon = start(follow)
    assert daemon.end() == 4
    assert daemon.said.startswith("Error: ")
    assert str(place.log) in daemon.said
    assert len(daemon.said.splitlines()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_regular_file_is_waited_out_later(
    kind: str, place: Place, start: Start, actions: Iterator[bytes]
) -> None:
    """Put there while it follows, it is told and does not hang; what comes before and after it is scored."""
    place.append(next(actions))
    daemon = start()
    daemon.until_records(1)
    place.append(next(actions))
    place.log.rename(f"{place.log}.1")
    put(place.log, kind)
    daemon.until(lambda: str(place.log) in daemon.said, "a sentence")
    daemon.until_records(2)
    take_away(place.log)
    place.append(next(actions), next(actions))
    daemon.until_records(4)
    assert has_all(daemon, place)


def test_a_stop_is_heard_while_no_log_can_be_read(place: Place, start: Start, actions: Iterator[bytes]) -> None:
    """SIGTERM ends it with 0 within five seconds while a FIFO stands in the log's place, and nothing is lost."""
    place.append(next(actions))
    daemon = start()
    daemon.until_records(1)
    place.log.rename(f"{place.log}.1")
    put(place.log, "fifo")
    daemon.until(lambda: str(place.log) in daemon.said, "a sentence")
    assert daemon.stop() == 0
    place.log.unlink()
    place.append(next(actions))
    following = start()
    following.until_records(1)
    assert following.stop() == 0
    assert len({*daemon.ids, *following.ids}) == len(daemon.ids + following.ids) == 2


def test_a_log_without_permission_is_refused_at_the_start(
    place: Place, start: Start, unprivileged: list[str], actions: Iterator[bytes]
) -> None:
    """A log that may not be read ends it with 4 and what to do about it."""
    place.append(next(actions))
    place.log.chmod(0)
    daemon = start(program=unprivileged)
    assert daemon.end() == 4
    assert daemon.said.startswith("Error: ")
    assert "chgrp" in daemon.said


def test_permission_of_the_log_lost_and_restored(
    place: Place, start: Start, unprivileged: list[str], actions: Iterator[bytes]
) -> None:
    """A new log that may not be read is told, and all of it is scored once it may be."""
    place.append(next(actions))
    daemon = start(program=unprivileged)
    daemon.until_records(1)
    place.rotate()
    place.log.touch(0o000)
    daemon.until(lambda: str(place.log) in daemon.said, "a sentence")
    place.log.chmod(0o200)  # as for root, who writes on all the same
    place.append(next(actions), next(actions))
    place.log.chmod(0o640)
    daemon.until_records(3)
    place.append(next(actions))
    daemon.until_records(4)
    assert has_all(daemon, place)


def test_permission_of_the_directory_lost_and_restored(
    place: Place, start: Start, unprivileged: list[str], actions: Iterator[bytes]
) -> None:
    """A directory that may not be entered is told, and what is written and rotated then is scored."""
    place.append(next(actions))
    daemon = start(program=unprivileged)
    daemon.until_records(1)
    place.log.parent.chmod(0)
    try:
        daemon.until(lambda: str(place.log) in daemon.said, "a sentence")
    finally:
        place.log.parent.chmod(0o700)
    place.append(next(actions))
    place.rotate()
    place.append(next(actions))
    daemon.until_records(3)
    assert has_all(daemon, place)


@pytest.mark.parametrize("absent", ["log", "directory"])
def test_a_log_that_comes_late_is_scored_from_its_first_line(
    absent: str, place: Place, start: Start, actions: Iterator[bytes]
) -> None:
    """A log or a directory that is absent at the start is told, waited for, and read whole."""
    if absent == "directory":
        place.log.parent.rmdir()
    daemon = start()
    daemon.until(lambda: str(place.log) in daemon.said, "a word that it waits")
    place.log.parent.mkdir(exist_ok=True)
    place.append(next(actions), next(actions))
    daemon.until_records(2)
    place.append(next(actions))
    daemon.until_records(3)
    assert has_all(daemon, place)


def test_a_directory_that_is_replaced_is_followed(place: Place, start: Start, actions: Iterator[bytes]) -> None:
    """When another directory takes the place of the log's, lines from both are scored, and promptly."""
    place.append(next(actions))
    daemon = start()
    daemon.until_records(1)
    place.append(next(actions))
    place.log.parent.rename(place.folder / "log.old")
    place.log.parent.mkdir()
    place.append(next(actions))
    daemon.until_records(3)
    place.append(next(actions))
    daemon.until_records(4)
    assert has_all(daemon, place)


def test_a_log_that_is_deleted_and_comes_again_is_followed(
    place: Place, start: Start, actions: Iterator[bytes]
) -> None:
    """Between a deletion and a new file nothing is lost that was read in time, and what comes then is scored."""
    place.append(next(actions))
    daemon = start()
    for number in range(1, 4):
        daemon.until_records(number)
        place.log.unlink()
        place.append(next(actions))
    daemon.until_records(4)
    assert len(set(daemon.ids)) == len(daemon.ids) == 4


def test_a_copied_and_truncated_log_is_followed(place: Place, start: Start, actions: Iterator[bytes]) -> None:
    """``copytruncate`` between two lines loses and repeats nothing."""
    place.append(next(actions), next(actions))
    daemon = start()
    for number in range(3):
        daemon.until_records(2 + 3 * number)
        place.append(next(actions))
        place.log.with_name(f"{place.log.name}.1").write_bytes(place.log.read_bytes())
        os.truncate(place.log, 0)
        place.append(next(actions), next(actions))
    daemon.until_records(11)
    place.append(next(actions))
    daemon.until_records(12)
    assert len(set(daemon.ids)) == len(daemon.ids) == 12
