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


OLD = "9:name=systemd:/x\n4:cpu,memory:/docker/ours\n0::/\n"
UNLIMITED = 9223372036854771712


@pytest.mark.parametrize("place", ["docker/ours", "docker", ""])
def test_groups_of_the_first_version_count(place: str, system: Path) -> None:
    """So does a limit in the older hierarchy, where memory is a controller of its own, at whichever depth."""
    (system / "proc/self/cgroup").write_text(OLD)
    groups = system / "groups/memory"
    (groups / "docker/ours").mkdir(parents=True)
    for group in (groups, groups / "docker", groups / "docker/ours"):
        (group / "memory.limit_in_bytes").write_text(f"{UNLIMITED}\n")
    assert machine.memory() == 8 << 30
    (groups / place / "memory.limit_in_bytes").write_text(f"{3 << 30}\n")
    assert machine.memory() == 3 << 30


def test_a_container_that_sees_only_its_root(system: Path) -> None:
    """Where our group's path is the host's, the limit is that of the uppermost group in sight."""
    for path in ("/docker/0123456789abcdef", "/../../elsewhere"):
        (system / "proc/self/cgroup").write_text(f"4:memory:{path}\n")
        (system / "groups/memory").mkdir(exist_ok=True)
        (system / "groups/memory/memory.limit_in_bytes").write_text(f"{1 << 30}\n")
        (system / "memory.limit_in_bytes").write_text("1\n")  # outside; not to be looked at
        assert machine.memory() == 1 << 30


@pytest.mark.parametrize(
    "content", [b"", b"0", b"-1", b"x", b"\xff", b"1" * 10**6, b"0::", b"\n:\n::\n0:\n", b"a" * (1 << 20)]
)
def test_whatever_the_files_hold(content: bytes, system: Path) -> None:
    """A file that says nothing sensible, or has no end, is passed over, and no more than a part of it is read."""
    (system / "proc/self/cgroup").write_text("4:memory:/\n0::/\n")
    (system / "groups/memory").mkdir()
    (system / "groups/memory/memory.limit_in_bytes").write_bytes(content)
    (system / "groups/memory.max").write_bytes(content)
    assert machine.memory() == 8 << 30
    (system / "proc/self/cgroup").write_bytes(content)
    assert machine.memory() == 8 << 30
    assert len(machine._text(system / "proc/self/cgroup")) <= 1 << 16


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
