"""One user's tokenizer out of everybody's: the same tokens, so that users can be weighed against each other."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomaly.corpus import Corpus, Rows
from anomaly.lookup import Column, value_hash
from anomaly.tokenizer import Tokenizer
from anomaly.vocabulary import Head, Token
from anomaly.vocabulary_fit import Statistics, statistics

_LEAST = 2  # occurrences that make a value a token of its own


def personal(everyone: Tokenizer, corpus: Corpus, rows: Rows, keep: NDArray[np.bool_] | None = None) -> Tokenizer:
    """Return the tokens of everyone's tokenizer with the statistics of one user.

    Parameters
    ----------
    everyone
        Fitted on the actions of several users, this one among them.
    corpus, rows
        The user's actions.
    keep
        Those to count, shape (actions,); all by default. Values that are tokens only because of the others fall
        back to their general forms, as they would had the others never been seen.
    """
    keep = np.ones(len(rows.kind), dtype=bool) if keep is None else keep
    counted = {found.name: found for found in statistics(corpus, rows, keep)}
    left_out = {found.name: found.counts for found in statistics(corpus, rows, ~keep)}
    kinds = np.bincount(rows.kind[keep], minlength=len(corpus.kinds))
    own = Counter({f"{query} {verb}": int(n) for (query, verb), n in zip(corpus.kinds, kinds, strict=True) if n})
    hidden = np.bincount(rows.kind[~keep], minlength=len(corpus.kinds))
    gone = Counter({f"{query} {verb}": int(n) for (query, verb), n in zip(corpus.kinds, hidden, strict=True) if n})
    heads, rare = [_recounted(everyone.heads[0], own, gone)], {}
    for shared in everyone.heads[1:]:
        name = shared.query, shared.column
        found = counted.get(name) or Statistics(name, Counter(), 0.0, 0.5)
        head = _without(shared, left_out.get(name, Counter()))
        known = Column(head)
        forms: Counter[int] = Counter()
        for value, count in found.counts.items():
            if value not in known.exact:
                forms[known.fall_back(value) - head.start] += count
                rare[value_hash(everyone.salt, *name, value)] = count
        heads.append(_counted(head, found, forms))
    return Tokenizer(heads, everyone.silent, rare, everyone.salt)


def _recounted(kinds: Head, own: Counter[str], left_out: Counter[str]) -> Head:
    """Give the kinds the counts of one user; what is no kind of its own counts as unknown."""
    tokens = [_NAMELESS if token.count <= left_out[token.text] else token for token in kinds.tokens]
    known = [msgspec.structs.replace(token, count=own[token.text]) if token.exact else token for token in tokens]
    unknown = own.total() - sum(token.count for token in known if token.exact)
    known[0] = msgspec.structs.replace(known[0], count=unknown)
    unseen = (sum(1 for count in own.values() if count == 1) + 0.5) / (own.total() + 1)
    return msgspec.structs.replace(kinds, tokens=tuple(known), count=own.total(), unseen=unseen)


_NAMELESS = Token("", exact=False, count=0)  # keeps its place, and stands for nothing


def _without(head: Head, left_out: Counter[str]) -> Head:
    """Take from a column the values that would be no tokens without these occurrences."""
    gone = {t.text for t in head.tokens if t.exact and t.count - left_out[t.text] < _LEAST}
    if not gone:
        return head
    tokens = [_NAMELESS if token.exact and token.text in gone else token for token in head.tokens]
    return msgspec.structs.replace(head, tokens=tuple(tokens))


def _counted(head: Head, found: Statistics, forms: Counter[int]) -> Head:
    tokens = [
        msgspec.structs.replace(token, count=found.counts[token.text] if token.exact else forms[place])
        for place, token in enumerate(head.tokens)
    ]
    return msgspec.structs.replace(
        head,
        tokens=tuple(tokens),
        count=found.counts.total(),
        novelty=found.novelty,
        unseen=found.unseen,
    )
