"""What ``predict`` puts together: which users, from where in the log, with which models."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from anomaly import machine
from anomaly.advice import nearest, shell_word
from anomaly.daemon import Follower
from anomaly.errors import ConfigError, LogEmpty, LogError, ModelRefused, UnknownUser
from anomaly.harvest import nothing
from anomaly.identity import NAMELESS
from anomaly.learned import StoreKeeper
from anomaly.model import Card
from anomaly.once import Say
from anomaly.osquery import Parser, Skipped
from anomaly.registry import Registry
from anomaly.renewal import Renewal, shown
from anomaly.request import Again, Prediction
from anomaly.response import Response
from anomaly.scoring import Scorer
from anomaly.sinks.interface import AlertSink, Sink
from anomaly.sources.archive import locate, survey
from anomaly.sources.checkpoint import Checkpoint, CheckpointFile, checkpoint_name
from anomaly.sources.interface import Position, Source
from anomaly.sources.stdin import STDIN, StdinSource
from anomaly.sources.tail import LogSource
from anomaly.spread import Spread
from anomaly.spread_process import Post
from anomaly.standings import ROOM
from anomaly.statusfile import StatusFile
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
    alert_sinks: Sequence[AlertSink] = (),
    again: Again | None = None,
    notifier: Notifier | None = None,
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
    alert_sinks
        Where alerts go, besides the journal beside the checkpoint; they stay the caller's to close.
    again
        Reads the settings anew, for a reload; without it they stay.
    notifier
        Told how it goes.

    Raises
    ------
    UnknownUser
        There is no model of the user asked for, or no model at all.
    ModelRefused, LogMissing, LogUnreadable, StateLocked, StateRefused
        As their rooms say.
    """
    store = Store(asked.models)
    registry = Registry(store, say)
    # First: what it says becomes of those whose models are refused.
    background = registry.background() if asked.user is None else None
    cards = cards_of(registry, asked.user)
    parser = Parser()
    for card in cards:
        parser.identities.update(card.identities)
    with ExitStack() as stack:
        file, saved, keeper, name = None, None, None, checkpoint_of(asked)
        if name is not None:
            file = stack.enter_context(CheckpointFile(asked.state, name))
            keeper = StoreKeeper(store, name, say)
            saved = file.load() if asked.begin == "checkpoint" else None
            if file.set_aside:
                say(file.set_aside)
        source = stack.enter_context(_source(asked, saved, cards, say))
        claims = claims_all(asked.log, asked.user, cards, say, asked.olddir)
        response = Response(asked, name, alert_sinks, say)
        del cards  # a thousand are some MiB, and a log is followed for weeks
        jobs = _jobs(asked, source, len(registry.users()))
        scorer: Scorer | Spread
        if jobs > 1 and name is not None:
            post = Post(asked.models, asked.adapt, name, str(asked.log), response.suppressions)
            scorer = stack.enter_context(Spread(post, jobs, registry.say))
        else:
            scorer = Scorer(
                registry.find,
                only=asked.user,
                claims=claims,
                adapt=asked.adapt,
                keeper=keeper,
                background=background,
                log=str(asked.log),
                say=say,
            )
            scorer.silences = response.silences
        if saved is not None:
            response.restore(saved)
            parser.identities.update(saved.identities)
            scorer.restore(saved.users)
            saved = None  # the text of a thousand states
        follower = Follower(
            source,
            parser,
            scorer,
            sink,
            checkpoint=file,
            log=str(asked.log),
            shown=shown(asked.min_score),
            alerts=response.alerts,
            notifier=notifier,
            say=say,
        )
        if name is not None:
            status = StatusFile(asked.state, name, asked.log, asked.user, say)
            stack.callback(status.keep, follower.board, now=True)
            status.attach(follower.board, resume=asked.begin == "checkpoint")
        if isinstance(scorer, Scorer):  # a backlog that is spread is scored by the models it began with
            renewal = Renewal(asked, registry, follower, scorer, again or (lambda: asked), say)
            follower.look, follower.reload = renewal.look, renewal.reload
        else:
            follower.reload = lambda: say("A log that is scored to its end by --jobs is scored as it was begun.")
        response.attach(follower)
        if asked.begin != "checkpoint":
            follower.save()  # killed before its first checkpoint, the next run would begin where training stopped
        yield follower


def checkpoint_of(asked: Prediction) -> str | None:
    """Return the name of what is remembered of a run; None where nothing is: standard input has no places."""
    if asked.log == STDIN:
        return None
    return checkpoint_name(asked.log, "all users" if asked.user is None else f"user {asked.user}")


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


def cards_of(registry: Registry, user: str | None) -> list[Card]:
    """Read what must be known of the models before anything else is; those of all users are loaded as they act."""
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
        say(f"{log} names no user: all of it is taken as {user!r}'s.")
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
