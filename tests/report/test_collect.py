"""From scores to aggregates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from anomaly.errors import LogEmpty
from anomaly.harvest import Period, Watch
from anomaly.records import Severity
from anomaly.report import collect as room
from anomaly.report.anew import Anew, Asked, Scored
from anomaly.report.collect import Report, collect
from tests.conftest import BEGIN
from tests.report.test_profile import act

if TYPE_CHECKING:
    from tests.conftest import Event
    from tests.report.conftest import Sample

LATER = BEGIN + 600 * 700
"""Time from which on the hostile log is hostile."""


def report(sample: Sample, watch: Watch, user: str | None = None, **asked: object) -> Report:
    """Collect what a sample comes to."""
    return collect(Asked(sample.log, sample.models, user, **asked), lambda _: None, watch)  # type: ignore[arg-type]


def test_everything_scored_is_in_it(hostile: Sample, silent: Watch) -> None:
    """Actions, severities, alarms and alerts are those that a look at each score would count."""
    found = report(hostile, silent)
    batches = Anew(Asked(hostile.log, hostile.models, None), lambda _: None).run(silent)
    scores = [scored.score for batch in batches for scored in batch]
    assert found.actions == len(scores) == sum(p.actions for p in found.profiles) + found.strangers.total()
    for profile in found.profiles:
        own = [score for score in scores if score.action.user == profile.user]
        judged = [score for score in own if score.score is not None]
        alarming = [score for score in judged if Severity.of_risk(score.risk).rank >= Severity.WARNING.rank]
        assert alarming
        assert profile.top_risk.value == max(score.risk for score in own if score.risk is not None)
        assert profile.top_score.value == max(score.score for score in own if score.score is not None)
        assert [alarm.score.id for alarm in profile.alarms.items()] == [score.id for score in alarming]
        assert sum(alert.count for alert in profile.alerts) == len(alarming)
        assert all(alert.closed for alert in profile.alerts[-1:])
        assert sum(profile.activity) == profile.actions - profile.baseline
        assert profile.since[0].count == sum(score.action.time >= LATER for score in own)
    assert [p.top_risk.value for p in found.profiles] == sorted(
        (p.top_risk.value for p in found.profiles), reverse=True
    )


def test_a_period_is_shown_and_all_before_it_scored(hostile: Sample, silent: Watch) -> None:
    """The scores within the period are those of the whole log; nothing outside is counted."""
    whole, part = report(hostile, silent, "alice"), report(hostile, silent, "alice", period=Period(LATER, None))
    (all_of_it,), (shown,) = whole.profiles, part.profiles
    assert shown.first == LATER
    assert shown.actions == 120
    assert shown.learned[0].count == 0
    assert [a.score for a in shown.alarms.items()] == [
        a.score for a in all_of_it.alarms.items() if a.score.action.time >= LATER
    ]
    assert shown.news.week(shown.last) == all_of_it.news.week(all_of_it.last)


@pytest.mark.parametrize(("least", "alarms"), [("notice", 3), ("warning", 2), ("critical", 1)])
def test_collect_alarms_are_actions_at_a_risk_of_that_severity(hostile: Sample, least: str, alarms: int) -> None:
    """Alarms are the actions whose risk has at least that severity, and alerts hold as many."""
    asked = Asked(hostile.log, hostile.models, "alice", least=Severity(least))
    collector = room._Collector(asked, Anew(asked, lambda _: None))
    risks = (5.0, 21.0, 31.0, 60.0)
    collector.take([Scored(replace(act(number), risk=risk), b"{}") for number, risk in enumerate(risks)])
    (profile,) = collector.finish().profiles
    assert len(profile.alarms) == sum(alert.count for alert in profile.alerts) == alarms


def test_collect_score_of_one_action_is_no_alarm(hostile: Sample) -> None:
    """An action alone never alarms, however high its score, as it brings no alert."""
    asked = Asked(hostile.log, hostile.models, "alice", least=Severity.NOTICE)
    collector = room._Collector(asked, Anew(asked, lambda _: None))
    collector.take([Scored(act(number, 90.0), b"{}") for number in range(4)])
    (profile,) = collector.finish().profiles
    assert (len(profile.alarms), profile.alerts) == (0, [])


def test_nothing_to_show_says_why(hostile: Sample, silent: Watch, tmp_path: Path) -> None:
    """A period in which nobody acted, and an empty log, are errors with the reason."""
    with pytest.raises(LogEmpty) as told:
        report(hostile, silent, "alice", period=Period(1, 2))
    assert str(told.value).endswith("and no action of 'alice' in the period that was asked for.")
    with pytest.raises(LogEmpty, match="and no action in the period"):
        report(hostile, silent, period=Period(1, 2))
    empty = tmp_path / "osqueryd.results.log"
    empty.touch()
    with pytest.raises(LogEmpty, match="is empty"):
        collect(Asked(empty, hostile.models, "alice"), lambda _: None, silent)


def test_a_flood_of_names_takes_no_more_room(
    event: Event, hostile: Sample, silent: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of users without a model are kept up to a bound, and counted beyond it."""
    monkeypatch.setattr(room, "_MOST_STRANGERS", 5)
    monkeypatch.setattr(room, "_MOST_NAMES", 5)
    log = tmp_path / "osqueryd.results.log"
    names = [f"user{number}" for number in range(50)] * 2 + ["x" * 300]
    log.write_bytes(b"".join(event(name, host=name, command="ls") + b"\n" for name in names))
    found = collect(Asked(log, hostile.models, None), lambda _: None, silent)
    assert len(found.strangers) == 5
    assert (found.strangers.total(), found.unnamed) == (10, 91)
