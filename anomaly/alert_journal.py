"""The newest alerts, one line of JSON each, beside the checkpoint: for who lists them and for who answers one.

It is bounded: when it grows too large, its older half is dropped. It is written before the checkpoint, so a crash
loses no alert; what is written a second time is the same, and is read as one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from anomaly import ledger
from anomaly.errors import StateError
from anomaly.records import Alert, Score
from anomaly.sinks.interface import AlertSink

SUFFIX = ".alerts.ndjson"
SCHEMA = 1

MAX_BYTES = 4 << 20
"""Bytes from which on the older half is dropped..."""

MOST = 8192
"""...as from this many records on."""

_BEGIN = b'{"schema":%d,' % SCHEMA
_LARGEST = 64 << 20  # that is read: one batch may write beyond MAX_BYTES


class Told(NamedTuple):
    """An alert as it was told last."""

    checkpoint: str
    """Of the run that told it."""
    alert: Alert
    worst: tuple[Score, ...]
    """The worst action of each of its records, the newest last."""


class AlertJournal(AlertSink):
    """Appends alerts to the journal of a checkpoint, which must be held.

    Parameters
    ----------
    directory
        Of checkpoints.
    name
        Of the checkpoint.

    Raises
    ------
    StateRefused, StateError
        The file must not be trusted, or cannot be used.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.path = directory / f"{name}{SUFFIX}"
        data = ledger.read(self.path, _LARGEST)
        self._count, self._size = data.count(b"\n"), len(data)
        self._torn = bool(data) and not data.endswith(b"\n")
        self._synced = True

    def write(self, alerts: Sequence[Alert]) -> None:
        """Append alerts; raises StateError where they are lost."""
        if not alerts:
            return
        lines = b"".join(_BEGIN + msgspec.json.encode(alert)[1:] + b"\n" for alert in alerts)
        if self._torn:
            lines = b"\n" + lines  # whoever wrote here last was killed at it
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(self.path, flags, 0o600)
            try:
                self._torn = os.write(descriptor, lines) != len(lines)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StateError(f"{self.path} cannot be written: {error.strerror or error}.") from error
        if self._torn:
            raise StateError(f"{self.path} cannot be written: there is no room.")
        self._synced = False
        self._count += len(alerts)
        self._size += len(lines)
        if self._count > MOST or self._size > MAX_BYTES:
            self._halve()

    def sync(self) -> None:
        """Make sure that what was written survives a power failure; raises StateError where it may not."""
        if self._synced:
            return
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StateError(f"{self.path} cannot be written: {error.strerror or error}.") from error
        self._synced = True

    def _halve(self) -> None:
        lines = ledger.read(self.path, _LARGEST).splitlines(keepends=True)
        kept: list[bytes] = []
        size = 0
        for line in reversed(lines[-MOST // 2 :]):
            size += len(line)
            if size > MAX_BYTES // 2:
                break
            kept.append(line)
        ledger.replace(self.path, b"".join(reversed(kept)))
        self._count, self._size, self._synced = len(kept), sum(map(len, kept)), True


def told(directory: Path) -> list[Told]:
    """Return the alerts that are known, by when they began.

    Lines that cannot be read are passed over: the last one of a run that was killed, for instance.

    Raises
    ------
    StateRefused, StateError
        A journal must not be trusted, or cannot be read.
    """
    found = [one for path in sorted(directory.glob(f"*{SUFFIX}")) for one in _told(path)]
    return sorted(found, key=lambda one: (one.alert.first, one.alert.id))


def _told(path: Path) -> Iterator[Told]:
    latest: dict[str, Alert] = {}
    worst: dict[str, dict[str, Score]] = {}
    for line in ledger.read(path, _LARGEST).splitlines():
        try:
            alert = msgspec.json.decode(line, type=Alert)
        except (ValueError, RecursionError):
            continue
        latest[alert.id] = alert
        worst.setdefault(alert.id, {})[alert.worst.id] = alert.worst
    for name, alert in latest.items():
        yield Told(path.name.removesuffix(SUFFIX), alert, tuple(worst[name].values()))
