"""Erasing a user: what there is of him in models and states, and its removal.

Everything is found before anything is removed, and is removed under the locks of all checkpoints and spools, so
that no watch writes back what was erased. A removal that was interrupted is finished by doing it again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from anomaly import feedback, feedback_edit, state_files, suppression, suppression_edit
from anomaly.advice import nearest
from anomaly.alert_journal import SUFFIX as JOURNAL
from anomaly.alerts import Alerting
from anomaly.errors import StateError, StateLocked, UnknownUser
from anomaly.identity import capped, keys
from anomaly.sinks import spool_edit
from anomaly.sources.checkpoint import Checkpoint
from anomaly.sources.checkpoint_file import MAX_BYTES, CheckpointFile
from anomaly.statusfile import decode
from anomaly.store import Store
from anomaly.store_layout import encode_user

_REMAINS = state_files.BAD, state_files.TEMPORARY, f"{state_files.STATUS}{state_files.TEMPORARY}"


class Trace(NamedTuple):
    """Something that is kept of a user."""

    what: str
    """For people, as ``3 alerts``."""
    where: Path
    remove: Callable[[], None]


class Forgetting:
    """Finds what is kept of a user, and removes it.

    Parameters
    ----------
    user
        By the exact name that models go by: ``alice``, or ``alice@host`` where one name acts on several hosts.
    models, state
        The directories.
    """

    def __init__(self, user: str, models: Path, state: Path) -> None:
        self.user, self._store, self._state = capped(user), Store(models), state
        self._held: dict[str, CheckpointFile] = {}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every watch with this state directory from running meanwhile.

        Raises
        ------
        StateLocked
            One runs.
        """
        with ExitStack() as stack:
            try:
                for name in self._names():
                    self._held[name] = stack.enter_context(CheckpointFile(self._state, name))
                for spool in self._spools():
                    stack.enter_context(spool_edit.held(spool))
            except StateLocked as error:
                raise StateLocked(
                    f"A watch works with {self._state}, and would write back what is erased. Stop it first."
                ) from error
            yield

    def traces(self) -> list[Trace]:
        """Find what is kept; raises UnknownUser where that is nothing."""
        found = [*self._in_states(), *self._in_spools(), *self._in_ledgers(), *self._in_models()]
        if not found:
            known = nearest(self.user, self._store.users())
            raise UnknownUser(f"Nothing is kept of {self.user!r} here. {known}".rstrip())
        return found

    def namesakes(self) -> list[str]:
        """Return users whose models have the same name on a certain host; they may be other people."""
        return [user for user in self._store.users() if user.startswith(f"{self.user}@")]

    def _names(self) -> list[str]:
        with state_files.opened(self._state) as folder:
            return state_files.names(folder) if folder is not None else []

    def _in_models(self) -> Iterator[Trace]:
        files = self._store.files(self.user)
        if files:
            where = self._store.directory / encode_user(self.user)
            yield Trace(_several(len(files), "file", " of models"), where, lambda: self._store.erase(self.user))

    def _in_states(self) -> Iterator[Trace]:
        with state_files.opened(self._state) as folder:
            if folder is None:
                return
            for name in state_files.names(folder):
                for ending in _REMAINS:
                    yield from self._remains(folder, f"{name}{ending}")
                yield from self._in_checkpoint(folder, name)
                yield from self._in_status(folder, f"{name}{state_files.STATUS}")
                yield from self._in_journal(folder, f"{name}{JOURNAL}")

    def _remains(self, folder: int, file: str) -> Iterator[Trace]:
        """Find files that were given up: nobody reads them, so they are removed whole."""
        data = self._read(folder, file)
        if data is not None and self._named_in(data):
            where = self._state / file
            yield Trace("a file that was set aside", where, where.unlink)

    def _in_checkpoint(self, folder: int, name: str) -> Iterator[Trace]:
        file = f"{name}{state_files.CHECKPOINT}"
        data = self._read(folder, file)
        if data is None:
            return
        where = self._state / file
        try:
            checkpoint = msgspec.json.decode(data, type=Checkpoint)
        except (ValueError, RecursionError):
            if self._named_in(data):
                yield Trace("a checkpoint that cannot be read", where, where.unlink)
            return
        identities = _without(checkpoint.identities, self.user)
        users = {user: state for user, state in checkpoint.users.items() if user != self.user}
        before = bytes(checkpoint.alerts)
        alerts = Alerting.without(before, self.user)
        if len(users) < len(checkpoint.users) or identities != checkpoint.identities or alerts != before:
            rest = msgspec.structs.replace(
                checkpoint, users=users, identities=identities, alerts=msgspec.Raw(alerts)
            )
            yield Trace("the state of the user", where, lambda: self._rewrite(name, rest))

    def _in_status(self, folder: int, file: str) -> Iterator[Trace]:
        data = self._read(folder, file)
        if data is None:
            return
        where = self._state / file
        try:
            snapshot = decode(data)
        except ValueError:
            if self._named_in(data):
                yield Trace("a status file that cannot be read", where, where.unlink)
            return
        rows = [row for row in snapshot.rows if self.user not in (row.user, f"{row.user}@{row.host}")]
        if snapshot.user == self.user:
            yield Trace("counts of the user", where, where.unlink)
        elif len(rows) < len(snapshot.rows):
            rest = msgspec.structs.replace(snapshot, rows=rows)
            yield Trace("counts of the user", where, lambda: self._replace(file, msgspec.json.encode(rest)))

    def _in_journal(self, folder: int, file: str) -> Iterator[Trace]:
        data = self._read(folder, file)
        lines = data.splitlines(keepends=True) if data is not None else []
        rest = [line for line in lines if not self._is_mine(line)]
        if len(rest) < len(lines):
            what = _several(len(lines) - len(rest), "alert")
            yield Trace(what, self._state / file, lambda: self._replace(file, b"".join(rest)))

    def _spools(self) -> list[Path]:
        return spool_edit.spools(self._state / "spool")

    def _in_spools(self) -> Iterator[Trace]:
        """Find alerts that wait for a webhook, or that it would not have."""
        for spool in self._spools():
            try:
                files = spool_edit.find(spool, self.user)
            except ValueError as error:
                raise StateError(f"{error}. Delete it, if it is yours.") from error
            if count := sum(file.alerts for file in files):
                what = _several(count, "alert", " to a webhook")
                yield Trace(what, spool, lambda files=files: self._deliver_none(files))  # type: ignore[misc]  # bound at once

    def _deliver_none(self, files: list[spool_edit.Found]) -> None:
        for file in files:
            spool_edit.take_out(file.path, self.user)

    def _in_ledgers(self) -> Iterator[Trace]:
        """Find what people wrote of the user: answers to alerts, and what is suppressed for him alone."""
        answers, silenced = self._state / feedback.FILE, self._state / suppression.FILE
        if count := sum(self.user in keys(entry.host, entry.user) for entry in feedback.load(answers)):
            yield Trace(
                _several(count, "answer"), answers, lambda: _done(feedback_edit.forget(answers, self.user))
            )
        users = [entry.user for entry in suppression.load(silenced) if entry.user is not None]
        if count := sum(suppression_edit.names(user, self.user) for user in users):
            yield Trace(
                _several(count, "suppression"),
                silenced,
                lambda: _done(suppression_edit.forget(silenced, self.user)),
            )

    def _is_mine(self, line: bytes) -> bool:
        """Say whether a line of the journal is of the user; a torn one that names him is."""
        try:
            alert = msgspec.json.decode(line)
        except (ValueError, RecursionError):
            return self._named_in(line)
        if not isinstance(alert, dict):
            return False
        name, worst = alert.get("user"), alert.get("worst")
        action = worst.get("action") if isinstance(worst, dict) else None
        host = action.get("host") if isinstance(action, dict) else None  # an alert of many hosts names none itself
        return self.user in (name, f"{name}@{alert.get('host')}", f"{name}@{host}")

    def _named_in(self, data: bytes) -> bool:
        """Say whether the name stands in JSON that cannot be parsed, in either way to write it."""
        written = json.dumps(self.user).encode(), b'"%b"' % self.user.encode("utf-8", "surrogatepass")
        return any(name in data for name in written)

    def _read(self, folder: int, file: str) -> bytes | None:
        try:
            return state_files.read(folder, file, MAX_BYTES)
        except ValueError as error:
            where = self._state / file
            raise StateError(f"{where} cannot be searched: {error}. Delete it, if it is yours.") from error

    def _rewrite(self, name: str, checkpoint: Checkpoint) -> None:
        self._held[name].save(checkpoint)

    def _replace(self, file: str, data: bytes) -> None:
        with state_files.opened(self._state) as folder:
            if folder is not None:
                state_files.write(folder, file, data)
                os.fsync(folder)


def _done(_: int) -> None:
    """Take note of nothing: how many there are was said before."""


def _without(identities: Mapping[str, Any], user: str) -> dict[str, Any]:
    """Return the numbers and names of users, by host, without those of one."""
    return {
        host: {number: name for number, name in names.items() if user not in (name, f"{name}@{host}")}
        if isinstance(names, dict)
        else names
        for host, names in identities.items()
    }


def _several(count: int, thing: str, rest: str = "") -> str:
    """Say how many.

    >>> _several(1, "file", " of models"), _several(2, "alert")
    ('1 file of models', '2 alerts')
    """
    return f"{count:,} {thing}{'' if count == 1 else 's'}{rest}"
