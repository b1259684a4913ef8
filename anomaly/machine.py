"""What this machine, or the part of it that we may use, has to spare."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


def cpus() -> int:
    """Return how many CPUs we may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """Return the bytes of memory that we can have: what is or can be made free, and what our service may take."""
    return min([_free(), *_limits()])


def _free() -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in (PROC / "meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    # Not Linux, or a sandbox (ProcSubset=pid): half of what there is may well be free.
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _limits() -> Iterator[int]:
    """Give the limits of our control group, and of those that it lies in (systemd's ``MemoryMax``, containers)."""
    with suppress(OSError, ValueError):
        place = (PROC / "self/cgroup").read_text("utf-8").rpartition("0::/")[2].strip()
        group = CGROUPS / place
        for directory in (group, *group.parents):
            with suppress(OSError, ValueError):  # "max", or no such file at the top
                yield int((directory / "memory.max").read_text("ascii"))
            if directory == CGROUPS:
                return
