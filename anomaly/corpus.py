"""The actions of one user, held as numbers: what training keeps of a log while it reads it once."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.osquery import Action

MAX_FIELDS = 24
"""Columns of one action that are looked at, in the order of the line; osquery's widest tables have more."""

IDENTITY_COLUMNS = frozenset({"username", "user", "auid"})
"""Columns that say who acted: the model is already that user's."""

Ints = NDArray[np.int64]


class Rows(NamedTuple):
    """A corpus as arrays: one entry per action, and one per (action, field) pair."""

    time: Ints
    """When each action was seen, in seconds, UTC."""
    baseline: NDArray[np.bool_]
    kind: Ints
    """Index into ``Corpus.kinds``, by action."""
    action: Ints
    """Which action each pair belongs to, ascending."""
    field: Ints
    """Index into ``Corpus.fields``, by pair."""
    value: Ints
    """Index into ``Corpus.values[field]``, by pair."""


class Corpus:
    """Grows by one action at a time; each distinct value is kept once, whatever the log's length.

    Examples
    --------
    >>> corpus = Corpus()
    >>> corpus.append(0, Action(time=5, host="h", user="u", query="q", verb="added", columns={"name": "ls"}))
    >>> corpus.kinds, corpus.fields, corpus.values
    ({('q', 'added'): 0}, {('q', 'name'): 0}, [{'ls': 0}])
    """

    def __init__(self) -> None:
        self.kinds: dict[tuple[str, str], int] = {}
        self.fields: dict[tuple[str, str], int] = {}
        self.values: list[dict[str, int]] = []
        self.hosts: set[str] = set()
        self._order, self._time, self._baseline, self._kind = array("q"), array("q"), array("b"), array("i")
        self._action, self._field, self._value = array("q"), array("i"), array("i")

    def __len__(self) -> int:
        return len(self._time)

    def append(self, order: int, action: Action) -> None:
        """Add one action; ``order`` is its number in the log, by which corpora merge."""
        self._order.append(order)
        self._time.append(action.time)
        self._baseline.append(action.baseline)
        self._kind.append(self.kinds.setdefault((action.query, action.verb), len(self.kinds)))
        self.hosts.add(action.host)
        number = len(self._time) - 1
        for column, value in informative(action.columns):
            field = self.fields.setdefault((action.query, column), len(self.fields))
            if field == len(self.values):
                self.values.append({})
            table = self.values[field]
            self._action.append(number)
            self._field.append(field)
            self._value.append(table.setdefault(value, len(table)))

    def rows(self) -> Rows:
        """Return the arrays; what is appended later is not in them."""
        return Rows(
            time=np.array(self._time, dtype=np.int64),
            baseline=np.array(self._baseline, dtype=bool),
            kind=np.array(self._kind, dtype=np.int64),
            action=np.array(self._action, dtype=np.int64),
            field=np.array(self._field, dtype=np.int64),
            value=np.array(self._value, dtype=np.int64),
        )

    def fingerprint(self) -> str:
        """Return the SHA-256, in hexadecimal, of everything in it: what a model was trained on."""
        digest = hashlib.sha256()
        digest.update(repr((list(self.kinds), list(self.fields))).encode("utf-8", "surrogatepass"))
        for table in self.values:
            digest.update(repr(list(table)).encode("utf-8", "surrogatepass"))
        for column in (self._time, self._baseline, self._kind, self._action, self._field, self._value):
            digest.update(column.tobytes())
        return digest.hexdigest()

    @classmethod
    def merge(cls, corpora: Iterable[Corpus], most: int | None = None) -> Corpus:
        """Merge what turned out to be one user, in the order of the log.

        A log may show a number (``uid``) for a while before it shows the name that goes with it. With ``most``,
        only so many of each corpus' last actions are taken.
        """
        actions: list[tuple[int, Action]] = []
        for corpus in corpora:
            skipped = 0 if most is None else max(len(corpus) - most, 0)
            actions += islice(corpus.actions(), skipped, None)
        merged = cls()
        for order, action in sorted(actions, key=lambda entry: entry[0]):
            merged.append(order, action)
        return merged

    def actions(self) -> Iterable[tuple[int, Action]]:
        """Yield the actions again, with their numbers in the log; only what was kept of them."""
        kinds, fields = list(self.kinds), list(self.fields)
        values = [list(table) for table in self.values]
        host = min(self.hosts, default="")
        pair = 0
        for number, order in enumerate(self._order):
            query, verb = kinds[self._kind[number]]
            columns: dict[str, str] = {}
            while pair < len(self._action) and self._action[pair] == number:
                field = self._field[pair]
                columns[fields[field][1]] = values[field][self._value[pair]]
                pair += 1
            yield (
                order,
                Action(self._time[number], host, "", query, verb, columns, bool(self._baseline[number])),
            )


def informative(columns: dict[str, str]) -> list[tuple[str, str]]:
    """Give the columns worth looking at: at most ``MAX_FIELDS``, none that only says who acted."""
    found = [(column, value) for column, value in columns.items() if column not in IDENTITY_COLUMNS]
    return found[:MAX_FIELDS]


def day(time: int) -> str:
    """Give a time of the log as a day, for people; ``-`` where it is unknown.

    >>> day(1_497_052_800)
    '2017-06-10'
    """
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d") if time else "-"
