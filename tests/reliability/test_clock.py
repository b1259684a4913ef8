"""Time that goes back: the clock's, and the log's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.reliability.conftest import Lines, Place, Start

HOUR = 3600
BEGIN = 1_796_000_000

SET_BACK = """
import os, sys, time
flag = sys.argv.pop(1)
real, real_ns, real_clock = time.time, time.time_ns, time.clock_gettime

def late():
    late.asked += os.path.exists(flag)
    if late.asked == 1:
        open(f"{flag}.seen", "w").close()
    return 3600 if os.path.exists(flag) else 0

late.asked = 0
time.time = lambda: real() - late()
time.time_ns = lambda: real_ns() - late() * 10**9
time.clock_gettime = lambda clock: real_clock(clock) - (late() if clock == time.CLOCK_REALTIME else 0)
"""
"""A wall clock that goes back an hour when a file appears; what does not depend on it never notices."""


def test_a_clock_set_back_stops_nothing(
    place: Place, start: Start, actions_of: Lines, wrapper: Callable[[str], list[str]], tmp_path: Path
) -> None:
    """When clock and log go back an hour, lines are scored and checkpoints go on: a kill repeats nothing."""
    flag = tmp_path / "set-back"
    place.append(*actions_of("ls", "git diff", begin=BEGIN))
    daemon = start(program=[*wrapper(SET_BACK), str(flag)])
    daemon.until_records(2)
    flag.touch()
    for number in range(2):
        place.append(*actions_of("make test", begin=BEGIN - HOUR + number))
        daemon.until_records(3 + number)
    daemon.until(place.remembered, "a checkpoint")
    assert None not in [record["score"] for record in daemon.records]
    daemon.kill()
    place.append(*actions_of("ls", begin=BEGIN - HOUR + 10))
    following = start()
    following.until_records(1)
    assert following.stop() == 0
    assert len({*daemon.ids, *following.ids}) == len(daemon.ids + following.ids) == 5


def test_a_log_that_goes_back_is_scored_as_it_stands(place: Place, start: Start, lines: list[bytes]) -> None:
    """Lines whose time is fifty years before that of the line above are scored like others, in order."""
    back = [line.replace(b'"unixTime": 17', b'"unixTime": 1') for line in lines[700:800]]
    place.append(*lines[600:700], *back, *lines[800:850])
    daemon = start()
    daemon.until_records(250)
    assert daemon.stop() == 0
    assert len(set(daemon.ids)) == len(daemon.ids) == 250
    assert None not in [record["score"] for record in daemon.records]
    assert daemon.records[150]["time"] < "1980"
    offsets = [int(record["id"].rpartition(":")[2]) for record in daemon.records]
    assert offsets == sorted(offsets)
