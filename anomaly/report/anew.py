"""Scoring a log from its start with the stored models, and leaving no trace: the report's input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from weakref import WeakValueDictionary

import msgspec

from anomaly.harvest import Period, Watch
from anomaly.once import Say
from anomaly.osquery import Action, Parser, Skipped
from anomaly.outset import cards_of, claims_all
from anomaly.records import Score, Severity
from anomaly.registry import Registry
from anomaly.scoring import Scorer
from anomaly.sources.archive import survey
from anomaly.sources.interface import MAX_LINE, Line, Source
from anomaly.sources.stdin import STDIN, StdinSource
from anomaly.sources.tail import LogSource
from anomaly.store import Store, Stored
from anomaly.tokenizer import Tokenizer

_BATCH = 2048


class Asked(msgspec.Struct, frozen=True):
    """What to report on."""

    log: Path
    models: Path
    user: str | None
    """None for every user."""
    period: Period = Period()
    """What the page shows; what was before is scored too, since the models learn from it."""
    least: Severity = Severity.WARNING
    """Severity from which on an action is part of an alert."""
    olddir: Path | None = None
    max_line: int = MAX_LINE


class Scored(NamedTuple):
    """One action as it was scored, and the line that it stood in."""

    score: Score
    line: bytes


class Anew:
    """Scores a log, with its archives, from the first line to the last.

    It learns on the way as ``predict`` does, and what it learns is gone with it: nothing is written.

    Parameters
    ----------
    asked
        The log, the models and the user.
    say
        Told, as a sentence, what a person should know.

    Raises
    ------
    UnknownUser
        There is no model of the user asked for, or no model at all.
    ModelRefused
        There is one, and it cannot be used.
    """

    def __init__(self, asked: Asked, say: Say) -> None:
        self._asked = asked
        self._say = say
        self.registry = Registry(Store(asked.models), say)
        self.skipped: Counter[str] = Counter()
        """Lines that report no action, by reason."""
        self.lines = 0
        self.met: Counter[str] = Counter()
        """The source's counters."""
        self.tokenizers: WeakValueDictionary[str, Tokenizer] = WeakValueDictionary()
        """Vocabularies by user, of those whose models are in memory at the moment."""
        self._parser = Parser()
        cards = cards_of(self.registry, asked.user)
        for card in cards:
            self._parser.identities.update(card.identities)
        claims = claims_all(asked.log, asked.user, cards, say, asked.olddir)
        self._scorer = Scorer(
            self._find,
            only=asked.user,
            claims=claims,
            background=self.registry.background() if asked.user is None else None,
            log=str(asked.log),
            say=say,
        )

    def run(self, watch: Watch) -> Iterator[list[Scored]]:
        """Give the scores by batches; raises LogMissing and LogUnreadable where the log cannot be read."""
        with ExitStack() as stack:
            source = stack.enter_context(self._source())
            report = stack.enter_context(watch("scoring"))
            total, done = self._size(), 0
            while not source.ended:
                lines = source.read(_BATCH, timeout=1.0)
                self.lines += len(lines)
                yield from self._score(lines)
                done += sum(len(line.data) + 1 for line in lines)
                report(min(done / max(total, 1), 1.0), f"{done >> 20:,} MiB")
            self.met = source.counters
            if self.met["too_long"]:
                self.skipped["too_long"] = self.met["too_long"]
                self.lines += self.met["too_long"]

    def _source(self) -> Source:
        asked = self._asked
        if asked.log == STDIN:
            return StdinSource(max_line=asked.max_line)
        return LogSource(asked.log, start="start", follow=False, max_line=asked.max_line, olddir=asked.olddir)

    def _size(self) -> int:
        if self._asked.log == STDIN:
            return 0
        return sum(member.size for member in survey(self._asked.log, self._asked.olddir))

    def _score(self, lines: list[Line]) -> Iterator[list[Scored]]:
        """Score lines; by pieces, since one line may hold a hundred thousand actions."""
        batch: list[tuple[str, Action]] = []
        texts: dict[str, bytes] = {}
        for line in lines:
            parsed = self._parser.parse(line.data)
            if isinstance(parsed, Skipped):
                self.skipped[parsed.reason.value] += 1
                continue
            event = f"{line.file}:{line.offset}"
            for number, action in enumerate(parsed):
                identity = f"{event}:{number}" if number else event
                texts[identity] = line.data
                batch.append((identity, action))
                if len(batch) == _BATCH:
                    yield self._judged(batch, texts)
        if batch:
            yield self._judged(batch, texts)

    def _judged(self, batch: list[tuple[str, Action]], texts: dict[str, bytes]) -> list[Scored]:
        scores = self._scorer.score_all(batch)
        scored = [Scored(score, texts[score.id]) for score in scores]
        batch.clear()
        texts.clear()
        return scored

    def _find(self, user: str) -> Stored | None:
        stored = self.registry.find(user)
        if stored is not None:
            self.tokenizers[user] = stored.model.tokenizer
        return stored
