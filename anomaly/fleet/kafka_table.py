"""What a topic of Kafka holds at this moment, as a table of rows: what training reads of it.

A message's place is its partition and its offset. Within a partition that is the order in which the messages were
sent, and what a log says in one partition is learned as the log itself would be.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from anomaly.errors import LogEmpty, LogUnreadable, StateError
from anomaly.fleet.addresses import check_client, topic
from anomaly.fleet.kafka import has_connector
from anomaly.fleet.kafka_source import KafkaSource, Reader
from anomaly.fleet.lines import ROWS, from_text

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SPAN = 250_000
"""Messages that one task reads."""


def read_topic(spark: SparkSession, address: str, rank: int) -> DataFrame:
    """Return rows as :data:`anomaly.fleet.lines.ROWS`, of all messages up to those that are the latest now.

    Raises
    ------
    LogUnreadable, LogEmpty
        The brokers cannot be asked, or there is no message (by confluent-kafka; Spark's own connector says later).
    """
    from pyspark.sql import functions as f  # noqa: PLC0415 - only with the extra

    messages = _by_connector(spark, address) if has_connector(spark) else _by_client(spark, address)
    lines = messages.select(
        f.lit(rank).alias("rank"),
        f.col("partition").cast("bigint").alias("block"),
        f.col("offset").alias("line"),
        f.coalesce("value", f.lit(b"")).alias("value"),
    )
    return lines.mapInArrow(from_text, ROWS)


def _by_connector(spark: SparkSession, address: str) -> DataFrame:
    where = topic(address)
    return (
        spark.read.format("kafka")
        .option("kafka.bootstrap.servers", where.servers)
        .option("subscribe", where.name)
        .option("startingOffsets", "earliest")
        .option("endingOffsets", "latest")
        .option("maxRecordsPerPartition", str(SPAN))
        .option("failOnDataLoss", "false")  # what is deleted meanwhile is the oldest
        .load()
    )


def _by_client(spark: SparkSession, address: str) -> DataFrame:
    where = topic(address)
    check_client()
    try:
        spans = Reader(where.servers, where.name).spans(SPAN)
    except StateError as error:
        raise LogUnreadable(f"{address} cannot be read: {error}") from error
    if not spans:
        raise LogEmpty(f"{address} holds no message yet. What ships results there is in docs/fleet.md.")
    spark.dataSource.register(KafkaSource)
    reader = spark.read.format(KafkaSource.name())
    reader = reader.option("servers", where.servers).option("topic", where.name)
    return reader.option("spans", json.dumps(spans)).load()
