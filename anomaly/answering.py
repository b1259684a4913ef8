"""Answering an alert: what follows from what somebody says of it, written down for the runs that told it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
from tomlkit.items import AoT

from anomaly import suppression_edit
from anomaly.alert_journal import Told, told
from anomaly.burst import begin_of, is_cut
from anomaly.errors import ConfigError
from anomaly.feedback import (
    ACTION_BYTES,
    FILE,
    KEY,
    MOST,
    MOST_ACTIONS,
    MOST_BYTES,
    Done,
    Feedback,
    Verdict,
    load,
    parse,
)
from anomaly.identity import keys
from anomaly.ledger_edit import Ledger, append, edit, take_out
from anomaly.osquery import Action
from anomaly.records import Score
from anomaly.suppression import LONGEST_PATTERN, Suppression, day_of

_HEADER = """\
# What people said of alerts: anomaly feedback. Expected actions are learned, incidents never are.

"""


class _Asked(NamedTuple):
    """The alert that somebody means, by every run that told it."""

    tellings: list[Told]

    @property
    def newest(self) -> Told:
        """The one that tells most."""
        return max(self.tellings, key=lambda one: one.alert.count)

    @property
    def actions(self) -> list[Action]:
        """The actions that were told of, the worst of each record: the last ones that there is room for."""
        scores = {score.id: score for one in self.tellings for score in one.worst}
        kept: list[Action] = []
        size = 0
        for score in reversed(scores.values()):
            size += len(msgspec.json.encode(_done(score.action)))
            if kept and (size > ACTION_BYTES or len(kept) >= MOST_ACTIONS):
                break
            kept.append(score.action)
        return kept[::-1]


def answer(
    state: Path, suppressions: Path, identity: str, verdict: Verdict, days: int, note: str, *, dry_run: bool
) -> Iterator[str]:
    """Say what an alert was: write it down, and (where it was expected) suppress it for some days.

    Yields what was done, or with ``dry_run`` would be, as sentences; before it is done.

    Raises
    ------
    ConfigError
        There is no such alert, or what was written before does not fit.
    StateRefused, StateError
        A file must not be trusted, or cannot be used.
    """
    asked = _find(state, identity)
    alert, actions = asked.newest.alert, asked.actions
    name = "f" + hashlib.sha256(alert.id.encode()).hexdigest()[:8]
    would = "Would be done: " if dry_run else ""
    entry: Suppression | None = None
    if verdict is Verdict.EXPECTED:
        # A log of another time than the clock's, a simulated one for instance, has its own days.
        begin = max(day_of(0), day_of(alert.last))
        expires = begin + timedelta(days=min(days, (date.max - begin).days))
        entry = _suppression(alert.worst, name, expires, note or f"alert {alert.id}")
        yield f"{would}{entry.id}: {entry.scope()} raises no alert before {entry.expires}."
        yield f"{would}{len(actions)} of its actions are learned with the next hundred of {alert.user}'s own."
    else:
        yield f"{would}{len(actions)} of its actions are never learned, nor what waits to be learned beside them."
        yield "What was learned before is undone by: anomaly models rollback --user NAME --learned"
    if dry_run:
        return
    answered = _feedback(asked, verdict, note, name if entry is not None else None)
    # First, so that nothing is suppressed of which nobody finds an answer.
    _write(state / FILE, answered)
    if entry is not None:
        suppression_edit.add(suppressions, entry)
    elif suppression_edit.remove_if_there(suppressions, name):
        yield f"{name}: it was called expected before; that suppression is gone."


def _find(state: Path, identity: str) -> _Asked:
    known = told(state)
    found = [one for one in known if one.alert.id == identity]
    found = found or [one for one in known if any(score.id == identity for score in one.worst)]
    if not found:
        raise ConfigError(f"There is no alert {identity!r} in {state}. See: anomaly alerts list")
    return _Asked([one for one in found if one.alert.id == found[-1].alert.id])


def _suppression(worst: Score, name: str, expires: date, note: str) -> Suppression:
    """Make what suppresses the like: of this user and query, the value that weighed most."""
    scope: dict[str, str] = {}
    for reason in sorted(worst.reasons, key=lambda reason: -reason.bits):
        value = worst.action.columns.get(reason.field)
        if value is None:  # the action's kind, its hour
            continue
        scope = {"field": reason.field}
        if is_cut(value):
            plain = begin_of(value).replace("*", "?")
            scope["pattern"] = f"{plain[: LONGEST_PATTERN - 1]}*"
        else:
            scope["value"] = value
        break
    who = worst.action.user, worst.action.query
    return suppression_edit.new(expires, user=who[0], query=who[1], note=note, name=name, **scope)


def _feedback(asked: _Asked, verdict: Verdict, note: str, suppression: str | None) -> Feedback:
    alert = asked.newest.alert
    return Feedback(
        alert.id,
        verdict,
        alert.user,
        alert.host,
        sorted(one.checkpoint for one in asked.tellings),
        datetime.now(UTC).replace(microsecond=0),
        suppression,
        note,
        [_done(action) for action in asked.actions],
    )


def _done(action: Action) -> Done:
    return Done(action.time, action.query, action.verb, action.columns)


def _write(path: Path, answered: Feedback) -> None:
    def change(tables: AoT) -> None:
        take_out(tables, {answered.id})
        append(tables, msgspec.to_builtins(answered, builtin_types=(datetime,)))
        sizes = [len(table.as_string().encode()) for table in tables]
        while len(sizes) > 1 and (len(sizes) > MOST or sum(sizes) > MOST_BYTES):
            del tables[0], sizes[0]

    edit(Ledger(path, KEY, _HEADER, parse), change)


def forget(path: Path, user: str) -> int:
    """Take out what was answered of a user's alerts, by the name or ``user@host``; return how many that were.

    Raises
    ------
    ConfigError, StateRefused, StateError
        The file does not fit, or cannot be used.
    """
    gone = {entry.id for entry in load(path) if user in keys(entry.host, entry.user)}
    if gone:
        edit(Ledger(path, KEY, _HEADER, parse), lambda tables: take_out(tables, gone))
    return len(gone)
