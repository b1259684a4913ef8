"""Logs in any file system of Hadoop, such as a directory or an object store, or in Kafka, as one table of rows.

Plain files are cut into lines by Spark, many workers a file. Archives are read whole, by one worker each: Spark's
own readers know neither how to go on where one is cut, nor Zstandard without native libraries.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

import msgspec

from anomaly.errors import LogEmpty, LogMissing, LogUnreadable
from anomaly.fleet.addresses import address_kind
from anomaly.fleet.kafka_table import read_topic
from anomaly.fleet.lines import ROWS, from_archives, from_text
from anomaly.fleet.links import Watch
from anomaly.fleet.places import local_folder
from anomaly.fleet.storage import folder
from anomaly.sources.compressed import COMPRESSED
from anomaly.sources.interface import MAX_LINE, Position
from anomaly.sources.logfile import LogFile, open_log
from anomaly.sources.naming import family

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

LOGS = 100
"""Logs whose ends are looked up for the models' cards: of more, nobody goes on from there."""

LONGEST = 8 << 20
"""Longest line, in bytes, that is counted as too long: the JVM holds it some times over, for each core."""

_ARCHIVE = "(?:" + "|".join(map(re.escape, COMPRESSED)) + ")$"


class Inputs(NamedTuple):
    """What there is to read."""

    rows: DataFrame
    """As :data:`anomaly.fleet.lines.ROWS`."""
    logs: tuple[str, ...]
    """The newest file of each log, with its archives: that is where the log ends."""
    files: int
    """How many: their ranks are below. From there on they are of topics, whose partitions have no order."""


def read(spark: SparkSession, places: Sequence[str]) -> Inputs:
    """Find what there is in places, and say how to read it; topics of Kafka come after all files.

    Raises
    ------
    LogMissing, LogUnreadable, LogEmpty
        A place is not there, may not be read, or holds no file and no message; or a link to a directory.
    ConfigError
        An address of a topic is none.
    """
    topics = [place for place in places if address_kind(place) == "kafka"]
    paths = [place for place in places if place not in topics]
    for place in filter(Path.is_dir, filter(None, (local_folder(path, spark) for path in paths))):
        Watch(place)
    found = [_read_files(spark, paths)] if paths else []
    logs, files = (found[0].logs, found[0].files) if found else ((), 0)
    tables = [read_topic(spark, address, files + number) for number, address in enumerate(topics)]
    rows = reduce(lambda one, other: one.unionAll(other), [*(one.rows for one in found), *tables])
    return Inputs(rows, logs, files)


def _read_files(spark: SparkSession, paths: list[str]) -> Inputs:
    from pyspark.errors import PySparkException  # noqa: PLC0415 - only with the extra
    from pyspark.sql import functions as f  # noqa: PLC0415 - the same

    reader = spark.read.option("recursiveFileLookup", True).option("lineSep", "\n")  # noqa: FBT003 - Spark's
    # What is longer is not even held by the JVM, which passes it over without a word.
    reader = reader.option("mapreduce.input.linerecordreader.line.maxlength", LONGEST)
    try:
        text = reader.text(paths)
        files = text.inputFiles()
    except PySparkException as error:
        condition, first = error.getCondition() or "", str(error).splitlines()[0]
        kind = LogMissing if condition == "PATH_NOT_FOUND" else LogUnreadable
        raise kind(f"{', '.join(paths)} cannot be read: {first} See docs/fleet.md.") from error
    if not files:
        raise LogEmpty(f"{', '.join(paths)} holds no file. What ships results there is in docs/fleet.md.")
    order = ranks([_plain(file) for file in files])
    ranked = f.broadcast(spark.createDataFrame(list(order.files.items()), "file string, rank int"))
    name, path = f.col("_metadata.file_name"), f.col("_metadata.file_path")
    lines = text.where(~name.rlike(_ARCHIVE)).select(
        _path(path),
        f.col("_metadata.file_block_start").alias("block"),
        f.monotonically_increasing_id().alias("line"),  # within a block: as it was read
        f.substring(f.col("value").cast("binary"), 1, MAX_LINE + 1).alias("value"),  # too long: that is enough
    )
    whole = spark.read.format("binaryFile").option("recursiveFileLookup", True).load(paths)  # noqa: FBT003
    archives = whole.where(name.rlike(_ARCHIVE)).select(_path(path), name.alias("name"), "content")
    rows = _ranked(lines, ranked, "block", "line", "value").mapInArrow(from_text, ROWS)
    packed = _ranked(archives, ranked, "name", "content").mapInArrow(from_archives, ROWS)
    return Inputs(rows.unionAll(packed), order.newest, len(order.files))


class Order(NamedTuple):
    """Files in the order in which a reader would read them."""

    files: dict[str, int]
    """The rank of each."""
    newest: tuple[str, ...]
    """The last file of each log."""


def ranks(files: Sequence[str]) -> Order:
    """Put files in order: directories by name, logs within them by name, and of a log the oldest archive first.

    What stands there uncompressed as well is left out: it is being compressed at this moment.

    >>> ranks(["d/r.log", "d/r.log.2.gz", "d/r.log.1", "d/r.log.1.gz"])
    Order(files={'d/r.log.2.gz': 0, 'd/r.log.1': 1, 'd/r.log': 2}, newest=('d/r.log',))
    """
    there = set(files)
    keyed = []
    for file in there:
        within, _, name = file.rpartition("/")
        suffix = next((suffix for suffix in COMPRESSED if name.endswith(suffix)), "")
        if not suffix or file.removesuffix(suffix) not in there:
            log, age = family(unquote(name))
            keyed.append(((within, log, age, name), file))
    keyed.sort()
    newest = {key[:2]: file for key, file in keyed}
    return Order({file: rank for rank, (_, file) in enumerate(keyed)}, tuple(newest.values()))


def ends(logs: Sequence[str]) -> tuple[Position, ...]:
    """Say where logs end, as the cards of local models do; nothing where they are many, or not on this machine."""
    places = [folder(log.replace("file:/", "file:///", 1)) for log in logs]
    found = []
    for place in places:
        if place is None or len(places) > LOGS:
            return ()
        with open_log(place) as file:
            found.append(_end(file))
    return tuple(found)


def _end(file: LogFile) -> Position:
    """Return where a reader has read to: before a last line that is not finished, unless it is a whole record."""
    file.skip_all()
    place = file.place(file.offset)
    rest = b""
    while chunk := file.read():
        rest += chunk
    try:
        msgspec.json.decode(rest)
    except ValueError:
        return place
    return file.place(file.offset)


def _ranked(table: DataFrame, ranked: DataFrame, *columns: str) -> DataFrame:
    # A file that came after the others were listed has no rank, and waits for the next training.
    return table.join(ranked, "file").select("rank", *columns)


def _path(path: Column) -> Column:
    from pyspark.sql import functions as f  # noqa: PLC0415 - only with the extra

    return f.regexp_replace(path, "^file:/+", "file:/").alias("file")


def _plain(file: str) -> str:
    """Write a file's URI as Spark's tables do, which leave the empty host out."""
    return re.sub("^file:/+", "file:/", file)
