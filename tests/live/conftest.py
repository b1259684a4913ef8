"""Scores to look at."""

from __future__ import annotations

from itertools import count
from typing import Protocol

import pytest

from anomaly.osquery import Action
from anomaly.records import ModelRef, Reason, Score

_NUMBERS = count(1)


class Make(Protocol):
    """Makes a score."""

    def __call__(
        self,
        user: str = "alice",
        score: float | None = 1.0,
        risk: float | None = 2.0,
        *,
        host: str = "ws1",
        query: str = "shell_history",
        state: str = "ready",
        baseline: bool = False,
        reasons: tuple[Reason, ...] = (),
        **columns: str,
    ) -> Score:
        """Return one of an action with these columns; ``command=ls`` where none are named."""


def _make(
    user: str = "alice",
    score: float | None = 1.0,
    risk: float | None = 2.0,
    *,
    host: str = "ws1",
    query: str = "shell_history",
    state: str = "ready",
    baseline: bool = False,
    reasons: tuple[Reason, ...] = (),
    **columns: str,
) -> Score:
    number = next(_NUMBERS)
    rated = state in ("ready", "drifted")
    model = ModelRef("OCSVM", 1, state) if rated else ModelRef(None, None, state)
    action = Action(1_793_585_624, host, user, query, "added", columns or {"command": "ls"}, baseline)
    return Score(f"f:{number}", action, score, risk if rated else None, score, model, reasons)


@pytest.fixture(scope="session")
def make() -> Make:
    """Give the maker of scores."""
    return _make
