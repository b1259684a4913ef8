"""One of the processes that a backlog is spread over: it scores some of the users, and says what comes of it."""

from __future__ import annotations

from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from anomaly.errors import AnomalyError, WorkerLost
from anomaly.garbage import search_seldom
from anomaly.learned import StoreKeeper
from anomaly.osquery import Action
from anomaly.records import ModelRef, Reason
from anomaly.registry import Registry
from anomaly.scoring import Scorer
from anomaly.store import Store
from anomaly.suppression import Suppression, Suppressions


class Post(NamedTuple):
    """What a process needs to know to score as the parent would."""

    models: Path
    adapt: bool
    checkpoint: str
    """Name of the checkpoint, which what is learned is kept under."""
    log: str
    suppressions: tuple[Suppression, ...] = ()


class Verdict(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A score without its action, which the parent has."""

    score: float | None
    risk: float | None
    surprise: float | None
    model: ModelRef
    reasons: tuple[Reason, ...]


_ENCODER = msgspec.msgpack.Encoder()
_BATCHES = msgspec.msgpack.Decoder(list[tuple[str, Action]])
ANSWERS = msgspec.msgpack.Decoder(tuple[list[Verdict], list[str]])
"""Reads what comes of a batch: the scores, and sentences about users."""


def packed(content: Any) -> Any:  # noqa: ANN401 - for unpacked
    """Make bytes of a batch or an answer, which is faster than pickle makes them."""
    try:
        return _ENCODER.encode(content)
    except UnicodeEncodeError:  # half a character, which pickle can carry
        return content


def unpacked(content: Any, decoder: msgspec.msgpack.Decoder[Any]) -> Any:  # noqa: ANN401 - by decoder
    """Undo :func:`packed`."""
    return decoder.decode(content) if isinstance(content, bytes) else content


def work(connection: Connection[Any, Any], post: Post) -> None:
    """Score what comes until the parent closes the connection; the signals stay blocked.

    An error is sent in place of an answer, and ends the process.
    """
    search_seldom()
    try:
        _answer(connection, post)
    except (EOFError, ConnectionError):
        return  # the parent has closed it: what it did not fetch, nobody wants
    except (AnomalyError, OSError) as error:
        last: Exception = error
    except Exception as error:  # noqa: BLE001 - it is handed on: a traceback here would be in the middle of the scores
        reason = f"{type(error).__name__}: {error}"
        last = WorkerLost(f"A process that was scoring failed with {reason}. To see where: --jobs 1")
    with suppress(OSError):
        connection.send(last)


def _answer(connection: Connection[Any, Any], post: Post) -> None:
    said: list[str] = []
    registry = Registry(Store(post.models), said.append)
    scorer = Scorer(
        registry.find,
        adapt=post.adapt,
        keeper=StoreKeeper(registry.store, post.checkpoint, said.append),
        background=registry.background(),
        log=post.log,
        say=said.append,
    )
    if post.suppressions:
        scorer.silences = Suppressions(post.suppressions).silences
    while True:
        command, content = connection.recv()
        if command == "score":
            scores = scorer.score_all(unpacked(content, _BATCHES))
            verdicts = [Verdict(s.score, s.risk, s.surprise, s.model, s.reasons) for s in scores]
            connection.send(packed((verdicts, said)))
            said.clear()
        elif command == "encoded":
            connection.send(list(scorer.encoded(acted=True)))
        elif command == "saved":
            scorer.saved()
        elif command == "restore":
            scorer.restore({name: msgspec.Raw(state) for name, state in content.items()})
