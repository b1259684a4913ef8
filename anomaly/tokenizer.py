"""An action as tokens: the one tokenizer that training and prediction share.

An action becomes its kind (query and verb) and one token per column, by the column's *name*. A value that
training saw twice or more is a token of its own; rarer and unseen ones fall back to the most specific general
form that training knows (:mod:`anomaly.values`), and at last to "unknown in this column". Since values seen
once take the same way in training, the fallbacks have counts: how often a column brings something new is
learned from the data itself (Good 1953), column by column.

Each token also has a bucket, a hash into a bag of fixed size (Weinberger et al. 2009) for the window model.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomaly.corpus import IDENTITY_COLUMNS, Corpus, Rows, informative
from anomaly.lookup import Column, Rare, Resolved, Shape, value_hash
from anomaly.osquery import Action
from anomaly.tokens import BUCKETS, Encoded, Tokens
from anomaly.vocabulary import Head
from anomaly.vocabulary_fit import learn

NEW_BUCKETS = 16
"""Buckets that the values never seen share, for each form they fall back to.

A window full of new values then looks like any other such window. Without the bound, what drifts in a user's own
behaviour moves the window as far as a stranger does; in a bag of 256 buckets collisions bound it by accident.
"""

_ACTIONS = 1024
"""Actions remembered, of all kinds together."""

_SHAPES = 256
"""Kinds of action, by query, verb and columns, of which actions are remembered."""

_LONGEST = 256
"""Longest value remembered: the log chooses how long its values are."""


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
        self._kinds: dict[tuple[str, str], Resolved] = {}
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
        self._shapes: dict[tuple[str, ...], Shape] = {}
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
        found = learn(corpus, rows, keep)
        rare = {
            value_hash(salt, *name, value): count
            for name, once in zip(found.names, found.rare, strict=True)
            for value, count in once.items()
        }
        return cls(found.heads, found.silent, rare, salt)

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

    def _shape(self, action: Action) -> Shape:
        """Return what is looked at in actions of this kind with these columns."""
        plan = self._plans.get(action.query, _NO_PLAN)
        columns = [column for column, _ in informative(action.columns) if plan.get(column, _STRANGE) is not None]
        shape = Shape([c for c in columns if c in plan or (action.query, c) not in self.silent])
        key = action.query, action.verb, *action.columns
        if len(self._shapes) < _SHAPES and sum(map(len, key)) <= 8 * _LONGEST:
            self._shapes[key] = shape
        return shape

    def _remember(self, shape: Shape, values: tuple[str, ...], tokens: Tokens) -> None:
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

    def _unseen_kind(self, action: Action) -> Resolved:
        name = f"{action.query} {action.verb}"
        return self.heads[0].start, self._strange_bucket("", "", name), self._mark("", "", name)

    def _mark(self, query: str, column: str, value: str) -> int:
        return value_hash(self.salt, query, column, value) or 1

    def _resolve(self, known: Column, value: str) -> Resolved:
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


_NO_PLAN: dict[str, Column | None] = dict.fromkeys(IDENTITY_COLUMNS)


_STRANGE = Column(Head("", "", 0, (), 0, 0.0, 0.0))  # in place of a column that training never saw
