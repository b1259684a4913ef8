"""What is told of a watch: of a log, and of each user in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from anomaly.sources.checkpoint import checkpoint_name, selection


class Standing(msgspec.Struct):
    """One user."""

    user: str
    host: str | None
    """None for one who has not acted since the watch began."""
    state: str
    """As in :class:`anomaly.records.ModelRef`."""
    algorithm: str | None
    version: int | None
    actions: int = 0
    last: int | None = None
    """In seconds since 1970 UTC, by the log; so is each time here."""
    risk: float | None = None
    score_today: float = 0.0
    risk_today: float = 0.0
    notices: int = 0
    warnings: int = 0
    criticals: int = 0
    alerts: int = 0
    drift: float | None = None
    """As :attr:`anomaly.adaptation.Progress.drift`; None where nothing was learned."""


class Watch(msgspec.Struct):
    """One log that is watched, or was."""

    log: str | None
    """None where nothing was ever watched, and only models are told of."""
    user: str | None
    """Whom it watches, where that is one user."""
    running: bool
    process: int | None
    started: float | None
    """By the clock; so is the next."""
    seen: float | None
    """When it last wrote something down."""
    lag_bytes: int | None
    """What waits in the log behind the checkpoint; None where that cannot be told."""
    lag_seconds: float | None
    """How long the oldest line of that has waited."""
    lines: int = 0
    actions: int = 0
    skipped: dict[str, int] = {}
    checkpoint_errors: int = 0
    alerts: dict[str, int] = {}
    failures: dict[str, int] = {}
    others: int = 0
    """Actions of users who are not told apart."""
    users: list[Standing] = []
    name: str = ""
    """Of its files, without their endings."""

    @property
    def of_all(self) -> bool:
        """Whether it watches all users."""
        return self.log is not None and self.name == name_of(self.log, None)

    def on_time(self, seconds: float) -> bool:
        """Say whether it runs and is no more than so far behind."""
        return self.running and self.lag_bytes is not None and (self.lag_seconds or 0.0) <= seconds


def on_time(found: Sequence[Watch], seconds: float) -> bool:
    """Say whether each log is watched, and no more than so far behind.

    What counts is the watch of all its users, if there ever was one: beside it, one user may have been scored now
    and then. Else it is every watch of one user.
    """
    logs: dict[str | None, list[Watch]] = {}
    for watch in found:
        logs.setdefault(watch.log, []).append(watch)
    chosen = [[watch for watch in watches if watch.of_all] or watches for watches in logs.values()]
    return bool(found) and all(watch.on_time(seconds) for watches in chosen for watch in watches)


def name_of(log: str, user: str | None) -> str:
    """Return the name of a watch's files: of one user's, or of all users' where that is None."""
    return checkpoint_name(Path(log), selection(user))
