"""Answering an alert: what follows from what somebody says of it, written down for the runs that told it.

An answer never suppresses a user's whole query, or most of it: where no value of the worst action names it,
nothing is suppressed, and a person is told how to do it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from anomaly import feedback_edit, suppression_edit
from anomaly.advice import shell_word
from anomaly.alert_journal import Told, told
from anomaly.burst import is_cut
from anomaly.errors import ConfigError
from anomaly.feedback import (
    FILE,
    LARGEST,
    MOST_ACTIONS,
    Done,
    Feedback,
    Verdict,
)
from anomaly.osquery import Action
from anomaly.records import Alert, Reason, ReasonKind, Score
from anomaly.sinks.wording import telling
from anomaly.suppression import Suppression, day_of

_MOST_NAMED = 5
"""Actions that are proposed where one is to be named; the newest."""

_MOST_SHARE = 0.1
"""Of training's actions with a column, the most that may have a value which stands for what was expected."""


class _Asked(NamedTuple):
    """The alert that somebody means, by every run that told it, and the action of it that is named."""

    tellings: list[Told]
    score: Score

    @property
    def alert(self) -> Alert:
        """As it was told last, by the run that told most."""
        return max((one.alert for one in self.tellings), key=lambda alert: alert.count)

    @property
    def scores(self) -> dict[str, Score]:
        """All that was told of, the worst of each record, by its id."""
        return {score.id: score for one in self.tellings for score in one.worst}

    def actions(self, verdict: Verdict) -> list[Action]:
        """Return what an answer is about: the action that was expected alone; of an incident, all of its host."""
        if verdict is Verdict.EXPECTED:
            return [self.score.action]
        host = self.score.action.host
        return [score.action for score in self.scores.values() if score.action.host == host][-MOST_ACTIONS:]


def answer(
    state: Path,
    suppressions: Path,
    identity: str,
    verdict: Verdict,
    expires: int | date,
    note: str,
    *,
    dry_run: bool,
) -> Iterator[str]:
    """Say what an action of an alert was: write it down, and suppress it for some days if it was expected.

    It expires on a day, or so many days after the alert's; an alert's day beyond tomorrow counts as tomorrow.
    Yields what was done, or with ``dry_run`` would be, as sentences; before it is done.

    Raises
    ------
    ConfigError
        There is no such alert, it told of several actions of which none is named, or what was written before does
        not fit.
    StateRefused, StateError
        A file must not be trusted, or cannot be used.
    """
    asked = _find(state, identity, verdict)
    alert, score, actions = asked.alert, asked.score, asked.actions(verdict)
    answered = score.id if verdict is Verdict.EXPECTED else alert.id
    name = _name(answered)
    would = "Would be done: " if dry_run else ""
    entry: Suppression | None = None
    if verdict is Verdict.EXPECTED:
        end = expires if isinstance(expires, date) else _end(alert.last, expires)
        entry = _suppression(score, name, end, note or f"alert {alert.id}")
        if entry is not None:
            yield f"{would}{entry.id}: {entry.scope()} raises no alert before {entry.expires}."
        else:
            yield from _unsuppressed(score, end)
        if end <= (seen := day_of(alert.last)):
            yield f"By the log's days that is over: its last is {seen}. Say --until if they are right."
        yield f"{would}Action {score.id} is learned with the next hundred of {alert.user}'s own."
        if alert.worst.id != score.id:
            yield f"This does not answer the worst action of its alert, {alert.worst.id}."
    else:
        many = "1 of its actions is" if len(actions) == 1 else f"{len(actions)} of its actions are"
        beside = "it" if len(actions) == 1 else "them"
        yield f"{would}{many} never learned, nor what waits to be learned beside {beside}."
        who = shell_word(alert.user)
        yield f"What was learned before is undone by: anomaly models rollback --user {who} --learned"
    if dry_run:
        return
    # An incident takes back all that was called expected of its alert, and what is expected now an incident.
    every = {alert.id, *asked.scores}
    held = _feedback(asked, verdict, answered, note, name if entry is not None else None)
    feedback_edit.write(state / FILE, held, every)
    if entry is not None:
        suppression_edit.add(suppressions, entry)
        return
    for name in sorted(map(_name, every if verdict is Verdict.INCIDENT else {score.id})):
        if suppression_edit.remove_if_there(suppressions, name):
            yield f"{name}: it was called expected before; that suppression is gone."


