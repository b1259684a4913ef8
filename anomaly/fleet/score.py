"""The query that scores: files or Kafka, parsed, by key, judged with state, and handed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from anomaly.errors import ConfigError
from anomaly.fleet.addresses import address_kind, check_client, topic
from anomaly.fleet.claim import claim
from anomaly.fleet.links import missing
from anomaly.fleet.models import Models
from anomaly.fleet.places import check_private, is_mounted, local_folder, path_of, place
from anomaly.fleet.remote import open_files
from anomaly.fleet.worker import Order
from anomaly.sinks.http_post import receiver

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

LARGEST = 64 << 20
"""Largest file of a store that Spark reads, in bytes: as a whole. Larger ones are streamed by pyarrow."""

FILES = 1000
"""Files of one batch."""

NAMED = 10
"""Files of a batch that are named where they were not read, or not to their end, and models that are refused."""

NAME = "anomaly"
"""The query's name."""

_UMASK = "fs.permissions.umask-mode"
_PARTS = "spark.sql.shuffle.partitions"

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


def check(asked: Asked) -> None:
    """Look at what can be wrong before Spark starts: in a worker one sentence would be a hundred lines.

    Raises
    ------
    ConfigError
        An address is of no kind that is known.
    UnknownUser, ModelRefused, StateError
        There are no models at the address, or none that can be used.
    """
    for address in (asked.source, asked.to):
        kind = address_kind(address)
        if kind == "kafka":
            topic(address)
        elif kind == "webhook":
            receiver(address)
    if address_kind(asked.to) == "kafka":
        check_client()
    if address_kind(asked.source) == "webhook":
        raise ConfigError("Logs come from a directory or from Kafka: nothing can be asked of a webhook.")
    Models(open_files(asked.order.models))


def log_folder(spark: SparkSession, asked: Asked) -> Path | None:
    """Return the directory of logs, where it is one of this machine's."""
    return local_folder(asked.source, spark) if address_kind(asked.source) == "files" else None


def start(spark: SparkSession, asked: Asked, say: Callable[[str], None] = lambda _: None) -> StreamingQuery:
    """Start the query.

    Parameters
    ----------
    spark
        The session.
    asked
        What is asked for.
    say
        Told what a person should know.

    Raises
    ------
    ConfigError
        The checkpoint, or the directory of scores, is another query's.
    StateRefused, StateError
        The checkpoint is not to be trusted, or cannot be used.
    LogMissing
        There are no logs.
    """
    from pyspark.errors import AnalysisException  # noqa: PLC0415 - only with the extra

    from anomaly.fleet.sink import write_to  # noqa: PLC0415 - pyspark is loaded by now

    _take(spark, asked, say)
    _settle(spark)
    try:
        scored = score(parse(spark, asked), asked.order)
    except AnalysisException as error:
        if error.getCondition() != "PATH_NOT_FOUND":
            raise
        raise missing(asked.source) from error
    return write_to(scored, asked).queryName(NAME).start()


def _take(spark: SparkSession, asked: Asked, say: Callable[[str], None]) -> None:
    """See that checkpoint and output are this query's; those of this machine are for their owner alone."""
    files = address_kind(asked.to) == "files"
    folder = local_folder(asked.checkpoint, spark)
    if folder is not None:
        check_private(folder, "--checkpoint")
    checkpoint = place(asked.checkpoint, spark)
    if checkpoint is not None:  # else it can be reached through Spark Connect alone
        claim(_absolute(spark, asked), checkpoint, place(asked.to, spark) if files else None, say)


def _absolute(spark: SparkSession, asked: Asked) -> Asked:
    """Return what is asked for, with directories of this machine as absolute paths."""

    def absolute(address: str) -> str:
        folder = local_folder(address, spark) if address_kind(address) == "files" else None
        return address.rstrip("/") if folder is None else str(folder)

    order = asked.order._replace(models=absolute(asked.order.models))
    return asked._replace(
        source=absolute(asked.source), to=absolute(asked.to), checkpoint=absolute(asked.checkpoint), order=order
    )


