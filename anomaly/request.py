"""What ``predict`` is asked for: its settings, as they were given when it was started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from anomaly.records import Severity
from anomaly.sources.interface import MAX_LINE

Begin = Literal["checkpoint", "start", "end"]


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
    olddir: Path | None = None
    """A directory of archives besides the log's own."""
    jobs: int | None = None
    """Processes that score a backlog of many users; None for as many as there are CPUs, if that is worth it."""
    max_line: int = MAX_LINE
    """Longest line read, in bytes."""
    alert_on: Severity = Severity.WARNING
    """What alarms: so severe, or more..."""
    budget: float | None = None
    """...or, where this is given, the rarest: about so many alerts per user and day."""
    suppressions: Path | None = None
    """What does not alarm; None for the file of that name beside the checkpoints."""
    alerts: tuple[str, ...] = ()
    """Addresses that alerts go to, besides the journal beside the checkpoint: :mod:`anomaly.sinks.address`."""


Again = Callable[[], Prediction]
"""Reads the settings anew, as at the start: flags, environment, file. Raises what a wrong setting raises."""

FIXED = ("log", "state", "user", "follow", "begin", "olddir", "max_line", "jobs", "suppressions", "alerts")
"""What stays as it is until the next start."""
