"""What ``predict`` is asked for: its settings, as they were given when it was started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

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


Again = Callable[[], Prediction]
"""Reads the settings anew, as at the start: flags, environment, file. Raises what a wrong setting raises."""

FIXED = ("log", "state", "user", "follow", "begin", "olddir", "max_line", "jobs")
"""What stays as it is until the next start."""
