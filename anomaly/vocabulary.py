"""What a tokenizer knows of one column: its values, the general forms of its rare ones, and the unknown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from anomaly.values import MAX_VALUE, is_numeric, levels

MAX_EXACT = 1536
"""Values kept as tokens of their own, over all columns of a user."""

MAX_KINDS = 512
"""Kinds of action kept, the most frequent first; osquery's packs have some dozens."""

MAX_COLUMNS = 512
"""Columns kept, the most frequent first."""

MAX_GENERAL = 448
"""General forms kept as tokens, over all columns of a user."""

NOVEL = 0.5
"""From this share of new values on, numbers are taken for mere counters."""

_SAMPLE = 200
_FEW = 16
_COUNTERS = frozenset({"pid", "parent", "ppid", "pgroup", "tid", "fd", "inode", "socket", "eid", "size", "time"})


class Token(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One entry of the vocabulary; it refers to nothing, so the garbage collector need not look at thousands."""

    text: str
    """The value itself, or its general form as :func:`anomaly.values.levels` writes it."""
    exact: bool
    count: int
    """How often training saw it; for a general form, in how many ways it came about."""

    @property
    def shown(self) -> str:
        """What it stands for, for people: never nothing."""
        return self.text or ("(empty)" if self.exact else "(unknown)")


class Head(msgspec.Struct, frozen=True):
    """One column of one query (or the kinds of action): consecutive token ids, the unknown one first."""

    query: str
    column: str
    start: int
    """Id of the unknown token; the tokens that follow are ``start + 1 ..``."""
    tokens: tuple[Token, ...]
    """``tokens[0]`` is the unknown one: a value, of which not even a general form is known."""
    count: int
    """Actions of training with this column."""
    novelty: float
    """Share of the later half's actions that bring a value for the first time."""
    unseen: float
    """Share of the later half's actions whose value the earlier half did not make a token: P(new | column)."""

    @property
    def stop(self) -> int:
        """One past the last token id."""
        return self.start + len(self.tokens)


def is_silent(column: str, values: Mapping[str, int], novelty: float) -> bool:
    """Say whether a column's values name nothing: process numbers, times, addresses in memory.

    What counts is the data: numbers that are nearly always new. A column known for such numbers (``pid``)
    needs less evidence, and one whose numbers keep coming back (``uid``) is never silent.

    Examples
    --------
    >>> is_silent("pid", {"811": 1, "902": 1, "1377": 2}, novelty=0.9)
    True
    >>> is_silent("uid", {"0": 40, "1000": 900}, novelty=0.0)
    False
    """
    sample = list(values)[:_SAMPLE]
    numeric = sum(map(is_numeric, sample))
    if not sample or numeric < 0.95 * len(sample):  # a stray "" or "-" is no name either
        return False
    hinted = column in _COUNTERS or column.endswith(("time", "_size", "_pid"))
    return novelty >= (0.1 if hinted else NOVEL) or (hinted and len(values) > _FEW)


def exact_tokens(counts: list[Counter[str]]) -> list[list[str]]:
    """Choose, by column, the values that become tokens: seen twice or more, the most frequent first."""
    ranked = sorted(
        (-count, column, value)
        for column, table in enumerate(counts)
        for value, count in table.items()
        if count > 1 and len(value) <= MAX_VALUE
    )
    chosen: list[list[str]] = [[] for _ in counts]
    for _, column, value in ranked[:MAX_EXACT]:
        chosen[column].append(value)
    return chosen


def general_tokens(columns: list[str], values: list[Counter[str]]) -> tuple[list[Counter[str]], list[int]]:
    """Give the general forms that values share, by column, and how many values are left without one.

    ``values`` holds the rare values with their counts, and each token's value once: what a form counts is in how
    many ways it came about, not how often the best known of them did (Kneser & Ney 1995). A value counts for its
    most specific form that it shares with another.
    """
    found: list[Counter[str]] = [Counter() for _ in columns]
    waiting = [{value: list(levels(columns[i], value)) for value in table} for i, table in enumerate(values)]
    depth = max((len(forms) for table in waiting for forms in table.values()), default=0)
    for level in range(depth):
        shared: Counter[tuple[int, str]] = Counter()
        for column, table in enumerate(waiting):
            for value, forms in table.items():
                if level < len(forms):
                    shared[column, forms[level]] += values[column][value]
        room = MAX_GENERAL - sum(map(len, found))
        kept = {form: count for form, count in _most_common(shared, room) if count > 1}
        for (column, form), count in kept.items():
            found[column][form] += count
        for column, table in enumerate(waiting):
            waiting[column] = {
                value: forms
                for value, forms in table.items()
                if level >= len(forms) or (column, forms[level]) not in kept
            }
    left = [sum(values[column][value] for value in table) for column, table in enumerate(waiting)]
    return found, left


def _most_common(counts: Counter[tuple[int, str]], room: int) -> list[tuple[tuple[int, str], int]]:
    # Counter.most_common breaks ties by insertion; ties are broken by name, so that files are reproducible.
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[: max(room, 0)]
