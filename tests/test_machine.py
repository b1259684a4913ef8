from __future__ import annotations

import os
from pathlib import Path

import pytest

from anomaly import machine


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a machine of our own making: 8 GiB available, no control group."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 16777216 kB\nMemAvailable:    8388608 kB\n")
    (tmp_path / "groups/system.slice/ours").mkdir(parents=True)
    monkeypatch.setattr(machine, "PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "groups")
    return tmp_path


def test_memory_is_what_is_available(system: Path) -> None:
    """Where nothing limits us, it is what the kernel calls available."""
    assert machine.memory() == 8 << 30
    (system / "proc/self/cgroup").write_text("0::/system.slice/ours\n")
    (system / "groups/system.slice/ours/memory.max").write_text("max\n")
    assert machine.memory() == 8 << 30


@pytest.mark.parametrize("place", ["groups/system.slice/ours", "groups/system.slice", "groups"])
def test_memory_is_no_more_than_a_group_may_take(place: str, system: Path) -> None:
    """A limit of our control group, or of one that it lies in, counts (systemd's MemoryMax, a container's)."""
    (system / "proc/self/cgroup").write_text("1:name=other:/x\n0::/system.slice/ours\n")
    (system / place / "memory.max").write_text(f"{4 << 30}\n")
    assert machine.memory() == 4 << 30


def test_a_system_that_does_not_say(system: Path) -> None:
    """Without a word of what is available, half of the machine's memory is taken to be."""
    (system / "proc/meminfo").unlink()
    assert machine.memory() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def test_cpus_are_those_for_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPUs that we are kept from do not count; where the system does not say, all do."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3}, raising=False)
    assert machine.cpus() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert machine.cpus() == 5
