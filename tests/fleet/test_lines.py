"""Lines become rows, by the parser that all else uses."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from anomaly.fleet.lines import ACTION, COUNT, PAIR, SCHEMA, Place, from_archives, from_text, pack, parse, unpack
from anomaly.osquery import Action
from anomaly.sources.interface import MAX_LINE
from tests.conftest import BEGIN, Event


def rows(batches: Iterable[pa.RecordBatch]) -> list[dict[str, Any]]:
    """Give the rows of batches; each batch has the schema that Spark is told."""
    found: list[dict[str, Any]] = []
    for batch in batches:
        assert batch.schema == SCHEMA
        found += batch.to_pylist()
    return found


def text(lines: Iterable[bytes]) -> list[pa.RecordBatch]:
    """Give lines as Spark gives them to a worker."""
    values = list(lines)
    numbers = list(range(len(values)))
    columns = {"rank": [3] * len(values), "block": [10] * len(values), "line": numbers, "value": values}
    return [pa.RecordBatch.from_pydict(columns)]


def counts(found: list[dict[str, Any]]) -> dict[str, int]:
    """Give what was counted."""
    return {row["user"].decode(): row["time"] for row in found if row["kind"] == COUNT}


def test_rows_are_the_parsers_actions(lines: list[bytes], actions: list[Action]) -> None:
    """Each action is there with its place, and nothing of it is lost."""
    found = [row for row in rows(from_text(text(lines))) if row["kind"] == ACTION]
    assert [
        (row["time"], row["host"], row["user"], row["baseline"], *unpack(row["content"])) for row in found
    ] == [(a.time, a.host.encode(), a.user.encode(), a.baseline, a.query, a.verb, a.columns) for a in actions]
    assert [(row["rank"], row["block"], row["line"], row["place"]) for row in found] == [
        (3, 10, number, 0) for number in range(len(lines))
    ]


def test_numbers_stay_numbers_and_each_pair_is_a_row(event: Event) -> None:
    """What a number is called may stand in a line that another worker reads, so nobody is renamed here."""
    numbered = event(None, uid="1000", command="ls")
    found = rows(from_text(text([numbered, event("alice"), event("bob", host="ws2"), event("alice"), numbered])))
    pairs = [(row["host"], row["user"], row["content"], row["line"]) for row in found if row["kind"] == PAIR]
    assert pairs == [(b"ws1", b"uid:1000", b"alice", 1), (b"ws2", b"uid:1001", b"bob", 2)]
    users = [row["user"] for row in found if row["kind"] == ACTION]
    assert users == [b"uid:1000", b"alice", b"bob", b"alice", b"uid:1000"]


def test_what_is_no_action_is_counted(event: Event) -> None:
    """Lines that are too long, or not results, come back as counts."""
    found = rows(from_text(text([event(), b"x", b"", b"y" * (MAX_LINE + 1), b"\xff\xfe{"])))
    assert counts(found)["lines"] == 5
    assert counts(found)["too_long"] == counts(found)["empty"] == 1
    assert sum(counts(found).values()) == 5 + 4


@pytest.mark.parametrize(("name", "compress"), [("r.gz", gzip.compress), ("r.zst", zstd.compress)])
def test_archives_are_read_as_streams(name: str, compress: Any, lines: list[bytes]) -> None:  # noqa: ANN401
    """Of one that is cut, what comes before the cut is read, and the cut is counted."""
    data = compress(b"\n".join(lines))
    for content, cut in ((data, 0), (data[: len(data) // 2], 1)):
        batch = pa.RecordBatch.from_pydict({"rank": [5], "name": [name], "content": [content]})
        found = rows(from_archives([batch]))
        acted = [row for row in found if row["kind"] == ACTION]
        assert counts(found).get("archive_errors", 0) == cut
        assert len(acted) == len(lines) or (cut and 0 <= len(acted) < len(lines))
        offsets = [sum(len(line) + 1 for line in lines[:number]) for number in range(3)]
        assert [row["line"] for row in acted[:3]] == offsets[: len(acted)]


@given(st.lists(st.binary(max_size=80)))
def test_no_line_crashes_a_worker(found: list[bytes]) -> None:
    """Each line is an action or is counted."""
    assert counts(rows(from_text(text(found)))).get("lines", 0) == len(found)


def test_half_a_surrogate_pair_is_carried() -> None:
    """JSON may hold one, and no encoding of text may."""
    value = json.dumps({"a": "\ud800", "b": "ü"})
    record = b'{"name":"q","action":"added","hostIdentifier":"\\udc00","columns":%s}' % value.encode()
    counted: Counter[str] = Counter()
    (row, *_) = rows(parse([(Place(0, 0, 0), record)], counted))
    assert row["host"].decode("utf-8", "surrogatepass") in ("\udc00", "\ufffd")
    assert unpack(row["content"])[2]["b"] == "ü"
    odd = Action(0, "h", "u", "q", "added", {"a": "\ud800"})
    assert unpack(pack(odd)) == ("q", "added", {"a": "\ud800"})


def test_a_hosts_pairs_have_an_end(event: Event) -> None:
    """Whoever writes a log cannot fill a worker's memory with names."""
    made = [event("alice", time=BEGIN + n).replace(b'"1000"', b'"%d"' % n) for n in range(1, 10_050)]
    found = rows(from_text(text(made)))
    assert sum(row["kind"] == PAIR for row in found) == 10_000
