"""An action as tokens: the one tokenizer that training and prediction share.

An action becomes its kind (query and verb) and one token per column, by the column's *name*. A value that
training saw twice or more is a token of its own; rarer and unseen ones fall back to the most specific general
form that training knows (:mod:`anomaly.values`), and at last to "unknown in this column". Since values seen
once take the same way in training, the fallbacks have counts: how often a column brings something new is
learned from the data itself (Good 1953), column by column.

Each token also has a bucket, a hash into a bag of fixed size (Weinberger et al. 2009) for the window model.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomaly.corpus import IDENTITY_COLUMNS, Corpus, Rows, informative
from anomaly.osquery import Action
from anomaly.values import levels
from anomaly.vocabulary import MAX_COLUMNS, MAX_KINDS, Head, Token, exact_tokens, general_tokens, is_silent

BUCKETS = 1024
"""Size of the bag."""

NEW_BUCKETS = 16
"""Buckets that the values never seen share, for each form they fall back to.

A window full of new values then looks like any other such window. Without the bound, what drifts in a user's own
behaviour moves the window as far as a stranger does; in a bag of 256 buckets collisions bound it by accident.
"""

_CACHE = 4096
"""Unseen values remembered per column, so that a repeated one is resolved once."""

_ACTIONS = 1024
"""Actions remembered, of all kinds together."""

_SHAPES = 256
"""Kinds of action, by query, verb and columns, of which actions are remembered."""

_LONGEST = 256
"""Longest value remembered: the log chooses how long its values are."""


_Resolved = tuple[int, int, int]  # a value's token, bucket and mark


class Tokens(NamedTuple):
    """One action, as the detectors see it: the kind first, then one entry per column that says something."""

    ids: tuple[int, ...]
    buckets: tuple[int, ...]
    marks: tuple[int, ...] = ()
    """For each id a hash of the value where it is no token of its own, else 0; empty where none was asked for."""


class Encoded(NamedTuple):
    """Many actions as arrays of shape (actions, 1 + columns); ids padded with 0, buckets with -1."""

    ids: NDArray[np.int32]
    buckets: NDArray[np.int16]
    marks: NDArray[np.uint32]
    """Of the ids; 0 for those that have none."""

    def tokens(self, action: int) -> Tokens:
        """Return one action as :class:`Tokens`."""
        ids, buckets, marks = self.ids[action], self.buckets[action], self.marks[action]
        there = ids > 0
        return Tokens(
            tuple(ids[there].tolist()), tuple(buckets[buckets >= 0].tolist()), tuple(marks[there].tolist())
        )

    def batch(self, part: range) -> list[Tokens]:
        """Return consecutive actions as :class:`Tokens`."""
        rows = zip(*(column[part.start : part.stop].tolist() for column in self), strict=True)
        return [
            Tokens(
                tuple([token for token in ids if token]),
                tuple([bucket for bucket in buckets if bucket >= 0]),
                tuple([mark for token, mark in zip(ids, marks, strict=True) if token]),
            )
            for ids, buckets, marks in rows
        ]

    def chosen(self, actions: NDArray[Any] | slice) -> Encoded:
        """Return some of the actions."""
        return Encoded(self.ids[actions], self.buckets[actions], self.marks[actions])


class Tokenizer:
    """Fitted once per user, and saved with the model.

    Parameters
    ----------
    heads
        Columns with their vocabularies; ``heads[0]`` holds the kinds. Token ids start at 1: 0 is padding.
    silent
        (query, column) pairs whose values name nothing, such as process numbers.
    rare
        How often training saw a value that is no token of its own, by the value's hash.
    salt
        Start of every hash. It comes from the training data, so that nobody who has not seen the data can
        choose a name that shares a bucket with a harmless one.
    """

    def __init__(
        self, heads: list[Head], silent: set[tuple[str, str]], rare: Mapping[int, int], salt: int
    ) -> None:
        self.heads = heads
        self.silent = silent
        self.rare = rare
        self.salt = salt
        self.size = heads[-1].stop
        self._kinds: dict[tuple[str, str], _Resolved] = {}
        self._columns: dict[str, dict[str, Column]] = {}
        for token, entry in enumerate(heads[0].tokens[1:], heads[0].start + 1):
            if not entry.exact:
                continue
            query, _, verb = entry.text.rpartition(" ")
            self._kinds[query, verb] = (token, self._bucket("", "", entry.text), 0)
        for head in heads[1:]:
            if head.column in IDENTITY_COLUMNS:
                raise ValueError(f"{head.column} says who acts and is no column to learn")
            self._columns.setdefault(head.query, {})[head.column] = Column(head)
        self._shapes: dict[tuple[str, ...], _Shape] = {}
        self._remembered = 0  # actions, over all shapes
        # By query, what becomes of each column: None for those that say nothing.
        self._plans: dict[str, dict[str, Column | None]] = {
            query: _NO_PLAN | dict.fromkeys((c for q, c in silent if q == query), None) | columns
            for query, columns in self._columns.items()
        }

    @classmethod
    def fit(cls, corpus: Corpus, rows: Rows, keep: NDArray[np.bool_] | None = None, salt: int = 0) -> Tokenizer:
        """Build the vocabulary from the actions of ``rows`` for which ``keep`` holds (all by default)."""
        keep = np.ones(len(rows.kind), dtype=bool) if keep is None else keep
        kinds = Counter(
            {
                f"{query} {verb}": int(count)
                for (query, verb), count in zip(
                    corpus.kinds, np.bincount(rows.kind[keep], minlength=len(corpus.kinds)), strict=True
                )
                if count
            }
        )
        columns = [column for column in statistics(corpus, rows, keep) if column.counts]
        silent = {column.name for column in columns if is_silent(column.name[1], column.counts, column.novelty)}
        spoken = [column for column in columns if column.name not in silent]
        spoken = sorted(spoken, key=lambda column: -sum(column.counts.values()))[:MAX_COLUMNS]
        exact = exact_tokens([column.counts for column in spoken])
        rare = [_without(column.counts, tokens) for column, tokens in zip(spoken, exact, strict=True)]
        ways = [once | Counter(dict.fromkeys(tokens, 1)) for once, tokens in zip(rare, exact, strict=True)]
        general, left = general_tokens([column.name[1] for column in spoken], ways)
        heads = [_kind_head(kinds)]
        for column, values, forms, nameless in zip(spoken, exact, general, left, strict=True):
            tokens = [Token("", exact=False, count=nameless)]
            tokens += [Token(value, exact=True, count=column.counts[value]) for value in values]
            tokens += [Token(form, exact=False, count=n) for form, n in sorted(forms.items())]
            total = sum(column.counts.values())
            heads.append(Head(*column.name, heads[-1].stop, tuple(tokens), total, column.novelty, column.unseen))
        hashes = {
            value_hash(salt, *column.name, value): n
            for column, once in zip(spoken, rare, strict=True)
            for value, n in once.items()
        }
        return cls(heads, silent, hashes, salt)

    def encode(self, action: Action) -> Tokens:
        """Tokenise one action. Any query and any column work, also ones never seen."""
        columns = action.columns
        shape = self._shapes.get((action.query, action.verb, *columns)) or self._shape(action)
        values = shape.pick(columns)
        tokens = shape.known.get(values)
        if tokens is None:
            tokens = self._encode(action)
            if sum(map(len, values)) <= _LONGEST:
                self._remember(shape, values, tokens)
        return tokens

    def _shape(self, action: Action) -> _Shape:
        """Return what is looked at in actions of this kind with these columns."""
        plan = self._plans.get(action.query, _NO_PLAN)
        columns = [column for column, _ in informative(action.columns) if plan.get(column, _STRANGE) is not None]
        shape = _Shape([c for c in columns if c in plan or (action.query, c) not in self.silent])
        key = action.query, action.verb, *action.columns
        if len(self._shapes) < _SHAPES and sum(map(len, key)) <= 8 * _LONGEST:
            self._shapes[key] = shape
        return shape

    def _remember(self, shape: _Shape, values: tuple[str, ...], tokens: Tokens) -> None:
        if self._remembered >= _ACTIONS:  # what comes again is soon known again
            for other in self._shapes.values():
                other.known.clear()
            self._remembered = 0
        shape.known[values] = tokens
        self._remembered += 1

    def _encode(self, action: Action) -> Tokens:
        found = [self._kinds.get((action.query, action.verb)) or self._unseen_kind(action)]
        plan = self._plans.get(action.query, _NO_PLAN)
        whole = True
        for column, value in informative(action.columns):
            entry = plan.get(column, _STRANGE)
            if entry is None:
                continue
            if entry is not _STRANGE:
                found.append(entry.table.get(value) or self._resolve(entry, value))
            elif (action.query, column) not in self.silent:
                found.append((0, self._strange_bucket(action.query, column, value), 0))
                whole = False
        ids, buckets, marks = zip(*found, strict=True)
        if not whole:
            ids, _, marks = zip(*[entry for entry in found if entry[0]], strict=True)
        return Tokens(ids, buckets, marks)

    def encode_all(self, corpus: Corpus, rows: Rows) -> Encoded:
        """Tokenise a whole corpus: the same as :meth:`encode` of each action, each distinct value once."""
        tables, offset = [], [0]
        for (query, column), values in zip(corpus.fields, corpus.values, strict=True):
            known = self._columns.get(query, {}).get(column)
            silent = (query, column) in self.silent
            for value in values:
                if known is not None:
                    tables.append(known.table.get(value) or self._resolve(known, value))
                else:
                    tables.append((0, -1 if silent else self._strange_bucket(query, column, value), 0))
            offset.append(len(tables))
        pairs = np.array(tables, dtype=np.int64).reshape(-1, 3)[np.array(offset)[rows.field] + rows.value]
        kinds = [self._kinds.get(kind) or self._unseen_kind(Action(0, "", "", *kind, {})) for kind in corpus.kinds]
        first = np.searchsorted(rows.action, np.arange(len(rows.kind)))
        place = np.arange(len(rows.action)) - first[rows.action] + 1
        width = int(place.max(initial=0)) + 1
        found = np.zeros((3, len(rows.kind), width), dtype=np.int64)
        found[1] = -1
        found[:, :, 0] = np.array(kinds, dtype=np.int64).reshape(-1, 3)[rows.kind].T
        found[:, rows.action, place] = pairs.T
        return Encoded(found[0].astype(np.int32), found[1].astype(np.int16), found[2].astype(np.uint32))

    def seen(self, query: str, column: str, value: str) -> int:
        """Return how often training saw a value in a column (by hash for rare ones: off once in 10^5)."""
        known = self._columns.get(query, {}).get(column)
        if known is not None and value in known.exact:
            return known.head.tokens[known.exact[value] - known.head.start].count
        return self.rare.get(value_hash(self.salt, query, column, value), 0)

    def seen_kind(self, action: Action) -> int:
        """Return how often training saw an action's kind."""
        known = self._kinds.get((action.query, action.verb))
        return 0 if known is None else self.heads[0].tokens[known[0] - self.heads[0].start].count

    def columns(self, action: Action) -> list[tuple[str, str, Head | None]]:
        """Return what :meth:`encode` looks at, in its order: column, value, and the column's vocabulary.

        The vocabulary is None for a column that training never saw; silent columns are left out.
        """
        known = self._columns.get(action.query, {})
        return [
            (column, value, known[column].head if column in known else None)
            for column, value in informative(action.columns)
            if column in known or (action.query, column) not in self.silent
        ]

    def text(self, token: int) -> str:
        """Return what a token stands for, for people."""
        return self._texts[token]

    def bucket_text(self, bucket: int) -> str:
        """Return the most frequent value among those that share a bucket; empty for an unused one."""
        return self._bucket_texts.get(bucket, "")

    @cached_property
    def _texts(self) -> list[str]:
        return ["", *(token.shown for head in self.heads for token in head.tokens)]

    @cached_property
    def _bucket_texts(self) -> dict[int, str]:
        kinds, *columns = self.heads
        ranked = [
            (token.count, "", "", f"action {token.text}", token.text) for token in kinds.tokens if token.exact
        ]
        ranked += [
            (token.count, head.query, head.column, f"{head.column} {token.shown}", token.text)
            for head in columns
            for token in head.tokens
            if token.exact and sum(other.exact for other in head.tokens[:3]) > 1  # a column that varies
        ]
        # The last one wins: the most frequent.
        return {self._bucket(query, column, text): shown for _, query, column, shown, text in sorted(ranked)}

    def to_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return what to save: JSON-able values, and arrays."""
        state = {"salt": self.salt, "silent": sorted(self.silent), "heads": msgspec.to_builtins(self.heads)}
        hashes = np.array(sorted(self.rare), dtype=np.uint32)
        counts = np.array([self.rare[key] for key in hashes.tolist()], dtype=np.uint32)
        return state, {"rare_hash": hashes, "rare_count": counts}

    @classmethod
    def from_state(cls, state: object, arrays: dict[str, NDArray[Any]]) -> Tokenizer:
        """Rebuild what :meth:`to_state` gave; raises ValueError (or msgspec's) where it does not fit."""
        found = msgspec.convert(state, State)
        if not found.heads or any(a.stop != b.start for a, b in pairwise(found.heads)):
            raise ValueError("the vocabulary has gaps")
        return cls(found.heads, set(found.silent), Rare(arrays["rare_hash"], arrays["rare_count"]), found.salt)

    def _unseen_kind(self, action: Action) -> _Resolved:
        name = f"{action.query} {action.verb}"
        return self.heads[0].start, self._strange_bucket("", "", name), self._mark("", "", name)

    def _mark(self, query: str, column: str, value: str) -> int:
        return value_hash(self.salt, query, column, value) or 1

    def _resolve(self, known: Column, value: str) -> _Resolved:
        where, exact = (known.head.query, known.head.column), known.exact.get(value)
        if exact is not None:
            resolved = known.table[value] = exact, self._bucket(*where, value), 0
            return resolved
        token = known.fall_back(value)
        form = known.head.tokens[token - known.head.start].text
        resolved = token, self._strange_bucket(*where, value, form), self._mark(*where, value)
        if len(known.table) < known.limit and len(value) <= _LONGEST:
            known.table[value] = resolved
        return resolved

    def _strange_bucket(self, query: str, column: str, value: str, form: str = "") -> int:
        return self._bucket(query, column, f"{form}#{value_hash(self.salt, '', '', value) % NEW_BUCKETS}")

    def _bucket(self, query: str, column: str, text: str) -> int:
        # CRC-32 is linear in its bits; the multiplication (Knuth 6.4) spreads them before they are cut.
        return (value_hash(self.salt, query, column, text) * 2654435761 >> 20) % BUCKETS


class State(msgspec.Struct, frozen=True):
    """What is saved of a tokenizer as text."""

    salt: int
    silent: list[tuple[str, str]]
    heads: list[Head]


class Rare(Mapping[int, int]):
    """How often training saw values, by their hashes: two arrays, a tenth of what a dictionary takes.

    Parameters
    ----------
    hashes, counts
        Of the values, shape (values,); the hashes ascending.
    """

    def __init__(self, hashes: NDArray[Any], counts: NDArray[Any]) -> None:
        if hashes.dtype != np.uint32 or counts.dtype != np.uint32 or hashes.ndim != 1:
            raise ValueError("the rare values are of other types")
        if hashes.shape != counts.shape or (hashes[1:] <= hashes[:-1]).any():
            raise ValueError("the rare values do not pair up, or are out of order")
        self._hashes, self._counts = hashes, counts

    def __getitem__(self, key: int) -> int:
        place = int(np.searchsorted(self._hashes, key))
        if place == len(self._hashes) or self._hashes[place] != key:
            raise KeyError(key)
        return int(self._counts[place])

    def __iter__(self) -> Iterator[int]:
        return iter(self._hashes.tolist())

    def __len__(self) -> int:
        return len(self._hashes)


class _Shape:
    """What is looked at in actions with the same query, verb and columns, and what came of those seen lately.

    Most of what a machine does, it does again: to find that out takes a third of tokenising it anew.
    """

    def __init__(self, spoken: list[str]) -> None:
        self.pick: Callable[[dict[str, str]], tuple[str, ...]] = _picker(spoken)
        """Gives the values of an action that its tokens depend on."""
        self.known: dict[tuple[str, ...], Tokens] = {}


def _picker(columns: list[str]) -> Callable[[dict[str, str]], tuple[str, ...]]:
    if len(columns) > 1:
        return itemgetter(*columns)
    return lambda row: tuple([row[column] for column in columns])  # an itemgetter of one gives no tuple


_NO_PLAN: dict[str, Column | None] = dict.fromkeys(IDENTITY_COLUMNS)


class Column:
    """A head with its dictionaries; ``table`` holds the values that came up, exact or never seen.

    The dictionaries are made when the column first comes up: of most columns nothing does for hours.
    """

    def __init__(self, head: Head) -> None:
        self.head = head
        self.table: dict[str, _Resolved] = {}
        self.limit = len(head.tokens) + _CACHE

    @cached_property
    def exact(self) -> dict[str, int]:
        """The token of each value that has one of its own."""
        return {t.text: i for i, t in enumerate(self.head.tokens, self.head.start) if t.exact}

    @cached_property
    def general(self) -> dict[str, int]:
        """The token of each general form."""
        first = self.head.start
        return {t.text: i for i, t in enumerate(self.head.tokens, first) if not t.exact and i > first}

    def fall_back(self, value: str) -> int:
        """Return the most specific general form that is known, at last the unknown token."""
        forms = levels(self.head.column, value)
        return next((self.general[form] for form in forms if form in self.general), self.head.start)


_STRANGE = Column(Head("", "", 0, (), 0, 0.0, 0.0))  # in place of a column that training never saw


def value_hash(salt: int, query: str, column: str, text: str) -> int:
    """Return a 32-bit hash of a value in its column; ``salt`` is where it starts."""
    return zlib.crc32(f"{query}\0{column}\0{text}".encode("utf-8", "surrogatepass"), salt)


def _kind_head(kinds: Counter[str]) -> Head:
    ranked = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))[:MAX_KINDS]
    tokens = [Token(text, exact=True, count=n) for text, n in ranked]
    once = sum(1 for n in kinds.values() if n == 1)
    total = sum(kinds.values())
    unseen = (once + 0.5) / (total + 1)  # kinds are few: that some turn up once is all there is to go by
    return Head("", "action", 1, (Token("", exact=False, count=once), *tokens), total, 0.0, unseen)


