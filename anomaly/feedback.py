"""What people say of alerts, and how a run takes it over: expected actions are learned, incidents never are.

It is kept in ``feedback.toml`` in the directory of checkpoints. Each answer names the runs (their checkpoints)
that told the alert. A run takes over what is new between two batches, and its checkpoint says which it has: what
was learned and that mark are written together, so each is taken over once, whenever the process is killed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import msgspec

from anomaly import ledger
from anomaly.errors import AnomalyError, ConfigError
from anomaly.osquery import Action

FILE = "feedback.toml"
KEY = "feedback"

MOST = 2000
"""Answers that are kept; beyond, the oldest are dropped when one is added."""

MOST_BYTES = 1 << 20
"""About how much all of them take: a larger file takes many seconds to change..."""

LARGEST = 1 << 17
"""...and what the actions of one take, of which the newest are kept."""

MOST_ACTIONS = 20


class Verdict(StrEnum):
    """What somebody says of an alert."""

    EXPECTED = "expected"
    INCIDENT = "incident"


class Done(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An action that an alert told of."""

    time: int
    query: str
    verb: str
    columns: dict[str, str]


class Feedback(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One entry of ``feedback.toml``."""

    id: str
    """Of the action that was expected; of the alert that was an incident."""
    verdict: Verdict
    user: str
    host: str
    checkpoints: list[str]
    """Of the runs that told it."""
    given: datetime
    suppression: str | None = None
    """The suppression that came of it."""
    note: str = ""
    actions: list[Done] = []

    @property
    def mark(self) -> str:
        """What a checkpoint remembers of an answer that was taken over."""
        return f"{self.verdict} {self.id}"

    def performed(self) -> list[Action]:
        """Return the actions, as the log reported them."""
        return [Action(a.time, self.host, self.user, a.query, a.verb, a.columns) for a in self.actions]


def load(path: Path) -> list[Feedback]:
    """Read what was answered; nothing where there is no file.

    Raises
    ------
    ConfigError
        Something in it does not fit; the file and the key are named.
    StateRefused, StateError
        It must not be trusted, or cannot be read.
    """
    return parse(ledger.read(path), path)


def parse(data: bytes, path: Path) -> list[Feedback]:
    """Read a file's content; raises ConfigError, see :func:`load`."""
    entries: dict[str, Feedback] = {}
    for number, table in enumerate(ledger.tables(data, path, KEY, Feedback), 1):
        try:
            entry = msgspec.convert(table, Feedback)
        except (msgspec.ValidationError, RecursionError) as error:
            raise ConfigError(f"{path}: {KEY} {number} does not fit: {error}.") from error
        entries[entry.id] = entry
    return list(entries.values())


class Learner(Protocol):
    """Who learns from answers: see :meth:`anomaly.scoring.Scorer.feedback`."""

    def feedback(self, actions: Sequence[Action], *, expected: bool) -> bool:
        """Take over actions of one user; False where that is not possible."""


class Answers:
    """Takes over what people say of a run's alerts.

    Parameters
    ----------
    path
        The file.
    name
        Of the run's checkpoint.
    learner
        Who is told.
    taken
        Marks of what was taken over; it is added to.
    say
        Told, as a sentence, what was taken over and what was not.
    """

    def __init__(
        self, path: Path, name: str, learner: Learner, taken: list[str], say: Callable[[str], None]
    ) -> None:
        self._path, self._name, self._learner, self._taken, self._say = path, name, learner, taken, say
        self._signature: ledger.Signature = None

    def look(self) -> bool:
        """Take over what is new, and say whether there was anything."""
        found = ledger.signature(self._path)
        if found == self._signature:
            return False
        self._signature = found
        try:
            entries = [entry for entry in load(self._path) if self._name in entry.checkpoints]
        except AnomalyError as error:
            self._say(f"What was answered to alerts is left aside. {error}")
            return False
        marks = {entry.mark for entry in entries}
        self._taken[:] = [mark for mark in self._taken if mark in marks]
        new = [entry for entry in entries if entry.mark not in self._taken and self._take(entry)]
        self._taken += [entry.mark for entry in new]
        return bool(new)

    def _take(self, entry: Feedback) -> bool:
        actions = entry.performed()
        if not actions or not self._learner.feedback(actions, expected=entry.verdict is Verdict.EXPECTED):
            self._say(f"The answer to alert {entry.id} waits: {entry.user!r} has no model here that learns.")
            return False
        said = f"Action {entry.id} of {entry.user!r} was expected: it is learned."
        if entry.verdict is Verdict.INCIDENT:
            said = f"Alert {entry.id} of {entry.user!r} was an incident: what it told of is never learned."
        self._say(said)
        return True
