"""What ``predict`` puts together: which users, from where in the log, with which models."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from anomaly.advice import nearest, shell_word
from anomaly.background import Background
from anomaly.daemon import Follower
from anomaly.errors import LogEmpty, LogError, ModelRefused, UnknownUser
from anomaly.harvest import nothing
from anomaly.identity import NAMELESS
from anomaly.learned import StoreKeeper
from anomaly.osquery import Parser, Skipped
from anomaly.records import Score
from anomaly.scoring import Scorer
from anomaly.sinks.interface import Sink
from anomaly.sources.archive import locate, survey
from anomaly.sources.checkpoint import Checkpoint, CheckpointFile, checkpoint_name
from anomaly.sources.interface import Position, Source
from anomaly.sources.stdin import STDIN, StdinSource
from anomaly.sources.tail import LogSource
from anomaly.store import Store, Stored

Begin = Literal["checkpoint", "start", "end"]
Say = Callable[[str], None]

_PEEKED = 2000


class Prediction(msgspec.Struct, frozen=True):
    """What is asked for."""

    log: Path
    models: Path
    state: Path
    user: str | None
    """None for every user."""
    follow: bool
    begin: Begin = "checkpoint"
    min_score: float = 0.0
    adapt: bool = True
    """Let models learn, under guard, from what is not suspected."""


@contextmanager
def prepare(asked: Prediction, sink: Sink, say: Say) -> Iterator[Follower]:
    """Open everything that following a log needs, and close it again.

    Raises
    ------
    UnknownUser
        There is no model of the user asked for, or no model at all.
    ModelRefused, LogMissing, LogUnreadable, StateLocked, StateRefused
        As their rooms say.
    """
    say_of_models = _once(say)
    store = Store(asked.models)
    stored = _models(store, asked, say_of_models)
    parser = Parser()
    for model in stored:
        parser.identities.update(model.model.card.identities)
    with ExitStack() as stack:
        file, saved, keeper = None, None, None
        if asked.log != STDIN:
            name = checkpoint_name(asked.log, "all users" if asked.user is None else f"user {asked.user}")
            file = stack.enter_context(CheckpointFile(asked.state, name))
            keeper = StoreKeeper(store, name, say)
            saved = file.load() if asked.begin == "checkpoint" else None
            if file.set_aside:
                say(file.set_aside)
        source = stack.enter_context(_source(asked, saved, stored, say))
        claims = _claims(asked, stored, say)
        scorer = Scorer(
            _finder(store, say_of_models),
            only=asked.user,
            claims=claims,
            adapt=asked.adapt,
            keeper=keeper,
            background=_background(store, asked, say),
            log=str(asked.log),
            say=say,
        )
        if saved is not None:
            parser.identities.update(saved.identities)
            scorer.restore(saved.users)
        yield Follower(
            source,
            parser,
            scorer,
            sink,
            checkpoint=file,
            log=str(asked.log),
            shown=_shown(asked.min_score),
            say=say,
        )


def check_read(asked: Prediction, follower: Follower) -> str | None:
    """Say what a person should know of a run that found nothing to score; None where all is well.

    Raises
    ------
    LogEmpty
        There was not one line, neither now nor before.
    """
    tally = follower.tally
    if not tally.lines and not asked.follow and not follower.source.position.offset:
        raise LogEmpty(nothing([asked.log], 0, tally.skipped))
    if asked.user is not None and tally.actions and not tally.severities:
        return (
            f"None of these actions is {asked.user!r}'s. Who acted: anomaly users -l {shell_word(str(asked.log))}"
        )
    return None


def _models(store: Store, asked: Prediction, say: Say) -> list[Stored]:
    """Load what must be there before anything is read."""
    if asked.user is None:
        users = store.users()
        if not users:
            raise UnknownUser(
                f"There is no model in {store.directory} yet. Make models with: anomaly train --all-users -l LOG"
            )
        found = [stored for user in users if (stored := _load(store, user, say))]
        if not found:
            raise ModelRefused(f"None of the models in {store.directory} can be used.")
        return found
    stored = store.load(asked.user)
    if stored is None:
        known = f"There is no model of {asked.user!r} in {store.directory}. {nearest(asked.user, store.users())}"
        raise UnknownUser(f"{known.rstrip()} Make one with: anomaly train --user NAME -l LOG")
    return [stored]


def _once(say: Say) -> Say:
    """Say each thing once: a model that is refused is met at the start and again when its user acts."""
    said: set[str] = set()

    def say_once(text: str) -> None:
        if text not in said and len(said) < _PEEKED:
            said.add(text)
            say(text)

    return say_once


def _load(store: Store, user: str, say: Say) -> Stored | None:
    try:
        return store.load(user)
    except ModelRefused as error:
        say(f"{user!r} is shown without scores. {error}")
        return None


def _background(store: Store, asked: Prediction, say: Say) -> Background | None:
    """Load what users without a model are scored by."""
    if asked.user is not None:
        return None
    try:
        return store.load_background()
    except ModelRefused as error:
        say(str(error))
        return None


def _finder(store: Store, say: Say) -> Callable[[str], Stored | None]:
    # Called in the middle of the log: a model that is refused then must not end the watch over all others.
    return lambda user: _load(store, user, say)


def _source(asked: Prediction, saved: Checkpoint | None, stored: list[Stored], say: Say) -> Source:
    if asked.log == STDIN:
        return StdinSource()
    start: Position | Literal["start", "end"]
    if asked.begin != "checkpoint":
        start = asked.begin
    else:
        start = saved.position if saved else after_training(asked.log, stored)
    source = LogSource(asked.log, start=start, follow=asked.follow)
    if asked.follow and not os.path.exists(asked.log):  # noqa: PTH110 - Path.exists raises where it may not look
        say(f"{asked.log} is not there yet; waiting for it.")
    return source


def after_training(log: Path, stored: list[Stored]) -> Position | Literal["start"]:
    """Return where training stopped in this log: the earliest place, where models differ."""
    ends = {end for model in stored for end in model.model.card.ends}
    members = survey(log)
    places = [(index, end.offset, end) for end in ends if (index := locate(members, end)) is not None]
    return min(places, key=lambda place: place[:2])[2] if places else "start"


def _claims(asked: Prediction, stored: list[Stored], say: Say) -> bool:
    """Decide whether rows that name nobody are the user's: they are where the log names nobody at all."""
    if asked.user is None or asked.user.startswith(NAMELESS):
        return False
    if stored[0].model.card.claims_host:
        return True
    if asked.log == STDIN:
        return False
    found = _names_nobody(asked.log)
    if found:
        say(f"{asked.log} names no user: all of it is taken as {asked.user!r}'s.")
    return found


def _names_nobody(log: Path) -> bool:
    parser, seen = Parser(), False
    try:
        with LogSource(log, start="start", follow=False) as source:
            for line in source.read(_PEEKED, timeout=1.0):
                parsed = parser.parse(line.data)
                for action in () if isinstance(parsed, Skipped) else parsed:
                    if not action.user.startswith(NAMELESS):
                        return False
                    seen = True
    except LogError:
        return False
    return seen


def _shown(least: float) -> Callable[[Score], bool]:
    if least <= 0:
        return lambda _: True
    return lambda score: max(score.score or 0.0, score.risk or 0.0) >= least
