"""Learning both views of a user, from the same folds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.both import Both
from anomaly.detectors.interface import Learner, OutOfFold
from anomaly.tokenizer import Tokenizer
from anomaly.tokens import Encoded

if TYPE_CHECKING:
    from anomaly.detectors.lstm_fit import LstmLearner
    from anomaly.detectors.ocsvm_fit import OcsvmLearner


class BothLearner(Learner):
    """Lets each learner learn the same actions."""

    def __init__(self, sequence: LstmLearner, window: OcsvmLearner) -> None:
        self.sequence = sequence
        self.window = window
        self.least_views = (*sequence.least_views, *window.least_views)

    folds = 4
    least_action = 0.5  # an action is judged by the sequence

    def begin(self) -> None:
        """Forget the user before."""
        self.sequence.begin()
        self.epochs = None

    def fit(
        self,
        tokenizer: Tokenizer,
        encoded: Encoded,
        learn: list[range],
        window: range,
        held_out: range | None = None,
        others: NDArray[np.float64] | None = None,
        report: Callable[[float], None] = lambda _: None,
    ) -> Both:
        """Fit; see :meth:`Learner.fit`."""
        svm = self.window.fit(tokenizer, encoded, learn, window)
        lstm = self.sequence.fit(tokenizer, encoded, learn, window, held_out, others, report)
        self.epochs = self.sequence.epochs
        return Both(lstm, svm)

    def finish(self, detector: Both, encoded: Encoded, evidence: OutOfFold) -> tuple[Both, OutOfFold]:
        """Let the sequence view learn from out-of-fold evidence; its views come first."""
        lstm, evidence = self.sequence.finish(detector.sequence, encoded, evidence)
        return Both(lstm, detector.window), evidence

    def adopt(self, detector: Both, finished: Both, places: list[int]) -> Both:
        """Give a fold's network the rarities of the finished one."""
        return Both(self.sequence.adopt(detector.sequence, finished.sequence, places), detector.window)
