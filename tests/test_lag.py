"""How far a place is behind its log."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anomaly.lag import Lag, lag
from anomaly.sources.interface import Position
from anomaly.sources.tail import LogSource

if TYPE_CHECKING:
    from tests.conftest import Event

BEGIN = 1_793_000_000


@pytest.fixture
def live(tmp_path: Path, event: Event) -> Path:
    """Give a log of ten lines, a minute apart, of 100 bytes or so each."""
    path = tmp_path / "osqueryd.results.log"
    path.write_bytes(b"".join(event(time=BEGIN + 60 * number, command="ls") + b"\n" for number in range(10)))
    return path


def place(log: Path, lines: int) -> Position:
    """Return the place behind so many lines."""
    with LogSource(log, start="start", follow=False) as source:
        source.read(lines, timeout=0.0)
        return source.position


def test_at_the_end_nothing_waits(live: Path) -> None:
    """All was read: no bytes, no seconds."""
    assert lag(live, place(live, 10), None, BEGIN + 10_000) == Lag(0, 0.0)


def test_what_waits_is_counted_in_bytes_and_by_its_oldest_line(live: Path) -> None:
    """After four of ten lines six wait, the first of them since its own time."""
    size = live.stat().st_size
    assert lag(live, place(live, 4), None, BEGIN + 1000) == Lag(size * 6 // 10, 1000 - 240)


def test_rotation_and_compression_hide_nothing(live: Path, event: Event) -> None:
    """What waits in an archive counts with what is in the log; a compressed file by its size on disk."""
    size, behind = live.stat().st_size, place(live, 4)
    archive = live.with_name(f"{live.name}.1")
    live.rename(archive)
    live.write_bytes(event(time=BEGIN + 700, command="make") + b"\n")
    assert lag(live, behind, None, BEGIN + 1000) == Lag(size * 6 // 10 + live.stat().st_size, 1000 - 240)
    packed = live.with_name(f"{live.name}.2.gz")
    packed.write_bytes(gzip.compress(archive.read_bytes()))
    archive.unlink()
    assert lag(live, behind, None, BEGIN + 1000) == Lag(live.stat().st_size, 1000 - 240)


def test_half_a_line_waits_for_its_end(live: Path) -> None:
    """A line that is being written is no action yet: it has no age."""
    behind = place(live, 10)
    with live.open("ab") as file:
        file.write(b'{"name":"x"')
    assert lag(live, behind, None, BEGIN + 1000) == Lag(11, None)


def test_a_log_that_holds_the_place_no_more_cannot_be_measured(live: Path, event: Event) -> None:
    """Neither a number nor a zero is made up."""
    behind = place(live, 4)
    live.write_bytes(event("bob", command="top", time=BEGIN) + b"\n")
    assert lag(live, behind, None, BEGIN + 1000) == Lag(None, None)
    live.unlink()
    assert lag(live, behind, None, BEGIN + 1000) == Lag(None, None)


def test_before_the_first_line_everything_waits(live: Path) -> None:
    """A watch that began before the log was there has read nothing of it."""
    assert lag(live, Position(), None, BEGIN + 1000) == Lag(live.stat().st_size, 1000.0)
