"""Training a fleet: from places of logs to a store of models, one for each key.

The logs are parsed once, and the rows kept on the workers' disks: what they hold is counted, and then each key's
rows go to one worker, in log order. The driver holds counts, never rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from anomaly.detectors.interface import Algorithm
from anomaly.errors import ConfigError, LogEmpty, StoreUnwritable, TooLittleData, WorkerLost
from anomaly.fleet.dealing import PLACE, actors_of, counts, dealt, few_pairs, kept, resolve, table_of, within
from anomaly.fleet.inputs import ends, read
from anomaly.fleet.keys import Actor, Key, Rule, crowd, deal, name
from anomaly.fleet.lessons import RESULT, Lessons, teach_background
from anomaly.fleet.manifest import MANIFEST, Common, Entry, Manifest, background_file
from anomaly.fleet.storage import FolderStorage, Storage, storage
from anomaly.harvest import MIN_ACTIONS, Period
from anomaly.population import MOST_ACTIONS
from anomaly.sources.interface import Position

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

_WRITERS = 8  # models that the driver writes at once: an object store takes its time for each
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
    lost: dict[str, str]
    """Users with enough actions of whom there is no new model, and why."""
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
    WorkerLost
        Nobody could be learned; the manifest stays as it is.
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
    rows = kept(inputs.rows)
    try:
        resolved, pairs = resolve(rows)
        acted = resolved.where(within(asked.period))
        lines, skipped = counts(rows)
        chosen, short = _choose(asked, actors_of(acted, inputs.files))
        if not chosen:
            raise (TooLittleData if short else LogEmpty)(_nobody(asked, lines, short))
        say(f"{lines:,} lines read; {len(chosen):,} users to learn, {len(short):,} have too few actions.")
        common = _background(asked, chosen, acted, store, version, say)
        # Where only a part is looked at, the end is no place to go on from.
        places = ends(inputs.logs) if asked.period.until is None else ()
        taught = list(_taught(asked, chosen, acted, pairs, version, places, store))
    finally:
        rows.unpersist()
    models = {_key(row): Entry(row.file, row.sha256, row.actions, row.last) for row in taught if not row.error}
    lost = {_key(row): row.error for row in taught if row.error}
    if not models:
        raise WorkerLost(_in_vain(lost))
    earlier = Manifest(version, asked.algorithm.value) if before is None else before
    manifest = Manifest(
        version,
        asked.algorithm.value,
        {**earlier.models, **models},
        common or earlier.background,
        lost,
        short,
    )
    _publish(store, before, manifest)
    return Outcome(manifest, len(models), lost, lines, skipped, {_key(row): row.seconds for row in taught})


def _taught(
    asked: Request,
    chosen: Sequence[Key],
    acted: DataFrame,
    pairs: DataFrame,
    version: int,
    places: tuple[Position, ...],
    store: Storage,
) -> Iterator[Row]:
    """Have every key learned, and yield what came of each, with its file written."""
    names = few_pairs(pairs)
    parts = deal(chosen)
    table = table_of(acted.sparkSession, chosen, parts, asked.newest)
    order = ("key", "kind", "at", *PLACE)
    rows = dealt(acted, table, order, max(parts.values()) + 1, pairs if names is None else None)
    folder = store if isinstance(store, FolderStorage) else None
    lessons = Lessons(asked.algorithm, asked.seed, version, places, folder, names)
    return _results(rows.mapInArrow(lessons, RESULT), store)


def _key(row: Row) -> str:
    return str(row.key, *_TEXT)


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


def _in_vain(lost: dict[str, str]) -> str:
    (key, reason), *_ = sorted(lost.items())
    return f"None of {len(lost):,} users could be learned, and no model in use was changed. Of {key}: {reason}."


def _background(
    asked: Request,
    chosen: Sequence[Key],
    acted: DataFrame,
    store: Storage,
    version: int,
    say: Say,
) -> Common | None:
    """Learn what everyone does, of a sample that is bounded in users and in actions of each, by one worker."""
    people = crowd(chosen, asked.seed)
    if len(people) < 2:
        return None
    together = dict.fromkeys((key.name for key in people), 0)
    table = table_of(acted.sparkSession, people, together, MOST_ACTIONS // len(people))
    (row,) = dealt(acted, table, ("at", *PLACE), 1).mapInArrow(teach_background, RESULT).collect()
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
    taught = kept(taught)
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
