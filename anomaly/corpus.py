"""The actions of one user, held as numbers: what training keeps of a log while it reads it once."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from heapq import merge
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.features.normalise import GROUP_NUMBERS, MAX_FIELDS, NAME_COLUMNS, USER_NUMBERS, normalise
from anomaly.osquery import Action

Ints = NDArray[np.int64]

_MOST_RAW = MAX_FIELDS + len(NAME_COLUMNS | USER_NUMBERS | GROUP_NUMBERS)
_ASKED = ("auid", "uid", "euid", "gid", "pid", "target_path")  # what normalising asks for beside a column's value


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

    Parameters
    ----------
    raw
        Keep columns as the log has them: normalising needs the user's name, and the log has not shown it yet.
        :meth:`merge` normalises them.

    Examples
    --------
    >>> corpus = Corpus()
    >>> corpus.append(0, Action(time=5, host="h", user="u", query="q", verb="added", columns={"name": "ls"}))
    >>> corpus.kinds, corpus.fields, corpus.values
    ({('q', 'added'): 0}, {('q', 'name'): 0}, [{'ls': 0}])
    """

    def __init__(self, *, raw: bool = False) -> None:
        self.raw = raw
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
        for column, value in (_kept(action) if self.raw else normalise(action)).items():
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
    def merge(cls, corpora: Iterable[Corpus], most: int | None = None, user: str = "") -> Corpus:
        """Merge what turned out to be one user, in the order of the log.

        A log may show a number (``uid``) for a while before it shows the name that goes with it: ``user``. With
        ``most``, only so many of each corpus' last actions are taken.
        """
        parts = [
            islice(corpus.actions(user), 0 if most is None else max(len(corpus) - most, 0), None)
            for corpus in corpora
        ]
        merged = cls()
        for order, action in merge(*parts, key=lambda entry: entry[0]):
            merged.append(order, action)
        return merged

    def actions(self, user: str = "") -> Iterable[tuple[int, Action]]:
        """Yield the actions again, with their numbers in the log; only what was kept of them."""
        host = min(self.hosts, default="")
        rows = zip(self._order, self._time, self._baseline, self.distinct_rows(), strict=True)
        for order, time, baseline, (_, query, verb, columns) in rows:
            yield order, Action(time, host, user, query, verb, columns(), bool(baseline))

    def distinct_rows(self) -> Iterable[tuple[tuple[int, ...], str, str, Callable[[], dict[str, str]]]]:
        """Yield, for each action, a key that equal rows share, its query, its verb, and what makes its columns."""
        kinds, fields = list(self.kinds), list(self.fields)
        values = [list(table) for table in self.values]

        def columns(key: tuple[int, ...]) -> dict[str, str]:
            pairs = zip(key[1::2], key[2::2], strict=True)
            return {fields[field][1]: values[field][value] for field, value in pairs}

        pair, pairs = 0, len(self._action)
        for number, kind in enumerate(self._kind):
            begin = pair
            while pair < pairs and self._action[pair] == number:
                pair += 1
            both = zip(self._field[begin:pair], self._value[begin:pair], strict=True)
            key = (kind, *chain.from_iterable(both))
            yield key, *kinds[kind], partial(columns, key)


def _kept(action: Action) -> dict[str, str]:
    """Return the columns that :func:`normalise` may look at; a row may have any number of them."""
    columns = action.columns
    asked = {column: columns[column] for column in _ASKED if column in columns}
    return dict(sorted(columns.items())[:_MOST_RAW]) | asked


def day(time: int) -> str:
    """Give a time of the log as a day, for people; ``-`` where it is unknown.

    >>> day(1_497_052_800)
    '2017-06-10'
    """
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d") if time else "-"
