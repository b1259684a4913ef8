"""What was met is said, and not more often than anybody can read."""

from __future__ import annotations

from collections import Counter

import pytest

from anomaly.osquery import Action, SkipReason
from anomaly.records import ModelRef, Score, Severity
from anomaly.tally import EVERY, FIRST, Reports, Tally


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Give a clock."""
    return Clock()


@pytest.fixture
def said() -> list[str]:
    """Give what was said."""
    return []


@pytest.fixture
def reports(clock: Clock, said: list[str]) -> Reports:
    """Give what says it."""
    return Reports("X", said.append, clock)


def test_each_thing_is_said_at_once_and_then_at_most_once_a_minute(
    reports: Reports, clock: Clock, said: list[str]
) -> None:
    """What comes within the minute is said after it, with how often it was."""
    met = Counter(truncations=1)
    reports.tell(met, Counter())
    assert said == ["X: it was cut, and there is no copy of it: what was in it and not yet read is lost."]
    for _ in range(5):
        met["truncations"] += 1
        reports.tell(met, Counter())
    assert len(said) == 1
    clock.now += EVERY
    reports.tell(met, Counter())
    reports.tell(met, Counter())
    assert said[1:] == [said[0][:-1] + " (5 times)."]


def test_one_thing_does_not_silence_another(reports: Reports, said: list[str]) -> None:
    """Each kind has a minute of its own."""
    reports.tell(Counter(truncations=1), Counter())
    reports.tell(Counter(truncations=1, replacements=1, read_errors=2), Counter())
    assert [sentence.split()[2] for sentence in said] == ["was", "was", "cannot"]


def test_skipped_lines_are_one_sentence_a_minute_by_reason(
    reports: Reports, clock: Clock, said: list[str]
) -> None:
    """A flood of broken lines is summed up; the next sentence has only what is new."""
    lines = Counter(not_json=1)
    reports.tell({}, lines)
    lines.update(not_json=4, truncated=2)
    reports.tell({}, lines)
    assert said == []
    clock.now += FIRST
    reports.tell({}, lines)
    assert said == ["X: 7 lines skipped: not_json 5, truncated 2."]
    lines["empty"] += 3
    reports.tell({}, lines)
    clock.now += EVERY
    reports.tell({}, lines)
    assert said[1:] == ["X: 3 lines skipped: empty 3."]


def test_the_summary_of_nothing_is_short() -> None:
    """A run that met nothing says so, without a word about skipped lines."""
    assert Tally().summary() == ["0 lines, 0 actions, 0 scored."]


def test_the_summary_names_what_is_worst_first() -> None:
    """Severities stand by their weight and not by their names, and one of a thing is one."""
    tally = Tally(lines=1, actions=1, scored=1, alerts=1, skipped=Counter(not_json=1))
    tally.severities.update({Severity.NOTICE: 3, Severity.CRITICAL: 1, Severity.NONE: 9, Severity.WARNING: 2})
    assert " ".join(line.strip() for line in tally.summary()) == (
        "1 line, 1 action, 1 scored (1 critical, 2 warning, 3 notice), 1 alert; 1 line skipped: not_json 1."
    )


def test_no_reason_is_left_out(reports: Reports, clock: Clock, said: list[str]) -> None:
    """However many reasons there are to skip lines, each is counted, and the summary fits 80 columns."""
    reasons = [*(reason.value for reason in SkipReason), "too_long"]
    counts = Counter({reason: 10**place for place, reason in enumerate(reasons)})
    tally = Tally(lines=10**9, actions=10**8, scored=10**8, skipped=counts)
    tally.severities.update(dict.fromkeys(Severity, 10**7))
    summary = tally.summary()
    assert max(map(len, summary)) <= 80
    reports.tell({}, counts)
    clock.now += FIRST
    reports.tell({}, counts)
    for sentence in (" ".join(line.strip() for line in summary), *said):
        assert sentence.endswith(", empty 1.")
        for place, reason in enumerate(reasons):
            assert f"{reason} {10**place:,}" in sentence
    for line in summary:
        assert not line.endswith(tuple(reasons))


def test_scores_are_counted_by_severity() -> None:
    """Batch after batch each score counts once by its severity, and as scored where it has a figure."""
    action = Action(5, "ws1", "alice", "shell_history", "added", {})
    risks = [(None, None), (3.0, 0.0), (3.0, 100.0), (None, 100.0), (99.0, 1.0)]
    scores = [Score("f:1", action, score, risk, 1.0, ModelRef("LSTM", 1, "ready")) for score, risk in risks]
    tally = Tally()
    for batch in (scores[:2], [], scores[2:]):
        tally.count(batch)
    assert tally.severities == Counter(score.severity for score in scores)
    assert tally.scored == 3
    assert tally.worst() == max((score.severity for score in scores), key=lambda severity: severity.rank)
