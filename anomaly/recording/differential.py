"""What differs between one look at a table and the next, counted as osquery counts (osquery/core/query.cpp)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from anomaly.recording.rows import Row


class Changes(NamedTuple):
    """What one run of a query has found."""

    counter: int
    """0 for the first run of a differential query, which reports the whole table; then one more a run with
    changes."""
    removed: tuple[Row, ...]
    """Sorted, as osquery's multiset gives them; logged before what was added..."""
    added: tuple[Row, ...]
    """...which comes in the table's order."""

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Yield each row with its action, in the order of the log."""
        for row in self.removed:
            yield "removed", row
        for row in self.added:
            yield "added", row


class Differential:
    """Remembers a table, and compares the next look at it. Equal rows count: two shells are two rows.

    >>> shell, editor = (("name", "sh"),), (("name", "vi"),)
    >>> table = Differential()
    >>> table.update([shell, shell])
    Changes(counter=0, removed=(), added=((('name', 'sh'),), (('name', 'sh'),)))
    >>> table.update([shell, editor])
    Changes(counter=1, removed=((('name', 'sh'),),), added=((('name', 'vi'),),))
    """

    def __init__(self) -> None:
        self._held: Counter[Row] = Counter()
        self._counter = -1

    def update(self, rows: Iterable[Row]) -> Changes:
        """Take the table as it is now.

        Returns
        -------
        Changes
            Empty where nothing differs; such a run has no counter of its own.
        """
        found = list(rows)
        gone, added = Counter(self._held), []
        for row in found:
            if gone[row] > 0:
                gone[row] -= 1
            else:
                added.append(row)
        removed = tuple(sorted((+gone).elements()))
        self._held = Counter(found)
        if self._counter < 0 or removed or added:
            self._counter += 1
        return Changes(self._counter, removed, tuple(added))


class Growing:
    """Counts the runs of a source that says by itself what is new: of events, or of a history that grows.

    Parameters
    ----------
    counter
        Of the first run: 0 where it is an inventory, 1 where it already reports events.
    """

    def __init__(self, counter: int) -> None:
        self._counter = counter - 1
        self._baseline = counter == 0

    def update(self, rows: Iterable[Row]) -> Changes:
        """Take what is new."""
        added = tuple(rows)
        if added or self._baseline:
            self._counter += 1
        self._baseline = False
        return Changes(self._counter, (), added)
