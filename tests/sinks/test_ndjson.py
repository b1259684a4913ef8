from __future__ import annotations

import io
import json
from collections.abc import Callable
from importlib.resources import files
from math import inf, isfinite, nan
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from anomaly.records import Reason, ReasonKind, Score, Severity
from anomaly.sinks.ndjson import SCHEMA, NdjsonSink, encode, timestamp

_SCHEMA: dict[str, Any] = json.loads(files("anomaly.sinks").joinpath("score.schema.json").read_bytes())
_VALID = Draft202012Validator(_SCHEMA)


def number(value: float | None) -> float | None:
    """Give a figure as JSON can have it."""
    if value is None or not isfinite(value):
        return None
    # Between two four-decimal numbers either neighbour is right; so large numbers have no fourth decimal.
    return round(value * 10_000) / 10_000 if abs(value) < 1e11 else value


def expected(score: Score) -> dict[str, object]:
    """Give what the line of a score says, as the schema describes it."""
    action, model = score.action, score.model
    return {
        "schema": 1,
        "id": score.id,
        "time": timestamp(action.time),
        "user": action.user,
        "host": action.host,
        "query": action.query,
        "action": action.verb,
        "score": number(score.score),
        "risk": number(score.risk),
        "severity": score.severity.value,
        "surprise": number(score.surprise),
        "baseline": action.baseline,
        "model": {"algorithm": model.algorithm, "version": model.version, "state": model.state},
        "reasons": [
            {"kind": reason.kind.value, "field": reason.field, "value": reason.value}
            | {
                "expected": list(reason.expected),
                "seen": reason.seen,
                "of": reason.of,
                "bits": number(reason.bits),
            }
            for reason in score.reasons
        ],
        "columns": action.columns,
    }


def test_record(scan: Score) -> None:
    """A score becomes exactly the object that the architecture promises."""
    assert json.loads(encode([scan])) == {
        "schema": 1,
        "id": "9f2c:18230",
        "time": "2026-11-02T02:13:44Z",
        "user": "alice",
        "host": "ws1",
        "query": "shell_history",
        "action": "added",
        "score": 37.24,
        "risk": 12.5,
        "severity": "warning",
        "surprise": 21.4,
        "baseline": False,
        "model": {"algorithm": "LSTM", "version": 7, "state": "ready"},
        "reasons": [
            {"kind": "new_value", "field": "command", "value": "nmap", "expected": ["ls", "git"]}
            | {"seen": 0, "of": 12034, "bits": 13.1},
            {"kind": "unusual_hour", "field": "time", "value": "02:00 UTC", "expected": ["09:00 UTC"]}
            | {"seen": 0, "of": 12034, "bits": 11.04},
        ],
        "columns": {"username": "alice", "uid": "1000", "command": "nmap -sS 10.0.0.0/24"},
    }


def test_without_model_or_time(stranger: Score) -> None:
    """A user without a model has null figures and the state ``none``; an unknown time is null."""
    written = json.loads(encode([stranger]))
    assert [written[key] for key in ("time", "score", "risk", "surprise", "severity")] == [None] * 4 + ["none"]
    assert written["model"] == {"algorithm": None, "version": None, "state": "none"}


def test_numbers_have_four_decimals(scan: Score) -> None:
    """Figures are rounded to four decimals, and what JSON has no number for is null."""
    odd = msgspec.structs.replace(scan, score=12.345678, risk=float("nan"), surprise=float("inf"))
    written = json.loads(encode([odd]))
    assert (written["score"], written["risk"], written["surprise"]) == (12.3457, None, None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, None),
        (1, "1970-01-01T00:00:01Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (253402300799, "9999-12-31T23:59:59Z"),
        (253402300800, None),
        (10**30, None),
        (-(10**30), None),
    ],
)
def test_time(seconds: int, text: str | None) -> None:
    """Times are ISO 8601 in UTC; what the calendar does not reach is null instead of an error."""
    assert timestamp(seconds) == text


@pytest.mark.parametrize("text", ["naïve 日本 🚲", "\x1b[2J\n\r\u2028", "\udc80\ud800", "\x7f\x9b", "\\x0A\x00"])
def test_is_ascii_and_true(scan: Score, text: str) -> None:
    """A line is ASCII without a control character, and reads back as the very text of the log."""
    action = msgspec.structs.replace(scan.action, user=text, columns={text: text})
    written = encode([msgspec.structs.replace(scan, action=action)])
    assert written.endswith(b"\n")
    assert written[:-1].isascii()
    assert written[:-1].decode().isprintable()
    assert (json.loads(written)["user"], json.loads(written)["columns"]) == (text, {text: text})


