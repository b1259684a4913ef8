"""A tokenizer's vocabulary, learned from a corpus: what each column says, how often, and how often it is new."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.corpus import Corpus, Rows
from anomaly.vocabulary import MAX_COLUMNS, MAX_KINDS, Head, Token, exact_tokens, general_tokens, is_silent


class Vocabulary(NamedTuple):
    """What was learned."""

    heads: list[Head]
    """The kinds of action, and then each column that says something."""
    names: list[tuple[str, str]]
    """Query and column of each but the first."""
    silent: set[tuple[str, str]]
    """Columns whose values name nothing."""
    rare: list[Counter[str]]
    """How often each column had the values that are no tokens of their own."""


def learn(
    corpus: Corpus, rows: Rows, keep: NDArray[np.bool_], silent: set[tuple[str, str]] | None = None
) -> Vocabulary:
    """Build the vocabulary of the actions for which ``keep`` holds, shape (actions,).

    ``silent`` is as in :meth:`Tokenizer.fit`.
    """
    counted = zip(corpus.kinds, np.bincount(rows.kind[keep], minlength=len(corpus.kinds)).tolist(), strict=True)
    kinds = Counter({f"{query} {verb}": count for (query, verb), count in counted if count})
    columns = [column for column in statistics(corpus, rows, keep) if column.counts]
    if silent is None:
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
    return Vocabulary(heads, [column.name for column in spoken], silent, rare)


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


def _kind_head(kinds: Counter[str]) -> Head:
    ranked = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))[:MAX_KINDS]
    tokens = [Token(text, exact=True, count=n) for text, n in ranked]
    once = sum(1 for n in kinds.values() if n == 1)
    total = sum(kinds.values())
    unseen = (once + 0.5) / (total + 1)  # kinds are few: that some turn up once is all there is to go by
    return Head("", "action", 1, (Token("", exact=False, count=once), *tokens), total, 0.0, unseen)
