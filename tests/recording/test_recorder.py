"""Rounds: what they write, survive and cost."""

from __future__ import annotations

import errno
import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil
import pytest

from anomaly.identity import Identities
from anomaly.osquery import Action, Parser, Skipped
from anomaly.recording.accounts import Accounts
from anomaly.recording.differential import Differential
from anomaly.recording.output import Recording
from anomaly.recording.pack import Look, Query, queries
from anomaly.recording.recorder import Clock, Recorder
from anomaly.recording.rows import Row, row

SH, VI = row(name="sh", uid=1000, username="alice"), row(name="vi", uid=1000, username="alice")


class Machine:
    """A recorder whose tables are set by hand, and what it said."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 1_793_585_624.9
        self.cpu = 0.0
        self.rows: list[Row] = []
        self.fault: Exception | None = None
        self.said: list[str] = []
        self.recording = Recording(path, "ws1")
        named = [Query("processes", self._table, Differential()), Query("arp_cache", lambda _: [], Differential())]
        clock = Clock(lambda: self.now, lambda: self.cpu)
        self.recorder = Recorder(named, Accounts(), self.recording, "ws1", self.said.append, clock)

    def _table(self, _: Look) -> Iterable[Row]:
        if self.fault:
            raise self.fault
        self.cpu += 0.5
        return self.rows

    def round(self, *rows: Row) -> None:
        """Look once at these rows."""
        self.rows = list(rows)
        self.recorder.round()

    def actions(self) -> list[tuple[str, str, str, bool]]:
        """Read the recording as anomaly does."""
        return [(each.verb, each.columns["name"], each.user, each.baseline) for each in parsed(self.path)]


def parsed(path: Path) -> list[Action]:
    """Parse a recording; every line of it is a result."""
    parser, actions = Parser(Identities(hostname="")), []
    for line in path.read_bytes().splitlines():
        found = parser.parse(line)
        assert not isinstance(found, Skipped)
        actions += found
    return actions


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Return a machine without rows."""
    found = Machine(tmp_path / "recorded.results.log")
    yield found
    found.recording.close()


def test_rounds_are_actions_of_their_users(machine: Machine) -> None:
    """The first round is a baseline; then what came and went, with user and time."""
    machine.round(SH)
    machine.round(SH)
    machine.round(SH, SH, VI)
    machine.round(VI)
    assert machine.actions() == [
        ("added", "sh", "alice", True),
        ("added", "sh", "alice", False),
        ("added", "vi", "alice", False),
        ("removed", "sh", "alice", False),
        ("removed", "sh", "alice", False),
    ]
    assert {action.time for action in parsed(machine.path)} == {1_793_585_624}
    assert (machine.recorder.rounds, machine.recorder.lines) == (4, 5)


def test_lines_have_the_keys_of_osquerys(machine: Machine) -> None:
    """A recorded line and one of the sample log differ in their values only."""
    machine.round(SH)
    sample = Path(__file__).parents[2] / "data/osqueryd.results.log.gz"
    with gzip.open(sample) as file:
        expected = json.loads(file.readline())
    found = json.loads(machine.path.read_bytes())
    assert list(found) == list(expected)
    assert [type(value) for value in found.values()] == [type(value) for value in expected.values()]


@pytest.mark.parametrize(
    "fault", [PermissionError(13, "Permission denied"), psutil.AccessDenied(1), ValueError("x")]
)
def test_a_table_that_cannot_be_read_is_not_empty(machine: Machine, fault: Exception) -> None:
    """It is said once, and its rows are neither removed nor added again."""
    machine.round(SH)
    machine.fault = fault
    machine.round()
    machine.round()
    machine.fault = None
    machine.round(SH, VI)
    assert machine.actions() == [("added", "sh", "alice", True), ("added", "vi", "alice", False)]
    (said,) = machine.said
    assert said.startswith("processes cannot be read, and is left out: ")


def test_a_full_disk_is_told_and_survived(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once when it begins and once when it ends; nothing is lost."""

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("anomaly.recording.output.os.write", full)
        machine.round(SH)
        machine.round(SH, VI)
    machine.round()
    assert [action[:2] for action in machine.actions()] == [
        *(("added", "sh"), ("added", "vi"), ("removed", "sh"), ("removed", "vi"))
    ]
    assert machine.said == [
        f"{machine.path} cannot be written: No space left on device; lines wait in memory.",
        f"{machine.path} can be written again. Nothing was lost.",
    ]


def test_a_rotated_recording_is_left_at_the_next_round(machine: Machine) -> None:
    """No signal is needed, as with osquery; what stands in the way is said."""
    machine.round(SH)
    machine.path.rename(machine.path.with_suffix(".1"))
    machine.round(SH, VI)
    assert [action[1] for action in machine.actions()] == ["vi"]
    machine.path.unlink()
    machine.path.write_bytes(b"foreign\n")
    machine.round()
    machine.recorder.reopen()
    assert len(machine.said) == 1
    assert "was not recorded by this program" in machine.said[0]
    assert machine.path.read_bytes() == b"foreign\n"


def test_a_new_recorder_begins_with_a_baseline(machine: Machine) -> None:
    """Its memory is the process's: what it finds then is the state of the machine, and nobody's behaviour."""
    machine.round(SH)
    machine.recording.close()
    again = Machine(machine.path)
    again.round(SH)
    again.recording.close()
    machine.recording = Recording(machine.path, "ws1")
    assert machine.actions() == [("added", "sh", "alice", True)] * 2


def test_rounds_leave_the_machine_to_others(machine: Machine) -> None:
    """A round that takes long is followed by a longer pause, so that 5 % of a CPU is the most."""
    assert machine.recorder.pause(0.1, 5) == 5
    assert machine.recorder.round() == 0.5
    assert machine.recorder.pause(0.5, 5) == 10
    assert machine.recorder.pause(0.6, 5) == pytest.approx(12)
    assert machine.said == ["A look takes 0.5 s of CPU here: the next comes after 10 s, not 5 s."]


def test_this_machine_can_be_recorded(tmp_path: Path, silent_say: Callable[[str], None]) -> None:
    """Two rounds over what runs here are lines that anomaly reads, with a baseline first."""
    path = tmp_path / "recorded.results.log"
    accounts, recording = Accounts(), Recording(path, "ws1")
    recorder = Recorder(queries(accounts, history=False), accounts, recording, "ws1", silent_say)
    took = recorder.round() + recorder.round()
    recording.close()
    found = parsed(path)
    assert {action.host for action in found} == {"ws1"}
    assert sum(action.baseline and action.query == "processes" for action in found) > 1
    assert took < 20  # seconds; a machine of 300 processes takes 0.2


@pytest.fixture
def silent_say() -> Callable[[str], None]:
    """Return what takes sentences, and expects none."""

    def say(text: str) -> None:
        pytest.fail(text)

    return say
