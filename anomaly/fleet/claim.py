"""Whose a checkpoint and a directory of scores are: one query's, which is asked for the same each time.

Spark's sink for files passes over batches whose numbers it has seen. So a query that starts at batch 0 with a new
checkpoint, and writes where another has written, would score and write nothing, and say nothing.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import msgspec

from anomaly.errors import ConfigError, StateRefused
from anomaly.fleet.addresses import address_kind, topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from anomaly.fleet.places import Place
    from anomaly.fleet.score import Asked

CLAIM = "anomaly.json"
"""Name of the file in the checkpoint that says what the query is asked for."""

MARK = "_anomaly.json"
"""Name of the file in a directory of scores that says whose it is; Spark passes over names that begin so."""

SCHEMA = 1

_SPARKS_OWN, _WRITTEN = "metadata", "_spark_metadata"


class Claim(msgspec.Struct, frozen=True):
    """What a query is asked for, as far as its state and its output depend on it."""

    query: str
    """A number of its own."""
    source: str
    to: str
    key: str
    models: str
    schema: int = SCHEMA


class Mark(msgspec.Struct, frozen=True):
    """Which query writes here."""

    query: str
    checkpoint: str


def claim(asked: Asked, checkpoint: Place, to: Place | None, say: Callable[[str], None]) -> None:
    """Take a checkpoint and a directory of scores for a query, or find that they are its own.

    Parameters
    ----------
    asked
        What is asked for, with directories as absolute paths.
    checkpoint, to
        The directories; ``to`` is None where scores do not go to files.
    say
        Told that other models judge from now on.

    Raises
    ------
    ConfigError
        The checkpoint is of a query that was asked for something else, or another query has written to ``to``.
    StateError
        A directory cannot be used.
    """
    wanted = Claim(uuid.uuid4().hex, _same(asked.source), _same(asked.to), asked.order.key, asked.order.models)
    found = _found(checkpoint, asked.checkpoint)
    if found is not None:
        _compare(found, wanted, asked.checkpoint)
        wanted = msgspec.structs.replace(wanted, query=found.query)
    if to is not None:
        _look_at(to, wanted, asked.to)
    if found != wanted:
        checkpoint.write(CLAIM, msgspec.json.encode(wanted))
        if found is not None:
            say(f"Users were judged by the models in {found.models}; those in {wanted.models} judge from now on.")
    if to is not None and not to.holds(MARK):
        to.write(MARK, msgspec.json.encode(Mark(wanted.query, asked.checkpoint)))


def _found(checkpoint: Place, where: str) -> Claim | None:
    data = checkpoint.read(CLAIM)
    if data is None:
        if checkpoint.holds(_SPARKS_OWN):
            raise StateRefused(
                f"{where} is the checkpoint of a query that is none of ours: it has no {CLAIM}. Give --checkpoint"
                " and --to new directories."
            )
        return None
    try:
        found = msgspec.json.decode(data, type=Claim)
        if found.schema != SCHEMA:
            raise ValueError(f"it has schema {found.schema}, this program writes {SCHEMA}")
    except (ValueError, RecursionError) as error:
        raise StateRefused(
            f"{where}/{CLAIM} cannot be read: {error}. Give --checkpoint and --to new directories."
        ) from error
    return found


def _compare(found: Claim, wanted: Claim, where: str) -> None:
    for option, before, now in (
        ("--key", found.key, wanted.key),
        ("--from", found.source, wanted.source),
        ("--to", found.to, wanted.to),
    ):
        if before != now:
            raise ConfigError(
                f"The checkpoint {where} is of a query with {option} {before}, and this one has {now}. Ask for the"
                " same, or give --checkpoint a new directory, which begins anew with all that --from holds"
                f"{'' if option == '--to' else ', and --to one as well'}."
            )


def _look_at(to: Place, wanted: Claim, where: str) -> None:
    """Raise ConfigError where another query has written."""
    data = to.read(MARK)
    if data is None and not to.holds(_WRITTEN):
        return
    try:
        mark = msgspec.json.decode(data or b"")
        query, checkpoint = str(mark["query"]), str(mark["checkpoint"])
    except (ValueError, KeyError, TypeError, RecursionError):
        query, checkpoint = "", "that is not known"
    if query != wanted.query:
        raise ConfigError(
            f"{where} holds the scores of the query whose checkpoint is {checkpoint}; of another Spark would write"
            " nothing there. Name that checkpoint to go on with it, or give --to a new directory."
        )


def _same(address: str) -> str:
    """Return what must stay the same of an address: brokers may move, and a webhook's address holds its secret."""
    kind = address_kind(address)
    return f"kafka topic {topic(address).name}" if kind == "kafka" else address if kind == "files" else kind