class Statistics(NamedTuple):
    """What training saw in one column; see :class:`anomaly.vocabulary.Head`."""

    name: tuple[str, str]
    counts: Counter[str]
    novelty: float
    unseen: float


def statistics(corpus: Corpus, rows: Rows, keep: NDArray[np.bool_]) -> list[Statistics]:
    """Count the values of each column, and what its later half brings that its earlier half did not know."""
    kept = keep[rows.action]
    field, value = rows.field[kept], rows.value[kept]
    # Sorted by column once, in their order: looking for each column's would take as long as there are columns.
    ends = np.bincount(field, minlength=len(corpus.fields)).cumsum().tolist()
    small = np.uint16 if len(corpus.fields) <= 1 << 16 else np.int64  # numpy sorts few bits by radix
    value = value[np.argsort(field.astype(small), kind="stable")]
    found, begin = [], 0
    for name, values, end in zip(corpus.fields, corpus.values, ends, strict=True):
        seen, begin = value[begin:end], end
        half = len(seen) // 2
        later = len(seen) - half
        counts = np.bincount(seen, minlength=len(values))
        earlier = np.bincount(seen[:half], minlength=len(values))
        first = np.unique(seen, return_index=True)[1]
        found.append(
            Statistics(
                name,
                Counter({text: n for text, n in zip(values, counts.tolist(), strict=True) if n}),
                float((first >= half).sum() / max(later, 1)),
                float(((earlier[seen[half:]] < 2).sum() + 0.5) / (later + 1)),
            )
        )
    return found


def _without(counts: Counter[str], tokens: list[str]) -> Counter[str]:
    known = set(tokens)
    return Counter({value: n for value, n in counts.items() if value not in known})
