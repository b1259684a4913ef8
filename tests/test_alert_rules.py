"""Which scores alarm, above all by a budget: how often, and what may move the threshold."""

from __future__ import annotations

import random

import pytest

from anomaly.alert_rules import DAYS, MOST_USERS, SLOT, AtLeast, Budget, Unless
from anomaly.alerts import QUIET, Alerting
from anomaly.osquery import Action
from anomaly.records import Alert, ModelRef, Score, Severity

DAY = 86_400
BEGIN = 20_000 * DAY


def made(time: int, risk: float | None, user: str = "alice", score: float = 1.0) -> Score:
    """Make a score of an action at some time."""
    action = Action(time, "ws1", user, "processes", "added", {"name": f"n{time}"})
    return Score(f"f1:{time}", action, score, risk, 1.0, ModelRef("OCSVM", 1, "ready"))


def lived(days: int, busy: float, seed: int = 3, user: str = "alice") -> list[Score]:
    """Return days of eight hours; each half hour has a risk, higher the busier the user is, and quiet actions."""
    draw = random.Random(seed)  # noqa: S311 - sample data
    found = []
    for day in range(days):
        for slot in range(16):
            begin = BEGIN + day * DAY + 8 * 3600 + slot * SLOT
            found.append(made(begin, min(19.0 + draw.expovariate(1 / busy), 100.0), user))
            found += [made(begin + 1 + number, 1.0, user) for number in range(QUIET)]
    return found


def begun(alerts: list[Alert], since: int) -> int:
    """Count the alerts that began since a day."""
    return sum(alert.update == 0 and alert.first >= BEGIN + since * DAY for alert in alerts)


@pytest.mark.parametrize("risk", [None, 0.0, 19.9, 20.0, 24.9, 25.0, 49.9, 50.0])
@pytest.mark.parametrize("score", [0.0, 30.0, 100.0])
def test_at_least_asks_for_the_risk_alone(risk: float | None, score: float) -> None:
    """What passes is as severe as asked by its risk, whatever the score of the action itself."""
    one = made(BEGIN, risk, score=score)
    passed = [AtLeast(least)(one) is one for least in (Severity.NOTICE, Severity.WARNING, Severity.CRITICAL)]
    assert passed == [(risk or 0.0) >= begins for begins in (20.0, 25.0, 50.0)]


def test_unless_holds_back_what_is_suppressed() -> None:
    """A suppressed action does not pass, and any other does."""
    rule = Unless(lambda action: action.user == "alice")
    one = made(BEGIN, 60.0, "bob")
    assert (rule(made(BEGIN, 60.0)), rule(one)) == (None, one)


@pytest.mark.parametrize("busy", [2.0, 5.0, 12.0])
@pytest.mark.parametrize("budget", [0.5, 1, 3])
def test_budget_holds_by_the_users_own_rate(busy: float, budget: float) -> None:
    """However high a user's risks usually are, about as many alerts come a day as the budget says, or fewer."""
    alerts = Alerting.by(Severity.WARNING, budget).take(lived(30, busy))
    assert 0.3 * budget <= begun(alerts, since=8) / 22 <= 1.5 * budget


def test_budget_score_of_one_action_does_not_count() -> None:
    """However surprising single actions are, they do not pass, and they do not move the threshold."""
    budget, plain = Budget(1), Budget(1)
    for day in range(5):
        for slot in range(20):
            assert budget(made(BEGIN + day * DAY + slot * SLOT, 19.0, score=100.0)) is None
        assert [one(made(BEGIN + day * DAY + 20 * SLOT, 22.0, score=99.0)) is None for one in (budget, plain)] == [
            day == 0
        ] * 2
    assert budget.export() == plain.export() != []


def test_budget_is_of_each_user() -> None:
    """A noisy user does not spend the budget of a quiet one, who is told of from notice on."""
    budget = Budget(1)
    noisy = [budget(score) for score in lived(10, 20.0, user="bob")]
    assert noisy[-1] is None
    assert budget(made(BEGIN + 9 * DAY, 24.0)) is None  # the first day asks for a warning
    assert budget(made(BEGIN + 11 * DAY, 24.0)) is not None


def test_budget_outburst_does_not_buy_silence() -> None:
    """After a day of the highest figures the threshold is not theirs: a day counts with twice the budget."""
    budget = Budget(2)
    for day in range(DAYS - 1):
        for hour in range(8, 16):
            budget(made(BEGIN + day * DAY + hour * 3600, 30.0 + hour))
    for slot in range(48):
        budget(made(BEGIN + (DAYS - 1) * DAY + slot * SLOT, 100.0))
    assert budget(made(BEGIN + DAYS * DAY + SLOT, 60.0)) is not None


def test_budget_half_hour_at_hand_does_not_raise_its_own_threshold() -> None:
    """What is as high again within the half hour alarms again."""
    budget = Budget(1)
    for day in range(5):
        budget(made(BEGIN + day * DAY, 40.0))
    now = BEGIN + 5 * DAY
    assert [budget(made(now + minute, 40.0 + minute)) is not None for minute in range(5)] == [True] * 5


def test_budget_without_a_time_asks_for_a_warning() -> None:
    """A log that gives no time has no days to count by."""
    budget = Budget(1)
    assert budget(made(0, 24.9)) is None
    assert budget(made(0, 25.0)) is not None
    assert budget.export() == []


def test_budget_clock_set_back_resets_the_rate() -> None:
    """One line from the future does not hold the threshold of a user for ever."""
    budget = Budget(1)
    budget(made(BEGIN + 10_000 * DAY, 99.0))
    budget(made(BEGIN, 99.0))
    (rate,) = budget.export()
    assert rate.first == rate.slot == BEGIN // SLOT


def test_budget_remembers_bounded_users_and_days() -> None:
    """Neither users nor days add up."""
    budget = Budget(3)
    for number in range(MOST_USERS + 5):
        budget(made(BEGIN, 40.0, f"u{number}"))
    assert len(budget.export()) == MOST_USERS
    for slot in range(100 * 48):
        budget(made(BEGIN + slot * SLOT, 30.0 + slot % 7))
    rate = budget.export()[-1]
    assert len(rate.days) <= DAYS + 1
    assert max(len(peaks) for _, peaks in rate.days) == 6
