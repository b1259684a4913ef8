"""The loop that goes along a log: read, parse, score, hand on, and only then remember how far it came."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from anomaly.alert_delivery import Delivery
from anomaly.board import Board
from anomaly.control import Control
from anomaly.errors import StateError
from anomaly.osquery import Action, Parser, Skipped
from anomaly.records import Score
from anomaly.scoring import Scoring
from anomaly.sinks.interface import Sink
from anomaly.sources.checkpoint import Checkpoint
from anomaly.sources.checkpoint_file import CheckpointFile
from anomaly.sources.interface import Line, Source
from anomaly.systemd import Notifier
from anomaly.tally import Reports, Tally, counted

BATCH = 2048
"""Lines scored before they are handed on: little enough that a backlog, too, is shown as it is worked off."""

FIRST = 64
"""Lines of the first batch; each next one is twice as large. At first, each user has a model to be loaded."""

EVERY = 1.0
"""Seconds between checkpoints. One costs 4 ms: a checkpoint a line would cap the rate at 240 lines a second."""

MANY = 16384
"""Lines after which a checkpoint is due earlier: in a backlog a second is long, and a crash repeats it."""

SHARE, SELDOM = 10, 5.0
"""A checkpoint may take one part in so many of the time, however many users it holds; but it comes, in seconds."""

COMPLAIN = 60.0
"""Seconds between two complaints about checkpoints that cannot be written."""

LOOK = 2.0
"""Seconds between looks for newer models."""

STATE = 0.5
"""Seconds between looks at how it goes, for who asks systemd."""

WAIT = 0.5
"""Seconds that a read may wait: how long a signal waits at most."""


def _nothing() -> None:
    """Do nothing."""


class Follower:
    """Carries lines from a source through the scorer to a sink.

    Parameters
    ----------
    source, parser, scorer, sink
        The rooms, in the order the data passes them.
    checkpoint
        Where to remember; None to remember nothing.
    log
        The log's name, for people who read the checkpoint.
    shown
        Which scores to hand on; all are scored.
    alerts
        Told of all scores, after the sink; None where nobody is to be told of what alarms.
    notifier
        Told how it goes.
    say
        Told, as a sentence, what went wrong and was survived.
    """

    def __init__(
        self,
        source: Source,
        parser: Parser,
        scorer: Scoring,
        sink: Sink,
        *,
        checkpoint: CheckpointFile | None = None,
        log: str = "",
        shown: Callable[[Score], bool] = lambda _: True,
        alerts: Delivery | None = None,
        notifier: Notifier | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.source, self.parser, self.scorer, self.sink = source, parser, scorer, sink
        self.shown = shown
        self.alerts = alerts
        self.feedback: list[str] = []
        """What people said of alerts and was taken over; the checkpoint remembers it."""
        self.look: Callable[[], None] = _nothing
        """Called every ``LOOK`` seconds between two batches, to put newer models in use."""
        self.reload: Callable[[], None] = _nothing
        """Called between two batches when a reload was asked for."""
        self.tally = Tally()
        self.board = Board(self.tally)
        """What is known while it goes on, for who wants to see it."""
        self._checkpoint = checkpoint
        self._log = log
        self._notifier = notifier or Notifier()
        self._say = say
        self._reports = Reports(log, say)
        self._saved = self._looked = self._stated = self._caught_up = time.monotonic()
        self._room = FIRST  # lines of the next batch
        self._unsaved = 0  # lines since the last checkpoint
        self._cost = 0.0  # seconds that it took
        self._complain_at = 0.0

    def run(self, control: Control | None = None) -> Tally:
        """Go on until the source ends or it is asked to stop; the batch in hand is always finished."""
        control = control or Control()
        self._notifier.ready()
        while not self.source.ended and not control.stopped:
            if control.hung_up():
                self._notifier.reloading()
                self.reload()
                if self.alerts is not None:
                    self.alerts.reopen()
                self._notifier.ready()
            lines = self.source.read(min(self._room, BATCH), timeout=WAIT)
            self._room = min(2 * self._room, BATCH)
            self._score(lines)
            self._unsaved += len(lines)
            self._between(idle=not lines)
        self._show(self.scorer.flush())
        if self.alerts is not None and self._checkpoint is None:
            self.alerts.end()
        self._notifier.stopping()
        if self._unsaved and not self.save():
            self._say("The last checkpoint was not written: what came since the one before comes again.")
        self._count_long_lines()
        self.board.look(self.source, safe=not self._unsaved)
        return self.tally

    def _score(self, lines: Sequence[Line]) -> None:
        """Score lines and hand on what is to be shown, by pieces: one line may hold a hundred thousand actions."""
        batch: list[tuple[str, Action]] = []
        for line in lines:
            parsed = self.parser.parse(line.data)
            if isinstance(parsed, Skipped):
                self.tally.skipped[parsed.reason.value] += 1
                continue
            event = f"{line.file}:{line.offset}"
            batch.append((event, parsed[0]))
            if len(parsed) > 1:  # a batch or a snapshot: each action has an id of its own
                batch += [(f"{event}:{number}", action) for number, action in enumerate(parsed[1:], 1)]
                self._hand_on(batch, least=BATCH)
        self.tally.lines += len(lines)
        self._hand_on(batch)

    def _hand_on(self, batch: list[tuple[str, Action]], least: int = 1) -> None:
        """Score actions while there are at least so many, and take them out of the batch."""
        begin = 0
        while len(batch) - begin >= least:
            piece = batch[begin : begin + BATCH]
            begin += len(piece)
            self.tally.actions += len(piece)
            self._show(self.scorer.score_all(piece))
        del batch[:begin]

    def _show(self, scores: list[Score]) -> None:
        self.tally.count(scores)
        self.board.take(scores)
        if shown := [score for score in scores if self.shown(score)]:
            self.sink.write(shown)
        if self.alerts is not None:
            self.alerts.take(scores)
            self.tally.alerts, self.tally.alert_errors = self.alerts.told, self.alerts.errors
        self._notifier.watchdog()

    def changed(self) -> None:
        """Take note that there is something to remember besides the place in the log."""
        self._unsaved = max(self._unsaved, 1)

    def save(self) -> bool:
        """Write the checkpoint now; False where that was not possible: scoring goes on, it is tried again."""
        self._saved = time.monotonic()
        if self._checkpoint is None:
            return True
        self._show(self.scorer.flush())
        checkpoint = Checkpoint(
            log=self._log,
            position=self.source.position,
            identities=self.parser.identities.to_dict(),
            feedback=self.feedback,
        )
        if self.alerts is not None:
            self.alerts.sync()
            checkpoint.alerts = msgspec.Raw(self.alerts.export())
        try:
            self._checkpoint.save(checkpoint, self.scorer.encoded())
        except StateError as error:
            # What is lost is only where to go on after a restart.
            self.tally.checkpoint_errors += 1
            if self._saved >= self._complain_at:
                self._complain_at = self._saved + COMPLAIN
                self._say(f"{error} Scoring goes on; the checkpoint is tried again every second.")
            return False
        self._complain_at = 0.0
        self._unsaved = 0
        self.scorer.saved()
        self._cost = time.monotonic() - self._saved
        return True

    def _between(self, *, idle: bool) -> None:
        """Do between two batches what is due."""
        now = time.monotonic()
        due = EVERY if self._unsaved < MANY else 0.0
        if self._unsaved and now - self._saved >= max(due, min(SHARE * self._cost, SELDOM)):
            self.save()
        if now - self._looked >= LOOK:
            self._looked = now
            self.look()
        self._count_long_lines()
        self._reports.tell(self.source.counters, self.tally.skipped)
        if idle:
            self._caught_up = now
        self._notifier.watchdog()
        if now - self._stated >= STATE:
            self._stated = now
            self._notifier.status(self._status(now))
            self.board.look(self.source, safe=not self._unsaved)

    def _status(self, now: float) -> str:
        waiting = self.source.backlog
        if not waiting:
            self._caught_up = now
        behind = f"{waiting / 2**20:,.1f} MiB behind, for {now - self._caught_up:.0f} s"
        skipped = self.tally.skipped.total()
        return (
            f"{behind if waiting else 'At the end of the log'}; {self.tally.actions:,} actions"
            + (f", {counted(skipped, 'line')} skipped" if skipped else "")
            + (f", {self.tally.checkpoint_errors:,} checkpoints failed" if self.tally.checkpoint_errors else "")
        )

    def _count_long_lines(self) -> None:
        """Take over what the source skipped itself: those are lines that were read, too."""
        if new := self.source.counters["too_long"] - self.tally.skipped["too_long"]:
            self.tally.lines += new
            self.tally.skipped["too_long"] += new