def _end(last: int, days: int) -> date:
    """Count days from an alert's: whoever writes the log must not choose how long a suppression lasts."""
    today = day_of(0)
    return min(max(today, day_of(last)), today + timedelta(days=1)) + timedelta(days=days)


def _name(answered: str) -> str:
    """Name the suppression that comes of an answer."""
    return "f" + hashlib.sha256(answered.encode()).hexdigest()[:8]


def _find(state: Path, identity: str, verdict: Verdict) -> _Asked:
    """Find the action of an id, or else the alert."""
    known = told(state)
    found = [one for one in known if any(score.id == identity for score in one.worst)]
    found = found or [one for one in known if one.alert.id == identity]
    if not found:
        raise ConfigError(f"There is no alert {identity!r} in {state}. See: anomaly alerts list")
    asked = _Asked([one for one in known if one.alert.id == found[-1].alert.id], found[-1].alert.worst)
    scores = asked.scores
    if identity not in scores and len(scores) > 1 and verdict is Verdict.EXPECTED:
        ids = ", ".join(list(scores)[-_MOST_NAMED:])
        raise ConfigError(f"Alert {identity} told of several actions; say which was expected, by its id: {ids}")
    return asked._replace(score=scores.get(identity, asked.score))


def _suppression(worst: Score, name: str, expires: date, note: str) -> Suppression | None:
    """Make what suppresses the like: of this user and query, the value that weighed most of those that name it.

    None where no value does: what is left then is the whole query, in which anybody could hide.
    """
    action = worst.action
    for reason in sorted(worst.reasons, key=lambda reason: -reason.bits):
        if _names(reason, value := action.columns.get(reason.field, "")):
            scope = {"user": action.user, "query": action.query, "field": reason.field, "value": value}
            return suppression_edit.new(expires, note=note, name=name, **scope)
    return None


def _names(reason: Reason, value: str) -> bool:
    """Say whether a reason is about a column's value, and that one stands for little of what the user does.

    A column may be called ``action`` or ``time``, too, as those of file_events are: the kind of an action and its
    hour are told under the same names, and have other values. Of a value that the journal has cut nobody has seen
    the end: all that begins so would be too much.
    """
    if reason.kind is ReasonKind.UNUSUAL_HOUR or is_cut(value):
        return False
    is_about = reason.value != "" and value.startswith(reason.value)
    return is_about and reason.seen <= _MOST_SHARE * reason.of


def _unsuppressed(worst: Score, expires: date) -> Iterator[str]:
    """Say that nothing is suppressed, and what a person could who knows what is meant."""
    action = worst.action
    yield (
        f"Nothing is suppressed: no reason names a value that would not hide much else of"
        f" {action.user}'s {action.query}."
    )
    row = {name: value for name, value in action.columns.items() if value and not is_cut(value)}
    if field := next(iter(telling(row)), None):
        scope = {"user": action.user, "query": action.query, "field": field, "value": row[field]}
        words = " ".join(f"--{name} {shell_word(said)}" for name, said in scope.items())
        yield (
            "If one column says it, suppress that, after a thought of what could hide there; perhaps:"
            f" anomaly suppress add {words} --until {expires}"
        )


def _feedback(asked: _Asked, verdict: Verdict, answered: str, note: str, suppression: str | None) -> Feedback:
    done = [Done(a.time, a.query, a.verb, a.columns) for a in asked.actions(verdict)]
    return Feedback(
        answered,
        verdict,
        asked.alert.user,
        asked.score.action.host,
        sorted(one.checkpoint for one in asked.tellings),
        datetime.now(UTC).replace(microsecond=0),
        suppression,
        note,
        list(feedback_edit.newest(done, LARGEST)),
    )
