"""Scores as JSON, one line each: the format for programs, described by ``score.schema.json`` beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from math import isfinite
from typing import IO, cast

import msgspec

from anomaly.records import ModelRef, Reason, Score, Severity
from anomaly.sinks.interface import Sink

SCHEMA = 1
"""Number of the format; a change that could break a reader raises it."""

_SCALE = 1e4
_LARGE = 1e11  # from which on a number has no four decimals to be rounded to


class NdjsonSink(Sink):
    """Writes one ASCII line of JSON a score, and flushes once a batch.

    Parameters
    ----------
    stream : IO[str] or IO[bytes]
        Where the lines go. It stays the caller's: ``close`` leaves it open.
    """

    def __init__(self, stream: IO[str] | IO[bytes]) -> None:
        self._stream = stream
        # Text streams name an encoding, StringIO included, byte streams do not.
        self._is_text = hasattr(stream, "encoding")

    def write(self, scores: Sequence[Score]) -> None:
        """Hand on the scores; raises OSError where they cannot be."""
        lines = encode(scores)
        if self._is_text:
            cast("IO[str]", self._stream).write(lines.decode("ascii"))
        else:
            cast("IO[bytes]", self._stream).write(lines)
        self._stream.flush()


class _Record(msgspec.Struct, frozen=True, gc=False):
    """What the line of a score says, in the order it says it."""

    schema: int
    id: str
    time: str | None
    user: str
    host: str
    query: str
    action: str
    score: float | None
    risk: float | None
    severity: Severity
    surprise: float | None
    baseline: bool
    model: ModelRef
    reasons: list[dict[str, object]]
    columns: dict[str, str]


_ENCODER = msgspec.json.Encoder()


def encode(scores: Sequence[Score]) -> bytes:
    r"""Encode scores as lines: ASCII only, no control character but the ``\n`` at the end of each.

    Numbers are rounded to four decimals; what is no finite number is null, since JSON knows neither NaN nor
    infinity.
    """
    records = [_record(score) for score in scores]
    try:
        encoded = _ENCODER.encode_lines(records)
    except (ValueError, OverflowError):  # a lone surrogate, or an integer beyond 64 bits
        encoded = b""
    if (records and not encoded) or not encoded.isascii():
        encoded = b"".join(map(_line, records))
    # JSON lets DEL stand unescaped; inside a string is the only place where it can be.
    return encoded.replace(b"\x7f", b"\\u007f") if b"\x7f" in encoded else encoded


def _line(record: _Record) -> bytes:
    try:
        encoded = _ENCODER.encode(record)
    except (ValueError, OverflowError):
        encoded = b""
    if not encoded or not encoded.isascii():
        # Several times slower, and rare: it escapes what msgspec writes as UTF-8 or refuses.
        content = msgspec.structs.asdict(record) | {"model": msgspec.structs.asdict(record.model)}
        encoded = json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii")
    return encoded + b"\n"


def _record(score: Score) -> _Record:
    action = score.action
    return _Record(
        SCHEMA,
        score.id,
        timestamp(action.time),
        action.user,
        action.host,
        action.query,
        action.verb,
        _rounded(score.score),
        _rounded(score.risk),
        score.severity,
        _rounded(score.surprise),
        action.baseline,
        score.model,
        [reason_object(reason) for reason in score.reasons] if score.reasons else [],
        action.columns,
    )


def timestamp(seconds: int) -> str | None:
    """Write a time of the log in ISO 8601, or None for 0 (unknown) and for what no calendar can show.

    >>> timestamp(1793585624)
    '2026-11-02T02:13:44Z'
    """
    if seconds == 0:
        return None
    minute = _minute(seconds // 60)
    return None if minute is None else minute + _SECONDS[seconds % 60]


_SECONDS = [f"{second:02d}Z" for second in range(60)]


@lru_cache(256)  # what stands together in a log happened together
def _minute(minutes: int) -> str | None:
    """Write all but the seconds of a time, given in minutes since 1970 UTC."""
    try:
        # Without its offset, which is always +00:00 here.
        return datetime.fromtimestamp(minutes * 60, UTC).isoformat()[:17]
    except (OverflowError, ValueError, OSError):
        return None


def reason_object(reason: Reason) -> dict[str, object]:
    """Give a reason as JSON has it."""
    return {
        "kind": reason.kind.value,
        "field": reason.field,
        "value": reason.value,
        "expected": list(reason.expected),
        "seen": reason.seen,
        "of": reason.of,
        "bits": _rounded(reason.bits),
    }


def _rounded(value: float | None) -> float | None:
    # round(value, 4) goes by way of decimal digits, and takes four times as long.
    if value is None or -_LARGE < value < _LARGE:
        return value if value is None else round(value * _SCALE) / _SCALE
    return value if isfinite(value) else None
