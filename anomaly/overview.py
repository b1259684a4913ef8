"""Tables for people: who is in a log, which models there are, and what one of them was learned from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any

import msgspec

from anomaly.advice import nearest
from anomaly.corpus import Corpus, day
from anomaly.errors import ModelRefused, UnknownUser
from anomaly.harvest import MIN_ACTIONS, Period, Watch, gather
from anomaly.learned import Learned
from anomaly.sinks.visible import columns, visible
from anomaly.store import Store

Row = dict[str, Any]

_WIDTH, _WIDEST, _NARROW = 80, 32, 16


def user_rows(logs: tuple[Path, ...], models: Path, watch: Watch, olddir: Path | None = None) -> list[Row]:
    """Return a row per user of some logs: how much there is to learn from, and the model there is."""
    found, _ = gather(logs, watch, period=Period(), olddir=olddir)
    store = Store(models)
    return [_user_row(user, corpus, store) for user, corpus in found.users.items()]


def model_rows(models: Path, say: Callable[[str], None]) -> list[Row]:
    """Return a row per model, those in use marked; ``say`` is told which are refused, and why."""
    store, rows = Store(models), []
    for user in store.users():
        try:
            rows += list(_versions(store, user))
        except ModelRefused as error:
            say(str(error))
    if not rows:
        say(f"There is no model in {models}. Make some with: anomaly train --all-users -l LOG")
    return rows


def card_rows(models: Path, user: str, version: int | None) -> list[Row]:
    """Return what a model says of itself, a row per entry."""
    store = Store(models)
    stored = store.load(user, version)
    if stored is None:
        if version and (have := store.versions(user)):
            raise UnknownUser(f"{user!r} has no version {version}. There is: {', '.join(map(str, have))}.")
        raise UnknownUser(f"There is no model of {user!r} in {models}. {nearest(user, store.users())}".rstrip())
    card = msgspec.to_builtins(stored.model.card)
    tokenizer = stored.model.tokenizer
    card |= {
        "version": stored.version,
        "first": day(card["first"]),
        "last": day(card["last"]),
        "tokens": tokenizer.size,
        "columns": [f"{head.query}.{head.column}" for head in tokenizer.heads[1:]],
        "silent": [".".join(name) for name in sorted(tokenizer.silent)],
    }
    return [{"entry": key, "value": value} for key, value in sorted(card.items())]


def drift_rows(models: Path, user: str | None, say: Callable[[str], None]) -> list[Row]:
    """Return a row for each log that a model in use has learned from since it was trained.

    Raises
    ------
    UnknownUser
        There is no model of the user asked for.
    """
    store = Store(models)
    if user is not None and store.current(user) is None:
        raise UnknownUser(f"There is no model of {user!r} in {models}. {nearest(user, store.users())}".rstrip())
    rows = []
    for name in [user] if user is not None else store.users():
        try:
            version = store.current(name)
            found = _learned(store, name, version) if version is not None else []
        except (ModelRefused, ValueError) as error:
            say(f"What was learned of {name!r} is refused: {error}")
            continue
        rows += [_drift_row(learned) for learned in found]
    return rows


def _learned(store: Store, user: str, version: int) -> list[Learned]:
    """Return what a model has learned, the file written last of the two of each log."""
    newest: dict[str, Learned] = {}
    for name in store.learned(user, version):
        data = store.read_learned(user, version, name)
        if data is None:
            continue
        learned = Learned.from_bytes(data)
        if learned.origin.user != user:
            raise ValueError(f"it belongs to {learned.origin.user!r}")
        newest[name.rpartition(".")[0]] = learned
    return list(newest.values())


def _drift_row(learned: Learned) -> Row:
    progress = learned.progress
    return {
        "user": learned.origin.user,
        "version": learned.origin.version,
        "learned": progress.learned,
        "refused": progress.refused,
        "capped": progress.capped,
        "drift": f"{progress.drift:.0%}",
        "state": "drifted" if progress.drifted else "ready",
        "last": day(progress.last),
        "log": PurePath(learned.origin.log).name,
    }


def table(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of an aligned table; what comes from the log is escaped."""
    if not rows:
        return
    names = list(rows[0])
    limits = _limits(rows)
    cells = [
        [visible(_cell(value), most) for value, most in zip(row.values(), limits, strict=True)] for row in rows
    ]
    widths = [max(columns(cell) for cell in (names[i], *(line[i] for line in cells))) for i in range(len(names))]
    numeric = [all(type(row[name]) is int for row in rows) for name in names]
    for line in [names, *cells]:
        yield "  ".join(
            _pad(cell, width, right=right) for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()


def _limits(rows: list[Row]) -> list[int]:
    """Return how wide each column may be: the widest give way until a line has 80 columns, or all are narrow."""
    names = list(rows[0])
    most = [_WIDEST if len(names) > 2 and name != "id" else 60 for name in names]
    widths = [
        max(len(name), *(columns(visible(_cell(row[name]), room)) for row in rows))
        for name, room in zip(names, most, strict=True)
    ]
    # An id is to be typed again, so it stays whole.
    yielding = [number for number, name in enumerate(names) if name != "id"]
    while (over := sum(widths) + 2 * (len(widths) - 1) - _WIDTH) > 0:
        widest = max(yielding, key=lambda number: widths[number])
        if widths[widest] <= _NARROW:
            break
        widths[widest] -= min(over, widths[widest] - _NARROW)
    return widths


def _user_row(user: str, corpus: Corpus, store: Store) -> Row:
    rows = corpus.rows()
    times = rows.time[rows.time > 0]
    judged = int((~rows.baseline).sum())
    version = store.current(user)
    missing = MIN_ACTIONS - judged
    return {
        "user": user,
        "actions": judged,
        "baseline": int(rows.baseline.sum()),
        "first": day(int(times.min(initial=times[0])) if len(times) else 0),
        "last": day(int(times.max(initial=0))),
        "model": f"{version} in use" if version else (f"{missing} short" if missing > 0 else "none yet"),
    }


def _versions(store: Store, user: str) -> Iterator[Row]:
    current = store.current(user)
    for version in store.versions(user):
        stored = store.load(user, version)
        if stored is not None:
            card = stored.model.card
            yield {
                "user": user,
                "version": version,
                "in_use": version == current,
                "algorithm": card.algorithm.value,
                "actions": card.actions,
                "first": day(card.first),
                "last": day(card.last),
            }


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _pad(cell: str, width: int, *, right: bool) -> str:
    room = " " * (width - columns(cell))
    return room + cell if right else cell + room
