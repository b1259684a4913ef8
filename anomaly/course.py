"""Training one user: from actions to a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.admission import admitted
from anomaly.alone_fit import fit_alone
from anomaly.calibration import Calibration, Tail
from anomaly.calibration_fit import fit_tail
from anomaly.cohort import learned_profile, no_others, with_history
from anomaly.cohort_fit import CohortFit, months_of
from anomaly.corpus import Corpus, Rows
from anomaly.detectors.detector import Detector
from anomaly.detectors.interface import WINDOW, Algorithm, Floats
from anomaly.detectors.lstm import Lstm
from anomaly.detectors.lstm_fit import LstmLearner
from anomaly.detectors.neighbours import Neighbours
from anomaly.detectors.ocsvm_fit import fit_svm
from anomaly.detectors.profile import Profile
from anomaly.detectors.rarity import Rarity
from anomaly.errors import TooLittleData
from anomaly.harvest import Harvest, Report
from anomaly.identity import Identities
from anomaly.model import UserModel
from anomaly.rehearsal import rehearse_ranks
from anomaly.tokenizer import Tokenizer
from anomaly.tokens import Encoded
from anomaly.training import card_of

FEWEST = 300
"""Actions that differ enough to come into the window, of which a user can be learned."""

LEAST_BITS = 0.5
"""Differences of an action's surprise that may be due to the fit alone."""


class Shared(NamedTuple):
    """Features, profile of others and fit that a user shares with a cohort."""

    salt: int
    silent: set[tuple[str, str]]
    """Columns whose values name nothing, in the whole log."""
    profile: Profile
    """Counts of the others."""
    fit: CohortFit
    others: int
    """Number of the others."""


