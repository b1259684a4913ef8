"""An action as tokens: the one tokenizer that training and prediction share.

An action becomes its kind (query and verb) and one token per column, by the column's *name*. A value that
training saw twice or more is a token of its own; rarer and unseen ones fall back to the most specific general
form that training knows (:mod:`anomaly.values`), and at last to "unknown in this column". Since values seen
once take the same way in training, the fallbacks have counts: how often a column brings something new is
learned from the data itself (Good 1953), column by column.

Beside its tokens an action has features (:mod:`anomaly.features.levels`): hashes at several levels, which are
counted.

Before either is made, whatever says whose account it is is taken out of the row
(:mod:`anomaly.features.normalise`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomaly.corpus import Corpus, Rows
from anomaly.features.levels import FeatureHasher, Features
from anomaly.features.normalise import NAME_COLUMNS, normalise
from anomaly.lookup import Column, Rare, Resolved, Shape, value_hash
from anomaly.osquery import Action
from anomaly.tokens import Encoded, Tokens
from anomaly.vocabulary import Head
from anomaly.vocabulary_fit import learn

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
        Key of every hash. It comes from the training data.
    """

    def __init__(
        self, heads: list[Head], silent: set[tuple[str, str]], rare: Mapping[int, int], salt: int
    ) -> None:
        self.heads = heads
        self.silent = silent
        self.rare = rare
        self.salt = salt
        self.size = heads[-1].stop
        self._hasher = FeatureHasher(salt, silent)
        self._kinds: dict[tuple[str, str], Resolved] = {}
        self._columns: dict[str, dict[str, Column]] = {}
        for token, entry in enumerate(heads[0].tokens[1:], heads[0].start + 1):
            if not entry.exact:
                continue
            query, _, verb = entry.text.rpartition(" ")
            self._kinds[query, verb] = (token, 0)
        for head in heads[1:]:
            if head.column in NAME_COLUMNS:
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
    def fit(
        cls,
        corpus: Corpus,
        rows: Rows,
        keep: NDArray[np.bool_] | None = None,
        salt: int = 0,
        silent: set[tuple[str, str]] | None = None,
    ) -> Tokenizer:
        """Build the vocabulary from the actions of ``rows`` for which ``keep`` holds (all by default).

        ``silent`` are the columns whose values name nothing; by default the actions tell.
        """
        keep = np.ones(len(rows.kind), dtype=bool) if keep is None else keep
        found = learn(corpus, rows, keep, silent)
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
        key = action.user, action.host, shape.pick(columns)
        tokens = shape.known.get(key)
        if tokens is None:
            tokens = self._encode(action.query, action.verb, normalise(action))
            if sum(map(len, key[2])) <= _LONGEST:
                self._remember(shape, key, tokens)
        return tokens

    def _shape(self, action: Action) -> Shape:
        """Return what is looked at in actions of this kind with these columns."""
        plan = self._plans.get(action.query, _NO_PLAN)
        # Columns of names say nothing themselves, but ``auid`` says which number is the user's own.
        names = [
            column
            for column in action.columns
            if plan.get(column, _STRANGE) is not None and (action.query, column) not in self.silent
        ]
        shape = Shape([*names, *(column for column in ("auid",) if column in action.columns)])
        key = action.query, action.verb, *action.columns
        if len(self._shapes) < _SHAPES and sum(map(len, key)) <= 8 * _LONGEST:
            self._shapes[key] = shape
        return shape

    def _remember(self, shape: Shape, key: tuple[str, str, tuple[str, ...]], tokens: Tokens) -> None:
        if self._remembered >= _ACTIONS:  # what comes again is soon known again
            for other in self._shapes.values():
                other.known.clear()
            self._remembered = 0
        shape.known[key] = tokens
        self._remembered += 1

    def _encode(self, query: str, verb: str, columns: dict[str, str]) -> Tokens:
        found = [self._kinds.get((query, verb)) or self._unseen_kind(query, verb)]
        plan = self._plans.get(query, _NO_PLAN)
        for column, value in columns.items():
            entry = plan.get(column, _STRANGE)
            if entry is not None and entry is not _STRANGE:
                found.append(entry.table.get(value) or self._resolve(entry, value))
        ids, marks = zip(*found, strict=True)
        return Tokens(ids, self._hasher.features(query, verb, columns), marks)

    def encode_all(self, corpus: Corpus, rows: Rows) -> Encoded:
        """Tokenise a whole corpus: the same as :meth:`encode` of each action, each distinct value once."""
        tables, offset = [], [0]
        for (query, column), values in zip(corpus.fields, corpus.values, strict=True):
            known = self._columns.get(query, {}).get(column)
            tables += [
                (known.table.get(value) or self._resolve(known, value)) if known else (0, 0) for value in values
            ]
            offset.append(len(tables))
        pairs = np.array(tables, dtype=np.int64).reshape(-1, 2)[np.array(offset)[rows.field] + rows.value]
        kinds = [self._kinds.get(kind) or self._unseen_kind(*kind) for kind in corpus.kinds]
        first = np.searchsorted(rows.action, np.arange(len(rows.kind)))
        place = np.arange(len(rows.action)) - first[rows.action] + 1
        width = int(place.max(initial=0)) + 1
        found = np.zeros((2, len(rows.kind), width), dtype=np.int64)
        found[:, :, 0] = np.array(kinds, dtype=np.int64).reshape(-1, 2)[rows.kind].T
        found[:, rows.action, place] = pairs.T
        return Encoded(found[0].astype(np.int32), found[1].astype(np.uint32), self.features(corpus))

    def features(self, corpus: Corpus) -> list[Features]:
        """Return the features of a whole corpus, by action; equal rows are looked at once."""
        known: dict[tuple[object, ...], Features] = {}
        found: list[Features] = []
        for key, query, verb, columns in corpus.distinct_rows():
            features = known.get(key)
            if features is None:
                features = known[key] = self._hasher.features(query, verb, columns())
            found.append(features)
        return found

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
            for column, value in normalise(action).items()
            if column in known or (action.query, column) not in self.silent
        ]

    def text(self, token: int) -> str:
        """Return what a token stands for, for people."""
        return self._texts[token]

    @cached_property
    def _texts(self) -> list[str]:
        return ["", *(token.shown for head in self.heads for token in head.tokens)]

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

    def _unseen_kind(self, query: str, verb: str) -> Resolved:
        return self.heads[0].start, self._mark("", "", f"{query} {verb}")

    def _mark(self, query: str, column: str, value: str) -> int:
        return value_hash(self.salt, query, column, value) or 1

    def _resolve(self, known: Column, value: str) -> Resolved:
        where, exact = (known.head.query, known.head.column), known.exact.get(value)
        if exact is not None:
            resolved = known.table[value] = exact, 0
            return resolved
        resolved = known.fall_back(value), self._mark(*where, value)
        if len(known.table) < known.limit and len(value) <= _LONGEST:
            known.table[value] = resolved
        return resolved


class State(msgspec.Struct, frozen=True):
    """What is saved of a tokenizer as text."""

    salt: int
    silent: list[tuple[str, str]]
    heads: list[Head]


_NO_PLAN: dict[str, Column | None] = dict.fromkeys(NAME_COLUMNS)


_STRANGE = Column(Head("", "", 0, (), 0, 0.0, 0.0))  # in place of a column that training never saw
