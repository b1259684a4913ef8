"""Training a fleet: from places of logs to a store of models, one for each key.

The logs are parsed once, and the rows kept on the workers' disks: what they hold is counted, and then each key's rows
go to one worker, in log order. The driver holds counts, never rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from anomaly.detectors.interface import Algorithm
from anomaly.errors import ConfigError, LogEmpty, StoreUnwritable, TooLittleData
from anomaly.fleet.inputs import ends, read
from anomaly.fleet.keys import Actor, Key, Rule, crowd, deal, name
from anomaly.fleet.lessons import COLUMNS, RESULT, Lessons, teach_background
from anomaly.fleet.lines import ACTION, COUNT, LINES, PAIR
from anomaly.fleet.manifest import MANIFEST, Common, Entry, Manifest, background_file
from anomaly.fleet.storage import FolderStorage, Storage, storage
from anomaly.harvest import MIN_ACTIONS, Period
from anomaly.identity import NUMBER
from anomaly.population import MOST_ACTIONS

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, Row, SparkSession

_WRITERS = 8  # models that the driver writes at once: an object store takes its time for each
_ORDER = ("key", "kind", "at", "rank", "block", "line", "place")
_TEXT = ("utf-8", "surrogatepass")


class Request(msgspec.Struct, frozen=True):
    """What is asked for."""

    places: tuple[str, ...]
    models: str
    algorithm: Algorithm
    rule: Rule = Rule.LOCAL
    period: Period = Period()
    seed: int = 0
    least: int = MIN_ACTIONS
    """Fewest actions that a user is learned from."""
    newest: int = 1_000_000
    """Most actions that a user is learned from: the newest. It bounds the memory of a worker."""


class Outcome(NamedTuple):
    """What came of a training."""

    manifest: Manifest
    made: int
    """Models that are new."""
    lines: int
    skipped: dict[str, int]
    """Lines that report no action, by reason."""
    seconds: dict[str, float]
    """How long each key took a worker."""


Say = Callable[[str], None]


def train(asked: Request, spark: SparkSession, say: Say = lambda _: None) -> Outcome:
    """Learn every key of the logs, and write the manifest last.

    Raises
    ------
    LogError
        The logs are not there, or hold no action.
    TooLittleData
        Of nobody there is enough to learn from.
    ModelRefused, StoreUnwritable
        The store's manifest must not be believed, or the store cannot be written.
    """
    store = storage(asked.models, spark)
    before = load(store)
    if before is not None and before.algorithm != asked.algorithm.value:
        raise ConfigError(
            f"{asked.models} holds models by {before.algorithm}. Use -a {before.algorithm}, or another --models."
        )
    version = 1 if before is None else before.version + 1
    inputs = read(spark, asked.places)
    rows = _kept(inputs.rows)
    try:
        resolved, pairs = _resolve(rows)
        acted = resolved.where(_within(asked.period))
        lines, skipped = _counts(rows)
        chosen, failed = _choose(asked, _actors(acted))
        if not chosen:
            raise (TooLittleData if failed else LogEmpty)(_nobody(asked, lines, failed))
        say(f"{lines:,} lines read; {len(chosen):,} users to learn, {len(failed):,} have too few actions.")
        # Where only a part is looked at, the end is no place to go on from.
        places = ends(inputs.logs) if asked.period.until is None else ()
        folder = store if isinstance(store, FolderStorage) else None
        lessons = Lessons(asked.algorithm, asked.seed, version, places, folder)
        common = _background(asked, chosen, acted, pairs, store, version, say)
        dealt = deal(chosen)
        parts = max(dealt.values()) + 1
        taught = _dealt(acted, pairs, _table(spark, chosen, dealt, asked.newest), parts)
        models, seconds = {}, {}
        for row in _results(taught.mapInArrow(lessons, RESULT), store):
            key = row.key.decode(*_TEXT)
            seconds[key] = row.seconds
            if row.error is None:
                models[key] = Entry(row.file, row.sha256, row.actions, row.last)
            else:
                failed[key] = row.error
    finally:
        rows.unpersist()
    kept = {} if before is None else before.models
    background = common or (before.background if before is not None else None)
    manifest = Manifest(version, asked.algorithm.value, {**kept, **models}, background, failed)
    if models or common is not None:
        _publish(store, before, manifest)
    return Outcome(manifest, len(models), lines, skipped, seconds)


def load(store: Storage) -> Manifest | None:
    """Read a store's manifest; None where there is none yet. Raises ModelRefused."""
    data = store.read(MANIFEST)
    return None if data is None else Manifest.from_bytes(data, f"{store.uri}/{MANIFEST}")


