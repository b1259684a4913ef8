"""What the program says of one action."""

from __future__ import annotations

from math import nextafter

import pytest

from anomaly.osquery import Action
from anomaly.records import ModelRef, ReasonKind, Score, Severity


def score_of(score: float | None, risk: float | None, *, baseline: bool = False) -> Score:
    """Make the score of an action."""
    action = Action(5, "ws1", "alice", "q", "added", {}, baseline=baseline)
    return Score("9f2c:0", action, score, risk, None, ModelRef("LSTM", 1, "ready"))


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
        (None, 25.0, Severity.NOTICE),
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


def test_reasons_have_fixed_names() -> None:
    """The kinds are a contract: what reads the output knows these five."""
    assert {kind.value for kind in ReasonKind} == {
        "new_value",
        "rare_value",
        "unexpected_next",
        "unusual_hour",
        "unusual_mix",
    }
