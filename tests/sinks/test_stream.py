from __future__ import annotations

import io
from collections.abc import Callable

import msgspec

from anomaly.records import Alert
from anomaly.sinks.formats import encoder
from anomaly.sinks.stream import StreamSink


def test_writes_and_leaves_open(alerts: Callable[[int], list[Alert]]) -> None:
    """The alerts are written as the format has them, and the stream stays open."""
    stream = io.StringIO()
    sink = StreamSink(stream, encoder("text"))
    sink.write(alerts(2))
    sink.close()
    assert stream.getvalue().count("alice on ws1") == 2


def test_an_ascii_stream_takes_any_alert(alert: Alert) -> None:
    """A character that the stream's encoding lacks is written as an escape."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    StreamSink(stream, encoder("text")).write([msgspec.structs.replace(alert, user="müller")])
    assert b"m\\xfcller on ws1" in raw.getvalue()
