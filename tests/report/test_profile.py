"""What is kept of one user."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from anomaly.osquery import Action
from anomaly.records import Alert, ModelRef, Score, Severity
from anomaly.report.profile import LEVELS, MAX_COLUMNS, MAX_LINE, MAX_VALUE, Exceeded, Profile, Room

NOON = 1_793_620_800
"""Monday, 2 November 2026, 12:00 UTC."""


def act(
    number: int, score: float | None = 5.0, *, time: int = NOON, baseline: bool = False, **columns: str
) -> Score:
    """Make a score."""
    action = Action(time, "ws1", "alice", "shell_history", "added", columns, baseline)
    return Score(f"x:{number}", action, score, 3.0, 1.0, ModelRef("OCSVM", 1, "ready"))


def alert(number: int, score: float) -> Alert:
    """Make an alert."""
    worst = act(number, score)
    return Alert(
        worst.id, "alice", "ws1", Severity.WARNING, NOON, NOON, 1, 0, closed=False, worst=worst, reasons=()
    )


def test_hours_of_the_week_are_by_the_logs_time() -> None:
    """Monday noon is the twelfth hour; a row without a time is in no hour."""
    profile = Profile("alice", None, Room())
    profile.add(act(1, 8.0), b"", None, alarming=False)
    profile.add(act(2, time=0), b"", None, alarming=False)
    assert [hour for hour, count in enumerate(profile.activity) if count] == [12]
    assert profile.strangeness[12] == 8.0
    assert (profile.actions, profile.first, profile.last) == (2, NOON, NOON)


def test_baseline_rows_are_counted_and_nothing_else() -> None:
    """State is no behaviour: it is in no hour and no distribution."""
    profile = Profile("alice", None, Room())
    profile.add(act(1, None, baseline=True), b"", None, alarming=False)
    assert (profile.actions, profile.baseline, profile.scored, sum(profile.activity)) == (1, 1, 0, 0)


def test_of_hostile_actions_little_is_kept() -> None:
    """Lines, values and columns are cut; the cut of a line is told."""
    profile = Profile("alice", None, Room())
    columns: dict[str, Any] = {f"c{number}": "x" * 10_000 for number in range(500)}
    profile.add(act(1, 60.0, **columns), b"\xff" * 10**6, None, alarming=True)
    (alarm,) = profile.alarms.items()
    assert alarm.cut
    assert len(alarm.line) == MAX_LINE
    kept = alarm.score.action.columns
    assert len(kept) == MAX_COLUMNS
    assert {len(value) for value in kept.values()} == {MAX_VALUE}
    assert alarm.score.action.columns["c0"].endswith("x...")


def test_no_alarm_is_dropped_up_to_the_bound() -> None:
    """Each is kept while there is room, then the worst of each stretch."""
    profile = Profile("alice", None, Room(alarms=10))
    for number in range(10):
        profile.add(act(number, 30.0 + number), b"", None, alarming=True)
    assert [alarm.score.score for alarm in profile.alarms.items()] == [30.0 + n for n in range(10)]
    profile.add(act(10, 99.0), b"", None, alarming=True)
    assert [alarm.score.score for alarm in profile.alarms.items()] == [31.0, 33.0, 35.0, 37.0, 39.0, 99.0]


def test_the_worst_alerts_stay() -> None:
    """Beyond the bound the least one goes, and is counted; an update replaces what was told before."""
    profile = Profile("alice", None, Room(alerts=2))
    for number, score in ((1, 35.0), (2, 31.0), (3, 45.0), (3, 46.0)):
        profile.alert(alert(number, score))
    assert [one.worst.score for one in profile.alerts] == [35.0, 46.0]
    assert profile.forgotten == 1


def test_exceedances_are_counted_from_the_level_on() -> None:
    """A score of exactly 20 reaches 20, and 100 reaches everything."""
    found = Exceeded()
    for value in (0.0, 9.99, 20.0, 35.0, 100.0):
        found.add(value)
    assert [found.of(level) for level in LEVELS] == [3, 3, 2, 1, 1]
    assert found.expected(20) == pytest.approx(0.05)


@pytest.mark.parametrize("users", [0, 1, 5, 100, 100_000])
def test_room_is_shared(users: int) -> None:
    """Of many users less is kept of each, but always some; halving needs even numbers."""
    room = Room.among(users)
    assert all(0 < part <= most for part, most in zip(room, Room(), strict=True))
    assert room.points % 2 == room.alarms % 2 == 0


def test_memory_does_not_grow_with_the_log() -> None:
    """Of four times as many alarming actions, each with an alert of its own and new values, no more is kept."""

    def peak(count: int) -> int:
        profile = Profile("alice", None, Room(points=100, alarms=50, alerts=20, news=100))
        tracemalloc.start()
        for number in range(count):
            score = act(number, 60.0, time=NOON + 60 * number, command=f"{number}" * 200)
            profile.add(score, b"x" * 5000, None, alarming=True)
            profile.alert(alert(number, 60.0))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(200)
    assert peak(4000) < 1.2 * peak(1000)
