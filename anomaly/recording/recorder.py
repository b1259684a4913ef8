"""Looks at the machine again and again, and records what differs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import psutil

from anomaly.errors import AnomalyError
from anomaly.recording.accounts import Accounts
from anomaly.recording.lines import line
from anomaly.recording.output import Recording
from anomaly.recording.pack import Look, Query

MOST_CPU = 0.05
"""Share of one CPU that the rounds may take; a busy machine is looked at less often, rather than slowed down."""


class Clock(NamedTuple):
    """Where times come from."""

    now: Callable[[], float] = time.time
    """Seconds since 1970 UTC."""
    cpu: Callable[[], float] = time.process_time
    """Seconds of CPU that this process has had."""


class Recorder:
    """Runs queries and appends what they find.

    What it remembers is in memory: a new one begins with a baseline, as osquery does with a new database.

    Parameters
    ----------
    queries
        What to ask, in this order.
    accounts
        Names of numbers.
    recording
        Where lines go.
    host
        ``hostIdentifier``.
    say
        Takes a sentence for people.
    clock
        Where times come from.
    """

    def __init__(
        self,
        queries: list[Query],
        accounts: Accounts,
        recording: Recording,
        host: str,
        say: Callable[[str], None],
        clock: Clock | None = None,
    ) -> None:
        self.rounds = self.lines = 0
        self._queries, self._accounts, self._recording, self._host = queries, accounts, recording, host
        self._say, self._clock = say, clock or Clock()
        self._complaints: dict[str, str] = {}
        self.stretched = False
        """Whether rounds are further apart than asked for."""

    def round(self) -> float:
        """Run every query once and append what differs.

        Returns
        -------
        float
            Seconds of CPU that it took.
        """
        began = self._clock.cpu()
        self._accounts.refresh()
        look, batch = Look(self._accounts), []
        for query in self._queries:
            batch += self._run(query, look)
        self._write(batch)
        self.rounds += 1
        self.lines += len(batch)
        return self._clock.cpu() - began

    def pause(self, took: float, interval: float) -> float:
        """Return how long to wait after a round, in seconds, from what it took of the CPU."""
        least = took / MOST_CPU
        if least > interval and not self.stretched:
            self.stretched = True
            self._say(
                f"A look takes {took:.1f} s of CPU here: the next comes after {least:.0f} s, not {interval:g} s."
            )
        return max(interval, least)

    def reopen(self) -> None:
        """Go on in the file that the path names now, if it was rotated."""
        try:
            self._recording.reopen()
        except AnomalyError as error:
            self._complain("reopen", str(error))
        else:
            self._complaints.pop("reopen", None)

    def _run(self, query: Query, look: Look) -> list[bytes]:
        try:
            changes = query.memory.update(query.rows(look))
        except (OSError, psutil.Error, ValueError, RuntimeError) as error:
            # One table that cannot be read is no reason to lose the others; its rows are not gone either.
            self._complain(query.name, f"{query.name} cannot be read, and is left out: {error}")
            return []
        moment = int(self._clock.now())
        return [line(self._host, query.name, moment, changes.counter, verb, row) for verb, row in changes.rows()]

    def _write(self, batch: list[bytes]) -> None:
        if self._recording.is_moved():
            self.reopen()
        try:
            self._recording.write(batch)
        except OSError as error:
            self._complain(
                "write", f"{self._recording.path} cannot be written: {error.strerror}; lines wait in memory."
            )
            return
        if self._complaints.pop("write", None):
            lost = f" {self._recording.lost:,} lines were lost." if self._recording.lost else " Nothing was lost."
            self._say(f"{self._recording.path} can be written again.{lost}")

    def _complain(self, about: str, text: str) -> None:
        if self._complaints.get(about) != text:
            self._complaints[about] = text
            self._say(text)
