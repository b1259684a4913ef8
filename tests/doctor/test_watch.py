"""Checks of the state, and of who follows the log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anomaly.doctor.interface import State
from anomaly.sources.checkpoint import Checkpoint, checkpoint_name
from anomaly.sources.checkpoint_file import CheckpointFile
from anomaly.sources.interface import Position
from anomaly.sources.logfile import fingerprint

if TYPE_CHECKING:
    from tests.conftest import Event
    from tests.doctor.conftest import Machine

NOW = 1_793_100_000


@pytest.fixture
def followed(machine: Machine, event: Event) -> Machine:
    """Give a machine with a log of which all but the last line has been read, two minutes ago."""
    machine.log([event(time=NOW)] * 3)
    size = machine.places.log.stat().st_size
    save(machine, size // 3 * 2)
    return machine


def save(machine: Machine, offset: int, file: str | None = None, name: str = "all users") -> CheckpointFile:
    """Write a checkpoint of the log."""
    log = machine.places.log
    checkpoint = CheckpointFile(machine.places.state, checkpoint_name(log, name))
    with checkpoint:
        checkpoint.save(Checkpoint(str(log), Position(fingerprint(log) if file is None else file, offset)))
    os.utime(checkpoint.path, (NOW - 120, NOW - 120))
    return checkpoint


def hold(machine: Machine, process: int = 77) -> None:
    """Let /proc/locks say that the lock of the first checkpoint is held."""
    (lock,) = machine.places.state.glob("*.lock")
    status = lock.stat()
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    machine.write(
        machine.places.root / "proc" / "locks",
        "1: POSIX  ADVISORY  WRITE 5 00:00:1 0 EOF\n"
        f"2: FLOCK  ADVISORY  WRITE {process} {device}:{status.st_ino} 0 EOF\n"
        "3: broken\n",
    )


def test_state_that_can_be_written(machine: Machine) -> None:
    """A directory of one's own is in order, and so is one that will be made."""
    assert machine.check("state").found == f"{machine.places.state} will be made."
    machine.places.state.mkdir(mode=0o700)
    assert machine.check("state").found == f"{machine.places.state} can be written."


def test_state_that_others_could_write(machine: Machine) -> None:
    """As for models: a problem, and the command that mends it."""
    machine.places.state.mkdir()
    machine.places.state.chmod(0o777)
    verdict = machine.check("state")
    assert verdict.state is State.PROBLEM
    assert verdict.remedy == (f"chown $(id -un) {machine.places.state} && chmod go-w {machine.places.state}",)


def test_state_that_is_a_link_or_a_file(machine: Machine, tmp_path: Path) -> None:
    """A link may be turned by others, and a file holds no checkpoints: problems both."""
    machine.places.state.symlink_to(tmp_path)
    assert "is a symbolic link" in machine.check("state").found
    machine.places.state.unlink()
    machine.places.state.touch()
    verdict = machine.check("state")
    assert (verdict.state, "is no directory" in verdict.found) == (State.PROBLEM, True)


