"""Kafka on both sides of a query: messages in, parsed each as a line, and scores out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from anomaly.errors import StateError
from anomaly.fleet.addresses import Topic, check_client, topic
from anomaly.fleet.kafka_source import MOST, PATIENCE, KafkaSource
from anomaly.fleet.processor import PARSED, tables
from anomaly.fleet.reading import Gathering, Row, add_line
from anomaly.fleet.worker import Order, worker

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from anomaly.fleet.score import Asked


def parse_topic(spark: SparkSession, asked: Asked) -> DataFrame:
    """Return what a topic holds as parcels by key, and what was skipped as counts."""
    where = topic(asked.source)
    return _messages(spark, where).mapInArrow(ReadMessages(asked.order, where.name), PARSED)


def has_connector(spark: SparkSession) -> bool:
    """Say whether Spark's own connector was given."""
    from pyspark.errors import AnalysisException  # noqa: PLC0415 - an extra

    try:
        spark.readStream.format("kafka").option("kafka.bootstrap.servers", "-").option("subscribe", "-").load()
    except AnalysisException:
        return False
    return True


def _messages(spark: SparkSession, where: Topic) -> DataFrame:
    reader = spark.readStream
    if has_connector(spark):
        found = (
            reader.format("kafka")
            .option("kafka.bootstrap.servers", where.servers)
            .option("subscribe", where.name)
            .option("startingOffsets", "earliest")
            .option("maxOffsetsPerTrigger", str(MOST))
        )
        return found.load().select("partition", "offset", "value")
    check_client()
    spark.dataSource.register(KafkaSource)
    return reader.format(KafkaSource.name()).option("servers", where.servers).option("topic", where.name).load()


class ReadMessages:
    """Parses messages, each as a line: what ``mapInArrow`` is given."""

    def __init__(self, order: Order, name: str) -> None:
        self._order, self._name = order, name

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Take tables of messages, and give tables of parcels."""
        yield from tables(self._rows(batches))

    def _rows(self, batches: Iterator[pa.RecordBatch]) -> Iterator[Row]:
        here = worker(self._order)
        found: dict[int, Gathering] = {}
        for batch in batches:
            columns = (batch.column(name).to_pylist() for name in ("partition", "offset", "value"))
            for partition, offset, value in zip(*columns, strict=True):
                if partition not in found:
                    name = f"{self._name}-{partition}"
                    found[partition] = Gathering(here.parser, here.key, partition, name, name)
                yield from add_line(found[partition], value or b"", offset)
        for gathering in found.values():
            yield from gathering.end()


class Producing:
    """Writes lines to a topic as messages: at least once."""

    def __init__(self, address: str) -> None:
        self._topic = topic(address)

    def __call__(self, rows: Iterator[Any]) -> None:
        """Write a partition; raises StateError, and so ends the query, where the brokers do not take it."""
        from confluent_kafka import Producer  # noqa: PLC0415 - an extra

        failed: list[str] = []
        settings = {"bootstrap.servers": self._topic.servers, "enable.idempotence": True, "log_level": 2}
        producer = Producer(settings)
        for row in rows:
            for line in str(row["lines"]).split("\n"):
                while True:
                    try:
                        producer.produce(
                            self._topic.name, line, on_delivery=lambda e, _: failed.append(str(e)) if e else None
                        )
                        break
                    except BufferError:  # it holds as many as it may
                        producer.poll(1.0)
        left = producer.flush(PATIENCE)
        if left or failed:
            raise StateError(f"Kafka's topic {self._topic.name} took not all: {(failed or ['no answer'])[0]}.")
