"""Which actions may fill a user's recent window: a flood may not fill it alone.

A first run that dumps a table, an upgrade that touches ten thousand files, a loop that writes one line for an
hour: each would push everything else out of the window and be all that is judged. So no single run of a query
and no single action fills more than half of it. What is kept out is scored all the same; nobody can hide in a
flood, nor wash an alarm out of the window with one.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from anomaly.corpus import Corpus, Rows
from anomaly.detectors.interface import WINDOW
from anomaly.osquery import Action
from anomaly.tables import MAX_NAME
from anomaly.tokens import Tokens

MOST = WINDOW // 2
"""Places in the window that one run of a query, or one action that is repeated, may have."""

Keys = tuple[int, int]
"""Of an action: the run of the query it is from, and what it says; the first is 0 where the time is not known."""


class Admission:
    """Counts what is in a user's window."""

    def __init__(self, window: Iterable[Keys] = ()) -> None:
        self.window: deque[Keys] = deque()
        self._runs: dict[int, int] = {}
        self._same: dict[int, int] = {}
        for keys in window:
            self._push(keys)

    def admit(self, keys: Keys) -> bool:
        """Say whether an action may come into the window, and count it if so."""
        run, same = keys
        if self._same.get(same, 0) >= MOST or (run and self._runs.get(run, 0) >= MOST):
            return False
        self._push(keys)
        return True

    def _push(self, keys: Keys) -> None:
        window, runs, same = self.window, self._runs, self._same
        if len(window) == WINDOW:
            gone = window.popleft()
            if gone[0] != keys[0]:
                _discount(runs, gone[0])
                runs[keys[0]] = runs.get(keys[0], 0) + 1
            if gone[1] != keys[1]:
                _discount(same, gone[1])
                same[keys[1]] = same.get(keys[1], 0) + 1
        else:
            runs[keys[0]] = runs.get(keys[0], 0) + 1
            same[keys[1]] = same.get(keys[1], 0) + 1
        window.append(keys)


def _discount(counts: dict[int, int], key: int) -> None:
    count = counts[key] - 1
    if count:
        counts[key] = count
    else:
        del counts[key]


def keys_of(action: Action, tokens: Tokens) -> Keys:
    """Return an action's keys, from what it says and when."""
    run = 0
    if action.time:
        # The log chooses how long a query's name is, and so how much would be remembered.
        number = _run if len(action.query) <= MAX_NAME else _run.__wrapped__
        run = number(action.time, tokens.ids[0], action.query)
    return run, hash(tokens)  # of whole numbers: the same in every process


@lru_cache(256)  # the rows of one run stand together in the log
def _run(time: int, kind: int, query: str) -> int:
    return zlib.crc32(f"{time} {kind} {query}".encode("utf-8", "surrogatepass")) | 1 << 32


def admitted(corpus: Corpus, rows: Rows, silent: set[tuple[str, str]]) -> NDArray[np.bool_]:
    """Return which actions of a corpus come into the window, shape (actions,); baseline rows do not.

    ``silent`` are the columns whose values name nothing: a loop whose process numbers differ is still one. It is
    what :class:`Admission` says of each, but one by one only where something floods: as long as all is admitted,
    the window is the last ``WINDOW`` actions.
    """
    judged = np.flatnonzero(~rows.baseline)
    time, kind = rows.time[judged].astype(np.uint64), rows.kind[judged].astype(np.uint64)
    run = np.where(time > 0, _mixed(_mixed(time) + kind) | np.uint64(1), np.uint64(0))
    same = _sayings(corpus, rows, silent)[judged]
    coming = np.ones(len(judged), dtype=bool)
    done = 0
    for begin in np.flatnonzero((_crowded(run) & (time > 0)) | _crowded(same)).tolist():
        if begin < done:
            continue
        before = slice(max(begin - WINDOW, 0), begin)
        admission = Admission(zip(run[before].tolist(), same[before].tolist(), strict=True))
        done, quiet = begin, 0
        while done < len(judged) and quiet < WINDOW:
            coming[done] = admission.admit((int(run[done]), int(same[done])))
            quiet = quiet + 1 if coming[done] else 0
            done += 1
    found = np.zeros(len(rows.kind), dtype=bool)
    found[judged] = coming
    return found


def _crowded(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Say of each key whether it is ``MOST`` times or more among the ``WINDOW`` before it."""
    order = np.argsort(keys, kind="stable")
    earlier, later = order[:-MOST], order[MOST:]
    found = np.zeros(len(keys), dtype=bool)
    found[later[(keys[earlier] == keys[later]) & (later - earlier <= WINDOW)]] = True
    return found


def _sayings(corpus: Corpus, rows: Rows, silent: set[tuple[str, str]]) -> NDArray[np.uint64]:
    """Return a 64-bit hash of what each action says: its kind and its spoken columns, in their order."""
    spoken = np.array([field not in silent for field in corpus.fields], dtype=bool)[rows.field]
    action = rows.action[spoken]
    ends = np.searchsorted(action, np.arange(len(rows.kind)), side="right")
    begins = np.append(0, ends[:-1])
    place = (np.arange(len(action)) - begins[action]).astype(np.uint64)
    field, value = (column[spoken].astype(np.uint64) for column in (rows.field, rows.value))
    sums = np.append(np.uint64(0), np.cumsum(_mixed(_mixed(field + (place << np.uint64(32))) + value)))
    return _mixed(_mixed(rows.kind.astype(np.uint64)) + sums[ends] - sums[begins])


def _mixed(number: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread the bits of numbers (SplitMix64; Steele, Lea & Flood 2014)."""
    number = number + np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))
