"""The order of a key's actions where they are more than a worker should hold: merged from the disk, by pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from tempfile import TemporaryFile
from typing import BinaryIO, NamedTuple

from anomaly.fleet.parcel import Dated, Parcel, dated, in_order, unpack

ROOM = 32 << 20
"""Bytes of one key's packed parcels that are held; of more, all are put on the disk."""

PIECE = 8192
"""Actions of one piece of what was merged, at most."""

_Place = tuple[int, int, str, int, int]


class _Stored(NamedTuple):
    """A parcel on the disk."""

    first: _Place
    begin: int
    """Where in the file; no two are equal, so that no more is ever compared."""
    size: int


def pieces(packed: Iterable[bytes], room: int = ROOM) -> Iterator[list[Dated]]:
    """Give the actions of packed parcels in order, as :func:`anomaly.fleet.parcel.in_order` does.

    All at once where they are few. Of more than ``room`` bytes no more are in memory than one parcel of each
    stream, and a piece: a stream's parcels follow one another in its order.
    """
    held: list[bytes] = []
    size = 0
    rest = iter(packed)
    for data in rest:
        held.append(data)
        size += len(data)
        if size > room:
            yield from _merged(held, rest, room // 4)
            return
    yield in_order(map(unpack, held))


def _merged(held: list[bytes], rest: Iterator[bytes], room: int) -> Iterator[list[Dated]]:
    with TemporaryFile() as file:
        stored = sorted([*_put(file, iter(held)), *_put(file, rest)], reverse=True)
        held.clear()
        piece: list[Dated] = []
        taken = 0
        for parcel, at, size in _in_turn(file, stored):
            piece.append(dated(parcel, parcel.entries[at]))
            taken += size
            if len(piece) >= PIECE or taken >= room:
                yield piece
                piece, taken = [], 0
        if piece:
            yield piece


def _put(file: BinaryIO, packed: Iterator[bytes]) -> Iterator[_Stored]:
    for data in packed:
        parcel = unpack(data)
        if parcel.entries:
            yield _Stored(_place(parcel, 0), file.tell(), len(data))
            file.write(data)


def _in_turn(file: BinaryIO, stored: list[_Stored]) -> Iterator[tuple[Parcel, int, int]]:
    """Give entries in order, as parcel, number and mean size; a parcel is read when its first one is next.

    What is stored comes last first.
    """
    opened: list[tuple[_Place, _Stored, Parcel, int]] = []
    while opened or stored:
        while stored and (not opened or stored[-1].first <= opened[0][0]):
            one = stored.pop()
            file.seek(one.begin)
            heappush(opened, (one.first, one, unpack(file.read(one.size)), 0))
        _, one, parcel, at = heappop(opened)
        yield parcel, at, one.size // len(parcel.entries)
        if at + 1 < len(parcel.entries):
            heappush(opened, (_place(parcel, at + 1), one, parcel, at + 1))


def _place(parcel: Parcel, at: int) -> _Place:
    entry = parcel.entries[at]
    return entry.when, parcel.rank, parcel.stream, entry.offset, entry.number
