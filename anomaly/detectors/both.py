"""The sequence view and the window view of one user, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.interface import Algorithm, Arrays, Detector, Evidence, State
from anomaly.detectors.lstm import Lstm
from anomaly.detectors.lstm_state import LstmState
from anomaly.detectors.ocsvm import OneClassSvm
from anomaly.detectors.ocsvm_state import WindowState
from anomaly.tokens import Tokens

_SEQUENCE = "sequence."
_WINDOW = "window."


class BothState(State):
    """A state of each."""

    def __init__(self, sequence: LstmState, window: WindowState) -> None:
        self.sequence = sequence
        self.window = window

    def to_json(self) -> dict[str, Any]:
        """Return both."""
        return {"sequence": self.sequence.to_json(), "window": self.window.to_json()}


class Both(Detector):
    """Scores an action as the sequence sees it, and the window as both see it."""

    algorithm: ClassVar[Algorithm] = Algorithm.BOTH

    def __init__(self, sequence: Lstm, window: OneClassSvm) -> None:
        self.sequence = sequence
        self.window = window

    def start(self) -> BothState:
        """Return the state that training ended in."""
        return BothState(self.sequence.start(), self.window.start())

    def resume(self, saved: Mapping[str, Any], learned: Mapping[str, NDArray[Any]] | None = None) -> BothState:
        """Rebuild both states."""
        parts = (None, None) if learned is None else (part(learned, _SEQUENCE), part(learned, _WINDOW))
        return BothState(
            self.sequence.resume(saved["sequence"], parts[0]), self.window.resume(saved["window"], parts[1])
        )

    def judge(self, state: BothState, batch: Sequence[Tokens], admit: Sequence[bool]) -> Evidence:
        """Let both judge the actions."""
        sequence = self.sequence.judge(state.sequence, batch, admit)
        window = self.window.judge(state.window, batch, admit)
        views = np.concatenate((sequence.views, window.views), axis=1)
        return sequence._replace(views=views, details=(sequence.details, window.details))

    def learn(self, state: BothState, chunk: Sequence[Tokens], weight: float) -> None:
        """Let both learn."""
        self.sequence.learn(state.sequence, chunk, weight)
        self.window.learn(state.window, chunk, weight)

    def as_trained(self, state: BothState) -> tuple[float, ...]:
        """Let both judge the window once more."""
        return self.sequence.as_trained(state.sequence) + self.window.as_trained(state.window)

    def learned(self, state: BothState) -> Arrays:
        """Return what both have learned."""
        return _named(self.sequence.learned(state.sequence), self.window.learned(state.window))

    def against(self, others: NDArray[np.float64]) -> Both:
        """Measure the sequence against other users; a window is this user's or not."""
        return Both(self.sequence.against(others), self.window)

    def arrays(self) -> Arrays:
        """Return what training learned."""
        return _named(self.sequence.arrays(), self.window.arrays())

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Both:
        """Rebuild from what :meth:`arrays` gave; raises ValueError or KeyError where it does not fit."""
        return cls(Lstm.from_arrays(part(arrays, _SEQUENCE)), OneClassSvm.from_arrays(part(arrays, _WINDOW)))


def part(arrays: Mapping[str, NDArray[Any]], prefix: str) -> Arrays:
    """Return the arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _named(sequence: Arrays, window: Arrays) -> Arrays:
    found = {f"{_SEQUENCE}{name}": array for name, array in sequence.items()}
    return found | {f"{_WINDOW}{name}": array for name, array in window.items()}
