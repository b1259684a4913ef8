"""Signals, and a reader of the records who stops reading or goes away."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.reliability.conftest import Daemon, Lines, Place, Record, Start

ENDS = [signal.SIGTERM, signal.SIGINT]
SMALL = 4096
"""Bytes that the pipe holds: a dozen records."""

BUFFERING = [{}, {"PYTHONUNBUFFERED": "1"}]
"""How Python writes: by itself, and as units and containers like to have it, where a write may be a short one."""

STUCK = 0.5
"""Seconds without a byte by which a writer with much to say is told to be stuck."""


class Pipe:
    """A small pipe for records."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        fcntl.fcntl(self._reader, fcntl.F_SETPIPE_SZ, SMALL)

    def hand_over(self) -> None:
        """Close our copy of the writing end: the process has its own."""
        os.close(self.writer)
        self.writer = -1

    def waiting(self) -> int:
        """Return how many bytes wait to be read."""
        (count,) = struct.unpack("i", fcntl.ioctl(self._reader, termios.FIONREAD, b"\0" * 4))
        return int(count)

    def read(self, enough: Callable[[bytes], bool]) -> bytes:
        """Read until it is enough, or all writers have closed."""
        found = b""
        while not enough(found) and select.select([self._reader], [], [], 40.0)[0]:
            piece = os.read(self._reader, SMALL)
            if not piece:
                break
            found += piece
        return found

    def close(self) -> None:
        """Stop being a reader."""
        for end in {self._reader, self.writer} - {-1}:
            os.close(end)
        self._reader = self.writer = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Give a pipe, closed by the test's end."""
    made = Pipe()
    yield made
    made.close()


def until_stuck(daemon: Daemon, pipe: Pipe) -> None:
    """Wait until the process, which has more to say, has long written nothing into the pipe."""
    last = [0, time.monotonic()]

    def stuck() -> bool:
        if pipe.waiting() != last[0]:
            last[:] = pipe.waiting(), time.monotonic()
        return last[0] > 0 and time.monotonic() - last[1] > STUCK

    daemon.until(stuck, "a full pipe")


@pytest.mark.parametrize("number", ENDS)
def test_over_several_stops_nothing_is_lost_or_repeated(
    number: int, place: Place, start: Start, lines: list[bytes], uninterrupted: Callable[[], list[Record]]
) -> None:
    """SIGTERM and SIGINT end with 0 within five seconds; over three of them each line is scored once, in order."""
    left = iter(lines[600:900])
    seen: list[str] = []

    def write() -> None:
        for count, line in zip(range(1, 41), left, strict=False):
            place.append(line)
            if count == 25:
                place.rotate()

    for _ in range(3):
        daemon = start()
        write()  # while it starts
        daemon.until_records(10)
        write()
        assert daemon.stop(number) == 0, daemon.said
        assert "Traceback" not in daemon.said
        seen += daemon.ids
    place.append(*left)
    last = start()
    expected = [record["id"] for record in uninterrupted()]
    last.until_records(len(expected) - len(seen))
    assert last.stop(number) == 0
    assert seen + last.ids == expected


@pytest.mark.parametrize(("number", "environment"), list(zip(ENDS, BUFFERING, strict=True)))
def test_a_full_pipe_does_not_keep_it_from_ending(
    number: int,
    environment: dict[str, str],
    place: Place,
    start: Start,
    lines: list[bytes],
    pipe: Pipe,
    uninterrupted: Callable[[], list[Record]],
) -> None:
    """While nobody reads it ends with 0 within five seconds, and the next run shows what was not taken."""
    place.append(*lines[600:900])
    daemon = start(stdout=pipe.writer, environment=environment)
    pipe.hand_over()
    until_stuck(daemon, pipe)
    assert daemon.stop(number) == 0, daemon.said
    assert "Traceback" not in daemon.said
    daemon.out.write_bytes(pipe.read(lambda _: False))
    following = start()
    expected = {record["id"] for record in uninterrupted()}
    following.until(lambda: expected <= {*daemon.ids, *following.ids}, "what was not taken")
    assert len(expected) == 300


@pytest.mark.parametrize("environment", BUFFERING)
def test_a_slow_reader_gets_everything(
    environment: dict[str, str],
    place: Place,
    start: Start,
    lines: list[bytes],
    pipe: Pipe,
    uninterrupted: Callable[[], list[Record]],
) -> None:
    """A reader who pauses is waited for: every record comes, once and in order."""
    place.append(*lines[600:900])
    daemon = start(stdout=pipe.writer, environment=environment)
    pipe.hand_over()
    until_stuck(daemon, pipe)
    daemon.out.write_bytes(pipe.read(lambda found: found.count(b"\n") >= 300))
    assert daemon.ids == [record["id"] for record in uninterrupted()]
    assert daemon.stop() == 0


@pytest.mark.parametrize(("number", "absent"), list(zip(ENDS, ["log", "directory"], strict=True)))
def test_while_the_log_is_absent_it_ends_too(
    number: int, absent: str, place: Place, start: Start, actions_of: Lines
) -> None:
    """A daemon that waits for its log ends with 0 within five seconds, and the next one scores what came."""
    if absent == "directory":
        place.log.parent.rmdir()
    daemon = start()
    daemon.until(lambda: str(place.log) in daemon.said, "a word that it waits")
    assert daemon.stop(number) == 0, daemon.said
    place.log.parent.mkdir(exist_ok=True)
    place.append(*actions_of("ls", "make test"))
    following = start()
    following.until_records(2)
    assert following.stop(number) == 0
    assert [record["columns"]["command"] for record in following.records] == ["ls", "make test"]


@pytest.mark.parametrize("environment", BUFFERING)
def test_a_reader_who_goes_away_ends_it_quietly(
    environment: dict[str, str], place: Place, start: Start, actions_of: Lines, pipe: Pipe
) -> None:
    """Closed output ends it with 0 within two seconds of the next action, which the next run shows."""
    first, second, third = actions_of("ls", "git diff", "make test")
    place.append(first)
    daemon = start(stdout=pipe.writer, environment=environment)
    pipe.hand_over()
    daemon.out.write_bytes(pipe.read(lambda found: found.endswith(b"\n")))
    assert len(daemon.ids) == 1
    pipe.close()
    place.append(second)
    assert daemon.end(2.0) == 0
    assert len(daemon.said.splitlines()) <= 1  # the summary
    assert "Error" not in daemon.said
    assert "Traceback" not in daemon.said
    place.append(third)
    following = start()
    following.until(lambda: len({*daemon.ids, *following.ids}) == 3, "what could not be shown")
    assert following.stop() == 0


@pytest.mark.parametrize("environment", BUFFERING)
def test_a_reader_who_goes_away_in_a_backlog_ends_it_quietly(
    environment: dict[str, str], place: Place, start: Start, lines: list[bytes], pipe: Pipe
) -> None:
    """Output closed while it is stuck there ends it with 0 within two seconds, without a word of an error."""
    place.append(*lines[600:900])
    daemon = start(stdout=pipe.writer, environment=environment)
    pipe.hand_over()
    until_stuck(daemon, pipe)
    pipe.close()
    assert daemon.end(2.0) == 0
    assert len(daemon.said.splitlines()) <= 1
    assert "Error" not in daemon.said
    assert "Traceback" not in daemon.said
