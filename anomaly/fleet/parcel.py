"""Actions of one key on their way from whoever parsed them to whoever scores them, as bytes.

A row for each action would cost Spark more than scoring does; so actions of one key and one file travel together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from anomaly.osquery import Action


class Entry(NamedTuple):
    """One action, and its place."""

    when: int
    """The latest time of its key in the stream so far, in seconds since 1970 UTC: it never goes back."""
    offset: int
    """Where its line is."""
    number: int
    """Which of the line's actions it is, from 0."""
    action: Action


class Parcel(msgspec.Struct, array_like=True):
    """Actions of one key, in the order of their stream."""

    rank: int
    """Which of two streams comes first where times are equal: when the file was written, in microseconds."""
    stream: str
    """The file's address, or topic and partition."""
    file: str
    """What the ids of its events begin with."""
    entries: list[Entry]


Dated = tuple[int, str, Action]
"""When, the event's id, and the action."""

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Parcel)
_PLAIN, _ESCAPED = b"m", b"j"


def pack(parcel: Parcel) -> bytes:
    """Return it as bytes, also where a text holds half a character."""
    try:
        return _PLAIN + _ENCODER.encode(parcel)
    except UnicodeEncodeError:
        return _ESCAPED + json.dumps(msgspec.to_builtins(parcel)).encode("ascii")


def unpack(data: bytes) -> Parcel:
    """Undo :func:`pack`."""
    if data[:1] == _PLAIN:
        return _DECODER.decode(memoryview(data)[1:])
    return msgspec.convert(json.loads(data[1:]), Parcel)


def in_order(parcels: Iterable[Parcel]) -> list[Dated]:
    """Return all actions with time and event id: by time, and as they stand in their streams where it is equal.

    Within a stream the order is never changed: ``when`` does not go back there.
    """
    rows = [
        (entry.when, parcel.rank, parcel.stream, entry.offset, entry.number, parcel, entry)
        for parcel in parcels
        for entry in parcel.entries
    ]
    rows.sort(key=lambda row: row[:5])
    return [dated(row[5], row[6]) for row in rows]


def dated(parcel: Parcel, entry: Entry) -> Dated:
    """Return an entry as it is scored."""
    when, offset, number, action = entry
    return when, f"{parcel.file}:{offset}:{number}" if number else f"{parcel.file}:{offset}", action
