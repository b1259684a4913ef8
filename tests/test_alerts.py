"""From scores to alerts: few words, none too late, and the same however the log was read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.alerts import EXCUSED, GAP, MOST_HOSTS, MOST_OPEN, QUIET, Alerting
from anomaly.cool_down import COOL_DOWN
from anomaly.osquery import Action
from anomaly.records import Alert, ModelRef, Reason, ReasonKind, Score, Severity

BEGIN = 1_793_000_000
READY = ModelRef("OCSVM", 1, "ready")


def reason(value: str, bits: float = 5.0) -> Reason:
    """Make a reason of a new command."""
    return Reason(ReasonKind.NEW_VALUE, "command", value, (), 0, 900, bits)


def made(
    number: int,
    risk: float | None = 35.0,
    score: float | None = 35.0,
    *,
    user: str = "alice",
    host: str = "ws1",
    time: int | None = None,
    command: str = "nmap",
    **more: Any,  # noqa: ANN401 - of a Score
) -> Score:
    """Make a score; its time is its number, in seconds."""
    when = BEGIN + number if time is None else time
    action = Action(when, host, user, "shell_history", "added", {"command": command}, more.pop("baseline", False))
    fields: dict[str, Any] = {"surprise": 1.0, "model": READY, "reasons": (reason(command),)} | more
    return Score(f"f1:{number}", action, score, risk, **fields)


def by(alert_on: Severity = Severity.WARNING, budget: int | None = None) -> Alerting:
    """Make an alerting that suppresses nothing."""
    return Alerting.by(alert_on, budget)


def told(scores: Sequence[Score], alerting: Alerting | None = None) -> list[Alert]:
    """Return what is told of scores."""
    return (alerting or by()).take(scores)


def test_take_first_alarm_is_an_alert_at_once() -> None:
    """The first alarming action of a burst is an alert, with the action, its reasons and its id."""
    (alert,) = told([made(0, 5.0), made(1), made(2, 12.0)])
    assert (alert.id, alert.user, alert.host, alert.count, alert.update) == ("f1:1", "alice", "ws1", 1, 0)
    assert (alert.severity, alert.first, alert.last, alert.closed) == (
        Severity.WARNING,
        BEGIN + 1,
        BEGIN + 1,
        False,
    )
    assert alert.worst == made(1)
    assert alert.reasons == (reason("nmap"),)


def test_take_what_has_no_severity_never_alarms() -> None:
    """Baseline rows and users who are still learned raise no alert, however high their figures."""
    learning = ModelRef(None, None, "learning")
    scores = [made(0, baseline=True), made(1, 80.0, 80.0, baseline=True), made(2, 80.0, 80.0, model=learning)]
    for alerting in (by(), by(Severity.NOTICE), by(budget=24)):
        assert told(scores, alerting) == []
    assert len(told([made(3)], by(budget=24))) == 1


def test_take_risk_below_the_asked_severity_raises_nothing() -> None:
    """An alert is raised by a risk that is as severe as asked; 25 is a warning."""
    for least, risk in ((Severity.NOTICE, 20.0), (Severity.WARNING, 25.0), (Severity.CRITICAL, 50.0)):
        assert told([made(0, risk - 0.1)], by(least)) == []
        assert len(told([made(0, risk)], by(least))) == 1


@given(st.floats(0.0, 100.0), st.sampled_from((None, 0.0, 19.9)), st.sampled_from((None, 1, 24)))
def test_take_score_of_one_action_raises_nothing(score: float, risk: float | None, budget: int | None) -> None:
    """However surprising a single action is, it raises no alert without the risk, nor within a budget."""
    assert told([made(n, risk, score, time=BEGIN + n * 40_000) for n in range(9)], by(budget=budget)) == []


def test_a_hundred_thousand_alarms_are_a_dozen_records() -> None:
    """A burst is told at growing counts, its memory does not grow, and its last record knows them all."""
    alerting, long = by(), "x" * 5000
    alerts: list[Alert] = []
    for begin in range(0, 100_000, 2000):
        batch = [
            made(n, 35.0 + n % 10, time=BEGIN + n // 100, command=f"{n} {long}")
            for n in range(begin, begin + 2000)
        ]
        alerts += alerting.take(batch)
        assert len(alerting.export()) < 40_000
    alerts += alerting.flush()
    assert [alert.count for alert in alerts] == [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 100_000]
    assert [alert.update for alert in alerts] == list(range(10))
    assert [alert.closed for alert in alerts] == [False] * 9 + [True]
    assert {alert.id for alert in alerts} == {"f1:0"}
    assert all(len(msgspec.json.encode(alert)) < 40_000 for alert in alerts)


def test_what_becomes_more_severe_is_told_at_once() -> None:
    """A burst that turns critical does not wait for its next count, and its worst action is the critical one."""
    alerts = told([made(0), made(1), made(2, 60.0)])
    assert [(alert.count, alert.severity) for alert in alerts] == [
        (1, Severity.WARNING),
        (3, Severity.CRITICAL),
    ]
    assert alerts[-1].worst == made(2, 60.0)


def test_of_the_most_severe_the_rarest_action_is_the_worst() -> None:
    """In a window whose risk alarms, the action that is rarest itself is what to look at."""
    (*_, alert) = told([made(0, 30.0, 3.0), made(1, 31.0, 44.0), made(2, 45.0, 2.0), made(3, 46.0, 2.0)])
    assert alert.count == 4
    assert alert.worst.id == "f1:1"


def test_reasons_are_the_weightiest_each_once() -> None:
    """Of a burst's reasons five are kept, by their bits, and one that comes again is not a second one."""
    scores = [
        made(n, reasons=(reason(f"c{n % 8}", bits=float(n % 8)), reason("same", bits=float(n)))) for n in range(16)
    ]
    (*_, alert) = told(scores)
    assert [(one.value, one.bits) for one in alert.reasons] == [
        ("same", 15.0),
        ("c7", 7.0),
        ("c6", 6.0),
        ("c5", 5.0),
        ("c4", 4.0),
    ]


