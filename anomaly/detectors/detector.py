"""All that judges one user's actions, one after another, with a state that is carried along.

A user who was learned together with others is judged by the views of :class:`~anomaly.detectors.profile.Profile`,
each window length by itself; one who was learned alone by how far the last actions are from what the user does
(:data:`OWN_VIEWS`). A network, where there is one, tells how unexpected an action is after those before it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.interface import STEP, WINDOW, Algorithm, Arrays, Evidence, Floats, State
from anomaly.detectors.lstm import Lstm
from anomaly.detectors.lstm_state import LstmState
from anomaly.detectors.neighbours import Neighbours, NeighbourState
from anomaly.detectors.ocsvm import OneClassSvm, SvmState
from anomaly.detectors.profile import LENGTHS, VIEWS, Others, Profile, ProfileState
from anomaly.detectors.rarity import Ranks, Rarity, RecentFeatures
from anomaly.features.levels import Features, packed, unpacked
from anomaly.tokens import Tokens

OWN_VIEWS = 5
"""Views of a user who was learned alone: the distance of the nearest learned windows (with the network alone: how
rare the last actions are in their order); then the margin of the window model, and :meth:`Profile.own_views`."""

_NEVER = -1  # actions since the last step, where nothing was judged yet
_S = TypeVar("_S")


class DetectorState(State):
    """The last actions, and what was learned since training."""

    def __init__(
        self,
        window: Sequence[Features],
        profile: ProfileState,
        svm: SvmState | None,
        sequence: LstmState | None,
        neighbours: NeighbourState | None,
    ) -> None:
        self.recent = RecentFeatures(window)
        self.since = _NEVER
        """Actions let into the window since the last step; the first one after training is judged besides."""
        self.margin = 0.0
        """Of the window when it was judged last."""
        self.profile, self.svm, self.sequence, self.neighbours = profile, svm, sequence, neighbours

    def to_json(self) -> dict[str, Any]:
        """Return where it is; what it has learned is :meth:`Detector.learned`."""
        features, sizes = packed(list(self.recent.window))
        return {
            "window": base64.b64encode(features.tobytes()).decode("ascii"),
            "sizes": sizes.tolist(),
            "since": self.since,
            "margin": self.margin,
            "sequence": None if self.sequence is None else self.sequence.to_json(),
        }


class Detector:
    """Judges one user's actions in order. Immutable: what is learned later is in the state.

    Parameters
    ----------
    algorithm
        What it is made of.
    profile
        The user's counts.
    rarity
        What ranks of single actions are worth.
    svm
        The window model; None with the network alone.
    sequence
        The network; None without.
    neighbours
        The windows that the user was seen in; None for a user who was learned with others, and with the network
        alone.
    window
        Features of the last actions of training, the newest last.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        profile: Profile,
        rarity: Rarity,
        svm: OneClassSvm | None,
        sequence: Lstm | None,
        neighbours: Neighbours | None = None,
        window: Sequence[Features] = (),
    ) -> None:
        if len(window) > WINDOW:
            raise ValueError("the window holds more actions than it can")
        if sequence is None and algorithm is Algorithm.LSTM:
            raise ValueError("there is no network")
        self.algorithm, self.profile, self.rarity = algorithm, profile, rarity
        self.svm, self.sequence, self.neighbours, self.window = svm, sequence, neighbours, tuple(window)

    @property
    def is_together(self) -> bool:
        """Whether the user was learned together with others."""
        return bool(self.profile.others.totals.any())

    def start(self) -> DetectorState:
        """Return the state that training ended in: scoring goes on from there."""
        return DetectorState(
            self.window,
            self.profile.start(),
            None if self.svm is None else self.svm.start(),
            None if self.sequence is None else self.sequence.start(),
            None if self.neighbours is None else self.neighbours.start(),
        )

    def judge(self, state: DetectorState, batch: Sequence[Tokens], admit: Sequence[bool]) -> Evidence:
        """Judge consecutive actions and move the state past them, however they are cut into batches.

        Parameters
        ----------
        state
            This detector's own.
        batch
            The actions, one at least. Nothing is learned between them.
        admit
            By action, whether it comes into the window; one that does not is judged, and leaves the window alone.
        """
        recent = state.recent
        sequence = None if self.sequence is None else self.sequence.judge(_some(state.sequence), batch, admit)
        ranks = Ranks(self.profile, state.profile, [tokens.features for tokens in batch])
        bits, margins, steps, views = [], [], [], []
        for number, (tokens, let_in) in enumerate(zip(batch, admit, strict=True)):
            bits.append(self.rarity.surprise(ranks.of(number, recent.counts)))
            if let_in:
                recent.push(tokens.features)
                state.since += 1
                if state.since in {_NEVER + 1, STEP}:
                    state.since = 0 if state.since == STEP else 1
                    rarity = 0.0 if sequence is None else float(sequence.rarity[number])
                    found, state.margin = self._views(state, rarity)
                    steps.append(number)
                    views.append(found)
            margins.append(state.margin)
        rare = np.array(bits)
        if sequence is None:
            return Evidence(np.array(margins), rare, steps, views, None)
        action = sequence.surprise if self.algorithm is Algorithm.LSTM else rare
        return Evidence(sequence.surprise, action, steps, views, sequence.details)

    def learn(self, state: DetectorState, chunk: Sequence[Tokens], weight: float) -> None:
        """Add consecutive actions of the user to what the state has learned, by a weight in 0..1."""
        features = [tokens.features for tokens in chunk]
        self.profile.learn(state.profile, features, weight)
        if self.svm is not None:
            self.svm.learn(_some(state.svm), features, weight)
        if self.sequence is not None:
            self.sequence.learn(_some(state.sequence), chunk, weight)
        if self.neighbours is not None:
            self.neighbours.learn(_some(state.neighbours), features, weight)

    def as_trained(self, state: DetectorState) -> Floats:
        """Return the views of the last actions as they would be had nothing been learned since training."""
        trained = self.start()
        trained.recent = state.recent
        rarity = 0.0
        if self.sequence is not None:
            rarity = self.sequence.as_trained(_some(state.sequence))
        return self._views(trained, rarity)[0]

    def _views(self, state: DetectorState, rarity: float) -> tuple[Floats, float]:
        """Return the views of the last actions, shape (channels, views), and the margin of their window."""
        window = list(state.recent.window)
        margin = 0.0 if self.svm is None else self.svm.margin(_some(state.svm), window)
        if self.is_together:
            return together_views(self.profile, state.profile, window, margin), margin
        return self._own_views(state, window, margin, rarity), margin

    def _own_views(self, state: DetectorState, window: Sequence[Features], margin: float, rarity: float) -> Floats:
        """Return the views of a user who was learned alone, shape (2, OWN_VIEWS); see :data:`OWN_VIEWS`."""
        found = np.zeros((2, OWN_VIEWS))
        found[0, 0] = rarity
        if self.neighbours is not None:
            found[0, 0] = self.neighbours.distance(_some(state.neighbours), window)
        found[1, 1:] = margin, *self.profile.own_views(state.profile, window)
        return found

    def learned(self, state: DetectorState) -> Arrays:
        """Return what :meth:`learn` has made of the state, as arrays to save."""
        found = _named("profile", self.profile.learned(state.profile))
        if self.svm is not None:
            found |= _named("svm", self.svm.learned(_some(state.svm)))
        if self.sequence is not None:
            found |= _named("sequence", self.sequence.learned(_some(state.sequence)))
        if self.neighbours is not None:
            found |= _named("neighbours", self.neighbours.learned(_some(state.neighbours)))
        return found

    def resume(self, saved: Mapping[str, Any], learned: Mapping[str, NDArray[Any]] | None = None) -> DetectorState:
        """Rebuild a state from what :meth:`DetectorState.to_json` and :meth:`learned` gave.

        Raises
        ------
        ValueError, KeyError, TypeError
            They do not fit.
        """
        flat = np.frombuffer(base64.b64decode(saved["window"], validate=True), dtype=np.uint64)
        try:
            window = unpacked(flat, np.array([int(size) for size in saved["sizes"]], dtype=np.int64))
            since, margin = int(saved["since"]), float(saved["margin"])
        except OverflowError as error:
            raise ValueError("the saved state holds no such number") from error
        if len(window) > WINDOW or not _NEVER <= since < STEP or not isfinite(margin):
            raise ValueError("the saved window is invalid")
        sequence = None
        if self.sequence is not None:
            counts = None if learned is None else part(learned, "sequence.")
            sequence = self.sequence.resume(saved["sequence"], counts)
        svm = None
        if self.svm is not None:
            svm = self.svm.start() if learned is None else self.svm.resume(part(learned, "svm."))
        neighbours = None
        if self.neighbours is not None:
            near = self.neighbours
            neighbours = near.start() if learned is None else near.resume(part(learned, "neighbours."))
        profile = self.profile.start() if learned is None else self.profile.resume(part(learned, "profile."))
        state = DetectorState(window, profile, svm, sequence, neighbours)
        state.since, state.margin = since, margin
        return state

    def arrays(self) -> Arrays:
        """Return everything that training learned, as arrays to save."""
        window, sizes = packed(self.window)
        found = {"rarity": self.rarity.bits, "window": window, "window_sizes": sizes}
        found |= _named("profile", self.profile.arrays())
        if self.svm is not None:
            found |= _named("svm", self.svm.arrays())
        if self.sequence is not None:
            found |= _named("sequence", self.sequence.arrays())
        if self.neighbours is not None:
            found |= _named("neighbours", self.neighbours.arrays())
        return found

    @classmethod
    def from_arrays(cls, algorithm: Algorithm, arrays: Mapping[str, NDArray[Any]]) -> Detector:
        """Rebuild from what :meth:`arrays` gave; raises ValueError or KeyError where it does not fit."""
        svm, sequence, neighbours = (part(arrays, f"{name}.") for name in ("svm", "sequence", "neighbours"))
        return cls(
            algorithm,
            Profile.from_arrays(part(arrays, "profile.")),
            Rarity(arrays["rarity"]),
            OneClassSvm.from_arrays(svm) if svm else None,
            Lstm.from_arrays(sequence) if sequence else None,
            Neighbours.from_arrays(neighbours) if neighbours else None,
            unpacked(arrays["window"], arrays["window_sizes"]),
        )


def together_views(
    profile: Profile,
    state: ProfileState,
    window: Sequence[Features],
    margin: float,
    others: Others | None = None,
) -> Floats:
    """Return the views of a user who was learned with others, shape (lengths, VIEWS + 1).

    The last view is the margin of the window model, which knows the longest windows alone.
    """
    found = np.zeros((len(LENGTHS), VIEWS + 1))
    found[:, :VIEWS] = profile.views(state, window, others)
    found[-1, VIEWS] = margin
    return found


def part(arrays: Mapping[str, NDArray[Any]], prefix: str) -> Arrays:
    """Return the arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _named(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def _some(state: _S | None) -> _S:
    """Return the state of a part that there is."""
    if state is None:
        raise TypeError("the state is of another detector")
    return state
