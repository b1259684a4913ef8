"""A topic of Kafka as a data source in Python, by confluent-kafka: for where Spark's own connector was not given.

The driver asks brokers which offsets there are, and each task reads the offsets that it was given; no group is
needed, and how far a query came stands in Spark's checkpoint alone. A table is told its offsets beforehand.
Several processes of Python start with this module, so it imports little.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceReader, DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import ReadAllAvailable, ReadLimit, ReadMaxRows, SupportsTriggerAvailableNow

from anomaly.errors import StateError

MOST = 100_000
"""Messages of one batch."""

PATIENCE = 30.0
"""Seconds that a broker may take to answer."""

_MESSAGE = "partition int, offset long, value binary"
_READ = pa.schema([("partition", pa.int32()), ("offset", pa.int64()), ("value", pa.binary())])
_ROWS = 1000
_WAIT = 0.5


class KafkaSource(DataSource):
    """A topic, by confluent-kafka; options ``servers`` and ``topic`` (Spark hands names on in lower case).

    Of a table, ``spans`` is which offsets it has: :meth:`Reader.spans` as JSON.
    """

    @classmethod
    def name(cls) -> str:
        """Return what the format is called."""
        return "anomaly_kafka"

    def schema(self) -> str:
        """Return the columns."""
        return _MESSAGE

    def streamReader(self, schema: Any) -> DataSourceStreamReader:  # noqa: ANN401, ARG002, N802 - Spark's
        """Return what reads a stream."""
        return self._reader()

    def reader(self, schema: Any) -> DataSourceReader:  # noqa: ANN401, ARG002 - Spark's
        """Return what reads a table."""
        return TableReader(self._reader(), [Span(*span) for span in json.loads(self.options["spans"])])

    def _reader(self) -> Reader:
        return Reader(str(self.options["servers"]), str(self.options["topic"]))


class Span(InputPartition):
    """Offsets of one partition that a task reads: from ``begin``, up to ``end`` without it."""

    def __init__(self, partition: int, begin: int, end: int) -> None:
        super().__init__(partition)
        self.partition, self.begin, self.end = partition, begin, end


class Reader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Says which offsets there are, and reads them.

    Parameters
    ----------
    servers, topic
        Brokers, and the topic's name.
    """

    def __init__(self, servers: str, topic: str) -> None:
        self._servers, self._topic = servers, topic
        self._target: dict[str, int] | None = None

    def initialOffset(self) -> dict[str, int]:  # noqa: N802 - Spark's
        """Return where each partition begins."""
        return {partition: low for partition, (low, _) in self._ends().items()}

    def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802 - Spark's
        """Take note where each partition ends."""
        self._target = {partition: high for partition, (_, high) in self._ends().items()}

    def getDefaultReadLimit(self) -> ReadLimit:  # noqa: N802 - Spark's
        """Return how many messages a batch may have."""
        return ReadMaxRows(MOST)

    def latestOffset(self, start: dict[str, int], limit: ReadLimit) -> dict[str, int]:  # noqa: N802 - Spark's
        """Return how far the next batch goes; a partition that is new begins at its beginning."""
        ends = {partition: high for partition, (_, high) in self._ends().items()}
        target = ends if self._target is None else {p: min(end, self._target.get(p, 0)) for p, end in ends.items()}
        lows = {partition: start.get(partition, 0) for partition in target}
        if isinstance(limit, ReadAllAvailable) or not target:
            return {partition: max(end, lows[partition]) for partition, end in target.items()}
        share = max(MOST // len(target), 1)
        return {p: max(min(end, lows[p] + share), lows[p]) for p, end in target.items()}

    def partitions(self, start: dict[str, int], end: dict[str, int]) -> list[Span]:
        """Return what tasks are to read."""
        spans = [Span(int(partition), start.get(partition, 0), to) for partition, to in end.items()]
        return [span for span in spans if span.begin < span.end]

    def spans(self, most: int) -> list[tuple[int, int, int]]:
        """Return all offsets that there are now, in parts of so many at most, each as :class:`Span` has it."""
        return [
            (int(partition), begin, min(begin + most, end))
            for partition, (low, end) in sorted(self._ends().items(), key=lambda entry: int(entry[0]))
            for begin in range(low, end, most)
        ]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Read a task's messages; raises StateError where they do not come."""
        assert isinstance(partition, Span)  # noqa: S101 - of our own
        from confluent_kafka import TopicPartition  # noqa: PLC0415 - an extra

        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(self._topic, partition.partition, partition.begin)])
            place, heard = partition.begin, time.monotonic()
            while place < partition.end:
                rows: list[tuple[int, int, bytes]] = []
                # It waits until so many have come, or its time is over: with gaps that is always the second.
                for message in consumer.consume(min(_ROWS, partition.end - place), _WAIT):
                    if message.error() is not None:
                        raise StateError(f"Kafka's topic {self._topic}: {message.error()}.")
                    place = message.offset() + 1
                    if message.offset() < partition.end:
                        rows.append((partition.partition, message.offset(), message.value() or b""))
                if rows:
                    heard = time.monotonic()
                elif time.monotonic() - heard > PATIENCE:
                    place = self._beyond(consumer, partition, place)
                if rows:
                    columns = zip(*rows, strict=True)
                    arrays = [pa.array(column, one.type) for column, one in zip(columns, _READ, strict=True)]
                    yield pa.RecordBatch.from_arrays(arrays, schema=_READ)
        finally:
            consumer.close()

    def _beyond(self, consumer: Any, span: Span, place: int) -> int:  # noqa: ANN401 - untyped
        """Return where reading goes on where nothing came: after what was deleted or is no message, or nowhere."""
        from confluent_kafka import TopicPartition  # noqa: PLC0415 - an extra

        low, _ = consumer.get_watermark_offsets(TopicPartition(self._topic, span.partition), PATIENCE)
        (at,) = consumer.position([TopicPartition(self._topic, span.partition)])
        further = max(low, at.offset, place)
        if further == place:
            raise StateError(
                f"Kafka's topic {self._topic} gives nothing from offset {place} of {span.partition} on."
            )
        return int(further)

    def _ends(self) -> dict[str, tuple[int, int]]:
        """Return of each partition its first offset, and the one after its last."""
        from confluent_kafka import KafkaException, TopicPartition  # noqa: PLC0415 - an extra

        consumer = self._consumer()
        try:
            found = consumer.list_topics(self._topic, PATIENCE).topics[self._topic]
            if found.error is not None:
                raise StateError(f"Kafka's topic {self._topic} cannot be read: {found.error}.")
            return {
                str(number): consumer.get_watermark_offsets(TopicPartition(self._topic, number), PATIENCE)
                for number in found.partitions
            }
        except KafkaException as error:
            raise StateError(f"Kafka's broker {self._servers} cannot be asked: {error}.") from error
        finally:
            consumer.close()

    def _consumer(self) -> Any:  # noqa: ANN401 - untyped
        from confluent_kafka import Consumer  # noqa: PLC0415 - an extra

        settings = {
            "bootstrap.servers": self._servers,
            "group.id": "anomaly",  # it must have one; nothing is committed to it
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "log_level": 2,
        }
        return Consumer(settings)


class TableReader(DataSourceReader):
    """Reads offsets that were chosen before."""

    def __init__(self, reader: Reader, spans: list[Span]) -> None:
        self._reader, self._spans = reader, spans

    def partitions(self) -> list[Span]:
        """Return what tasks are to read."""
        return self._spans

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Read a task's messages; raises StateError where they do not come."""
        return self._reader.read(partition)
