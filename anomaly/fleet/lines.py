"""From lines to rows that Spark can deal out: what a worker does first.

A row is an action with its place in the log; the name that goes with a user's number may stand in a line that
another worker reads. So here nobody is named by a number's name: each pair of number and name becomes a row too,
and of several pairs the first in the log counts in the end, as it does for a reader that reads alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa

from anomaly.identity import NUMBER, Identities, capped
from anomaly.osquery import Action, Parser, Skipped
from anomaly.sources.compressed import BROKEN, decompressor_of
from anomaly.sources.interface import MAX_LINE
from anomaly.sources.lines import LineSplitter

PAIR, ACTION, COUNT = 0, 1, 2
"""Kinds of rows: a number's name, an action, how many lines were skipped for a reason."""

SCHEMA = pa.schema(
    [
        ("kind", pa.int8()),
        ("host", pa.binary()),
        ("user", pa.binary()),  # of a pair: uid:NUMBER; of a count: the reason
        ("time", pa.int64()),  # of a count: how many
        ("baseline", pa.bool_()),
        ("rank", pa.int32()),  # by (rank, block, line, place) a log is in its order
        ("block", pa.int64()),
        ("line", pa.int64()),
        ("place", pa.int32()),
        ("content", pa.binary()),  # of a pair: the name; of an action: see pack()
    ]
)
"""Names are UTF-8 that may hold half a surrogate pair, as JSON may: bytes for Spark."""

ROWS = (
    "kind tinyint, host binary, user binary, time bigint, baseline boolean, rank int, block bigint, line bigint,"
    " place int, content binary"
)
"""The same for Spark."""

LINES, TOO_LONG, CUT = "lines", "too_long", "archive_errors"
"""Counts besides the parser's reasons: lines read, lines too long, archives that end before their end."""

_BATCH = 4096
_CHUNK = 1 << 20
_PAIRS = 10_000  # of one host at most: as many as a reader keeps
_TEXT = ("utf-8", "surrogatepass")
_JSON = b"["


class Place(NamedTuple):
    """Where a line stands: files by rank, blocks within a file, lines within a block."""

    rank: int
    block: int
    line: int


class Witness(Identities):
    """Takes note of numbers and their names, in turn, and names nobody."""

    def __init__(self) -> None:
        super().__init__(hostname="", lookup=lambda _: None)
        self._known: dict[str, Identities] = {}
        self.news: list[tuple[str, str, str]] = []
        """Host, number and name of each pair that is new here; whoever reads it empties it."""

    def learn(self, host: str, uid: str, name: str) -> None:
        """Take note of a pair, unless the number has a name on this host."""
        known = self._known.get(host)
        if known is None:
            known = self._known[host] = Identities(hostname="", lookup=lambda _: None, limit=_PAIRS)
        before = known.name(host, uid)
        known.learn(host, uid, name)
        if known.name(host, uid) != before:
            self.news.append((host, uid, capped(name)))

    def name(self, host: str, uid: str) -> str:  # noqa: ARG002 - as its base class
        """Return the number: its name may be known elsewhere."""
        return capped(f"{NUMBER}{uid}")


def parse(lines: Iterable[tuple[Place, bytes]], counts: Counter[str]) -> Iterator[pa.RecordBatch]:
    """Parse lines, in any order, into rows of :data:`SCHEMA`; ``counts`` are added at the end, as rows."""
    witness = Witness()
    parser = Parser(witness)
    rows = _Rows()
    for place, line in lines:
        counts[LINES] += 1
        if len(line) > MAX_LINE:
            counts[TOO_LONG] += 1
            continue
        parsed = parser.parse(line)
        if witness.news:
            for number, (host, uid, name) in enumerate(witness.news):
                rows.add(PAIR, host, f"{NUMBER}{uid}", 0, False, *place, number, name.encode(*_TEXT))  # noqa: FBT003
            witness.news.clear()
        if isinstance(parsed, Skipped):
            counts[parsed.reason.value] += 1
            continue
        for number, action in enumerate(parsed):
            rows.add(ACTION, action.host, action.user, action.time, action.baseline, *place, number, pack(action))
        if len(rows) >= _BATCH:
            yield rows.take()
    for reason, count in counts.items():
        rows.add(COUNT, "", reason, count, False, 0, 0, 0, 0, b"")  # noqa: FBT003 - no baseline
    yield rows.take()


def from_text(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Parse batches of (rank, block, line, value): lines that Spark has cut."""
    return parse(_lines(batches), Counter())


def from_archives(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Parse batches of (rank, name, content): whole archives, of which the name says how they are compressed."""
    counts: Counter[str] = Counter()
    return parse(_unpacked(batches, counts), counts)


def pack(action: Action) -> bytes:
    """Return what an action reports, without who did it and when."""
    content = action.query, action.verb, action.columns
    try:
        return msgspec.msgpack.encode(content)
    except UnicodeEncodeError:  # half a surrogate pair; it is rare, and JSON can carry it
        return json.dumps(content).encode()


def unpack(content: bytes) -> tuple[str, str, dict[str, str]]:
    """Undo :func:`pack`."""
    if content.startswith(_JSON):
        query, verb, columns = json.loads(content)
        return query, verb, columns
    return _decode(content)


_decode = msgspec.msgpack.Decoder(tuple[str, str, dict[str, str]]).decode


class _Rows:
    """Rows that wait, column by column."""

    def __init__(self) -> None:
        self._columns: list[list[object]] = [[] for _ in SCHEMA]

    def __len__(self) -> int:
        return len(self._columns[0])

    def add(
        self,
        kind: int,
        host: str,
        user: str,
        time: int,
        baseline: bool,  # noqa: FBT001 - a column
        rank: int,
        block: int,
        line: int,
        place: int,
        content: bytes,
    ) -> None:
        row = kind, host.encode(*_TEXT), user.encode(*_TEXT), time, baseline, rank, block, line, place, content
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)

    def take(self) -> pa.RecordBatch:
        arrays = [pa.array(column, field.type) for column, field in zip(self._columns, SCHEMA, strict=True)]
        for column in self._columns:
            column.clear()
        return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _lines(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[Place, bytes]]:
    for batch in batches:
        rank, block, line, value = (column.to_pylist() for column in batch.columns)
        for row in zip(rank, block, line, value, strict=True):
            yield Place(*row[:3]), row[3]


def _unpacked(batches: Iterable[pa.RecordBatch], counts: Counter[str]) -> Iterator[tuple[Place, bytes]]:
    for batch in batches:
        for rank, name, content in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            splitter = LineSplitter(counters=counts)
            stream = decompressor_of(Path(name).suffix, BytesIO(content))
            while True:
                try:
                    chunk = stream.read1(_CHUNK)
                except BROKEN:  # what was read before the broken place counts
                    counts[CUT] += 1
                    break
                if not chunk:
                    break
                for line in splitter.feed(chunk, ""):
                    yield Place(rank, 0, line.offset), line.data
            last = splitter.finish("")
            if last is not None:
                yield Place(rank, 0, last.offset), last.data