def _settle(spark: SparkSession) -> None:
    """Say how state is kept: on disk, and of each batch what has changed; and how tables come to workers."""
    spark.conf.set("spark.sql.streaming.stateStore.providerClass", _PROVIDER)
    spark.conf.set("spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled", "true")
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "1000")
    # To look columns up by their names takes pandas twice as long as to hand them over; ours come in order.
    spark.conf.set("spark.sql.legacy.execution.pandas.groupedMap.assignColumnsByName", "false")
    # Spark looks at a batch's files once more before it reads them, by a task for each, which costs more than to
    # read them: by as many tasks as there are parts it costs little.
    spark.conf.set("spark.sql.sources.parallelPartitionDiscovery.parallelism", _parts(spark))
    _keep_private(spark)


def _keep_private(spark: SparkSession) -> None:
    """Let files be for their owner alone unless somebody said otherwise: Hadoop has an umask of its own, 022."""
    context = getattr(spark, "_sc", None)
    if context is not None and context.getConf().get(f"spark.hadoop.{_UMASK}") is not None:
        return
    spark.conf.set(_UMASK, "077")
    jvm = getattr(spark, "_jvm", None)
    if jvm is not None:  # the file system that Java has used already goes by what was set when it first did
        configuration = spark._jsc.hadoopConfiguration()  # noqa: SLF001 - pyspark has no other way to Hadoop
        jvm.org.apache.hadoop.fs.FileSystem.getLocal(configuration).getConf().set(_UMASK, "077")


def _parts(spark: SparkSession) -> str:
    """Return how many parts a batch has: as many as were asked for, else two for each core.

    Each is a state store of its own, so that Spark's 200 take minutes on two cores. A checkpoint keeps its number.
    """
    context = getattr(spark, "_sc", None)  # there is none with Spark Connect
    if context is not None and context.getConf().get(_PARTS) is None:
        spark.conf.set(_PARTS, str(2 * context.defaultParallelism))
    return str(spark.conf.get(_PARTS))


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
    )
    named = files.withColumn("modified", f.unix_micros("modificationTime"))
    nothing = f.lit(None).cast("binary").alias("content")
    root = None
    if is_mounted(asked.source, spark):
        root = str(path_of(asked.source))
        chosen = named.select("path", "modified", nothing)
    else:  # Spark's way to it is the surer one, but it knows whole files alone
        small = named.where(f.col("length") <= LARGEST).select("path", "modified", "content")
        chosen = small.union(named.where(f.col("length") > LARGEST).select("path", "modified", nothing))
    return chosen.mapInArrow(ReadFiles(asked.order, root), PARSED)


def score(parsed: DataFrame, order: Order) -> DataFrame:
    """Return lines of JSON, one for each action that is shown, many in a row; all is counted on the way."""
    from pyspark.sql import functions as f  # noqa: PLC0415 - it is an extra

    from anomaly.fleet.processor import COUNTS, SCORED, Processor  # noqa: PLC0415 - the same
    from anomaly.fleet.reading import REASONS  # noqa: PLC0415 - the same

    skipped = [f.sum(f.when(f.col("reason") == reason, f.col("count"))).alias(reason) for reason in REASONS]
    found = f.sum(f.when(f.col("key").isNotNull(), f.col("count"))).alias("actions")
    named = f.concat_ws(" ", "reason", "file")
    files = f.slice(f.sort_array(f.collect_set(f.when(f.col("file").isNotNull(), named))), 1, NAMED).alias("files")
    rows = parsed.observe("parsed", found, files, *skipped).where("key is not null").select("key", "parcel")
    scored = rows.groupBy("key").transformWithStateInPandas(
        Processor(order), outputStructType=SCORED, outputMode="Append", timeMode="None"
    )
    parts = f.split("counts", " ", len(COUNTS) + 1)
    counts = [f.sum(parts[place].cast("long")).alias(name) for place, name in enumerate(COUNTS)]
    refusals = f.slice(f.sort_array(f.collect_set(f.get(parts, f.lit(len(COUNTS))))), 1, NAMED).alias("refusals")
    counted = scored.observe("scored", refusals, *counts)
    return counted.where("lines is not null").select("lines")
