"""From scores to whoever is told: alerts are made, kept and handed on, and none of that can stop the scoring."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from anomaly.alert_journal import AlertJournal
from anomaly.alerts import Alerting
from anomaly.errors import AnomalyError, StateError
from anomaly.records import Alert, Score, Severity
from anomaly.sinks.interface import AlertSink
from anomaly.sinks.several import Several
from anomaly.suppression import SuppressionFile

COMPLAIN = 60.0
"""Seconds between two complaints about one sink."""


class Delivery:
    """Takes scores as they were shown, and tells of what alarms.

    Parameters
    ----------
    alert_on, budget
        Which scores alarm: see :meth:`Alerting.by`.
    suppressions
        What does not; None where nothing is suppressed.
    journal
        Where alerts are kept; None to keep none.
    sinks
        Where else they go; they stay the caller's to close.
    say
        Told, as a sentence, what went wrong and was survived.
    clock
        Gives seconds that never go back.
    """

    def __init__(
        self,
        alert_on: Severity,
        budget: float | None = None,
        *,
        suppressions: SuppressionFile | None = None,
        journal: AlertJournal | None = None,
        sinks: Sequence[AlertSink] = (),
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._suppressions = suppressions
        self._silences = suppressions.silences if suppressions is not None else None
        self._alerting = Alerting.by(alert_on, budget, self._silences)
        self._tuned = alert_on, budget
        self._journal = journal
        self._sinks: tuple[AlertSink, ...] = (*sinks,) if journal is None else (journal, *sinks)
        self._say, self._clock = say, clock
        self._complain_at: dict[str, float] = {}
        self.told = 0
        """Alerts so far, not their updates."""
        self.errors = 0
        """Times that something could not be handed on."""
        self._alerted: Callable[[Sequence[Alert]], None] = lambda _: None
        self._failed: Callable[[str], None] = lambda _: None

    def watch(self, alerted: Callable[[Sequence[Alert]], None], failed: Callable[[str], None]) -> None:
        """Let somebody count: what is told, and the name of each sink that could not be written to."""
        self._alerted, self._failed = alerted, failed
        for sink in self._sinks:
            if isinstance(sink, Several):
                sink.failed = failed

    def check(self) -> None:
        """Let the sinks say what is in the way of delivering."""
        for sink in self._sinks:
            self._try(sink, sink.check)

    def take(self, scores: Sequence[Score]) -> None:
        """Tell of what alarms among some scores."""
        self._hand_on(self._alerting.take(scores))

    def end(self) -> None:
        """Close what is open: nothing is remembered, and nothing more will come."""
        self._hand_on(self._alerting.flush())

    def refresh(self) -> bool:
        """Take over suppressions if they have changed, and say whether they have; bad ones change nothing."""
        if self._suppressions is None:
            return False
        try:
            changed = self._suppressions.refresh()
        except AnomalyError as error:
            self._say(f"The suppressions in force stay so. {error}")
            return False
        if changed and self._silences is not None:
            self._hand_on(self._alerting.excuse(self._silences))
            self._say(f"Suppressions in force from now on: {len(self._suppressions.now.entries):,}.")
        return changed

    def tune(self, alert_on: Severity, budget: float | None) -> None:
        """Go by other settings from now on."""
        if (alert_on, budget) != self._tuned:
            self._tuned = alert_on, budget
            state = self.export()
            self._alerting = Alerting.by(alert_on, budget, self._silences)
            self._alerting.restore(state)

    def reopen(self) -> None:
        """Let the sinks open anew what was renamed or replaced meanwhile."""
        for sink in self._sinks:
            self._try(sink, sink.reopen)

    def sync(self) -> None:
        """Make sure that what was journalled stays: the checkpoint that is written next says so."""
        if self._journal is not None:
            self._try(self._journal, self._journal.sync)

    def export(self) -> bytes:
        """Return what :meth:`restore` goes on from, as JSON."""
        return self._alerting.export()

    def restore(self, saved: bytes) -> None:
        """Go on from what :meth:`export` gave; what was suppressed meanwhile is."""
        self._alerting.restore(saved)
        if self._silences is not None:
            self._hand_on(self._alerting.excuse(self._silences))

    def _hand_on(self, alerts: Sequence[Alert]) -> None:
        if not alerts:
            return
        self.told += sum(not alert.update for alert in alerts)
        self._alerted(alerts)
        for sink in self._sinks:
            self._try(sink, lambda sink=sink: sink.write(alerts))  # type: ignore[misc]  # bound at once

    def _try(self, sink: AlertSink, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception as error:  # noqa: BLE001 - whoever wrote a sink: scoring goes on without it
            self.errors += 1
            name, now = type(sink).__name__, self._clock()
            self._failed(name)
            if now >= self._complain_at.get(name, 0.0):
                self._complain_at[name] = now + COMPLAIN
                why = str(error) if isinstance(error, StateError | OSError) else f"{type(error).__name__}: {error}"
                self._say(f"Alerts could not be handed on ({name}): {why}")
