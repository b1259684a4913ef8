"""What people have said is fine: actions of a user, a query or a value that raise no alert until a given day.

A suppression is scoped by user, query, and the value of one column, exact or by a glob; at least one of the three
must be given, and all that are given must hold. What matches is still scored and shown. It does not come into the
user's window, as a flood does not (:mod:`anomaly.admission`): so it cannot come back by way of the window's risk.
What has expired on a day of the log stays so when a later line is dated back (:func:`by_now`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from anomaly import ledger
from anomaly.errors import ConfigError
from anomaly.identity import keys
from anomaly.osquery import Action

FILE = "suppressions.toml"
KEY = "suppression"

MOST = 2000
"""Suppressions in one file."""

LONGEST = 4096
"""Characters of a value that a pattern is held against; a longer one matches none, and is worth a look."""

LONGEST_PATTERN = 256

_LONGEST_ID = 64
_DAY = 86_400
_WILD = re.compile("[*?]")


class Suppression(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One entry of ``suppressions.toml``."""

    id: str
    expires: date
    """The first day, in UTC, on which it does not apply any more."""
    user: str | None = None
    """As the log names the user, or ``user@host``."""
    query: str | None = None
    """Without the prefix of its pack."""
    field: str | None = None
    """A column..."""
    value: str | None = None
    """...whose value is this..."""
    pattern: str | None = None
    """...or is like this: ``*`` stands for any text, ``?`` for any character, all else for itself."""
    note: str = ""
    added: datetime | None = None

    def fault(self) -> str | None:
        """Say what does not fit, as the end of a sentence; None where all does."""
        return next((sentence for wrong, sentence in self._faults() if wrong), None)

    def _faults(self) -> Iterator[tuple[bool, str]]:
        texts = self.id, self.user, self.query, self.field, self.value, self.pattern, self.note
        yield not 0 < len(self.id) <= _LONGEST_ID, f"'id' is to be 1 to {_LONGEST_ID} characters"
        yield any(map(_is_broken, filter(None, texts))), "it is not valid UTF-8"
        yield "" in (self.user, self.query, self.field), "an empty 'user', 'query' or 'field' is to be left out"
        scoped = self.user is not None or self.query is not None or self.field is not None
        yield not scoped, "it has no scope: give 'user', 'query' or 'field'"
        given = (self.value is not None) + (self.pattern is not None)
        yield self.field is None and given > 0, "'value' and 'pattern' need a 'field'"
        yield self.field is not None and given != 1, "'field' needs either 'value' or 'pattern'"
        fits = self.pattern is None or 0 < len(self.pattern) <= LONGEST_PATTERN
        yield not fits, f"'pattern' is to be 1 to {LONGEST_PATTERN} characters"

    def applies(self, day: date) -> bool:
        """Say whether it applies on a day."""
        return day < self.expires

    def scope(self) -> str:
        """Say what it is about."""
        parts = [f"{name} {said}" for name, said in (("user", self.user), ("query", self.query)) if said]
        if self.field is not None:
            like = f"= {self.value}" if self.value is not None else f"like {self.pattern}"
            parts.append(f"{self.field} {like}")
        return ", ".join(parts)


class _Bucket(NamedTuple):
    """Suppressions of one user (None: of any) and one query (None: of any)."""

    whole: list[Suppression]
    exact: dict[str, dict[str, list[Suppression]]]
    """By field and value."""
    globs: list[tuple[str, Suppression]]
    """Each with the text before its first wildcard: most values do not even begin so."""


class Suppressions:
    """Answers, for one action after another, whether somebody has said that it is fine.

    They are looked up by user, query and value; only patterns are gone through one by one.
    """

    def __init__(self, entries: Iterable[Suppression] = ()) -> None:
        self.entries = tuple(entries)
        self._buckets: dict[tuple[str | None, str | None], _Bucket] = {}
        self._by_host = any("@" in (entry.user or "") for entry in self.entries)
        for entry in self.entries:
            bucket = self._buckets.setdefault((entry.user, entry.query), _Bucket([], {}, []))
            if entry.field is None:
                bucket.whole.append(entry)
            elif entry.value is not None:
                bucket.exact.setdefault(entry.field, {}).setdefault(entry.value, []).append(entry)
            else:
                bucket.globs.append((_WILD.split(entry.pattern or "", 1)[0], entry))

    def match(self, action: Action) -> Suppression | None:
        """Return one that holds for an action on its day, by the log or else the clock; None where none does."""
        if not self._buckets:
            return None
        day: date | None = None
        names = keys(action.host, action.user) if self._by_host else (action.user,)
        for user in (*names, None):
            for query in (action.query, None):
                bucket = self._buckets.get((user, query))
                if bucket is None:
                    continue
                for entry in _candidates(bucket, action):
                    day = day or day_of(action.time)
                    if entry.applies(day):
                        return entry
        return None

    def silences(self, action: Action) -> bool:
        """Say whether any suppression holds for an action."""
        return self.match(action) is not None