def quiet(number: int, count: int = QUIET, **more: Any) -> list[Score]:  # noqa: ANN401 - of a Score
    """Make quiet actions, from a number on."""
    return [made(n, 1.0, **more) for n in range(number, number + count)]


@pytest.mark.parametrize("time", [None, 0, BEGIN + 90_000])
def test_take_burst_is_closed_after_quiet_actions_of_its_user(time: int | None) -> None:
    """A burst is over after QUIET actions of its user that did not alarm, whatever the log says of the time."""
    first, more = made(0, time=time), quiet(1, time=time)
    assert [alert.closed for alert in told([first, *more[:-1]])] == [False]
    assert [alert.closed for alert in told([first, *more])] == [False, True]


def test_take_burst_stays_open_while_others_act() -> None:
    """Actions of another user, or of the same name on another host, do not close a burst."""
    others = [*quiet(1, 3 * QUIET, user="bob"), *quiet(1, 3 * QUIET, host="ws2")]
    assert [alert.closed for alert in told([made(0), *others])] == [False]


def test_take_burst_stays_open_over_a_night() -> None:
    """The clock plays no part: suspicion that lasts over a night, or a week, is not a new alert in the morning."""
    days = [made(n, time=BEGIN + n * 86_400, command=f"c{n}") for n in range(7)]
    alerts = told([days[0], *quiet(1, QUIET - 1, time=BEGIN + 60_000), *days[1:]])
    assert {(alert.id, alert.closed) for alert in alerts} == {("f1:0", False)}
    assert [alert.count for alert in alerts] == [1, 4]


def test_take_alarm_in_between_begins_the_quiet_anew() -> None:
    """Only actions since the last alarm count: alarms that come now and then are one burst."""
    scores = [one for n in range(0, 9 * QUIET, QUIET) for one in (made(n), *quiet(n + 1, QUIET - 1))]
    assert [alert.closed for alert in told(scores)] == [False, False]


def test_take_alarm_dated_back_begins_another_burst() -> None:
    """A line dated ahead does not date what comes after it: an alarm more than half an hour earlier is another."""
    assert [alert.update for alert in told([made(0), made(1, time=BEGIN - GAP)])] == [0]
    assert [alert.closed for alert in told([made(0), made(1, time=BEGIN - GAP - 1)])] == [False, True, False]
    alerts = told([made(0, time=253_402_300_000), made(1, command="nc")])
    assert [(alert.id, alert.closed) for alert in alerts] == [("f1:0", False), ("f1:0", True), ("f1:1", False)]


