"""Everyone in a log: what a user is weighed against, and the prior of the user's own counts."""

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

FEWEST = 8
"""Users that make a background. With five, of whom one is root and one the machine, all that three people do
looks like one another's, and a stranger like none of them: nothing alarms."""

STRANGERS = 24
"""Other users at most whose windows a user's are told from, in each fold."""

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
        self._corpora = corpora
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
            corpus = self._corpora[user]
            rows = corpus.rows()
            unseen = personal(self.tokenizer, corpus, rows, np.zeros(len(rows.kind), dtype=bool))
            chosen = admitted(corpus, rows, self.tokenizer.silent)
            self._as_strangers[user] = unseen.encode_all(corpus, rows).chosen(chosen)
        return self._as_strangers[user]

    def strangers(self, user: str, length: int, draw: np.random.Generator) -> dict[str, range]:
        """Draw stretches of ``length`` actions of other users, at most one of each."""
        found = {}
        others = [other for other in self.users if other != user]
        for other in draw.permutation(np.array(others, dtype=object))[:STRANGERS].tolist():
            room = len(self.as_stranger(other).ids) - length
            if room >= 0:
                start = int(draw.integers(0, room + 1))
                found[other] = range(start, start + length)
        return found


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
