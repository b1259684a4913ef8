"""Before a log is scored: the models' cards, from where on it is read, and whose the rows are that name nobody."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from anomaly.advice import nearest
from anomaly.errors import LogError, LogMissing, ModelRefused, UnknownUser
from anomaly.identity import NAMELESS
from anomaly.model import Card
from anomaly.once import Say
from anomaly.osquery import Parser, Skipped
from anomaly.registry import Registry
from anomaly.request import Prediction
from anomaly.sources.archive import locate, survey
from anomaly.sources.checkpoint import Checkpoint
from anomaly.sources.interface import Position, Source
from anomaly.sources.logfile import open_log
from anomaly.sources.stdin import STDIN, StdinSource
from anomaly.sources.tail import LogSource

_PEEKED = 2000


def cards_of(registry: Registry, user: str | None) -> list[Card]:
    """Read what must be known of the models before anything else is; those of all users are loaded as they act.

    Raises
    ------
    UnknownUser
        There is no model of the user asked for, or no model at all.
    ModelRefused
        None can be used.
    """
    store = registry.store
    if user is None:
        if not registry.users():
            raise UnknownUser(
                f"There is no model in {store.directory} yet. Make models with: anomaly train --all-users -l LOG"
            )
        found = registry.cards()
        if not found:
            raise ModelRefused(f"None of the models in {store.directory} can be used.")
        return found
    stored = registry.ahead(user)
    if stored is None:
        known = f"There is no model of {user!r} in {store.directory}. {nearest(user, store.users())}"
        raise UnknownUser(f"{known.rstrip()} Make one with: anomaly train --user NAME -l LOG")
    return [stored.model.card]


def check_there(asked: Prediction) -> None:
    """Refuse a log that is neither there nor waited for, before anything is made for it.

    Raises
    ------
    LogMissing, LogUnreadable
        As :func:`open_source`, which looks again.
    """
    if asked.follow or asked.log == STDIN:
        return
    try:
        open_log(asked.log).close()
    except LogMissing:
        if not survey(asked.log, asked.olddir):
            raise


def open_source(asked: Prediction, saved: Checkpoint | None, cards: list[Card], say: Say) -> Source:
    """Open the log where the last run stopped, at first where training did, or where it was asked for.

    Raises
    ------
    LogMissing, LogUnreadable
        It is not there, and is not waited for; or it cannot be read.
    """
    if asked.log == STDIN:
        return StdinSource(max_line=asked.max_line)
    start: Position | Literal["start", "end"]
    if asked.begin != "checkpoint":
        start = asked.begin
    else:
        start = saved.position if saved else after_training(asked.log, cards, asked.olddir)
    source = LogSource(asked.log, start=start, follow=asked.follow, max_line=asked.max_line, olddir=asked.olddir)
    if asked.follow and not os.path.exists(asked.log):  # noqa: PTH110 - Path.exists raises where it may not look
        say(f"{asked.log} is not there yet; waiting for it.")
    return source


def after_training(log: Path, cards: list[Card], olddir: Path | None = None) -> Position | Literal["start"]:
    """Return where training stopped in this log: the earliest place, where models differ."""
    ends = {end for card in cards for end in card.ends}
    members = survey(log, olddir)
    places = [(index, end.offset, end) for end in ends if (index := locate(members, end)) is not None]
    return min(places, key=lambda place: place[:2])[2] if places else "start"


def claims_all(log: Path, user: str | None, cards: list[Card], say: Say, olddir: Path | None) -> bool:
    """Decide whether rows that name nobody are the user's: they are where the log names nobody at all."""
    if user is None or user.startswith(NAMELESS):
        return False
    if cards[0].claims_host:
        return True
    if log == STDIN:
        return False
    found = _names_nobody(log, olddir)
    if found:
        say(f"{log} names no user: all of it is taken as that of {user!r}.")
    return found


def _names_nobody(log: Path, olddir: Path | None) -> bool:
    parser, seen = Parser(), False
    try:
        with LogSource(log, start="start", follow=False, olddir=olddir) as source:
            for line in source.read(_PEEKED, timeout=1.0):
                parsed = parser.parse(line.data)
                for action in () if isinstance(parsed, Skipped) else parsed:
                    if not action.user.startswith(NAMELESS):
                        return False
                    seen = True
    except LogError:
        return False
    return seen