class Course:
    """Trains users, one after another. Can be sent to another process.

    Parameters
    ----------
    algorithm, seed, without
        See :class:`anomaly.enrolment.Enrolment`.
    found, identities
        What the logs held, for the models' cards.
    network
        The learner of networks, where it has learned others before; one of its own by default.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        seed: int,
        without: Sequence[str],
        found: Harvest,
        identities: Identities,
        network: LstmLearner | None = None,
    ) -> None:
        self.algorithm, self.seed, self.without = algorithm, seed, tuple(without)
        self.found = found._replace(users={}, skipped=Counter())  # only what stands on a card
        self.identities = identities.to_dict()
        if network is not None:
            self.network = network

    def __getstate__(self) -> dict[str, Any]:
        """Leave the learner of networks out: each process has its own."""
        return {name: value for name, value in self.__dict__.items() if name != "network"}

    @cached_property
    def network(self) -> LstmLearner:
        """The learner of networks."""
        return LstmLearner(self.seed, network="lstm" not in self.without)

    def learn(self, user: str, corpus: Corpus, shared: Shared | None, report: Report) -> UserModel:
        """Train a user; raises :class:`TooLittleData` if the actions are too few or too much alike."""
        rows = corpus.rows()
        salt = int(corpus.fingerprint()[:8], 16) if shared is None else shared.salt
        silent = None if shared is None else shared.silent
        tokenizer = Tokenizer.fit(corpus, rows, salt=salt, silent=silent)
        encoded = tokenizer.encode_all(corpus, rows)
        chosen = admitted(corpus, rows, tokenizer.silent)
        if chosen.sum() < FEWEST:
            raise TooLittleData(
                f"{user!r} repeats the same few actions: only {int(chosen.sum()):,} of {len(corpus):,} can be"
                " learned from. Let osquery log for longer, or give more logs with -l."
            )
        baseline = [encoded.features[place] for place in np.flatnonzero(rows.baseline).tolist()]
        encoded = encoded.chosen(chosen)
        history = list(encoded.features)
        half = len(history) // 2
        others = no_others() if shared is None else shared.profile
        report(0.0, "counts")
        profile = with_history(others, history, baseline)
        before = learned_profile(
            profile.keys, profile.sequence_keys, profile.others, profile.escape, history[:half]
        )
        ranks = rehearse_ranks(before, history[:half], history[half:])
        rarity = Rarity.fit(ranks)
        figures = np.array([rarity.surprise(one) for one in ranks])
        with_svm = self.algorithm is not Algorithm.LSTM and "svm" not in self.without
        svm = fit_svm(history) if with_svm else None
        report(0.1, "windows")
        network = None
        self.network.begin()
        if self.algorithm is Algorithm.LSTM:
            network, figures = self._rehearsed_network(corpus, rows, chosen, tokenizer, encoded)
        elif self.algorithm is Algorithm.BOTH and "lstm" not in self.without:
            # Its figures decide nothing here, they explain: it is trained once.
            network = self.network.fit(tokenizer, encoded, [range(len(history))], range(len(history))[-WINDOW:])
        near = None
        if shared is None and self.algorithm is not Algorithm.LSTM:
            near = Neighbours.fit(history)
        detector = Detector(self.algorithm, profile, rarity, svm, network, near, history[-WINDOW:])
        if shared is None:
            earlier = history[:half]
            first = Detector(
                Algorithm.OCSVM,
                before,
                rarity,
                None if svm is None else fit_svm(earlier),
                None,
                None if near is None else Neighbours.fit(earlier),
                earlier[-WINDOW:],
            )
            months = months_of(rows.time[chosen][half:])
            rarities = self._rarities(network, encoded, half, figures)
            fit = fit_alone(first, history[half:], months, rarities)
        else:
            fit = shared.fit
        calibration = Calibration(fit_tail(figures, LEAST_BITS), fit.risk)
        card = card_of(
            user,
            self.algorithm,
            corpus,
            rows,
            self.found,
            self.identities,
            seed=self.seed,
            others=0 if shared is None else shared.others,
            without=self.without,
            epochs=self.network.epochs,
        )
        report(1.0, "done")
        return UserModel(tokenizer, detector, fit.fusion, calibration, card)

    def _rarities(self, network: Lstm | None, encoded: Encoded, half: int, bits: Floats) -> Floats | None:
        """Return how rare the last actions are in their order, for each of the later half, shape (actions,)."""
        if network is None or self.algorithm is not Algorithm.LSTM:
            return None
        tails = [Tail.from_array(array) for array in network.rarity]
        kinds = (encoded.ids[half:, 0] - 1).tolist()
        rare = [tails[kind].score(one) for kind, one in zip(kinds, bits.tolist(), strict=True)]
        sums = np.cumsum(np.insert(np.array(rare), 0, 0.0))
        ends = np.arange(1, len(rare) + 1)
        begins = np.maximum(ends - WINDOW, 0)
        found: Floats = (sums[ends] - sums[begins]) / (ends - begins)
        return found

    def _rehearsed_network(
        self,
        corpus: Corpus,
        rows: Rows,
        chosen: NDArray[np.bool_],
        tokenizer: Tokenizer,
        encoded: Encoded,
    ) -> tuple[Lstm, Floats]:
        """Return the network, and the surprise in bits of the later half by one that learned the earlier half."""
        count = len(encoded.ids)
        half = count // 2
        keep = np.ones(len(rows.kind), dtype=bool)
        keep[np.flatnonzero(chosen)[half:]] = False
        earlier = Tokenizer.fit(corpus, rows, keep, tokenizer.salt, tokenizer.silent)
        known = earlier.encode_all(corpus, rows).chosen(chosen)
        first = self.network.fit(earlier, known, [range(half)], range(half)[-WINDOW:], range(half, count))
        state, bits = first.start(), []
        for begin in range(half, count, WINDOW):
            batch = known.batch(range(begin, min(begin + WINDOW, count)))
            bits.append(first.judge(state, batch, [True] * len(batch)).surprise)
        surprise = np.concatenate(bits)
        network = self.network.fit(tokenizer, encoded, [range(count)], range(count)[-WINDOW:])
        heard = np.concatenate([np.full(half, np.nan), surprise])
        return self.network.with_rarities(network, encoded, heard), surprise
