"""Spark's side of a worker: tables of parcels in, tables of lines and counts out, and state in Spark's store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from pyspark.sql.streaming.stateful_processor import StatefulProcessor, StatefulProcessorHandle
from pyspark.sql.types import BinaryType, LongType, StringType, StructField, StructType

from anomaly.errors import LogMissing, LogUnreadable
from anomaly.fleet.merging import pieces
from anomaly.fleet.opening import open_log
from anomaly.fleet.reading import MISSING, MODEL, UNREADABLE, Row, read_file
from anomaly.fleet.state import Mark, Memory, Outcome, alarming
from anomaly.fleet.worker import Order, Worker, worker
from anomaly.records import Score
from anomaly.renewal import shown
from anomaly.sinks.ndjson import encode

if TYPE_CHECKING:
    from pyspark.sql.streaming.stateful_processor import ValueState

    from anomaly.fleet.parcel import Dated

PARSED = "key string, parcel binary, reason string, count long, file string"
"""Table of what was parsed: :class:`anomaly.fleet.reading.Row`."""

COUNTS = ("actions", "shown", "alarming", "strangers", "refused", "late")
"""What is counted of actions."""

SCORED = "lines string, counts string"
"""Table of what was scored: lines of JSON, many in one row, and ``COUNTS`` in one text, after which whose model is
refused, and why.

A table of pandas is made for each key, and each of its columns takes as long as five actions.
"""

_LINES = 2048
_ARROW = pa.schema(
    [
        ("key", pa.string()),
        ("parcel", pa.binary()),
        ("reason", pa.string()),
        ("count", pa.int64()),
        ("file", pa.string()),
    ]
)
# As objects: what a text means the JVM would be asked in each task.
_PLACE = StructType(
    [
        StructField("stamp", StringType()),
        StructField("newest", LongType()),
        StructField("standing", BinaryType()),
        StructField("window", BinaryType()),
    ]
)
_LEARNED = StructType([StructField("learned", BinaryType())])


class ReadFiles:
    """Parses files: what ``mapInArrow`` is given. Spark carries it to the workers.

    Where Spark has not given a file's content, the worker opens it itself: as :func:`open_log` does in ``root``.
    """

    def __init__(self, order: Order, root: str | None = None) -> None:
        self._order, self._root = order, root

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Take tables of files, and give tables of parcels."""
        here = worker(self._order)
        for batch in batches:
            columns = batch.column("path"), batch.column("modified"), batch.column("content")
            for row in zip(*columns, strict=True):
                yield from tables(_file(here, self._root, *(value.as_py() for value in row)))


def _file(here: Worker, root: str | None, path: str, modified: int, content: bytes | None) -> Iterator[Row]:
    try:
        file = open_log(path, root) if content is None else BytesIO(content)
    except (LogMissing, LogUnreadable) as error:  # nothing will change that: the query goes on
        yield Row(None, None, MISSING if isinstance(error, LogMissing) else UNREADABLE, 1, path)
        return
    with file:
        yield from read_file(file, path, modified, here.parser, here.key)


def tables(rows: Iterable[Row]) -> Iterator[pa.RecordBatch]:
    """Give rows as tables of some megabytes at most."""
    held: list[Row] = []
    size = 0
    for row in rows:
        held.append(row)
        size += len(row.parcel or b"")
        if size > 1 << 22:
            yield _table(held)
            held, size = [], 0
    if held:
        yield _table(held)


def _table(rows: Sequence[Row]) -> pa.RecordBatch:
    columns = [list(column) for column in zip(*rows, strict=True)]
    return pa.RecordBatch.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, _ARROW, strict=True)], schema=_ARROW
    )


class _Values(Memory):
    """The state of the key at hand, in Spark's store; few values, since each takes a call of the JVM."""

    def __init__(self, handle: StatefulProcessorHandle) -> None:
        self._place: ValueState = handle.getValueState("place", _PLACE)
        self._learned: ValueState = handle.getValueState("learned", _LEARNED)
        self._found: Any = None

    def mark(self) -> Mark | None:
        self._found = self._place.get()
        return Mark(str(self._found[0]), int(self._found[1])) if self._found else None

    def standing(self) -> tuple[bytes, bytes] | None:
        return (bytes(self._found[2]), bytes(self._found[3])) if self._found else None

    def learned(self) -> bytes | None:
        found = self._learned.get()
        return bytes(found[0]) if found else None

    def write(self, mark: Mark, standing: bytes, window: bytes, learned: bytes | None) -> None:
        self._place.update((mark.stamp, mark.newest, standing, window))
        if learned is not None:
            self._learned.update((learned,))


class Processor(StatefulProcessor):
    """Scores the actions of each key in turn: what ``transformWithStateInPandas`` is given."""

    def __init__(self, order: Order) -> None:
        self._order = order

    def init(self, handle: StatefulProcessorHandle) -> None:
        """Take over the task's state."""
        self._memory = _Values(handle)
        self._here = worker(self._order)
        self._shown = shown(self._order.least)

    def handleInputRows(  # noqa: N802 - Spark's name
        self,
        key: Any,  # noqa: ANN401 - Spark's
        rows: Iterator[pd.DataFrame],
        timerValues: Any,  # noqa: ANN401, ARG002, N803 - Spark's
    ) -> Iterator[pd.DataFrame]:
        """Score a batch of one key."""
        packed = (bytes(data) for table in rows for data in table["parcel"])
        for actions in pieces(packed):
            yield from self._score(str(key[0]), actions)

    def _score(self, name: str, actions: Sequence[Dated]) -> Iterator[pd.DataFrame]:
        desk = self._here.desk
        if name.startswith(MODEL):
            outcome = desk.score(name.removeprefix(MODEL), actions, self._memory)
            strangers = 0
        else:
            outcome = Outcome(desk.strangers(actions), 0, 0)
            strangers = len(actions)
        told = [score for score in outcome.scores if self._shown(score)]
        counts = len(actions), len(told), alarming(outcome.scores), strangers, outcome.refused, outcome.late
        figures = " ".join(map(str, counts))
        if outcome.refused:
            figures += f" {desk.models.refusal(name.removeprefix(MODEL))}"
        yield from _scored(told, figures)

    def close(self) -> None:
        """Do nothing: what the process holds, the next task may use."""


def _scored(told: Sequence[Score], figures: str) -> Iterator[pd.DataFrame]:
    """Give lines by pieces; the counts come with the first."""
    pieces = [told[begin : begin + _LINES] for begin in range(0, len(told), _LINES)] or [[]]
    for number, piece in enumerate(pieces):
        lines = encode(piece).decode("ascii").rstrip("\n") if piece else None
        yield pd.DataFrame({"lines": [lines], "counts": [figures if not number else None]}, dtype=object)
