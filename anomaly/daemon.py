"""The loop that goes along a log: read, parse, score, hand on, and only then remember how far it came."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from anomaly.errors import StateError
from anomaly.osquery import Parser, Skipped
from anomaly.records import Score, Severity
from anomaly.scoring import Scorer
from anomaly.sinks.interface import Sink
from anomaly.sources.checkpoint import Checkpoint, CheckpointFile
from anomaly.sources.interface import Line, Source

BATCH = 512
"""Lines scored before they are handed on: little enough that a backlog, too, is shown as it is worked off."""

EVERY = 1.0
"""Seconds between checkpoints. One costs 4 ms: a checkpoint a line would cap the rate at 240 lines a second."""

WAIT = 0.5
"""Seconds that a read may wait: how long a signal waits at most."""

_MET = {
    "read_errors": "cannot be read at the moment (no permission, or no regular file); it is tried again.",
    "truncations": "was truncated; what was in it and not yet read may be lost.",
    "archive_errors": "an archive of it could be read only in part.",
    "too_long": "a line longer than 1 MiB was skipped.",
}


@dataclass
class Tally:
    """What one run met."""

    lines: int = 0
    actions: int = 0
    scored: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    severities: Counter[Severity] = field(default_factory=Counter)
    checkpoint_errors: int = 0

    def worst(self) -> Severity:
        """Return the most severe of what was scored."""
        return max(self.severities, key=lambda severity: severity.rank, default=Severity.NONE)

    def summary(self) -> str:
        """Say it in a sentence."""
        worst = ", ".join(f"{n:,} {severity}" for severity, n in sorted(self.severities.items()) if severity.rank)
        skipped = sum(self.skipped.values())
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in self.skipped.most_common(4))
        return (
            f"{self.lines:,} lines, {self.actions:,} actions, {self.scored:,} scored"
            + (f" ({worst})" if worst else "")
            + (f"; {skipped:,} lines skipped: {reasons}" if skipped else "")
            + "."
        )


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
    say
        Told, as a sentence, what went wrong and was survived.
    """

    def __init__(
        self,
        source: Source,
        parser: Parser,
        scorer: Scorer,
        sink: Sink,
        *,
        checkpoint: CheckpointFile | None = None,
        log: str = "",
        shown: Callable[[Score], bool] = lambda _: True,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.source, self.parser, self.scorer, self.sink = source, parser, scorer, sink
        self.tally = Tally()
        self._checkpoint = checkpoint
        self._log = log
        self._shown = shown
        self._say = say
        self._saved = time.monotonic()
        self._unsaved = False
        self._told: dict[str, tuple[int, float]] = {}

    def run(self, stopped: Callable[[], bool] = lambda: False) -> Tally:
        """Go on until the source ends or ``stopped`` says so; the line in hand is always finished."""
        while not self.source.ended and not stopped():
            lines = self.source.read(BATCH, timeout=WAIT)
            self._tell()
            scores = [score for line in lines for score in self._score(line)]
            shown = [score for score in scores if self._shown(score)]
            if shown:
                self.sink.write(shown)
            self._unsaved = self._unsaved or bool(lines)
            if self._unsaved and time.monotonic() - self._saved >= EVERY:
                self._save()
        if self._unsaved:
            self._save()
        if self.source.counters["too_long"]:
            self.tally.skipped["too_long"] = self.source.counters["too_long"]
        return self.tally

    def _tell(self) -> None:
        """Say what the source met, at most once a minute each: a watch that has gone blind must not look quiet."""
        now = time.monotonic()
        for counter, sentence in _MET.items():
            count = self.source.counters[counter]
            if count > self._told.get(counter, (0, 0.0))[0] and now >= self._told.get(counter, (0, 0.0))[1]:
                self._told[counter] = (count, now + 60.0)
                self._say(f"{self._log}: {sentence}")

    def _score(self, line: Line) -> list[Score]:
        self.tally.lines += 1
        parsed = self.parser.parse(line.data)
        if isinstance(parsed, Skipped):
            self.tally.skipped[parsed.reason.value] += 1
            return []
        self.tally.actions += len(parsed)
        identity = f"{line.file}:{line.offset}"
        scores = []
        for number, action in enumerate(parsed):
            # One line may hold many actions (a batch, a snapshot): each has an id of its own.
            score = self.scorer.score(f"{identity}:{number}" if number else identity, action)
            if score is not None:
                self.tally.severities[score.severity] += 1
                self.tally.scored += score.score is not None
                scores.append(score)
        return scores

    def _save(self) -> None:
        self._saved = time.monotonic()
        if self._checkpoint is None:
            return
        try:
            self._checkpoint.save(
                Checkpoint(
                    log=self._log,
                    position=self.source.position,
                    identities=self.parser.identities.to_dict(),
                    users=self.scorer.export(),
                )
            )
            self._unsaved = False
            self.scorer.saved()
        except StateError as error:
            # Scoring goes on: what is lost is only where to go on after a restart.
            self.tally.checkpoint_errors += 1
            if self.tally.checkpoint_errors == 1:
                self._say(f"{error} Scoring goes on; the checkpoint is tried again every second.")
