from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.fleet import merging
from anomaly.fleet.merging import pieces
from anomaly.fleet.parcel import Entry, Parcel, in_order, pack, unpack
from anomaly.osquery import Action

LENGTHS = st.lists(st.lists(st.integers(0, 9), max_size=12), max_size=6)


def parcels(streams: list[list[int]], each: int) -> list[Parcel]:
    """Give streams whose times never go back, each as parcels of so many actions."""
    found = []
    for number, steps in enumerate(streams):
        entries, when = [], 0
        for offset, step in enumerate(steps):
            when += step // 3  # often none
            entries.append(Entry(when, offset // 2, offset % 2, Action(when, "h", "u", "q", str(number), {})))
        parts = (entries[begin : begin + each] for begin in range(0, len(entries), each))
        found += [Parcel(number % 2, f"s{number}", f"f{number}", part) for part in parts]
    return found


@given(LENGTHS, st.integers(1, 5), st.integers(0, 400), st.randoms())
def test_order_does_not_depend_on_room(streams: list[list[int]], each: int, room: int, lot: random.Random) -> None:
    """Merged from the disk in whatever order they come, actions are in the order that sorting gives."""
    given = parcels(streams, each)
    lot.shuffle(given)
    found = [one for piece in pieces(map(pack, given), room) for one in piece]
    assert found == in_order(given)


def test_what_is_merged_is_held_by_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """No piece has more actions or bytes than it may, and a parcel is opened when it is its turn alone."""
    given = [pack(one) for one in parcels([[3] * 100, [3] * 100], 10)]
    opened: list[int] = []

    def counted(data: bytes) -> Parcel:
        opened.append(len(data))
        return unpack(data)

    monkeypatch.setattr(merging, "unpack", counted)
    first = next(found := pieces(given, 0))
    assert len(first) == 1  # as much as fills no room
    assert len(opened) <= len(given) + 2  # each to be put away, and one of each stream
    assert sum(map(len, found)) == 199
    monkeypatch.setattr(merging, "PIECE", 7)
    assert {len(piece) for piece in pieces(given, sum(map(len, given)) - 1)} <= set(range(1, 8))


def test_few_are_one_piece() -> None:
    """Where there is room nothing is put on the disk; nothing gives an empty piece."""
    given = parcels([[1, 2], [3]], 1)
    assert list(pieces(map(pack, given))) == [in_order(given)]
    assert list(pieces([])) == [[]]
