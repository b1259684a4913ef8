"""Which scores alarm, above all by a budget: how often, and what may move the threshold."""

from __future__ import annotations

import random

import pytest

from anomaly.alert_rules import DAYS, MOST_USERS, SLOT, Budget
from anomaly.alerts import Alerting
from anomaly.osquery import Action
from anomaly.records import Alert, ModelRef, Score, Severity

DAY = 86_400
BEGIN = 20_000 * DAY


def made(time: int, figure: float, user: str = "alice") -> Score:
    """Make a score of an action at some time."""
    action = Action(time, "ws1", user, "processes", "added", {"name": f"n{time}"})
    return Score(f"f1:{time}", action, figure, 1.0, 1.0, ModelRef("OCSVM", 1, "ready"))


def lived(days: int, busy: float, seed: int = 3, user: str = "alice") -> list[Score]:
    """Give days of eight hours; every minute may bring a figure, which is high as often as the user is busy."""
    draw = random.Random(seed)  # noqa: S311 - sample data
    return [
        made(BEGIN + day * DAY + 8 * 3600 + 60 * minute, min(19.0 + draw.expovariate(1 / busy), 100.0), user)
        for day in range(days)
        for minute in range(480)
        if draw.random() < 0.3
    ]


def begun(alerts: list[Alert], since: int) -> int:
    """Count the alerts that began since a day."""
    return sum(alert.update == 0 and alert.first >= BEGIN + since * DAY for alert in alerts)


@pytest.mark.parametrize("busy", [2.0, 5.0, 12.0])
@pytest.mark.parametrize("budget", [0.5, 1, 3])
def test_a_budget_holds_by_the_user_s_own_rate(busy: float, budget: float) -> None:
    """However high a user's figures usually are, about as many alerts come a day as the budget says, or fewer."""
    alerts = Alerting.by(Severity.WARNING, budget).take(lived(30, busy))
    assert 0.3 * budget <= begun(alerts, since=8) / 22 <= 1.5 * budget


def test_users_have_budgets_of_their_own() -> None:
    """A noisy user does not spend the budget of a quiet one, who is told of from notice on."""
    budget = Budget(1)
    noisy = [budget(score) for score in lived(10, 20.0, user="bob")]
    assert noisy[-1] is None or noisy[-1].action.user == "bob"
    assert budget(made(BEGIN + 9 * DAY, 24.0)) is None  # the first day asks for a warning
    assert budget(made(BEGIN + 11 * DAY, 24.0)) is not None


def test_an_outburst_does_not_buy_silence() -> None:
    """After a day of the highest figures the threshold is not theirs: a day counts with twice the budget."""
    budget = Budget(2)
    for day in range(DAYS - 1):
        for hour in range(8, 16):
            budget(made(BEGIN + day * DAY + hour * 3600, 30.0 + hour))
    for slot in range(48):
        budget(made(BEGIN + (DAYS - 1) * DAY + slot * SLOT, 100.0))
    assert budget(made(BEGIN + DAYS * DAY + SLOT, 60.0)) is not None


def test_the_half_hour_at_hand_does_not_raise_its_own_threshold() -> None:
    """What is as high again within the half hour alarms again."""
    budget = Budget(1)
    for day in range(5):
        budget(made(BEGIN + day * DAY, 40.0))
    now = BEGIN + 5 * DAY
    assert [budget(made(now + minute, 40.0 + minute)) is not None for minute in range(5)] == [True] * 5


def test_without_a_time_a_warning_is_asked_for() -> None:
    """A log that gives no time has no days to count by."""
    budget = Budget(1)
    assert budget(made(0, 29.0)) is None
    assert budget(made(0, 30.0)) is not None
    assert budget.export() == []


def test_a_clock_that_was_set_back_begins_anew() -> None:
    """One line from the future does not hold the threshold of a user for ever."""
    budget = Budget(1)
    budget(made(BEGIN + 10_000 * DAY, 99.0))
    budget(made(BEGIN, 99.0))
    (rate,) = budget.export()
    assert rate.first == rate.slot == BEGIN // SLOT


def test_what_is_remembered_is_bounded() -> None:
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
