"""What ``predict`` puts together: source, parser, models, scorer, alerts and sinks, and what is remembered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from anomaly import machine
from anomaly.advice import shell_word
from anomaly.beside import Beside
from anomaly.daemon import Follower
from anomaly.errors import ConfigError, LogEmpty
from anomaly.harvest import nothing
from anomaly.learned import Keeper, StoreKeeper
from anomaly.once import Say
from anomaly.osquery import Parser
from anomaly.outset import cards_of, check_there, claims_all, open_source
from anomaly.registry import Registry
from anomaly.renewal import Renewal, shown
from anomaly.request import Again, Prediction
from anomaly.response import Response
from anomaly.scoring import Scorer
from anomaly.sinks.interface import AlertSink, Sink
from anomaly.sources.checkpoint import Checkpoint, checkpoint_name, selection
from anomaly.sources.checkpoint_file import CheckpointFile
from anomaly.sources.interface import Source
from anomaly.sources.stdin import STDIN
from anomaly.spread import Spread
from anomaly.spread_process import Post
from anomaly.standings import ROOM
from anomaly.statusfile import StatusFile
from anomaly.store import Store
from anomaly.systemd import Notifier

WORTHWHILE = 8 << 20
"""Bytes of backlog from which on it is spread over processes: each takes a third of a second to start."""


@contextmanager
def prepare(
    asked: Prediction,
    sink: Sink,
    say: Say,
    *,
    alert_sinks: Sequence[AlertSink] = (),
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
    alert_sinks
        Where alerts go, besides the journal beside the checkpoint; they stay the caller's to close.
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
    # First: what it says becomes of those whose models are refused.
    background = registry.background() if asked.user is None else None
    cards = cards_of(registry, asked.user)
    parser = Parser()
    for card in cards:
        parser.identities.update(card.identities)
    check_there(asked)
    with ExitStack() as stack:
        memory = _memory(stack, asked, store, beside, say)
        name, saved = memory.name, memory.saved
        is_new = saved is None and name is not None
        source = stack.enter_context(open_source(asked, saved, cards, say))
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
                keeper=memory.keeper,
                background=background,
                log=str(asked.log),
                say=say,
            )
            scorer.silences = response.silences
        if saved is not None:
            response.restore(saved)
            parser.identities.update(saved.identities)
            scorer.restore(saved.users)
            saved = beside = None  # the text of a thousand states
            memory = memory._replace(saved=None)
        follower = Follower(
            source,
            parser,
            scorer,
            sink,
            checkpoint=memory.file,
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
        if asked.begin != "checkpoint" or (is_new and asked.log.exists()):
            # Killed before its first checkpoint, the next run would begin where training stopped; and whoever asks
            # for the status of a quiet log would be told nothing.
            follower.save()
        yield follower


class _Memory(NamedTuple):
    """What a run remembers, and remembered."""

    name: str | None
    """Of the checkpoint; None where none is written."""
    file: CheckpointFile | None = None
    keeper: Keeper | None = None
    saved: Checkpoint | None = None


def _memory(stack: ExitStack, asked: Prediction, store: Store, beside: Beside | None, say: Say) -> _Memory:
    if beside is not None:
        return _Memory(None, None, beside.keeper(store), beside.checkpoint)
    name = checkpoint_of(asked)
    if name is None:
        return _Memory(None)
    file = stack.enter_context(CheckpointFile(asked.state, name))
    saved = file.load() if asked.begin == "checkpoint" else None
    if file.set_aside:
        say(file.set_aside)
    return _Memory(name, file, StoreKeeper(store, name, say), saved)


def checkpoint_of(asked: Prediction) -> str | None:
    """Return the name of what is remembered of a run; None where nothing is: standard input has no places."""
    if asked.log == STDIN:
        return None
    return checkpoint_name(asked.log, selection(asked.user))


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
        who = f"anomaly users -l {shell_word(str(asked.log))}"
        return f"None of these actions is one of {asked.user!r}. Who acted: {who}"
    return None