def _publish(store: Storage, before: Manifest | None, manifest: Manifest) -> None:
    if load(store) != before:
        raise StoreUnwritable(
            f"Another training has written to {store.uri} meanwhile. Start again; only one may run at a time."
        )
    store.write(MANIFEST, manifest.to_bytes())


def _kept(rows: DataFrame) -> DataFrame:
    from pyspark import StorageLevel  # noqa: PLC0415 - only with the extra

    return rows.persist(StorageLevel.DISK_ONLY)


def _resolve(rows: DataFrame) -> tuple[DataFrame, DataFrame]:
    """Return the actions by users' names, and the pairs of numbers and names: of each number the first in the logs."""
    from pyspark.sql import functions as f  # noqa: PLC0415 - only with the extra

    place = ("rank", "block", "line", "place")
    pairs = (
        rows.where(f.col("kind") == PAIR)
        .groupBy("host", "user")
        .agg(f.min(f.struct(*place, "content")).alias("first"))
        .select("host", "user", *(f.col(f"first.{column}") for column in (*place, "content")))
    )
    actions = rows.where(f.col("kind") == ACTION)
    numbered = f.startswith(f.col("user"), f.lit(NUMBER.encode()))
    names = pairs.select("host", "user", f.col("content").alias("name"))
    named = actions.where(numbered).join(names, ["host", "user"], "left")
    named = named.withColumn("user", f.coalesce("name", "user")).select(*actions.columns)
    return actions.where(~numbered).unionByName(named), pairs


def _within(period: Period) -> Column:
    """Say which rows lie in a period, as :meth:`Period.holds` does."""
    from pyspark.sql import functions as f  # noqa: PLC0415 - only with the extra

    when = f.col("time")
    bounds = [when >= period.since] if period.since is not None else []
    bounds += [when < period.until] if period.until is not None else []
    return (when == 0) | reduce(lambda one, other: one & other, bounds, f.lit(True))  # noqa: FBT003


def _counts(rows: DataFrame) -> tuple[int, dict[str, int]]:
    """Return how many lines were read, and how many were skipped for each reason."""
    from pyspark.sql import functions as f  # noqa: PLC0415 - only with the extra

    counted = rows.where(f.col("kind") == COUNT).groupBy("user").agg(f.sum("time").alias("count")).collect()
    found = {row.user.decode(): row["count"] for row in counted}
    return found.pop(LINES, 0), found


def _actors(acted: DataFrame) -> Iterator[Actor]:
    from pyspark.sql import functions as f  # noqa: PLC0415 - only with the extra

    counted = acted.groupBy("host", "user").agg(
        f.count("*").alias("actions"),
        f.count_if(~f.col("baseline")).alias("learnable"),
        f.min(f.struct("rank", "block", "line", "place")).alias("first"),
    )
    for row in counted.toLocalIterator():
        host, user = row.host.decode(*_TEXT), row.user.decode(*_TEXT)
        yield Actor(host, user, row.actions, row.learnable, tuple(row.first))


def _choose(asked: Request, actors: Iterable[Actor]) -> tuple[list[Key], dict[str, str]]:
    """Return whom to learn, and of whom there is too little."""
    chosen, failed = [], {}
    least = max(asked.least, MIN_ACTIONS)
    for key in name(actors, asked.rule):
        if key.learnable >= least:
            chosen.append(key)
        else:
            failed[key.name] = f"{key.learnable:,} actions to learn from, and {least:,} are needed"
    return chosen, failed


