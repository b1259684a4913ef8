"""What a detector is: it scores one action after another, with a state that it carries along.

A detector gives raw evidence only; what is rare for this user is the calibration's to say, and what is worth
an alarm the alerts'. Higher is more anomalous, everywhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.tokenizer import Encoded, Tokenizer, Tokens

WINDOW = 100
"""Actions in a user's recent window. One action alone is near chance; the signal needs about this many."""

Arrays = dict[str, NDArray[Any]]


class Algorithm(StrEnum):
    """The detectors there are, by the names the command line knows them by."""

    LSTM = "LSTM"
    OCSVM = "OCSVM"


class Evidence(NamedTuple):
    """Raw figures of one action."""

    surprise: float
    """What is shown as the raw figure: bits (LSTM) or margin of the window (OCSVM)."""
    action: float
    """How unusual this action is, in any unit that grows."""
    window: float
    """How unusual the user's last ``WINDOW`` actions are, this one included."""
    shares: tuple[float, ...]
    """For each of the action's tokens (LSTM: ids, OCSVM: buckets) how much it was to be expected, in 0..1."""


class State(ABC):
    """What a detector carries from one action to the next, for one user."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-able values, exactly."""


class Detector(ABC):
    """Scores one user's actions in order. Immutable once built, so that users can share it."""

    algorithm: ClassVar[Algorithm]

    @abstractmethod
    def start(self) -> State:
        """Return the state that training ended in: scoring goes on from there."""

    @abstractmethod
    def resume(self, saved: Mapping[str, Any]) -> State:
        """Rebuild a state from what :meth:`State.to_json` gave; ValueError, KeyError or TypeError if unfit."""

    @abstractmethod
    def score(self, state: Any, tokens: Tokens) -> Evidence:  # noqa: ANN401 - each detector has its own state
        """Judge one action and move the state past it."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """Return everything that was learned, as arrays to save."""


class OutOfFold(NamedTuple):
    """Evidence of actions by detectors that had not learned from them, in the order of the actions."""

    action: NDArray[np.float64]
    window: NDArray[np.float64]
    """Of windows that lie wholly within one fold, so fewer than actions."""
    folds: tuple[range, ...]


class Learner(ABC):
    """Makes detectors from a user's actions. Used for one user after another."""

    folds: ClassVar[int]
    """Contiguous parts that the actions are cut into for out-of-fold evidence."""
    least_action: ClassVar[float]
    """Difference between two actions' figures that may be due to the fit alone."""
    least_window: ClassVar[float]
    """The same between two windows' figures."""
    epochs: int | None = None
    """Passes over the actions that were found best, for learners that pass more than once."""

    def begin(self) -> None:  # noqa: B027 - most learners remember nothing
        """Forget the user before."""

    @abstractmethod
    def fit(
        self,
        tokenizer: Tokenizer,
        encoded: Encoded,
        learn: list[range],
        window: range,
        held_out: range | None = None,
        report: Callable[[float], None] = lambda _: None,
    ) -> Detector:
        """Learn from ranges of consecutive actions.

        Parameters
        ----------
        tokenizer
            That made the tokens.
        encoded
            All actions of the user, in order.
        learn
            What to learn from.
        window
            The actions just before those that will be scored first.
        held_out
            Actions to stop early on.
        report
            Told how far it has come, in 0..1.
        """

    def finish(
        self,
        detector: Any,  # noqa: ANN401 - each learner has its own detectors
        encoded: Encoded,  # noqa: ARG002 - for those who need it
        evidence: OutOfFold,
    ) -> tuple[Detector, OutOfFold]:
        """Let the detector of all actions learn from out-of-fold evidence, and give the evidence it would give."""
        return detector, evidence


def floats(values: NDArray[Any]) -> list[float]:
    """Give an array as a list of Python floats, exactly."""
    return [float(value) for value in np.asarray(values).ravel()]
