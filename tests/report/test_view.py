"""What stands on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from anomaly.report import view
from anomaly.report.profile import Profile, Room
from anomaly.store import Store
from tests.report.test_profile import NOON, act, alert

if TYPE_CHECKING:
    from pathlib import Path


def test_shades_go_from_nothing_to_the_most() -> None:
    """The hour with the most actions is the darkest, one without any has no shade, and one action is seen."""
    profile = Profile("alice", None, Room())
    for number in range(100):
        profile.add(act(number, 30.0), b"", None, alarming=False)
    profile.add(act(101, 1.0, time=NOON + 3600), b"", None, alarming=False)
    activity, surprise = (heat.rows[0][1] for heat in view.heats(profile))
    assert [(cell.text, cell.shade) for cell in activity[11:14]] == [("0", 0), ("100", 8), ("1", 1)]
    assert [(cell.text, cell.shade) for cell in surprise[11:14]] == [("-", 0), ("30.0", 8), ("1.0", 1)]


def test_nobody_acted_is_a_week_without_shades() -> None:
    """Rows without a time are in no hour."""
    heats = view.heats(Profile("alice", None, Room()))
    assert {cell.shade for heat in heats for _, cells in heat.rows for cell in cells} == {0}
    assert [len(cells) for heat in heats for _, cells in heat.rows] == [24] * 14


def test_an_alert_shows_its_own_worst_lines() -> None:
    """Three at most, the worst first, none of another alert's; an alert whose line is gone shows its columns."""
    profile = Profile("alice", None, Room(alarms=4))
    for number, score in enumerate((31.0, 35.0, 33.0, 32.0)):
        profile.add(act(number, score, time=NOON + number), f"line {number}".encode(), None, alarming=True)
    profile.alert(replace(alert(1, 35.0), last=NOON + 2))
    (first,) = view.alerts(profile, 10)
    assert [shown.line for shown in first.shown] == ["line 1", "line 2", "line 0"]
    profile.alert(alert(9, 40.0))
    assert [[shown.line for shown in seen.shown] for seen in view.alerts(profile, 1)] == [[None, "line 0"]]


def test_the_newest_alerts_come_first_and_the_least_go() -> None:
    """Of more alerts than fit the worst are shown, in the order of time."""
    profile = Profile("alice", None, Room())
    for number, score in ((1, 35.0), (2, 31.0), (3, 45.0)):
        profile.alert(alert(number, score))
    assert [seen.alert.worst.score for seen in view.alerts(profile, 2)] in ([45.0, 35.0], [35.0, 45.0])


def test_the_card_tells_nothing_of_other_people(ocsvm_models: Path) -> None:
    """The numbers and names of users that the log showed stay in the model."""
    stored = Store(ocsvm_models).load("alice")
    assert stored is not None
    assert stored.model.card.identities
    rows = dict(view.card(stored.model.card, 1))
    assert rows["algorithm"] == "OCSVM"
    assert rows["version"] == "1"
    assert "bob" not in " ".join(rows.values())


def test_nothing_to_compare_is_no_zero() -> None:
    """Where nothing came after training, that part of the table is empty."""
    profile = Profile("alice", None, Room())
    profile.add(act(1, 12.0), b"", None, alarming=False)
    assert view.levels(profile)[0].cells == (None, None, (1, 0.1), (0, 0.1))
