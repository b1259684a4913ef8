"""Rows of a fleet's logs, as Spark computes with them: named, counted, and dealt out to workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import TYPE_CHECKING

from anomaly.fleet.keys import Actor, Key
from anomaly.fleet.lessons import COLUMNS
from anomaly.fleet.lines import ACTION, COUNT, LINES, PAIR
from anomaly.harvest import Period
from anomaly.identity import NUMBER

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

PLACE = ("rank", "block", "line", "place")
"""What puts rows in log order."""

PAIRS = 1000
"""Numbers and names that every card holds, as local models' do; of more, those of its hosts."""

_TEXT = ("utf-8", "surrogatepass")


def kept(rows: DataFrame) -> DataFrame:
    """Keep rows on the workers' disks: what Python computed is not computed again."""
    from pyspark import StorageLevel  # noqa: PLC0415 - only with the extra

    return rows.persist(StorageLevel.DISK_ONLY)


def resolve(rows: DataFrame) -> tuple[DataFrame, DataFrame]:
    """Return the actions by users' names, and the pairs of numbers and names.

    Of several names of a number on a host the first in the logs counts, as for a reader that reads alone.
    """
    from pyspark.sql import functions as f  # noqa: PLC0415 - only with the extra

    pairs = (
        rows.where(f.col("kind") == PAIR)
        .groupBy("host", "user")
        .agg(f.min(f.struct(*PLACE, "content")).alias("first"))
        .select("host", "user", *(f.col(f"first.{column}") for column in (*PLACE, "content")))
    )
    actions = rows.where(f.col("kind") == ACTION)
    numbered = f.startswith(f.col("user"), f.lit(NUMBER.encode()))
    names = pairs.select("host", "user", f.col("content").alias("name"))
    named = actions.where(numbered).join(names, ["host", "user"], "left")
    named = named.withColumn("user", f.coalesce("name", "user")).select(*actions.columns)
    return actions.where(~numbered).unionByName(named), pairs


def within(period: Period) -> Column:
    """Say which rows lie in a period, as :meth:`Period.holds` does."""
    from pyspark.sql import functions as f  # noqa: PLC0415 - only with the extra

    when = f.col("time")
    bounds = [when >= period.since] if period.since is not None else []
    bounds += [when < period.until] if period.until is not None else []
    return (when == 0) | reduce(lambda one, other: one & other, bounds, f.lit(True))  # noqa: FBT003


def counts(rows: DataFrame) -> tuple[int, dict[str, int]]:
    """Return how many lines were read, and how many were skipped for each reason."""
    from pyspark.sql import functions as f  # noqa: PLC0415 - only with the extra

    counted = rows.where(f.col("kind") == COUNT).groupBy("user").agg(f.sum("time").alias("count")).collect()
    found = {row.user.decode(): row["count"] for row in counted}
    return found.pop(LINES, 0), found


def actors_of(acted: DataFrame, files: int) -> Iterator[Actor]:
    """Count what each user did on each host; ranks below ``files`` are of files, the others of topics."""
    from pyspark.sql import functions as f  # noqa: PLC0415 - only with the extra

    partition = f.when(f.col("rank") >= files, f.struct("rank", "block"))
    counted = acted.groupBy("host", "user").agg(
        f.count("*").alias("actions"),
        f.count_if(~f.col("baseline")).alias("learnable"),
        f.min(f.struct(*PLACE)).alias("first"),
        f.coalesce(f.min(partition) != f.max(partition), f.lit(False)).alias("scattered"),  # noqa: FBT003 - a column
    )
    for row in counted.toLocalIterator():
        host, user = row.host.decode(*_TEXT), row.user.decode(*_TEXT)
        yield Actor(host, user, row.actions, row.learnable, tuple(row.first), row.scattered)


def table_of(spark: SparkSession, chosen: Sequence[Key], dealt: dict[str, int], newest: int) -> DataFrame:
    """Return who belongs to which key, and which part learns it."""
    rows = [
        (
            actor.host.encode(*_TEXT),
            actor.user.encode(*_TEXT),
            key.name.encode(*_TEXT),
            dealt[key.name],
            max(key.actions - newest, 0),
            key.by_time,
        )
        for key in chosen
        for actor in key.actors
    ]
    return spark.createDataFrame(
        rows, "host binary, user binary, key binary, part int, skip bigint, by_time boolean"
    )


def dealt(
    acted: DataFrame, table: DataFrame, order: Sequence[str], parts: int, pairs: DataFrame | None = None
) -> DataFrame:
    """Deal rows out to parts, each part's in an order, as a lesson takes them.

    Of a user on several hosts the actions are in the order of time, since their logs are not one; likewise where
    they lie in several partitions of a topic. Where times are equal, the place decides.
    """
    from pyspark.sql import functions as f  # noqa: PLC0415 - only with the extra

    wanted = dict.fromkeys((*order, *COLUMNS, "part"))
    moment = f.when(f.col("by_time"), f.col("time")).otherwise(0)
    rows = acted.join(table, ["host", "user"]).withColumn("at", moment).select(*wanted)
    if pairs is not None:
        hosts = table.select("host", "key", "part").distinct()
        names = pairs.join(hosts, "host").select(
            "*",
            f.lit(PAIR).cast("tinyint").alias("kind"),
            f.lit(False).alias("baseline"),  # noqa: FBT003 - a column
            *(f.lit(0).cast("bigint").alias(name) for name in ("time", "skip", "at")),
        )
        rows = rows.unionByName(names.select(*wanted))
    return rows.repartitionById(parts, f.col("part")).sortWithinPartitions(*order).select(*COLUMNS)


def few_pairs(pairs: DataFrame) -> dict[str, dict[str, str]] | None:
    """Return the names of numbers by host, None where they are many."""
    rows = pairs.orderBy(*PLACE).limit(PAIRS + 1).collect()
    if len(rows) > PAIRS:
        return None
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        number = row.user.decode(*_TEXT).removeprefix(NUMBER)
        found.setdefault(row.host.decode(*_TEXT), {})[number] = row.content.decode(*_TEXT)
    return found
