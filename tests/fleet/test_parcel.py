from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anomaly.fleet.parcel import Entry, Parcel, in_order, pack, unpack
from anomaly.osquery import Action

TEXT = st.text(st.characters(), max_size=5)
ACTIONS = st.builds(
    Action, st.integers(0, 2**40), TEXT, TEXT, TEXT, TEXT, st.dictionaries(TEXT, TEXT, max_size=3), st.booleans()
)


@given(
    st.lists(st.builds(Entry, st.integers(0, 9), st.integers(0, 2**40), st.integers(0, 3), ACTIONS), max_size=4)
)
def test_what_is_packed_comes_back(entries: list[Entry]) -> None:
    """A parcel is the same after its way, whatever texts are in it, half characters too."""
    parcel = Parcel(1, "file:/a", "f", entries)
    assert unpack(pack(parcel)) == parcel


def entry(when: int, offset: int, number: int = 0) -> Entry:
    """Return an action whose query says where it stands."""
    return Entry(when, offset, number, Action(when, "h", "u", f"{offset}.{number}", "added", {}))


def test_streams_are_merged_by_time() -> None:
    """Actions come by time, whatever the parcels' order; equal times by stream, each in its order."""
    late = Parcel(2, "b", "B", [entry(5, 0), entry(7, 9)])
    early = Parcel(1, "a", "A", [entry(5, 3), entry(5, 4, 1), entry(6, 8)])
    expected = ["A:3", "A:4:1", "B:0", "A:8", "B:9"]
    assert [event for _, event, _ in in_order([late, early])] == expected
    assert [event for _, event, _ in in_order([early, late])] == expected
