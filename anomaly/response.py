"""What a run has around its alerts: who is told, what is suppressed, and what people answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from anomaly.alert_delivery import Delivery
from anomaly.alert_journal import AlertJournal
from anomaly.daemon import Follower
from anomaly.feedback import FILE as FEEDBACK
from anomaly.feedback import Answers
from anomaly.osquery import Action
from anomaly.request import Prediction
from anomaly.scoring import Scorer
from anomaly.sinks.interface import AlertSink
from anomaly.sources.checkpoint import Checkpoint
from anomaly.sources.stdin import STDIN
from anomaly.suppression import FILE as SUPPRESSIONS
from anomaly.suppression import Suppression, SuppressionFile


class Response:
    """Makes and keeps alerts, and takes over what people say of them.

    Parameters
    ----------
    asked
        The settings.
    name
        Of the run's checkpoint; None where nothing is remembered: then nothing is kept or answered.
    sinks
        Where else alerts go.
    say
        Told, as a sentence, what a person should know.

    Raises
    ------
    ConfigError, StateRefused, StateError
        The suppressions or the journal do not fit, must not be trusted, or cannot be used.
    """

    def __init__(
        self, asked: Prediction, name: str | None, sinks: Sequence[AlertSink], say: Callable[[str], None]
    ) -> None:
        self._asked, self._name, self._say = asked, name, say
        self._suppressed: SuppressionFile | None = None
        if asked.suppressions is not None or asked.log != STDIN:
            self._suppressed = SuppressionFile(asked.suppressions or asked.state / SUPPRESSIONS)
        journal = AlertJournal(asked.state, name) if name is not None else None
        self.alerts: Delivery | None = None
        if journal is not None or sinks:
            how = asked.alert_on, asked.budget
            self.alerts = Delivery(*how, suppressions=self._suppressed, journal=journal, sinks=sinks, say=say)
        self._taken: list[str] = []
        self._answers: Answers | None = None

    @property
    def suppressions(self) -> tuple[Suppression, ...]:
        """What is suppressed now."""
        return self._suppressed.now.entries if self._suppressed is not None else ()

    @property
    def silences(self) -> Callable[[Action], bool] | None:
        """Says of an action whether it is suppressed; None where nothing ever is."""
        return self._suppressed.silences if self._suppressed is not None else None

    def restore(self, saved: Checkpoint) -> None:
        """Go on from a checkpoint."""
        self._taken = saved.feedback
        if self.alerts is not None:
            self.alerts.restore(bytes(saved.alerts))

    def attach(self, follower: Follower) -> None:
        """Let a follower remember what people have answered, take over what is new, and look for more as it goes.

        Where users are spread over processes, nothing is taken over while it runs, and answers wait for the next.
        """
        follower.feedback = self._taken
        if self.alerts is not None:
            self.alerts.watch(follower.board.alerted, follower.board.failed)
        scorer, renew = follower.scorer, follower.look
        if not isinstance(scorer, Scorer):
            return
        if self._name is not None:
            self._answers = Answers(self._asked.state / FEEDBACK, self._name, scorer, self._taken, self._say)

        def look() -> None:
            renew()
            self._look(follower)

        follower.look = look
        self._look(follower)

    def _look(self, follower: Follower) -> None:
        if self.alerts is not None:
            self.alerts.check()
            if self.alerts.refresh():
                follower.changed()
        if self._answers is not None and self._answers.look():
            follower.changed()
