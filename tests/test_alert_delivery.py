"""Alerts to whoever is told: what fails is said and counted, and the rest goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from anomaly.alert_delivery import COMPLAIN, Delivery
from anomaly.alert_journal import AlertJournal, told
from anomaly.osquery import Action
from anomaly.records import Alert, ModelRef, Score, Severity
from anomaly.sinks.interface import AlertSink
from anomaly.suppression import SuppressionFile

GOOD = '[[suppression]]\nid = "x"\nexpires = 9999-12-31\nfield = "command"\nvalue = "nmap"\n'


class Kept(AlertSink):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []
        self.reopened = 0

    def write(self, alerts: Sequence[Alert]) -> None:
        """Take the alerts."""
        self.alerts += alerts

    def reopen(self) -> None:
        """Count."""
        self.reopened += 1


class Broken(AlertSink):
    """Raises whatever it is told to."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def write(self, alerts: Sequence[Alert]) -> None:
        """Raise."""
        del alerts
        raise self.error


def made(number: int, figure: float = 35.0, user: str = "alice") -> Score:
    """Make a score."""
    action = Action(1_793_000_000 + number, "ws1", user, "shell_history", "added", {"command": "nmap"})
    return Score(f"f1:{number}", action, figure, figure, 1.0, ModelRef("LSTM", 1, "ready"))


def test_alerts_go_to_the_journal_and_to_each_sink(tmp_path: Path) -> None:
    """All are told the same, and alerts are counted without their updates."""
    sinks = [Kept(), Kept()]
    delivery = Delivery(Severity.WARNING, journal=AlertJournal(tmp_path, "log"), sinks=sinks)
    for number in range(5):
        delivery.take([made(number)])
    delivery.take([made(5, user="bob")])
    delivery.sync()
    assert sinks[0].alerts == sinks[1].alerts
    assert [alert.count for alert in sinks[0].alerts] == [1, 4, 1]
    assert [one.alert for one in told(tmp_path)] == sinks[0].alerts[1:]
    assert (delivery.told, delivery.errors) == (2, 0)
    delivery.reopen()
    assert sinks[1].reopened == 1
    delivery.end()
    assert [alert.closed for alert in sinks[0].alerts[3:]] == [True, True]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "(Broken): [Errno 28] No space left on device"),
        (ValueError("odd"), "(Broken): ValueError: odd"),
    ],
)
def test_a_sink_that_fails_stops_nobody(error: Exception, words: str) -> None:
    """What one sink cannot take the others get; it is counted each time, and said once a minute."""
    now, said, kept = [0.0], list[str](), Kept()
    sinks = [Broken(error), kept]
    delivery = Delivery(Severity.WARNING, sinks=sinks, say=said.append, clock=lambda: now[0])
    failed, alerted = list[str](), list[Alert]()
    delivery.watch(alerted.extend, failed.append)
    for number in range(3):
        delivery.take([made(number, user=f"u{number}")])
    assert (len(kept.alerts), delivery.errors, len(said)) == (3, 3, 1)
    assert (failed, alerted) == (["Broken"] * 3, kept.alerts)
    assert words in said[0]
    now[0] = COMPLAIN
    delivery.take([made(9, user="u9")])
    assert len(said) == 2


def test_a_journal_that_fails_stops_nobody(tmp_path: Path) -> None:
    """A journal that cannot be written is as any sink."""
    journal, said, kept = AlertJournal(tmp_path, "log"), list[str](), Kept()
    journal.path.mkdir()
    delivery = Delivery(Severity.WARNING, journal=journal, sinks=[kept], say=said.append)
    delivery.take([made(0)])
    assert len(kept.alerts) == 1
    assert said == [
        f"Alerts could not be handed on (AlertJournal): {journal.path} cannot be written: Is a directory."
    ]


def test_suppressions_are_taken_over_between_two_batches(tmp_path: Path) -> None:
    """Once the file is there the open alert is closed and nothing more is told; a bad file changes nothing."""
    path, kept, said = tmp_path / "s.toml", Kept(), list[str]()
    delivery = Delivery(Severity.WARNING, suppressions=SuppressionFile(path), sinks=[kept], say=said.append)
    delivery.take([made(0)])
    assert not delivery.refresh()
    path.write_text(GOOD)
    assert delivery.refresh()
    delivery.take([made(number) for number in range(1, 50)])
    assert [alert.closed for alert in kept.alerts] == [False, True]
    path.write_text("nonsense")
    assert not delivery.refresh()
    assert not delivery.refresh()
    delivery.take([made(50)])
    assert len(kept.alerts) == 2
    assert said[0] == "Suppressions in force from now on: 1."
    assert said[1].startswith(f"The suppressions in force stay so. {path} is not valid TOML")
    assert len(said) == 2


def test_what_was_suppressed_while_nobody_looked_is_excused(tmp_path: Path) -> None:
    """A burst that was open when the process ended is closed at the start, if it is suppressed by then."""
    path, kept = tmp_path / "s.toml", Kept()
    delivery = Delivery(Severity.WARNING, sinks=[Kept()])
    delivery.take([made(0)])
    for text, closed in (("", []), (GOOD, [True])):
        path.write_text(text)
        again = Delivery(Severity.WARNING, suppressions=SuppressionFile(path), sinks=[kept])
        again.restore(delivery.export())
        assert [alert.closed for alert in kept.alerts] == closed


def test_other_settings_leave_open_what_is_open() -> None:
    """What alarms may change between two batches; the burst at hand goes on."""
    kept = Kept()
    delivery = Delivery(Severity.CRITICAL, sinks=[kept])
    delivery.take([made(0, 60.0), made(1, 40.0)])
    delivery.tune(Severity.WARNING, None)
    delivery.take([made(number, 40.0) for number in range(2, 5)])
    assert [(alert.id, alert.count) for alert in kept.alerts] == [("f1:0", 1), ("f1:0", 4)]
    delivery.tune(Severity.WARNING, 1)
    delivery.take([made(9, 24.0, user="bob"), made(10, 26.0, user="bob")])
    assert kept.alerts[-1].id == "f1:10"