def test_state_without_permission(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing may be written no place is kept: a problem."""
    monkeypatch.setattr("anomaly.doctor.watch.os.access", lambda _, mode: mode != os.W_OK | os.X_OK)
    assert machine.check("state").state is State.PROBLEM


def test_a_checkpoint_that_was_set_aside(machine: Machine) -> None:
    """A checkpoint that could not be read is worth a word."""
    bad = machine.write(machine.places.state / "x.bad", "{")
    machine.places.state.chmod(0o700)
    verdict = machine.check("state")
    assert (verdict.state, verdict.remedy) == (State.WARNING, (f"rm {bad}",))


def test_a_log_that_is_followed(followed: Machine) -> None:
    """A process that holds the checkpoint is seen without touching its lock."""
    hold(followed)
    verdict = followed.check("follower")
    line = followed.places.log.stat().st_size // 3
    assert verdict.state is State.OK
    assert verdict.found == (
        f"A process follows this log; its checkpoint is 2 minutes old, and {line} bytes of the log are left."
    )


def test_a_log_that_was_followed(followed: Machine) -> None:
    """Without a process it is said how much is waiting, and what to start."""
    verdict = followed.check("follower")
    assert verdict.state is State.WARNING
    assert verdict.found.startswith("No process follows this log; the last checkpoint is 2 minutes old, and ")
    assert verdict.remedy == (
        "sudo systemctl start anomaly",
        f"anomaly predict --all-users -l {followed.places.log}",
    )


def test_the_lock_of_a_process_on_an_overlay(followed: Machine) -> None:
    """Where the kernel names another device than the file system, the process in the lock decides."""
    hold(followed)
    locks = followed.places.root / "proc" / "locks"
    inode = locks.read_text().split()[13].rsplit(":", 1)[1]
    for process, state in ((os.getpid(), State.OK), (77, State.WARNING)):
        locks.write_text(f"1: FLOCK  ADVISORY  WRITE {process} 00:99:{inode} 0 EOF\n")
        assert followed.check("follower").state is state


def test_the_real_kernel(machine: Machine, event: Event) -> None:
    """A lock that this process holds is found in the real /proc/locks, and stays held."""
    machine.log([event(time=NOW)])
    save(machine, 0)
    machine.write(machine.places.root / "proc" / "locks", "").unlink()
    (machine.places.root / "proc").rmdir()
    (machine.places.root / "proc").symlink_to("/proc")
    name = checkpoint_name(machine.places.log, "all users")
    assert machine.check("follower").state is State.WARNING
    with CheckpointFile(machine.places.state, name):
        assert machine.check("follower").state is State.OK
    with CheckpointFile(machine.places.state, name):
        pass


def test_a_process_that_has_just_begun(machine: Machine, event: Event) -> None:
    """A lock that is held before there is a checkpoint is a follower, too; one that is free is none."""
    machine.log([event()])
    with CheckpointFile(machine.places.state, checkpoint_name(machine.places.log, "user alice")):
        pass
    assert machine.check("follower").found == "Nothing has followed this log yet."
    hold(machine)
    verdict = machine.check("follower")
    assert (verdict.state, verdict.found) == (
        State.OK,
        "A process follows this log, and has written no checkpoint yet.",
    )


def test_a_process_that_stands_still(machine: Machine, event: Event) -> None:
    """A backlog and an old checkpoint together are worth a word."""
    machine.log([event(time=NOW, command="x" * 1000)] * 2000)
    save(machine, 0)
    hold(machine)
    assert machine.check("follower", now=float(NOW)).state is State.OK
    verdict = machine.check("follower", now=float(NOW + 60))
    assert verdict.state is State.WARNING
    assert verdict.found.startswith("A process follows, but its checkpoint is 3 minutes old")


def test_a_place_in_an_archive(followed: Machine) -> None:
    """A place that is not in this file is not counted in its bytes."""
    save(followed, 10, "0123456789abcdef")
    assert followed.check("follower").found.endswith("and the place is in an archive.")


def test_state_of_somebody_else(followed: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where checkpoints may not be read, nothing is said of who follows."""
    monkeypatch.setattr("anomaly.doctor.watch.os.access", lambda *_: False)
    assert followed.check("follower").state is State.UNKNOWN


def test_nobody_has_followed(machine: Machine, event: Event) -> None:
    """Without a checkpoint of this log, nothing has followed it; others' do not count."""
    machine.log([event()])
    machine.write(machine.places.state / "other.json", '{"log":"/other","position":{}}')
    assert machine.check("follower").found == "Nothing has followed this log yet."


def test_hostile_checkpoints(followed: Machine) -> None:
    """Pipes, links, directories and any bytes among the checkpoints are passed over."""
    state = followed.places.state
    os.mkfifo(state / "a.json")
    (state / "b.json").symlink_to(next(iter(state.glob("osq*.json"))))
    (state / "c.json").mkdir()
    (state / "d.json").write_bytes(b"[" * 100_000)
    (state / "e.json").write_bytes(b"\xff\x00")
    (state / "f.lock").symlink_to("/dev/zero")
    hold_before = followed.check("follower")
    assert hold_before.found.startswith("No process follows this log; the last checkpoint is 2 minutes old")
