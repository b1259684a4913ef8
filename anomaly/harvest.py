"""Reading logs once, into one corpus per user."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import NamedTuple

from anomaly.corpus import Corpus
from anomaly.errors import LogEmpty
from anomaly.identity import NAMELESS, NUMBER, keys
from anomaly.osquery import Action, Parser, Skipped
from anomaly.sources.archive import chain
from anomaly.sources.interface import Position, Source
from anomaly.sources.stdin import STDIN, StdinSource
from anomaly.sources.tail import LogSource
from anomaly.tally import counted

MIN_ACTIONS = 500
"""Fewest actions to learn a user from: five windows, one of which is always held out."""

BATCH = 4096
"""Lines read at a time."""

Report = Callable[[float, str], None]
"""Told how far some work has come, in 0..1, and what it is at."""


Watch = Callable[[str], AbstractContextManager[Report]]
"""Gives a progress bar for a title."""


class Harvest(NamedTuple):
    """What the logs held."""

    users: dict[str, Corpus]
    """By user; by ``user@host`` where one name acts on several hosts."""
    named: bool
    """Whether any row named its user."""
    ends: tuple[Position, ...]
    """Where each log ended, or the period in it: scoring goes on there."""
    skipped: Counter[str]
    """Lines that report no action, by reason."""
    lines: int


class Period(NamedTuple):
    """The part of the log to look at, in seconds since 1970 UTC: ``since <= time < until``."""

    since: int | None = None
    until: int | None = None

    def holds(self, time: int) -> bool:
        """Say whether a time lies in it; a row that does not say its time lies in every period."""
        return not time or (
            (self.since is None or time >= self.since) and (self.until is None or time < self.until)
        )


def harvest(
    sources: Iterable[Source],
    parser: Parser,
    *,
    user: str | None = None,
    period: Period = Period(),  # noqa: B008 - a tuple, never changed
    read: Callable[[int], None] = lambda _: None,
) -> Harvest:
    """Read sources to their ends.

    Parameters
    ----------
    sources
        Read one after the other; the caller closes them.
    parser
        Learns the names of user numbers on the way.
    user
        Keep only this one's actions, and what may turn out to be.
    period
        Part of the log to look at.
    read
        Told the bytes read, after each batch.
    """
    found: dict[tuple[str, str], Corpus] = {}
    skipped: Counter[str] = Counter()
    ends, lines, order, named = [], 0, 0, False
    for source in sources:
        end: Position | None = None
        while not source.ended:
            batch = source.read(BATCH, timeout=1.0)
            for line in batch:
                lines += 1
                parsed = parser.parse(line.data)
                if isinstance(parsed, Skipped):
                    skipped[parsed.reason.value] += 1
                    continue
                for action in parsed:
                    order += 1
                    named = named or not action.user.startswith(NAMELESS)
                    if end is None and period.until is not None and action.time >= period.until:
                        end = Position(line.file, line.offset)
                    if period.holds(action.time) and _may_be(action, user):
                        corpus = found.get((action.host, action.user))
                        if corpus is None:
                            corpus = Corpus(raw=action.user.startswith(NUMBER))
                            found[action.host, action.user] = corpus
                        corpus.append(order, action)
            read(sum(len(line.data) + 1 for line in batch))
        skipped.update({reason: n for reason, n in source.counters.items() if reason == "too_long"})
        ends.append(end or source.position)
    return Harvest(_name(found, parser), named, tuple(ends), skipped, lines)


def gather(
    logs: Sequence[Path],
    watch: Watch,
    *,
    user: str | None = None,
    period: Period,
    olddir: Path | None = None,
) -> tuple[Harvest, Parser]:
    """Read logs, each with its archives, into one corpus a user.

    Raises
    ------
    LogEmpty
        They hold no action at all.
    LogMissing, LogUnreadable
        One of them cannot be read.
    """
    logs = _distinct(logs, olddir)
    parser = Parser()
    with ExitStack() as stack:
        sources = [stack.enter_context(StdinSource() if log == STDIN else _whole(log, olddir)) for log in logs]
        total = sum(log.stat().st_size for log in logs if log != STDIN and log.exists())
        report = stack.enter_context(watch("reading"))
        done = 0

        def read(count: int) -> None:
            nonlocal done
            done += count
            report(min(done / max(total, 1), 1.0), f"{done >> 20:,} MiB")

        found = harvest(sources, parser, user=user, period=period, read=read)
    if not found.users and (user is None or not found.named):
        raise LogEmpty(nothing(logs, found.lines + found.skipped["too_long"], found.skipped))
    return found, parser


def nothing(logs: Sequence[Path], lines: int, skipped: Counter[str]) -> str:
    """Say what logs held instead of actions, and what to do; ``lines`` are all, with what was skipped."""
    names = ", ".join(map(str, logs))
    if not lines and not skipped:
        return f"{names} is empty. osquery writes to it once a scheduled query has results; see docs/osquery.md."
    if lines > skipped.total():
        return f"{names} has {counted(lines, 'line')}, and no action in the period that was asked for."
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in skipped.most_common())
    return (
        f"{names} has {counted(lines, 'line')} and no action to learn from ({reasons})."
        " It should be osqueryd.results.log; see docs/osquery.md."
    )


def _may_be(action: Action, user: str | None) -> bool:
    return user is None or action.user.startswith((NAMELESS, NUMBER)) or user in keys(action.host, action.user)


def _name(found: dict[tuple[str, str], Corpus], parser: Parser) -> dict[str, Corpus]:
    """Give each corpus its user's name: numbers by what the log has shown since, hosts where one name has several.

    A user keeps the plain name on the host with the most actions, unless several have enough to learn from: a
    stray line that names another host must not give everybody another name.
    """
    parts: dict[str, dict[str, list[Corpus]]] = {}
    for (host, user), corpus in found.items():
        name = user
        if user.startswith(NUMBER):
            name = parser.identities.name(host, user.removeprefix(NUMBER))
        parts.setdefault(name, {}).setdefault(host, []).append(corpus)
    named = {}
    for name, hosts in parts.items():
        merged = {host: _one(name, corpora) for host, corpora in hosts.items()}
        large = [host for host, corpus in merged.items() if len(corpus) >= MIN_ACTIONS]
        plain = max(merged, key=lambda host: len(merged[host])) if len(large) < 2 else None
        for host, corpus in merged.items():
            named[name if host == plain or name.startswith(NAMELESS) else keys(host, name)[0]] = corpus
    return dict(sorted(named.items()))


def _one(user: str, corpora: list[Corpus]) -> Corpus:
    return corpora[0] if len(corpora) == 1 and not corpora[0].raw else Corpus.merge(corpora, user=user)


def _distinct(logs: Sequence[Path], olddir: Path | None) -> list[Path]:
    """Leave out what would be read twice: a log named again, and an archive of another one (a shell's ``X*``)."""
    places = {os.path.realpath(log): log for log in reversed(logs)}
    archives = {os.path.realpath(path) for log in logs for path in chain(log, olddir) if path != log}
    return [log for place, log in reversed(places.items()) if place not in archives]


def _whole(log: Path, olddir: Path | None) -> LogSource:
    return LogSource(log, start="start", follow=False, olddir=olddir)