def _nobody(asked: Request, lines: int, failed: dict[str, str]) -> str:
    places = ", ".join(asked.places)
    if failed:
        return f"None of the {len(failed):,} users in {places} has enough actions. Give more logs with --from."
    return f"{places} has {lines:,} lines, and none of them is an action in the period that was asked for."


def _table(
    spark: SparkSession, chosen: Sequence[Key], dealt: dict[str, int], newest: int
) -> DataFrame:
    """Return who belongs to which key, and which part learns it."""
    rows = [
        (
            actor.host.encode(*_TEXT),
            actor.user.encode(*_TEXT),
            key.name.encode(*_TEXT),
            dealt[key.name],
            max(key.actions - newest, 0),
            len(key.actors) > 1,
        )
        for key in chosen
        for actor in key.actors
    ]
    return spark.createDataFrame(
        rows, "host binary, user binary, key binary, part int, skip bigint, several boolean"
    )


def _dealt(acted: DataFrame, pairs: DataFrame, table: DataFrame, parts: int) -> DataFrame:
    """Deal rows out to parts, each part's in the order of keys and logs, as a lesson takes them.

    Of a user on several hosts the actions are in the order of time, since their logs are not one.
    """
    from pyspark.sql import functions as f  # noqa: PLC0415 - only with the extra

    actions = acted.join(table, ["host", "user"]).withColumn(
        "at", f.when(f.col("several"), f.col("time")).otherwise(0)
    )
    hosts = table.select("host", "key", "part").distinct()
    names = pairs.join(hosts, "host").select(
        "*",
        f.lit(PAIR).cast("tinyint").alias("kind"),
        f.lit(0).cast("bigint").alias("time"),
        f.lit(False).alias("baseline"),  # noqa: FBT003 - a column
        f.lit(0).cast("bigint").alias("skip"),
        f.lit(0).cast("bigint").alias("at"),
    )
    wanted = dict.fromkeys((*_ORDER, *COLUMNS, "part"))
    both = actions.select(*wanted).unionByName(names.select(*wanted))
    return both.repartitionById(parts, f.col("part")).sortWithinPartitions(*_ORDER).select(*COLUMNS)


def _background(
    asked: Request,
    chosen: Sequence[Key],
    acted: DataFrame,
    pairs: DataFrame,
    store: Storage,
    version: int,
    say: Say,
) -> Common | None:
    """Learn what everyone does, of a sample that is bounded in users and in actions of each; one worker does it."""
    people = crowd(chosen, asked.seed)
    if len(people) < 2:
        return None
    table = _table(acted.sparkSession, people, dict.fromkeys((key.name for key in people), 0), MOST_ACTIONS // len(people))
    (row,) = _dealt(acted, pairs.limit(0), table, 1).mapInArrow(teach_background, RESULT).collect()
    if row.error is not None:
        say(f"There is no new background: {row.error}.")
        return None
    data = bytes(row.data)
    file = background_file(version)
    store.write(file, data)
    return Common(file, hashlib.sha256(data).hexdigest())


def _results(taught: DataFrame, store: Storage) -> Iterator[Row]:
    """Run the lessons; yield what came of each key, with its file written."""
    if isinstance(store, FolderStorage):
        yield from taught.collect()
        return
    taught = _kept(taught)
    try:
        taught.count()  # all workers at once; toLocalIterator would run one part after the other
        with ThreadPoolExecutor(_WRITERS) as pool:
            waiting = []
            for row in taught.toLocalIterator():
                written = pool.submit(store.write, row.file, bytes(row.data)) if row.error is None else None
                waiting.append((row, written))
                if len(waiting) >= 2 * _WRITERS:
                    yield _written(*waiting.pop(0))
            for row, written in waiting:
                yield _written(row, written)
    finally:
        taught.unpersist()


def _written(row: Row, written: Future[None] | None) -> Row:
    if written is not None:
        written.result()
    return row
