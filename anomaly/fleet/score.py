"""The query that scores: files or Kafka, parsed, by key, judged with state, and handed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from anomaly.errors import ConfigError
from anomaly.fleet.models import Models
from anomaly.fleet.remote import open_files
from anomaly.fleet.worker import Order

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming import StreamingQuery

LARGEST = 256 << 20
"""Largest file that is read, in bytes: a worker has it in memory as a whole. Larger ones are passed over."""

FILES = 1000
"""Files of one batch."""

NAME = "anomaly"
"""The query's name."""

_PROVIDER = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
_FILE = "path string, modificationTime timestamp, length long, content binary"


class Asked(NamedTuple):
    """What a query is asked for."""

    source: str
    """Directory of logs, or ``kafka://HOST:PORT/TOPIC``."""
    to: str
    checkpoint: str
    order: Order
    trigger: float | None = None
    """Seconds between two batches; None to score what is there, and end."""
    files: int = FILES


def start(spark: SparkSession, asked: Asked) -> StreamingQuery:
    """Start the query.

    Raises
    ------
    ConfigError
        An address is of no kind that is known.
    ModelRefused, StateError
        There are no models at the address.
    """
    Models(open_files(asked.order.models))  # here it is said in one sentence, and not by a worker in a hundred
    _settle(spark)
    from anomaly.fleet.sink import write_to  # noqa: PLC0415 - pyspark is loaded by now

    scored = score(parse(spark, asked), asked.order)
    return write_to(scored, asked).queryName(NAME).start()


def _settle(spark: SparkSession) -> None:
    """Say how state is to be kept, and leave what somebody has chosen as it is."""
    spark.conf.set("spark.sql.streaming.stateStore.providerClass", _PROVIDER)
    changes = "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled"
    spark.conf.set(changes, spark.conf.get(changes, "true") or "true")
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "1000")


def parse(spark: SparkSession, asked: Asked) -> DataFrame:
    """Return what the source holds as parcels by key, and what was skipped as counts."""
    from pyspark.sql import functions as f  # noqa: PLC0415 - it is an extra

    from anomaly.fleet.processor import PARSED, ReadFiles  # noqa: PLC0415 - the same

    if asked.source.startswith("kafka:"):
        from anomaly.fleet.kafka import parse_topic  # noqa: PLC0415 - another extra

        return parse_topic(spark, asked)
    files = (
        spark.readStream.format("binaryFile")
        .schema(_FILE)
        .option("recursiveFileLookup", "true")
        .option("maxFilesPerTrigger", str(asked.files))
        .load(asked.source)
        .where(f.col("length") <= LARGEST)
    )
    content = files.select("path", f.unix_micros("modificationTime").alias("modified"), "content")
    return content.mapInArrow(ReadFiles(asked.order), PARSED)


def score(parsed: DataFrame, order: Order) -> DataFrame:
    """Return lines of JSON, one for each action that is shown, many in a row; both halves are counted on the way."""
    from pyspark.sql import functions as f  # noqa: PLC0415 - it is an extra

    from anomaly.fleet.processor import COUNTS, SCORED, Processor  # noqa: PLC0415 - the same
    from anomaly.fleet.reading import REASONS  # noqa: PLC0415 - the same

    skipped = [f.sum(f.when(f.col("reason") == reason, f.col("count"))).alias(reason) for reason in REASONS]
    found = f.sum(f.when(f.col("key").isNotNull(), f.col("count"))).alias("actions")
    rows = parsed.observe("parsed", found, *skipped).where("key is not null").select("key", "parcel")
    scored = rows.groupBy("key").transformWithStateInPandas(
        Processor(order), outputStructType=SCORED, outputMode="Append", timeMode="None"
    )
    counted = scored.observe("scored", *(f.sum(name).alias(name) for name in COUNTS))
    return counted.where("lines is not null").select("lines")


def address_kind(address: str) -> str:
    """Return ``kafka``, ``webhook`` or ``files``.

    Raises
    ------
    ConfigError
        It is empty.
    """
    if not address:
        raise ConfigError("An address is empty: give a directory, kafka://HOST:PORT/TOPIC or https://HOST/PATH.")
    if address.startswith("kafka:"):
        return "kafka"
    return "webhook" if address.startswith(("http:", "https:")) else "files"
