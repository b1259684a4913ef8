"""What ``predict`` puts together: which users, from where in the log, with which models."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from anomaly import machine
from anomaly.advice import nearest, shell_word
from anomaly.beside import Beside
from anomaly.daemon import Follower
from anomaly.errors import ConfigError, LogEmpty, LogError, ModelRefused, UnknownUser
from anomaly.harvest import nothing
from anomaly.identity import NAMELESS
from anomaly.learned import Keeper, StoreKeeper
from anomaly.model import Card
from anomaly.osquery import Parser, Skipped
from anomaly.registry import Registry, Say
from anomaly.renewal import Again, Prediction, Renewal, shown
from anomaly.scoring import Scorer
from anomaly.sinks.interface import Sink
from anomaly.sources.archive import locate, survey
from anomaly.sources.checkpoint import Checkpoint, CheckpointFile, checkpoint_name
from anomaly.sources.interface import Position, Source
from anomaly.sources.stdin import STDIN, StdinSource
from anomaly.sources.tail import LogSource
from anomaly.spread import Post, Spread
from anomaly.standings import ROOM
from anomaly.store import Store
from anomaly.systemd import Notifier

WORTHWHILE = 8 << 20
"""Bytes of backlog from which on it is spread over processes: each takes a third of a second to start."""

_PEEKED = 2000


@contextmanager
def prepare(
    asked: Prediction,
    sink: Sink,
    say: Say,
    *,
    again: Again | None = None,
    notifier: Notifier | None = None,
    beside: Beside | None = None,
) -> Iterator[Follower]:
    """Open everything that following a log needs, and close it again.

    Parameters
    ----------
    asked
        The settings.
    sink
        Where the scores go.
    say
        Told, as a sentence, what a person should know.
    again
        Reads the settings anew, for a reload; without it they stay.
    notifier
        Told how it goes.
    beside
        What is known of another process that follows the log: nothing is locked or written then.

    Raises
    ------
    UnknownUser
        There is no model of the user asked for, or no model at all.
    ModelRefused, LogMissing, LogUnreadable, StateLocked, StateRefused
        As their rooms say.
    """
    store = Store(asked.models)
    registry = Registry(store, say)
    cards = _cards(registry, asked)
    parser = Parser()
    for card in cards:
        parser.identities.update(card.identities)
    with ExitStack() as stack:
        file: CheckpointFile | None = None
        keeper: Keeper | None = None
        saved: Checkpoint | None = None
        if beside is not None:
            keeper, saved = beside.keeper(store), beside.checkpoint
        elif asked.log != STDIN:
            name = checkpoint_name(asked.log, "all users" if asked.user is None else f"user {asked.user}")
            file = stack.enter_context(CheckpointFile(asked.state, name))
            keeper = StoreKeeper(store, name, say)
            saved = file.load() if asked.begin == "checkpoint" else None
            if file.set_aside:
                say(file.set_aside)
        source = stack.enter_context(_source(asked, saved, cards, say))
        claims = _claims(asked, cards, say)
        del cards  # a thousand are some MiB, and a log is followed for weeks
        jobs = _jobs(asked, source, len(registry.users()))
        scorer: Scorer | Spread
        if jobs > 1 and file is not None:
            post = Post(asked.models, asked.adapt, name, str(asked.log))
            scorer = stack.enter_context(Spread(post, jobs, say))
        else:
            scorer = Scorer(
                registry.find,
                only=asked.user,
                claims=claims,
                adapt=asked.adapt,
                keeper=keeper,
                background=registry.background() if asked.user is None else None,
                log=str(asked.log),
                say=say,
            )
        if saved is not None:
            parser.identities.update(saved.identities)
            scorer.restore(saved.users)
            saved = beside = None  # the text of a thousand states
        follower = Follower(
            source,
            parser,
            scorer,
            sink,
            checkpoint=file,
            log=str(asked.log),
            shown=shown(asked.min_score),
            notifier=notifier,
            say=say,
        )
        if isinstance(scorer, Scorer):  # a backlog that is spread is scored by the models it began with
            renewal = Renewal(asked, registry, follower, scorer, again or (lambda: asked), say)
            follower.look, follower.reload = renewal.look, renewal.reload
        else:
            follower.reload = lambda: say("A log that is scored to its end by --jobs is scored as it was begun.")
        if asked.begin != "checkpoint":
            follower.save()  # killed before its first checkpoint, the next run would begin where training stopped
        yield follower


def _jobs(asked: Prediction, source: Source, users: int) -> int:
    """Return how many processes are to score: several where a backlog of many users is worth their start."""
    many = asked.user is None and not asked.follow and asked.log != STDIN
    if asked.jobs is not None and asked.jobs > 1 and not many:
        raise ConfigError("--jobs spreads a backlog over processes, user by user: add --all-users --no-follow.")
    if not many:
        return 1
    if asked.jobs is not None:
        return max(min(asked.jobs, users), 1)
    if source.backlog < WORTHWHILE:
        return 1
    return max(min(users, machine.cpus(), machine.memory() // ROOM // 2), 1)


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


def _cards(registry: Registry, asked: Prediction) -> list[Card]:
    """Read what must be known of the models before anything else is; those of all users are loaded as they act."""
    store = registry.store
    if asked.user is None:
        users = sorted(registry.users())
        if not users:
            raise UnknownUser(
                f"There is no model in {store.directory} yet. Make models with: anomaly train --all-users -l LOG"
            )
        found = [card for user in users if (card := registry.card(user))]
        if not found:
            raise ModelRefused(f"None of the models in {store.directory} can be used.")
        return found
    stored = registry.ahead(asked.user)
    if stored is None:
        known = f"There is no model of {asked.user!r} in {store.directory}. {nearest(asked.user, store.users())}"
        raise UnknownUser(f"{known.rstrip()} Make one with: anomaly train --user NAME -l LOG")
    return [stored.model.card]


def _source(asked: Prediction, saved: Checkpoint | None, cards: list[Card], say: Say) -> Source:
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


def _claims(asked: Prediction, cards: list[Card], say: Say) -> bool:
    """Decide whether rows that name nobody are the user's: they are where the log names nobody at all."""
    if asked.user is None or asked.user.startswith(NAMELESS):
        return False
    if cards[0].claims_host:
        return True
    if asked.log == STDIN:
        return False
    found = _names_nobody(asked)
    if found:
        say(f"{asked.log} names no user: all of it is taken as {asked.user!r}'s.")
    return found


def _names_nobody(asked: Prediction) -> bool:
    parser, seen = Parser(), False
    try:
        with LogSource(asked.log, start="start", follow=False, olddir=asked.olddir) as source:
            for line in source.read(_PEEKED, timeout=1.0):
                parsed = parser.parse(line.data)
                for action in () if isinstance(parsed, Skipped) else parsed:
                    if not action.user.startswith(NAMELESS):
                        return False
                    seen = True
    except LogError:
        return False
    return seen
