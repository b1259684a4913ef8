"""What the program says of one action."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from math import nextafter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anomaly.identity import Identities
from anomaly.osquery import Action, Parser, Skipped
from anomaly.records import ALARM, ModelRef, ReasonKind, Score, Severity
from anomaly.scoring import Scorer
from anomaly.sinks.ndjson import NdjsonSink
from anomaly.sinks.text import TextSink

if TYPE_CHECKING:
    from tests.conftest import Event, Trained


def score_of(score: float | None, risk: float | None, *, baseline: bool = False, state: str = "ready") -> Score:
    """Make the score of an action."""
    action = Action(5, "ws1", "alice", "q", "added", {}, baseline=baseline)
    return Score("9f2c:0", action, score, risk, None, ModelRef("LSTM", 1, state))


@pytest.mark.parametrize(
    ("begins", "before", "after"),
    [
        (20.0, Severity.NONE, Severity.NOTICE),
        (30.0, Severity.NOTICE, Severity.WARNING),
        (50.0, Severity.WARNING, Severity.CRITICAL),
    ],
)
def test_a_severity_begins_at_its_score(begins: float, before: Severity, after: Severity) -> None:
    """The boundary belongs to the more severe one."""
    assert Severity.of(nextafter(begins, 0.0)) is before
    assert Severity.of(begins) is after


@pytest.mark.parametrize(
    ("value", "severity"), [(None, Severity.NONE), (0.0, Severity.NONE), (100.0, Severity.CRITICAL)]
)
def test_the_ends_of_the_scale(value: float | None, severity: Severity) -> None:
    """No score and a score of 0 ask for nothing, and 100 for everything."""
    assert Severity.of(value) is severity


def test_severities_are_ranked() -> None:
    """Ranks grow with the score, from 0."""
    assert [Severity.of(value).rank for value in (0.0, 20.0, 30.0, 50.0)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("score", "risk", "severity"),
    [
        (37.0, 12.0, Severity.WARNING),
        (12.0, 37.0, Severity.WARNING),
        (None, 22.0, Severity.NOTICE),
        (ALARM, ALARM, Severity.WARNING),
        (ALARM, 0.0, Severity.NOTICE),
        (12.0, 55.0, Severity.CRITICAL),
        (55.0, None, Severity.CRITICAL),
        (None, None, Severity.NONE),
    ],
)
def test_the_more_severe_figure_counts(score: float | None, risk: float | None, severity: Severity) -> None:
    """An action is as severe as the higher of its own score and its window's risk."""
    assert score_of(score, risk).severity is severity


def test_a_baseline_is_no_matter() -> None:
    """A baseline action is shown and not judged, whatever the window's risk."""
    assert score_of(None, 99.0, baseline=True).severity is Severity.NONE


@pytest.mark.parametrize(
    ("state", "severity"),
    [("ready", Severity.CRITICAL), ("drifted", Severity.CRITICAL), ("learning", Severity.NONE)],
)
def test_a_user_who_is_learned_asks_for_nothing(state: str, severity: Severity) -> None:
    """Of a user without a model of their own nothing is severe; one whose behaviour drifted is judged as ever."""
    assert score_of(100.0, None, state=state).severity is severity


@pytest.mark.parametrize(
    ("risk", "severity"),
    [
        (None, Severity.NONE),
        (nextafter(20.0, 0.0), Severity.NONE),
        (20.0, Severity.NOTICE),
        (nextafter(ALARM, 0.0), Severity.NOTICE),
        (ALARM, Severity.WARNING),
        (nextafter(50.0, 0.0), Severity.WARNING),
        (50.0, Severity.CRITICAL),
    ],
)
def test_the_risk_that_alarms_is_a_warning(risk: float | None, severity: Severity) -> None:
    """A risk is named as a score is, but that from ALARM on it is a warning."""
    assert Severity.of_risk(risk) is severity
    assert score_of(None, risk).severity is severity


def test_reasons_have_fixed_names() -> None:
    """The kinds are a contract: what reads the output knows these five."""
    assert {kind.value for kind in ReasonKind} == {
        "new_value",
        "rare_value",
        "unexpected_next",
        "unusual_hour",
        "unusual_mix",
    }


def test_controls_never_reach_a_terminal(trained: Trained, event: Event, scorer: Callable[[Path], Scorer]) -> None:
    """An ESC, a newline or a bidirectional control in a log's text is never written raw, in text or in JSON."""
    hostile = "nc \x1b]0;owned\x07\x1b[2J\n\r\x9b31m\u202e\u2028 [/oops]"
    parser, mine = Parser(Identities(hostname="", lookup=lambda _: None)), scorer(trained.models)
    lines = [
        event("alice", command=hostile),
        event(hostile, command=hostile),
        event("alice", **{hostile: hostile}),  # type: ignore[arg-type]
        event("alice", "processes", name=hostile, path=hostile),
        event("alice", hostile, command=hostile),
    ]
    scores: list[Score] = []
    for line in lines * 40:
        parsed = parser.parse(line)
        assert not isinstance(parsed, Skipped)
        scores += [score for action in parsed if (score := mine.score("1", action))]
    assert any(score.reasons for score in scores)
    text, data = io.StringIO(), io.StringIO()
    TextSink(text, colour=False, width=200).write(scores)
    NdjsonSink(data).write(scores)
    for written in (text.getvalue(), data.getvalue()):
        assert all(character.isprintable() for character in written.replace("\n", ""))
    assert data.getvalue().isascii()
    assert data.getvalue().count("\n") == len(scores)
    assert json.loads(data.getvalue().splitlines()[0])["columns"]["command"] == hostile
