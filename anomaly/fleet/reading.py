"""From a file's bytes to parcels: the first half of what a worker does, without state and without Spark.

What a line says of its user must not depend on which lines came before it, or the outcome would depend on how
the log was cut into files. So the numbers of users are not learned here: a row names its user, or training has
seen the number.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple

from anomaly.fleet.names import bare, is_machine, is_nameless, specific
from anomaly.fleet.parcel import Entry, Parcel, pack
from anomaly.identity import Identities
from anomaly.osquery import Action, Parser, Skipped, SkipReason
from anomaly.sources.compressed import BROKEN, COMPRESSED, decompressor_of
from anomaly.sources.interface import MAX_LINE, Line
from anomaly.sources.lines import LineSplitter

MOST = 8192
"""Actions that are held before they are handed on."""

ROOM = 8 << 20
"""Bytes of lines that are held before they are handed on."""

BROKEN_ARCHIVE, MISSING, UNREADABLE = "broken_archive", "missing_file", "unreadable_file"
TOO_LONG = "too_long"
OF_FILES = (BROKEN_ARCHIVE, MISSING, UNREADABLE)
"""Why a file, or the rest of an archive, is skipped."""

REASONS = (*(reason.value for reason in SkipReason), TOO_LONG, *OF_FILES)
"""Why anything is skipped."""

_CHUNK = 1 << 20
_MOST_NAMES = 1_000_000

Key = Callable[[str, str], str]
"""Gives the key of a host and a user."""


class Row(NamedTuple):
    """What comes of lines: a parcel for a key, or how many lines were skipped for a reason."""

    key: str | None
    parcel: bytes | None
    reason: str | None
    number: int
    """Lines or files skipped, or actions in the parcel."""
    file: str | None = None
    """The file that was skipped, or of which a rest was."""


class Known(Identities):
    """Names of numbers as they were known before: nothing is learned, and this machine is not asked."""

    def __init__(self, names: Iterable[object]) -> None:
        super().__init__(hostname="", lookup=lambda _: None, limit=_MOST_NAMES)
        self._open = True
        for some in names:
            self.update(some)
        self._open = False

    def learn(self, host: str, uid: str, name: str) -> None:
        """Take note of a pair while it is filled, and of none afterwards."""
        if self._open:
            super().learn(host, uid, name)


class Gathering:
    """Gathers the lines of one stream as parcels.

    Parameters
    ----------
    parser
        Reads lines; it knows names of users.
    key
        Says which key an action belongs to.
    rank, stream, file
        As in :class:`anomaly.fleet.parcel.Parcel`.
    """

    def __init__(self, parser: Parser, key: Key, rank: int, stream: str, file: str = "") -> None:
        self._parser, self._key = parser, key
        self._rank, self._stream, self.file = rank, stream, file
        self._last = self._held = self._size = 0
        self._when: dict[str, int] = {}  # of each key: hosts whose clocks differ may share a stream
        self._entries: dict[str, list[Entry]] = {}
        self.skipped: Counter[str] = Counter()

    def add(self, data: bytes, offset: int) -> Iterator[Row]:
        """Take a line, and give what is ready to be handed on."""
        parsed = self._parser.parse(data)
        if isinstance(parsed, Skipped):
            self.skipped[parsed.reason.value] += 1
            return
        share = len(data) // len(parsed)
        for number, action in enumerate(parsed):
            self._take(offset, number, action)
            self._size += share + len(action.host) + len(action.query)  # which all of a line have whole
            if self._held >= MOST or self._size >= ROOM:  # also amid a line, which may hold a hundred thousand
                yield from self.flush()

    def _take(self, offset: int, number: int, action: Action) -> None:
        self._last = action.time or self._last  # what has no time is of its predecessor's, whosever that is
        key = self._key(action.host, action.user)
        when = self._when[key] = max(self._when.get(key, 0), self._last)
        self._entries.setdefault(key, []).append(Entry(when, offset, number, action))
        self._held += 1

    def flush(self) -> Iterator[Row]:
        """Give what is held."""
        for key, entries in self._entries.items():
            yield Row(key, pack(Parcel(self._rank, self._stream, self.file, entries)), None, len(entries))
        self._entries, self._held, self._size = {}, 0, 0

    def end(self) -> Iterator[Row]:
        """Give what is held, and what was skipped."""
        yield from self.flush()
        for reason, count in self.skipped.items():
            yield Row(None, None, reason, count, self._stream if reason in OF_FILES else None)


def add_line(gathering: Gathering, data: bytes, offset: int) -> Iterator[Row]:
    """Do as :meth:`Gathering.add`, where nobody has looked how long the line is; its newline is none of it."""
    data = data.removesuffix(b"\n")
    if len(data) > MAX_LINE:
        gathering.skipped[TOO_LONG] += 1
    else:
        yield from gathering.add(data, offset)


def read_file(file: BinaryIO, address: str, rank: int, parser: Parser, key: Key) -> Iterator[Row]:
    """Give what a file says, piece by piece; compressed where its name says so.

    However large it is, or what an archive unpacks to, some megabytes are held at most. The ids of its events are
    those that it would have locally: fingerprint of the first line, and offset.
    """
    gathering = Gathering(parser, key, rank, address)
    splitter = LineSplitter(MAX_LINE, counters=gathering.skipped)
    for line in _lines(file, address, splitter, gathering):
        yield from gathering.add(line.data, line.offset)
    yield from gathering.end()


def _lines(file: BinaryIO, address: str, splitter: LineSplitter, gathering: Gathering) -> Iterator[Line]:
    head = b""
    for chunk in _chunks(file, address, gathering.skipped):
        if not gathering.file:
            head += chunk
            if b"\n" in head or len(head) > MAX_LINE:
                gathering.file = _fingerprint(head.partition(b"\n")[0])
        yield from splitter.feed(chunk, gathering.file)
    gathering.file = gathering.file or _fingerprint(head)
    last = splitter.finish(gathering.file)
    if last is not None:
        yield last


def _fingerprint(line: bytes) -> str:
    """Name a file as :func:`anomaly.sources.logfile.fingerprint` does."""
    return hashlib.sha256(line[:MAX_LINE]).hexdigest()[:16]


def _chunks(file: BinaryIO, address: str, skipped: Counter[str]) -> Iterator[bytes]:
    path = PurePosixPath(address)
    if path.suffix not in COMPRESSED:
        while chunk := file.read(_CHUNK):
            yield chunk
        return
    try:
        with decompressor_of(path.suffix, file) as stream:
            while chunk := stream.read1(_CHUNK):  # read() would lose what stands before a broken place
                yield chunk
    except BROKEN:  # what came before it is sound
        skipped[BROKEN_ARCHIVE] += 1


def keys_by(kind: str, names: Iterable[str]) -> Key:
    """Return what gives the key of a host and a user.

    Parameters
    ----------
    kind
        ``local`` as a local run does: ``user@host`` where there is a model of that name, else ``user``.
        ``user``: one model across hosts. ``host``: one for each host and user. Rows that name nobody are of a host
        by their user's name already. How keys are written: :mod:`anomaly.fleet.names`.
    names
        The models there are; actions of all others share :data:`STRANGERS` keys, since they need no state.
    """
    known = frozenset(names)

    def key(host: str, user: str) -> str:
        own = specific(user, host)
        if (kind != "user" or is_nameless(user)) and own in known:
            return f"{MODEL}{own}"
        if is_machine(user, host) or (kind != "host" and not is_nameless(user)):
            name = bare(user)
            if name in known:
                return f"{MODEL}{name}"
        number = int.from_bytes(hashlib.blake2b(own.encode("utf-8", "replace"), digest_size=2).digest(), "big")
        return f"{STRANGER}{number % STRANGERS}"

    return key


MODEL, STRANGER = "m:", "?:"
"""How keys begin: of what has a model, and of what has none."""

STRANGERS = 64
