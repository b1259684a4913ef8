"""What a checkpoint holds: where the reader stopped and what the scorer knew there; its name, and its JSON."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from anomaly.sources.interface import Position

SCHEMA = 1

_BLOCK = 1 << 18


class Checkpoint(msgspec.Struct):
    """Where reading goes on, and the state of scoring at that place."""

    log: str
    """Path of the log, for people."""
    position: Position
    identities: dict[str, Any] = {}
    """The pairs of numbers and names of users that the log has shown."""
    alerts: msgspec.Raw = msgspec.Raw(b"{}")
    """State of the alerting, as JSON that only it knows."""
    feedback: list[str] = []
    """What people said of alerts and was taken over."""
    users: dict[str, msgspec.Raw] = {}
    """State of the scorer of each user, as JSON; only the scorer knows what is in it."""
    schema: int = SCHEMA


def selection(user: str | None) -> str:
    """Say who is watched: one user, or None for all of them.

    >>> selection("alice"), selection(None)
    ('user alice', 'all users')
    """
    return "all users" if user is None else f"user {user}"


def checkpoint_name(log: Path, selection: str) -> str:
    """Return the name of the checkpoint for a log and the users selected from it.

    The directory is resolved and the file is not: a log that is a symbolic link to today's file has one
    checkpoint, not one a day.

    >>> checkpoint_name(Path("/var/log/osquery/osqueryd.results.log"), "alice")
    'osqueryd.results.log-fa6c44ad1db6d4f1'
    """
    place = log.parent.resolve() / log.name
    key = os.fsencode(place) + b"\0" + selection.encode("utf-8", "surrogatepass")
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", log.name)[:64].lstrip(".-") or "log"
    return f"{readable}-{hashlib.sha256(key).hexdigest()[:16]}"


def decoded(data: bytes) -> Checkpoint:
    """Read a checkpoint; ValueError or RecursionError where it is none, or another program's."""
    checkpoint = msgspec.json.decode(data, type=Checkpoint)
    if checkpoint.schema != SCHEMA:
        raise ValueError(f"it has schema {checkpoint.schema}, this program writes {SCHEMA}")
    return checkpoint


def pieces(checkpoint: Checkpoint, users: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """Give a checkpoint as JSON, with more users in it, by blocks that are worth a write each."""
    return _blocks(_parts(checkpoint, users))


def _parts(checkpoint: Checkpoint, users: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    begin, place, end = msgspec.json.encode(checkpoint).rpartition(b'},"schema":')
    yield begin
    comma = b"," if checkpoint.users else b""
    for name, state in users:
        yield b"%b%b:" % (comma, msgspec.json.encode(name))
        yield state
        comma = b","
    yield place + end


def _blocks(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Join pieces: a call of the system for each would cost more than the writing."""
    block: list[bytes] = []
    size = 0
    for piece in parts:
        block.append(piece)
        size += len(piece)
        if size >= _BLOCK:
            yield b"".join(block)
            block, size = [], 0
    yield b"".join(block)
