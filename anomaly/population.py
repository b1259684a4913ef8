"""Everyone in a log, by one vocabulary: what a user without a model is compared with."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomaly.admission import admitted
from anomaly.corpus import Corpus
from anomaly.detectors.counts_fit import expectation, first_tokens, occurrences
from anomaly.personal import personal
from anomaly.tokenizer import Tokenizer
from anomaly.tokens import Encoded

MOST_ACTIONS = 200_000
"""Actions that the common vocabulary is made of at most, as many of each user: the last ones."""

Floats = NDArray[np.float64]


class Population:
    """The users of a log by one vocabulary.

    Parameters
    ----------
    corpora
        The actions of each user.
    """

    def __init__(self, corpora: Mapping[str, Corpus]) -> None:
        merged = Corpus.merge(corpora.values(), most=MOST_ACTIONS // max(len(corpora), 1))
        fitted = Tokenizer.fit(merged, merged.rows(), salt=int(merged.fingerprint()[:8], 16))
        self.users = tuple(corpora)
        self.corpora = corpora
        self._starts = first_tokens(fitted)
        self._counts: dict[str, Floats] = {}
        self._as_strangers: dict[str, Encoded] = {}
        for user, corpus in corpora.items():
            self._counts[user] = occurrences(personal(fitted, corpus, corpus.rows()))
        self._total = np.sum(list(self._counts.values()), axis=0)
        self.tokenizer = _counted(fitted, self._total)

    def without(self, *users: str) -> Floats:
        """Return how probable each token is among all users but these, shape (size,)."""
        left = self._total - sum(self._counts[user] for user in users)
        return expectation(np.maximum(left, 0.0), self._starts)

    def as_stranger(self, user: str) -> Encoded:
        """Return a user's actions as those who never saw this user would read them."""
        if user not in self._as_strangers:
            corpus = self.corpora[user]
            rows = corpus.rows()
            unseen = personal(self.tokenizer, corpus, rows, np.zeros(len(rows.kind), dtype=bool))
            chosen = admitted(corpus, rows, self.tokenizer.silent)
            self._as_strangers[user] = unseen.encode_all(corpus, rows).chosen(chosen)
        return self._as_strangers[user]


def _counted(tokenizer: Tokenizer, totals: Floats) -> Tokenizer:
    """Return a tokenizer whose values count all actions, not only those that it was fitted on."""
    heads = [
        msgspec.structs.replace(
            head,
            tokens=tuple(
                msgspec.structs.replace(token, count=int(totals[place])) if token.exact else token
                for place, token in enumerate(head.tokens, head.start)
            ),
        )
        for head in tokenizer.heads
    ]
    return Tokenizer(heads, tokenizer.silent, tokenizer.rare, tokenizer.salt)
