"""What a detector is: it scores one action after another, with a state that it carries along.

A detector gives raw evidence only; what is rare for this user is the calibration's to say, and what is worth
an alarm the alerts'. Higher is more anomalous, everywhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from anomaly.tokenizer import Tokenizer
from anomaly.tokens import Encoded, Tokens

WINDOW = 100
"""Actions in a user's recent window. One action alone is near chance; the signal needs about this many."""

Arrays = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]


class Algorithm(StrEnum):
    """The detectors there are, by the names the command line knows them by."""

    LSTM = "LSTM"
    OCSVM = "OCSVM"
    BOTH = "BOTH"


class Evidence(NamedTuple):
    """Raw figures of consecutive actions of one user."""

    surprise: Floats
    """What is shown as the raw figure: bits (LSTM) or margin of the window (OCSVM); shape (actions,)."""
    action: Floats
    """How unusual each action is, in any unit that grows; shape (actions,)."""
    views: Floats
    """How unusual the user's last ``WINDOW`` actions are as each view of them sees it, shape (actions, views); an
    action that was not let into the window is not in it."""
    details: object
    """What the detector's explanations are made of, each its own."""


class State(ABC):
    """What a detector carries from one action to the next, for one user: where it is, and what it has learned."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return where it is as JSON-able values, exactly; what it has learned is :meth:`Detector.learned`."""


class Detector(ABC):
    """Scores one user's actions in order. Immutable once built: what is learned later is in the state."""

    algorithm: ClassVar[Algorithm]

    @abstractmethod
    def start(self) -> State:
        """Return the state that training ended in: scoring goes on from there."""

    @abstractmethod
    def resume(self, saved: Mapping[str, Any], learned: Mapping[str, NDArray[Any]] | None = None) -> State:
        """Rebuild a state from what :meth:`State.to_json` and :meth:`learned` gave.

        Raises
        ------
        ValueError, KeyError, TypeError
            They do not fit.
        """

    @abstractmethod
    def judge(self, state: Any, batch: Sequence[Tokens], admit: Sequence[bool]) -> Evidence:  # noqa: ANN401
        """Judge consecutive actions and move the state past them, however they are cut into batches.

        Parameters
        ----------
        state
            This detector's own.
        batch
            The actions, one at least.
        admit
            By action, whether it comes into the window; one that does not is judged, and leaves the state alone.
        """

    @abstractmethod
    def learn(self, state: Any, chunk: Sequence[Tokens], weight: float) -> None:  # noqa: ANN401 - each its own
        """Let consecutive actions of the user's own into what the state has learned, by a weight in 0..1."""

    @abstractmethod
    def as_trained(self, state: Any) -> tuple[float, ...]:  # noqa: ANN401 - each its own
        """Return the views of the window in ``state`` as they would be had nothing been learned since training."""

    @abstractmethod
    def learned(self, state: Any) -> Arrays:  # noqa: ANN401 - each its own
        """Return what :meth:`learn` has made of the state, as arrays to save."""

    def against(self, others: NDArray[np.float64]) -> Detector:  # noqa: ARG002 - for those who need it
        """Return the same model with other users as its background, by the probability of each token."""
        return self

    @abstractmethod
    def arrays(self) -> Arrays:
        """Return everything that training learned, as arrays to save."""


class OutOfFold(NamedTuple):
    """Evidence of actions by detectors that had not learned from them, in the order of the actions."""

    action: NDArray[np.float64]
    """By action, shape (actions,)."""
    views: NDArray[np.float64]
    """Of the window that each action ends, shape (actions, views); NaN where it does not lie wholly in a fold."""
    folds: tuple[range, ...]


class Learner(ABC):
    """Makes detectors from a user's actions. Used for one user after another."""

    folds: ClassVar[int]
    """Contiguous parts that the actions are cut into for out-of-fold evidence."""
    least_action: ClassVar[float]
    """Difference between two actions' figures that may be due to the fit alone."""
    least_views: tuple[float, ...]
    """The same between two windows' views, where a user is learned alone."""
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
        others: NDArray[np.float64] | None = None,
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
        others
            Probability of each token among other users, shape (tokens,); None where none are known.
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

    def adopt(
        self,
        detector: Any,  # noqa: ANN401 - each learner has its own detectors
        finished: Any,  # noqa: ANN401, ARG002 - for those who need it
        places: list[int],  # noqa: ARG002 - for those who need it
    ) -> Detector:
        """Give a fold's detector what :meth:`finish` gave the finished one.

        ``places`` says where each of its kinds stands among the finished one's.
        """
        return cast("Detector", detector)


def floats(values: NDArray[Any]) -> list[float]:
    """Give an array as a list of Python floats, exactly."""
    return [float(value) for value in np.asarray(values).ravel()]