def test_take_second_burst_about_the_same_is_silent_within_the_cool_down() -> None:
    """A second burst about the same thing within two hours is silent; about another, or graver, it is not."""
    later = BEGIN + GAP + 10
    for again, is_told in (
        (made(999, time=later), False),
        (made(999, time=later, command="nc"), True),
        (made(999, 55.0, time=later), True),
        (made(999, time=BEGIN + COOL_DOWN), True),
        (made(999, time=later, user="bob"), True),
        (made(999, 40.0, 2.0, time=later), True),
    ):
        alerts = [alert for alert in told([made(0), *quiet(1), again]) if alert.update == 0]
        assert [alert.id for alert in alerts] == ["f1:0", "f1:999"][: 1 + is_told]


def test_take_silent_burst_is_told_when_it_brings_something_else() -> None:
    """What the cool-down held back is counted when its burst turns out to be about more."""
    alerts = told([made(0), *quiet(1), made(500), made(501), made(502, command="nc")])
    assert [(alert.id, alert.count, alert.update) for alert in alerts] == [
        ("f1:0", 1, 0),
        ("f1:0", 1, 1),
        ("f1:500", 3, 0),
    ]


def test_open_bursts_are_bounded() -> None:
    """Where there are too many bursts at a time, the one that alarmed longest ago is closed."""
    alerts = told([made(n, user=f"u{n}", time=BEGIN) for n in range(MOST_OPEN + 3)])
    assert [alert.user for alert in alerts if alert.closed] == ["u0", "u1", "u2"]
    assert sum(not alert.closed for alert in alerts) == MOST_OPEN + 3


def test_one_name_on_two_hosts_is_two_alerts() -> None:
    """Bursts are of a user on a host: what happens on one does not hide what happens on another."""
    assert [alert.host for alert in told([made(0), made(1, host="ws2")])] == ["ws1", "ws2"]