@pytest.mark.parametrize("kind", [io.BytesIO, io.StringIO])
def test_one_flush_a_batch(kind: type[io.BytesIO | io.StringIO], scan: Score, stranger: Score) -> None:
    """Text and byte streams get the same lines, in order, with one flush a call; the stream stays open."""
    flushes: list[None] = []
    counting = type("Counting", (kind,), {"flush": lambda _: flushes.append(None)})
    stream = counting()
    sink = NdjsonSink(stream)
    sink.write([scan, stranger])
    sink.write([scan])
    sink.close()
    content = stream.getvalue()
    text = content.decode() if isinstance(content, bytes) else content
    assert text == b"".join(encode([score]) for score in (scan, stranger, scan)).decode()
    assert len(flushes) == 2


def test_schema_is_sound() -> None:
    """The schema is one, is strict, and knows every kind of reason and severity that the program has."""
    Draft202012Validator.check_schema(_SCHEMA)
    assert _SCHEMA["properties"]["schema"] == {"description": "Number of this format.", "const": SCHEMA}
    assert set(_SCHEMA["required"]) == set(_SCHEMA["properties"])
    assert _SCHEMA["$defs"]["reason"]["properties"]["kind"]["enum"] == list(ReasonKind)
    assert _SCHEMA["properties"]["severity"]["enum"] == list(Severity)


@pytest.mark.parametrize("name", ["scan", "baseline", "stranger"])
def test_schema_takes_what_we_write(name: str, request: pytest.FixtureRequest) -> None:
    """Every kind of score that the program writes is valid."""
    _VALID.validate(json.loads(encode([request.getfixturevalue(name)])))


@pytest.mark.parametrize(
    "change",
    [{"score": 101}, {"time": "2026-11-02"}, {"more": 1}, {"columns": {"uid": 0}}, {"severity": "high"}],
)
def test_schema_refuses_what_we_do_not(scan: Score, change: dict[str, object]) -> None:
    """A field that is unknown, out of range or of another type is invalid."""
    assert not _VALID.is_valid(json.loads(encode([scan])) | change)


@given(st.from_type(Score))
def test_every_line(score: Score) -> None:
    """Whatever the score, its line is one line of ASCII that parses back to the record and is valid."""
    written = encode([score])
    assert written.isascii()
    assert written.count(b"\n") == 1
    parsed = json.loads(written)
    assert parsed == expected(score)
    assert list(parsed) == list(expected(score))
    _VALID.validate(parsed)


@given(st.lists(st.from_type(Score), max_size=6), st.lists(st.from_type(Score), max_size=6))
def test_a_batch_is_its_parts(some: list[Score], others: list[Score]) -> None:
    """Whatever is among them, the lines of several scores are those of each, in their order."""
    assert encode([*some, *others]) == encode(some) + encode(others)
    assert encode([*some, *others]) == b"".join(encode([score]) for score in (*some, *others))


def test_no_scores_are_no_lines() -> None:
    """Of nothing there is nothing to write."""
    assert encode([]) == b""


def changed(score: Score, **columns: str) -> Score:
    """Give a score of an action with other columns."""
    return msgspec.structs.replace(score, action=msgspec.structs.replace(score.action, columns=columns))


ODD: dict[str, Callable[[Score], Score]] = {
    "a lone surrogate": lambda score: changed(score, command="\udc80"),
    "an umlaut": lambda score: changed(score, command="Müll"),
    "a bicycle": lambda score: changed(score, **{"🚲": ""}),
    "DEL": lambda score: changed(score, command="a\x7fb\x7f"),
    "DEL and a backslash": lambda score: changed(score, command="\\\x7f\\"),
    "a line feed": lambda score: changed(score, command="a\nb\r\n"),
    "no number": lambda score: msgspec.structs.replace(score, surprise=nan, score=nan),
    "endless": lambda score: msgspec.structs.replace(score, surprise=-inf, risk=inf),
    "beyond 64 bits": lambda score: msgspec.structs.replace(
        score, reasons=(*score.reasons, Reason(ReasonKind.NEW_VALUE, "uid", "0", (), 2**64, 2**70, 1.0))
    ),
    "a figure beyond 64 bits": lambda score: msgspec.structs.replace(score, surprise=2**70),
    "an age beyond any calendar": lambda score: msgspec.structs.replace(
        score, action=msgspec.structs.replace(score.action, time=10**30)
    ),
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("place", range(4))
def test_an_odd_score_leaves_the_others_alone(
    change: Callable[[Score], Score], place: int, scan: Score, baseline: Score, stranger: Score
) -> None:
    """Wherever in a batch a score is hard to write, the others' lines are what they are, and all are valid."""
    batch = [scan, baseline, stranger]
    plain = encode(batch).splitlines(keepends=True)
    odd = change(scan)
    batch.insert(place, odd)
    found = encode(batch).splitlines(keepends=True)
    assert found[:place] + found[place + 1 :] == plain
    assert found[place] == encode([odd])
    assert found[place] != encode([scan])
    for written, score in zip(found, batch, strict=True):
        assert written.isascii()
        assert b"\x7f" not in written
        parsed = json.loads(written)
        assert parsed == expected(score)
        _VALID.validate(parsed)
