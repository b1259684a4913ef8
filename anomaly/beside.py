"""Scoring a log beside the process that already follows it: what that one saved is read, and nothing is written.

Its checkpoint is replaced about once a second, always whole. What a model has learned lies in two files by turns,
of which the checkpoint names one by its digest: it is written over when that user has gone on learning twice. So
it may be gone when the user acts; then the user is scored as trained, and that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from anomaly.calibration import MAX_SCORE
from anomaly.errors import StateError, StateRefused
from anomaly.learned import EmbeddedKeeper, StoreKeeper
from anomaly.sources.checkpoint import Checkpoint, checkpoint_name, selection
from anomaly.sources.checkpoint_file import peek
from anomaly.store import Store


class Beside(NamedTuple):
    """What is known of another process that follows the log."""

    checkpoint: Checkpoint | None
    """Where it is, and what it knows there; None where that is not to be used."""
    name: str
    """Of its checkpoint, and of the files of what was learned."""

    def keeper(self, store: Store) -> Borrower:
        """Return what reads the other's learning."""
        return Borrower(StoreKeeper(store, self.name))

    def risks(self) -> Iterator[tuple[str, float | None]]:
        """Give each user's risk as it was saved, by the name of the user's model; None where there is none."""
        for name, state in (self.checkpoint.users if self.checkpoint else {}).items():
            try:
                risk = msgspec.json.decode(state, type=_Saved).risk
            except (ValueError, RecursionError):
                risk = None
            known = risk is not None and isfinite(risk) and 0.0 <= risk <= MAX_SCORE
            yield name, risk if known else None


class _Saved(msgspec.Struct):
    """As much of a user's saved state as is shown before the user acts."""

    risk: float | None = None


class Borrower(EmbeddedKeeper):
    """Reads what another process has learned, and keeps what is learned here in memory alone."""

    def __init__(self, lender: StoreKeeper) -> None:
        self._lender = lender

    def fetch(self, user: str, version: int, reference: Any) -> bytes | None:  # noqa: ANN401 - from the checkpoint
        """Return what was learned: here, or by the other as long as it stands."""
        return self._lender.fetch(user, version, reference)


def glimpse(log: Path, state: Path, user: str | None, say: Callable[[str], None]) -> Beside:
    """Read the checkpoint of whoever follows a log: of the same selection of users or, for one user, of all.

    One that cannot be read is told and passed over.

    Raises
    ------
    StateRefused
        The checkpoint, or its directory, must not be trusted.
    """
    names = [checkpoint_name(log, selection(whose)) for whose in dict.fromkeys((user, None))]
    for name in names:
        try:
            found = peek(state, name)
        except StateRefused:
            raise
        except StateError as error:
            say(f"{error} Scoring begins where training stopped.")
            continue
        if found is not None:
            return Beside(found, name)
    return Beside(None, names[0])
