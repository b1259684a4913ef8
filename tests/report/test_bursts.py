"""Which alarming actions belong together."""

from __future__ import annotations

from anomaly.osquery import Action
from anomaly.records import ModelRef, Reason, ReasonKind, Score, Severity
from anomaly.report.bursts import PAUSE, Bursts


def act(identity: str, time: int, score: float, *, user: str = "alice", bits: float = 5.0) -> Score:
    """Make a score."""
    reason = Reason(ReasonKind.NEW_VALUE, "command", identity, (), 0, 9, bits)
    action = Action(time, "ws1", user, "shell_history", "added", {"command": identity})
    return Score(identity, action, score, 1.0, 3.0, ModelRef("OCSVM", 1, "ready"), (reason,))


def test_a_burst_is_one_alert_with_its_worst() -> None:
    """Alarming actions without a long pause are one alert, which keeps its first one's id; others are no part."""
    alerts = Bursts().take([act("a", 100, 31.0), act("b", 200, 5.0), act("c", 300, 55.0), act("d", 400, 35.0)])
    (alert,) = alerts
    assert (alert.id, alert.count, alert.first, alert.last) == ("a", 3, 100, 400)
    assert alert.severity is Severity.CRITICAL
    assert alert.worst.id == "c"
    assert alert.update == 2
    assert not alert.closed


def test_a_pause_or_another_user_begins_another() -> None:
    """A pause longer than PAUSE ends a burst, and nobody's actions are in somebody else's."""
    far = act("b", 101 + PAUSE, 31.0)
    alerts = Bursts().take([act("a", 100, 31.0), act("x", 100, 31.0, user="bob"), far])
    assert [(alert.id, alert.user, alert.count) for alert in alerts] == [
        ("a", "alice", 1),
        ("x", "bob", 1),
        ("b", "alice", 1),
    ]


def test_severity_decides_what_alarms() -> None:
    """Less than what was asked for alarms nobody."""
    assert Bursts(Severity.CRITICAL).take([act("a", 100, 31.0)]) == []
    assert len(Bursts(Severity.NOTICE).take([act("a", 100, 21.0)])) == 1


def test_the_end_closes_what_is_open() -> None:
    """After the last score each burst is told once more, as closed, under the same id."""
    bursts = Bursts()
    bursts.take([act("a", 100, 31.0)])
    assert [(alert.id, alert.closed, alert.update) for alert in bursts.flush()] == [("a", True, 1)]
    assert bursts.flush() == []


def test_reasons_are_the_weightiest_of_the_burst_each_once() -> None:
    """Five at most, most bits first."""
    scores = [act(f"v{n % 8}", 100 + n, 31.0, bits=float(n % 8)) for n in range(16)]
    (alert,) = Bursts().take(scores)
    assert [reason.value for reason in alert.reasons] == ["v7", "v6", "v5", "v4", "v3"]