def test_hosts_without_number_are_few_alerts() -> None:
    """The log chooses how many hosts a user name has: beyond some, all further ones are one alert, of no host."""
    alerting = by()
    alerts = told([made(n, host=f"h{n}", time=BEGIN + n // 100) for n in range(20_000)], alerting)
    (*_, last) = alerts
    assert [alert.host for alert in alerts if not alert.update] == [*(f"h{n}" for n in range(MOST_HOSTS)), ""]
    assert (last.host, last.count, len(alerts)) == ("", 16_384, MOST_HOSTS + 8)
    assert last.worst.action.host == "h16"
    (other,) = told([made(20_000, host="h1", user="bob", time=BEGIN + 200)], alerting)
    assert (other.user, other.host) == ("bob", "h1")
    assert b"h16" not in Alerting.without(alerting.export(), "alice@h16")
    (fresh,) = told([made(20_001, host="new", time=BEGIN + 200 + GAP, command="nc")], alerting)
    assert fresh.host == "new"  # the sixteen alarmed long ago
    many = [made(n, host=f"h{n}") for n in range(MOST_HOSTS + 1)]
    elsewhere = [made(99, 1.0, host=f"x{n}", time=BEGIN) for n in range(QUIET)]
    assert [alert.host for alert in told([*many, *elsewhere]) if alert.closed] == [""]


def test_excuse_closes_the_burst_and_waits_until_the_window_is_clean() -> None:
    """The open burst is closed, and the user does not alarm until what it brought has left the window."""
    alerting = by()
    assert len(alerting.take([made(0, 40.0), made(1, 40.0, 3.0)])) == 1
    assert alerting.excuse(lambda action: action.user == "bob") == []
    (closed,) = alerting.excuse(lambda action: action.columns["command"] == "nmap")
    assert closed.closed
    assert alerting.take([made(n, 40.0, command="ls") for n in range(2, EXCUSED + 2)]) == []
    (own,) = alerting.take([made(EXCUSED + 2, 40.0, 3.0, command="ls")])
    assert (own.id, own.count) == (f"f1:{EXCUSED + 2}", 1)


def test_excuse_is_of_one_user() -> None:
    """Whoever else acts meanwhile alarms as ever, and does not shorten the wait; nor do actions without a risk."""
    alerting = by()
    alerting.take([made(0)])
    alerting.excuse(lambda _: True)
    (other,) = alerting.take([made(n, user="bob") for n in range(1, 4)])
    assert other.user == "bob"
    alerting.take([made(n, 1.0, user="bob") for n in range(EXCUSED)])
    alerting.take([made(n, None) for n in range(EXCUSED)])
    assert alerting.take([made(n) for n in range(EXCUSED)]) == []
    assert len(alerting.take([made(EXCUSED, command="nc")])) == 1


@st.composite
def _courses(draw: st.DrawFn) -> list[Score]:
    times = [BEGIN, BEGIN, BEGIN]
    hosts = [f"h{n}" for n in range(draw(st.sampled_from((0, MOST_HOSTS))))]
    scores = [made(-1 - n, host=host, time=BEGIN) for n, host in enumerate(hosts)]
    for number in range(draw(st.integers(1, 40))):
        who = draw(st.integers(0, 2))
        times[who] += draw(st.sampled_from((0, 1, 60, 600, GAP, COOL_DOWN, 86_400, -90, -100_000)))
        scores.append(
            made(
                number,
                draw(st.sampled_from((None, 0.0, 24.0, 26.0, 26.0, 51.0, 99.0))),
                draw(st.sampled_from((None, 0.0, 22.0, 31.0, 52.0))),
                user=("alice", "bob", "alice\udcff")[who],
                host=draw(st.sampled_from(("ws1", "ws2", "", *hosts[:2])))
                if hosts
                else ("ws1", "ws1", "ws2")[who],
                time=draw(st.sampled_from((0, times[who], times[who], times[who]))),
                command=draw(st.sampled_from(("nmap", "nc", "é\ud800"))),
            )
        )
    return scores


@settings(max_examples=60, deadline=None)
@given(_courses(), st.lists(st.integers(0, 56), max_size=6), st.sampled_from((None, 1, 3)), st.booleans())
def test_cuts_and_restarts_do_not_matter(
    scores: list[Score],
    cuts: list[int],
    budget: int | None,
    restarts: bool,  # noqa: FBT001 - drawn
) -> None:
    """The alerts of a course of scores are the same in one batch, in any others, and across restarts."""
    whole = by(Severity.NOTICE, budget)
    expected = [*whole.take(scores), *whole.flush()]
    places = [0, *sorted(min(cut, len(scores)) for cut in cuts), len(scores)]
    alerting, found = by(Severity.NOTICE, budget), list[Alert]()
    for begin, end in pairwise(places):
        if restarts:
            saved = alerting.export()
            alerting = by(Severity.NOTICE, budget)
            alerting.restore(saved)
        found += alerting.take(scores[begin:end])
    assert [*found, *alerting.flush()] == expected
    assert whole.export() == alerting.export()


@given(st.binary() | st.sampled_from((b"{}", b"[]", b'{"open":[3]}', b'{"told":[[["a","b"],[]]]}')))
def test_a_state_that_does_not_fit_is_begun_anew(saved: bytes) -> None:
    """Whatever a checkpoint holds, alerting goes on."""
    alerting = by()
    alerting.restore(saved)
    assert len(alerting.take([made(0)])) == 1


def test_text_of_the_log_is_bounded_and_can_be_written() -> None:
    """Of an action with huge or broken columns as much is kept as has room, and as can be encoded."""
    columns = {f"c{n}\ud800": "\ud800x" * 10_000 for n in range(1000)}
    action = Action(BEGIN, "h" * 10_000, "alice\udcff", "q" * 9000, "added", columns)
    (alert,) = told([msgspec.structs.replace(made(0), action=action, reasons=(reason("\ud800"),))])
    assert len(msgspec.json.encode(alert)) < 30_000
    assert len(by().export()) < 100


def test_a_user_can_be_taken_out_of_a_state() -> None:
    """Nothing of a user is left in what a checkpoint holds, and of the others all; what does not fit stays."""
    alerting = by(budget=3)
    alerting.take([made(0), made(1, user="bob"), made(2, user="alice", host="ws2")])
    alerting.excuse(lambda action: action.host == "ws2")
    alerting.take([made(3, user="alice", host="ws2")])
    saved = alerting.export()
    assert b"alice" not in Alerting.without(saved, "alice")
    assert Alerting.without(saved, "alice").count(b"bob") == saved.count(b"bob") > 0
    assert b"ws1" in Alerting.without(saved, "alice@ws2")
    assert b"ws2" not in Alerting.without(saved, "alice@ws2")
    assert Alerting.without(saved, "carol") == saved
    assert Alerting.without(b"nonsense", "alice") == b"nonsense"
