"""Alerts to a stream that somebody else opened, such as standard output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from anomaly.records import Alert
from anomaly.sinks.formats import Encode
from anomaly.sinks.interface import AlertSink


class StreamSink(AlertSink):
    """Writes alerts to a text stream, and flushes once a call.

    Parameters
    ----------
    stream : IO[str]
        Where they go. It stays the caller's: ``close`` leaves it open.
    encode : callable
        What an alert looks like.
    """

    def __init__(self, stream: IO[str], encode: Encode) -> None:
        self._stream, self._encode = stream, encode
        self._encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, alerts: Sequence[Alert]) -> None:
        """Hand on the alerts; raises OSError where they cannot be."""
        text = b"".join(map(self._encode, alerts)).decode("utf-8")
        # A stream of ASCII must not stop the program at the first other character.
        self._stream.write(text.encode(self._encoding, "backslashreplace").decode(self._encoding))
        self._stream.flush()
