"""What was measured, by name, and how it is written down: nothing stands in a table that was not measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import isnan, log
from statistics import linear_regression, median
from typing import NamedTuple


class Figures:
    """All repetitions of each figure."""

    def __init__(self) -> None:
        self._values: defaultdict[str, list[float]] = defaultdict(list)

    def add(self, name: str, value: float) -> None:
        """Take in one repetition; one that is no number is none."""
        if not isnan(value):
            self._values[name].append(value)

    def median(self, name: str) -> float | None:
        """Return the median of a figure; None where it was not measured."""
        return median(values) if (values := self._values.get(name)) else None

    def spread(self, name: str, digits: int = 0) -> str:
        """Write a figure as its median, and its minimum and maximum where they differ."""
        values = self._values.get(name)
        if not values:
            return "-"
        low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), median(values), max(values)))
        return middle if low == high else f"{middle} ({low} to {high})"

    def ratio(self, above: str, below: str) -> float | None:
        """Return how many times one figure's median is another's."""
        first, second = self.median(above), self.median(below)
        return first / second if first is not None and second else None


class Table(NamedTuple):
    """A table with how its figures were taken."""

    title: str
    method: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """Return it as Markdown."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        return f"## {self.title}\n\n{self.method}\n\n{table}\n"


class Bar(NamedTuple):
    """What a figure is held against."""

    name: str
    bound: float
    highest: bool
    """Whether the bound is the highest that is allowed, or the lowest."""
    measured: Callable[[Figures], float | None]
    digits: int = 0
    unit: str = ""

    def row(self, figures: Figures) -> Sequence[str]:
        """Return its row of the table."""
        bound = f"{self.bound:,g}" if self.bound >= 1 else f"{self.bound:.2f}"
        asked = f"{'at most' if self.highest else 'at least'} {bound}{self.unit}"
        found = self.measured(figures)
        if found is None:
            return self.name, asked, "not measured", "-"
        reached = found <= self.bound if self.highest else found >= self.bound
        return (
            self.name,
            asked,
            f"{found:,.{self.digits}f}{self.unit}",
            "reached" if reached else "**not reached**",
        )


def exponent(points: Iterable[tuple[float, float]]) -> float:
    """Return the slope of the line through the logarithms, by least squares.

    Examples
    --------
    >>> round(exponent([(1.0, 3.0), (2.0, 12.0), (4.0, 48.0)]), 6)
    2.0
    """
    across, up = zip(*((log(x), log(y)) for x, y in points), strict=True)
    return linear_regression(across, up).slope
