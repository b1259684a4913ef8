"""A long row of figures in little room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anomaly.report.series import Maxima

FIGURES = st.lists(st.floats(0, 100), max_size=300)


def kept(figures: list[float], limit: int) -> Maxima[tuple[float, int]]:
    """Give a row all figures, each with its place."""
    row = Maxima[tuple[float, int]](limit)
    for place, figure in enumerate(figures):
        row.add(figure, (figure, place))
    return row


@given(FIGURES, st.sampled_from((2, 4, 10, 64)))
def test_of_each_stretch_the_largest_is_kept(figures: list[float], limit: int) -> None:
    """What is kept is what a look at all figures would find in each stretch, in their order."""
    row = kept(figures, limit)
    stretches = [figures[place : place + row.stretch] for place in range(0, len(figures), row.stretch)]
    assert [figure for figure, _ in row.items()] == [max(stretch) for stretch in stretches]
    assert len(row) <= limit
    assert row.stretch == 1 or len(figures) > limit


@given(FIGURES, st.integers(1, 20))
def test_the_largest_of_all_is_never_lost(figures: list[float], most: int) -> None:
    """Also where fewer are asked for than were kept; each item lies in its place."""
    found = kept(figures, 8).items(most)
    assert len(found) <= most
    assert max((figure for figure, _ in found), default=None) == max(figures, default=None)
    assert all(figures[place] == figure for figure, place in found)
