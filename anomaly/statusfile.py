"""What a run knows of itself, on disk: ``NAME.status.json`` beside the checkpoint, for ``anomaly status``."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec

from anomaly import state_files
from anomaly.board import Board, Count, Row, encodable
from anomaly.errors import StateError

SCHEMA = 1

EVERY = 2.0
"""Seconds between two writings at least."""

COMPLAIN = 60.0
"""Seconds between two complaints that it cannot be written."""

_Moment = Annotated[float, msgspec.Meta(ge=0, le=1e11)]


class Snapshot(msgspec.Struct):
    """A run at one moment."""

    log: str
    """Path of the log, absolute."""
    user: str | None
    """Whom it watches; None for everybody."""
    started: _Moment
    """By the clock, in seconds since 1970 UTC..."""
    written: _Moment
    """...and so this."""
    lines: Count = 0
    actions: Count = 0
    skipped: dict[str, Count] = {}
    """Lines, by reason."""
    checkpoint_errors: Count = 0
    alerts: dict[str, Count] = {}
    """By severity, since the start."""
    failures: dict[str, Count] = {}
    """By sink, since the start."""
    day: int = 0
    """The log's, in days since 1970: what the rows have of another day is not of today."""
    others: Count = 0
    rows: list[Row] = []
    schema: int = SCHEMA


def decode(data: bytes) -> Snapshot:
    """Read what was written; ValueError where it is something else."""
    try:
        snapshot = msgspec.json.decode(data, type=Snapshot)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if snapshot.schema != SCHEMA:
        raise ValueError(f"its schema is {snapshot.schema}, this program reads {SCHEMA}")
    return snapshot


class StatusFile:
    """Keeps a board on disk. Nothing depends on it, so nothing fails with it.

    Parameters
    ----------
    directory, name
        The state directory and the checkpoint's name, whose lock is held.
    log, user
        What is watched; see :class:`Snapshot`.
    say
        Told, as a sentence, what went wrong and was survived.
    steady
        Gives seconds that never go back.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        log: Path,
        user: str | None,
        say: Callable[[str], None] = lambda _: None,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory, self._file = directory, f"{name}{state_files.STATUS}"
        self._log, self._user, self._say, self._steady = log, user, say, steady
        self._due = self._complain_at = 0.0
        self._written: tuple[int, ...] = ()

    def attach(self, board: Board, *, resume: bool) -> None:
        """Keep a board from now on; with ``resume`` it goes on from what an earlier run knew of users."""
        if resume:
            self._restore(board)
        board.changed = lambda: self.keep(board)
        self._due = 0.0

    def keep(self, board: Board, *, now: bool = False) -> None:
        """Write it, if that is due and there is something new; with ``now`` in any case."""
        moment, mark = self._steady(), _mark(board)
        if not now and (moment < self._due or mark == self._written):
            return
        self._due = moment + EVERY
        try:
            with state_files.opened(self._directory) as folder:
                if folder is None:
                    raise FileNotFoundError(2, "it is gone")
                state_files.write(folder, self._file, self._encoded(board))
        except (OSError, StateError, ValueError) as error:
            if moment >= self._complain_at:
                self._complain_at = moment + COMPLAIN
                why = error.strerror if isinstance(error, OSError) else error
                self._say(f"{self._directory / self._file} cannot be written: {why}. Scoring goes on.")
            return
        self._written, self._complain_at = mark, 0.0

    def _encoded(self, board: Board) -> bytes:
        tally = board.tally
        snapshot = Snapshot(
            encodable(str(self._log.absolute())),
            None if self._user is None else encodable(self._user),
            board.started,
            board.clock(),
            tally.lines,
            tally.actions,
            dict(tally.skipped),
            tally.checkpoint_errors,
            {severity.value: count for severity, count in board.alerts.items()},
            {encodable(sink): count for sink, count in board.failures.items()},
            board.day,
            board.others,
            board.rows(),
        )
        return msgspec.json.encode(snapshot)

    def _restore(self, board: Board) -> None:
        try:
            with state_files.opened(self._directory) as folder:
                data = state_files.read(folder, self._file) if folder is not None else None
            if data is not None:
                snapshot = decode(data)
                board.restore(snapshot.rows, snapshot.others)
        except (ValueError, StateError) as error:
            self._say(f"{self._directory / self._file} is passed over: {error}. Counts of users begin anew.")


def _mark(board: Board) -> tuple[int, ...]:
    """Return what changes when anything does."""
    tally = board.tally
    counted = board.alerts.total(), board.failures.total(), tally.skipped.total()
    return tally.lines, tally.actions, tally.checkpoint_errors, *counted
