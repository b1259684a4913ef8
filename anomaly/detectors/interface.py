"""What detectors share: how long a window is, how often it is judged, and what is found of actions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

WINDOW = 100
"""Actions in a user's recent window. One action alone is near chance; the signal needs up to so many."""

STEP = 10
"""Own actions from one judgement of the window to the next; more often found nothing sooner that mattered."""

Arrays = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]


class Algorithm(StrEnum):
    """The detectors there are, by the names the command line knows them by."""

    LSTM = "LSTM"
    OCSVM = "OCSVM"
    BOTH = "BOTH"


class Evidence(NamedTuple):
    """Raw figures of consecutive actions of one user. Higher is more anomalous."""

    surprise: Floats
    """What is shown as the raw figure: bits (LSTM, BOTH) or margin of the window (OCSVM); shape (actions,)."""
    action: Floats
    """How unusual each action is, in bits; shape (actions,)."""
    steps: list[int]
    """The actions after which the window was judged."""
    views: list[Floats]
    """At each of these steps, how unusual the last actions are, shape (channels, views)."""
    details: object
    """What explanations of the sequence are made of; None without a network."""


class State(ABC):
    """What is carried from one action to the next, for one user."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return where it is as JSON-able values, exactly; what it has learned is saved apart."""


def floats(values: NDArray[Any]) -> list[float]:
    """Return an array as a list of Python floats, exactly."""
    return [float(value) for value in np.asarray(values).ravel()]
