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
from anomaly.tokenizer import Tokens

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
        window = self.window
        if len(window) == WINDOW:
            gone = window.popleft()
            if gone != keys:
                for key, counts in zip(gone, (self._runs, self._same), strict=True):
                    if counts[key] == 1:
                        del counts[key]
                    else:
                        counts[key] -= 1
                self._count(keys)
        else:
            self._count(keys)
        window.append(keys)

    def _count(self, keys: Keys) -> None:
        run, same = keys
        self._runs[run] = self._runs.get(run, 0) + 1
        self._same[same] = self._same.get(same, 0) + 1


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

    ``silent`` are the columns whose values name nothing: a loop whose process numbers differ is still one.
    """
    fields = np.array([field not in silent for field in corpus.fields], dtype=bool)
    spoken = fields[rows.field] if len(rows.field) else np.zeros(0, dtype=bool)
    pairs = np.stack([rows.field[spoken], rows.value[spoken]], axis=1)
    ends = np.searchsorted(rows.action[spoken], np.arange(len(rows.kind)), side="right").tolist()
    admission, found, begin = Admission(), np.zeros(len(rows.kind), dtype=bool), 0
    for number, (end, kind, time) in enumerate(zip(ends, rows.kind.tolist(), rows.time.tolist(), strict=True)):
        said, begin = b"%d " % kind + pairs[begin:end].tobytes(), end
        if not rows.baseline[number]:
            run = zlib.crc32(b"%d %d" % (time, kind)) | 1 << 32
            found[number] = admission.admit((run if time else 0, zlib.crc32(said)))
    return found
