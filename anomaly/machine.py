"""What this machine, or the part of it that we may use, has to spare."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")

_MOST = 1 << 16  # bytes read of a file


def cpus() -> int:
    """Return how many CPUs we may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """Return the bytes of memory that we can have: what is or can be made free, and what our service may take."""
    return min([_free(), *_limits()])


def _free() -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in _text(PROC / "meminfo").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    # Not Linux, or a sandbox (ProcSubset=pid): half of what there is may well be free.
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _limits() -> Iterator[int]:
    """Give the limits of our control groups, and of those that they lie in (systemd's ``MemoryMax``, containers).

    Of both versions of them (cgroups(7)): a line ``0::PATH`` is of the second, one that names the controller
    ``memory`` of the first. Without any limit the first has a number beyond all memory.
    """
    with suppress(OSError):
        for line in _text(PROC / "self/cgroup").splitlines():
            number, controllers, path = [*line.split(":", 2), "", ""][:3]
            if (number, controllers) == ("0", ""):
                yield from _of_groups(CGROUPS, path, "memory.max")
            elif "memory" in controllers.split(","):
                yield from _of_groups(CGROUPS / "memory", path, "memory.limit_in_bytes")


def _of_groups(root: Path, path: str, name: str) -> Iterator[int]:
    """Give what a file says in a group and in those above it; a container may see only the uppermost."""
    parts = [part for part in path.split("/") if part]
    if ".." in parts:  # ours lies outside of what we see
        parts = []
    for length in range(len(parts), -1, -1):
        with suppress(OSError, ValueError):  # "max", or no such file
            if (limit := int(_text(root.joinpath(*parts[:length], name)))) > 0:
                yield limit


def _text(path: Path) -> str:
    """Read a file of the kernel's, as far as it can be of use."""
    with path.open("rb") as file:
        return file.read(_MOST).decode("utf-8", "replace")
