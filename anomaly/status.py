"""How the watch goes, told from its files alone: each log that is or was watched, and each user in it.

The place in the log comes from the checkpoint, what was counted from the status file, models and drift from the
store. Any of them may be missing, or be somebody's forgery: then a sentence says so, and the rest is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from anomaly import state_files
from anomaly.board import Row
from anomaly.errors import LogError, ModelRefused
from anomaly.identity import keys
from anomaly.lag import Lag, lag
from anomaly.learned import Learned
from anomaly.records import ModelRef
from anomaly.sources.checkpoint import checkpoint_name
from anomaly.sources.checkpoint_file import MAX_BYTES
from anomaly.sources.interface import Position
from anomaly.statusfile import Snapshot, decode
from anomaly.store import Store
from anomaly.watched import Standing, Watch, name_of

Say = Callable[[str], None]


class Asked(NamedTuple):
    """What is asked for."""

    state: Path
    models: Path
    log: Path | None = None
    user: str | None = None
    olddir: Path | None = None


class _User(msgspec.Struct):
    """What a checkpoint says of a user, as far as it is of interest here."""

    risk: float | None = None
    model: tuple[str, int, str] | None = None


class _Checkpoint(msgspec.Struct):
    log: str
    position: Position
    users: dict[str, _User] = {}


def watches(asked: Asked, say: Say, clock: Callable[[], float] = time.time) -> list[Watch]:
    """Tell of every log that the state directory knows, or of the one that is asked for.

    Parameters
    ----------
    asked
        Where to look, and for what.
    say
        Told, as a sentence, what is passed over and why.
    clock
        Gives the time of day, in seconds since 1970 UTC.

    Raises
    ------
    StateRefused, ModelRefused
        Others may write the directory of states, or of models.
    """
    store = Store(asked.models)
    found: list[Watch] = []
    with state_files.opened(asked.state) as folder:
        if folder is not None:
            told = (_watch(asked, folder, name, store, say, clock) for name in state_files.names(folder))
            found = [watch for watch in told if watch is not None]
    if not found and asked.log is None:
        users = [_unseen(store, user, None, say) for user in store.users() if asked.user in (None, user)]
        found = [Watch(None, None, False, None, None, None, None, None, users=users)] if users else []  # noqa: FBT003 - a record
    return found


def _watch(
    asked: Asked, folder: int, name: str, store: Store, say: Say, clock: Callable[[], float]
) -> Watch | None:
    checkpoint: _Checkpoint | None = _believed(asked, folder, f"{name}{state_files.CHECKPOINT}", _checkpoint, say)
    snapshot: Snapshot | None = _believed(asked, folder, f"{name}{state_files.STATUS}", decode, say)
    log = snapshot.log if snapshot else checkpoint.log if checkpoint else None
    if log is None or (asked.log is not None and not _same(asked.log, Path(log))):
        return None
    process = state_files.holder(folder, name)
    behind = Lag(None, None)
    if checkpoint is not None:
        try:
            behind = lag(Path(log), checkpoint.position, asked.olddir, clock())
        except (LogError, OSError, ValueError) as error:
            say(f"How far {log} has been read cannot be told: {error}")
    known = chain(checkpoint.users if checkpoint is not None else (), store.users())
    user = next((one for one in known if name == name_of(log, one)), None)
    watch = Watch(log, user, process is not None, process or None, None, None, *behind, name=name)
    if snapshot is not None:
        watch.user, watch.started, watch.seen = snapshot.user, snapshot.started, snapshot.written
        watch.lines, watch.actions, watch.skipped = snapshot.lines, snapshot.actions, snapshot.skipped
        watch.checkpoint_errors, watch.others = snapshot.checkpoint_errors, snapshot.others
        watch.alerts, watch.failures = snapshot.alerts, snapshot.failures
    standings = _standings(name, snapshot, checkpoint, store, say)
    watch.users = sorted(
        (one for one in standings if asked.user is None or asked.user in (one.user, f"{one.user}@{one.host}")),
        key=lambda one: (-1.0 if one.risk is None else one.risk, one.actions),
        reverse=True,
    )
    return watch


def _believed(asked: Asked, folder: int, name: str, parse: Callable[[bytes], Any], say: Say) -> Any:  # noqa: ANN401
    """Return what a file says; None where there is none, or it is not to be believed."""
    try:
        data = state_files.read(folder, name, MAX_BYTES)
        return None if data is None else parse(data)
    except (ValueError, RecursionError) as error:
        say(f"{asked.state / name} is passed over: {error}.")
        return None


def _checkpoint(data: bytes) -> _Checkpoint:
    return msgspec.json.decode(data, type=_Checkpoint)


def _same(one: Path, other: Path) -> bool:
    return checkpoint_name(one, "") == checkpoint_name(other, "")


def _standings(
    name: str, snapshot: Snapshot | None, checkpoint: _Checkpoint | None, store: Store, say: Say
) -> Iterator[Standing]:
    """Tell of who acted, by the status file; then of who else has a state; then of who else has a model."""
    roster, told = set(store.users()), set()
    for row in snapshot.rows if snapshot is not None else ():
        owner = next((key for key in keys(row.host, row.user) if key in roster), None)
        told.add(owner or row.user)
        drift = _drift(store, owner, row.model.version, name, say)
        yield _of(row, snapshot.day if snapshot is not None else 0, drift)
    for user, state in checkpoint.users.items() if checkpoint is not None else ():
        if user not in told:
            told.add(user)
            algorithm, version, _ = state.model or (None, None, "")
            standing = Standing(user, None, "ready" if algorithm else "none", algorithm, version, risk=state.risk)
            standing.drift = _drift(store, user, version, name, say)
            yield standing
    only = snapshot.user if snapshot is not None else None
    for user in sorted(roster - told):
        if only in (None, user):
            yield _unseen(store, user, name, say)


def _of(row: Row, day: int, drift: float | None) -> Standing:
    model: ModelRef = row.model
    standing = Standing(
        row.user, row.host, model.state, model.algorithm, model.version, row.actions, row.last or None, row.risk
    )
    standing.drift = drift
    if row.day == day:
        standing.score_today, standing.risk_today = row.score_of_day, row.risk_of_day
        standing.notices, standing.warnings, standing.criticals = row.notices, row.warnings, row.criticals
        standing.alerts = row.alerts
    return standing


def _unseen(store: Store, user: str, name: str | None, say: Say) -> Standing:
    """Tell of a user who has a model and has not acted."""
    try:
        card, version = store.card(user), store.current(user)
    except ModelRefused as error:
        say(str(error))
        return Standing(user, None, "none", None, None)
    algorithm = card.algorithm.value if card is not None else None
    return Standing(user, None, "ready", algorithm, version, drift=_drift(store, user, version, name, say))


def _drift(store: Store, user: str | None, version: int | None, name: str | None, say: Say) -> float | None:
    """Return how far a model has moved by what it learned from one log."""
    if user is None or version is None or name is None:
        return None
    try:
        mine = [one for one in store.learned(user, version) if one.rpartition(".")[0] == name]
        data = store.read_learned(user, version, mine[-1]) if mine else None
        return Learned.from_bytes(data).progress.drift if data is not None else None
    except (ModelRefused, ValueError) as error:
        say(f"What was learned of {user!r} is passed over: {error}")
        return None
