"""A gibibyte that was written while nobody read: worked off in the memory of one chunk."""

from __future__ import annotations

import gzip
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Event
    from tests.reliability.conftest import Daemon, Place, Start

ARCHIVES = 16
"""Of 64 MiB each; the last is the log itself."""

LINES = 4096
"""In each of them, of a little more than 16 KiB."""

GROWTH = 16 << 10
"""KiB by which the memory may grow after the first quarter."""


def memory(daemon: Daemon) -> dict[str, int]:
    """Return what the process holds and has held at most, in KiB; nothing once it has ended."""
    text = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return {name: int(size) for name, size in re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", text, re.MULTILINE)}


@pytest.fixture
def backlog(place: Place, event: Event) -> Place:
    """Give a place whose log and archives are a GiB of lines of which each differs a little."""
    habits = ("git status", "git diff", "pytest -q", "vim src/app.py", "ls", "make test")
    lines = (
        event(time=1_796_000_000 + 60 * n, command=habits[n % 6], pad=f"{n % 97}" + "x" * (16 << 10))
        for n in range(LINES)
    )
    content = b"".join(line + b"\n" for line in lines)
    packed = gzip.compress(content, 1)
    for number in range(2, ARCHIVES + 1):
        # An archive is told by its first line; the rest is the same, as one more member of the file.
        first = gzip.compress(event(time=1_795_000_000 - number, command="ls") + b"\n", 1)
        place.log.with_name(f"{place.log.name}.{number}.gz").write_bytes(first + packed)
    place.append_raw(content)
    assert ARCHIVES * len(content) > 1 << 30
    return place


def test_a_backlog_does_not_fill_the_memory(backlog: Place, start: Start) -> None:
    """After the first quarter of a GiB, memory grows by less than 16 MiB until all of it is scored."""
    samples: list[dict[str, int]] = []
    daemon = start("--no-follow", "--min-score", "100")
    left = [backlog.log.with_name(f"{backlog.log.name}.{number}.gz") for number in range(ARCHIVES, 1, -1)]
    left.append(backlog.log)
    while left:
        # Or one of those after it, should we have been asleep for as long as one takes.
        daemon.until(lambda: any(map(daemon.has_open, left)), left[0].name)
        if len(left) <= ARCHIVES * 3 // 4:
            samples.append(memory(daemon))
        del left[0]
    while found := memory(daemon):
        samples.append(found)
        time.sleep(0.05)
    assert daemon.end() == 0
    assert f"{ARCHIVES * LINES + ARCHIVES - 1:,} scored" in daemon.said
    assert max(sample["VmHWM"] for sample in samples) - samples[0]["VmHWM"] < GROWTH
    assert samples[-1]["VmRSS"] - samples[0]["VmRSS"] < GROWTH