class SuppressionFile:
    """The suppressions that are in force, as their file says them.

    Parameters
    ----------
    path
        The file; where it is missing, nothing is suppressed.

    Raises
    ------
    ConfigError, StateRefused, StateError
        By the constructor and :meth:`refresh`, where the file does not fit or must not be trusted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._signature = ledger.signature(path)
        self.now = Suppressions(load(path))

    def refresh(self) -> bool:
        """Take over the file if it has changed, and say whether it has; one that does not fit changes nothing."""
        found = ledger.signature(self.path)
        if found == self._signature:
            return False
        self._signature = found
        self.now = Suppressions(load(self.path))
        return True

    def silences(self, action: Action) -> bool:
        """Say whether any suppression holds for an action."""
        return self.now.match(action) is not None


def load(path: Path) -> list[Suppression]:
    """Read suppressions; none where there is no file.

    Raises
    ------
    ConfigError
        Something in it does not fit; the file and the key are named.
    StateRefused, StateError
        It must not be trusted, or cannot be read.
    """
    return parse(ledger.read(path), path)


def parse(data: bytes, path: Path) -> list[Suppression]:
    """Read suppressions from a file's content; raises ConfigError, see :func:`load`."""
    tables = ledger.tables(data, path, KEY, Suppression)
    if len(tables) > MOST:
        raise ConfigError(f"{path} has {len(tables):,} suppressions, of {MOST:,} at most; take old ones out.")
    entries: dict[str, Suppression] = {}
    for number, table in enumerate(tables, 1):
        try:
            entry = msgspec.convert(table, Suppression)
        except (msgspec.ValidationError, RecursionError) as error:
            raise ConfigError(f"{path}: {KEY} {number} does not fit: {error}.") from error
        if (fault := entry.fault()) is not None:
            raise ConfigError(f"{path}: {KEY} {number} does not fit: {fault}.")
        if entry.id in entries:
            raise ConfigError(f"{path}: {KEY} {number} has the 'id' of an earlier one, {entry.id!r}.")
        entries[entry.id] = entry
    return list(entries.values())


def day_of(seconds: int) -> date:
    """Return the day of a time of the log, in UTC; today by the clock where the log does not say."""
    try:
        return datetime.fromtimestamp(seconds or time.time(), UTC).date()
    except (OverflowError, ValueError, OSError):
        return date.max


def newest_of(newest: int, action: Action) -> int:
    """Return the newest time of the log so far, in seconds; a line dated later than in a day moves nothing."""
    return action.time if newest < action.time < time.time() + _DAY else newest


def by_now(action: Action, newest: int) -> Action:
    """Return an action as one of the newest day so far: no date of a line brings back what has expired."""
    if action.time and action.time // _DAY < newest // _DAY:
        return msgspec.structs.replace(action, time=newest)
    return action


def like(pattern: str, text: str) -> bool:
    """Say whether all of a text is like a pattern of ``*`` and ``?``, in time of their lengths' product at most.

    >>> like("/tmp/build-*/cc1", "/tmp/build-77/cc1"), like("a?c", "ac")
    (True, False)
    """
    if len(text) > LONGEST:
        return False
    place = at = 0
    star = resume = -1
    while at < len(text):
        if place < len(pattern) and pattern[place] == "*":
            star, resume = place, at
            place += 1
        elif place < len(pattern) and pattern[place] in ("?", text[at]):
            place += 1
            at += 1
        elif star >= 0:  # let the last star take one character more
            resume += 1
            place, at = star + 1, resume
        else:
            return False
    return not pattern[place:].strip("*")


def _is_broken(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def _candidates(bucket: _Bucket, action: Action) -> Iterable[Suppression]:
    yield from bucket.whole
    for field, values in bucket.exact.items():
        yield from values.get(action.columns.get(field, ""), ()) if field in action.columns else ()
    for begin, entry in bucket.globs:
        value = action.columns.get(entry.field or "")
        if value is not None and value.startswith(begin) and like(entry.pattern or "", value):
            yield entry
