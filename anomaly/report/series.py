"""A long row of figures kept in little room: of each stretch the largest."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Maxima(Generic[T]):
    """Keeps the largest of each stretch of a row, and doubles the stretches whenever there are too many.

    As long as there are no more than ``limit`` figures, every one is kept.

    Parameters
    ----------
    limit
        Most stretches kept; even.

    Examples
    --------
    >>> row = Maxima[str](2)
    >>> for value, item in ((1.0, "a"), (5.0, "b"), (3.0, "c"), (2.0, "d")):
    ...     row.add(value, item)
    >>> row.items(), row.stretch
    (['b', 'c'], 2)
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bins: list[tuple[float, T]] = []
        self._count = 0
        self.stretch = 1
        """Figures of which one is kept."""

    def __len__(self) -> int:
        return len(self._bins)

    def add(self, value: float, item: T) -> None:
        """Take the next figure, and what is to be kept of it if it is the largest of its stretch."""
        if self._count // self.stretch == len(self._bins):
            if len(self._bins) == self._limit:
                self._bins = _halved(self._bins)
                self.stretch *= 2
            self._bins.append((value, item))
        elif value > self._bins[-1][0]:
            self._bins[-1] = value, item
        self._count += 1

    def items(self, most: int | None = None) -> list[T]:
        """Return what was kept, in the order of the row; with ``most``, of longer stretches, no more than that."""
        bins = self._bins
        while most is not None and len(bins) > max(most, 1):
            bins = _halved(bins)
        return [item for _, item in bins]


def _halved(bins: list[tuple[float, T]]) -> list[tuple[float, T]]:
    """Join each two stretches; of equals the first one stays."""
    return [max(bins[place : place + 2], key=lambda pair: pair[0]) for place in range(0, len(bins), 2)]
