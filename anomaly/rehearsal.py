"""Scoring a user's own training data as it will be scored later: forward in time, learning on the way."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np

from anomaly.adaptation import Adaptation
from anomaly.calibration import Tail
from anomaly.detectors.detector import Detector
from anomaly.detectors.fusion import Filter, Fusion
from anomaly.detectors.interface import WINDOW, Floats
from anomaly.detectors.profile import Profile
from anomaly.detectors.rarity import Ranks, RecentFeatures
from anomaly.features.levels import Features
from anomaly.tokens import Tokens

_UNFITTED = Tail(np.zeros(1), np.ones(1), scale=1.0, shape=0.0)
_NO_CAP = 1e18  # actions a day: times play no part in a rehearsal


def rehearse(detector: Detector, fusion: Fusion, stretch: Sequence[Features]) -> Floats:
    """Score a stretch of a user's own actions, learning on the way as the daemon does.

    Returns
    -------
    The odds of each step, shape (steps, channels).
    """
    state, filtered = detector.start(), Filter(fusion)
    adaptation = Adaptation(detector, fusion, _UNFITTED, _NO_CAP)
    odds: list[tuple[float, ...]] = []
    done = 0
    while done < len(stretch):
        batch = [Tokens((1,), features, (0,)) for features in stretch[done : done + adaptation.room]]
        evidence = detector.judge(state, batch, [True] * len(batch))
        doubts, chunk_doubt = [], -inf
        for views in evidence.views:
            verdict = filtered.step(fusion.evidence(views))
            odds.append(verdict.odds)
            doubts.append(verdict.doubt)
            chunk_doubt = verdict.chunk_doubt
        adaptation.observe(state, batch, doubts, chunk_doubt, 0)
        done += len(batch)
    return np.array(odds).reshape(-1, len(fusion.channels))


def rehearse_ranks(
    profile: Profile, before: Sequence[Features], stretch: Sequence[Features]
) -> list[dict[int, int]]:
    """Return the ranks of actions that were not learned yet, each hundred of which is learned afterwards.

    Parameters
    ----------
    profile
        Learned from what came before.
    before
        The last actions before.
    stretch
        The actions, in order.
    """
    state, recent = profile.start(), RecentFeatures(before[-WINDOW:])
    found: list[dict[int, int]] = []
    for begin in range(0, len(stretch), WINDOW):
        chunk = stretch[begin : begin + WINDOW]
        ranks = Ranks(profile, state, chunk)
        for number, features in enumerate(chunk):
            found.append(ranks.of(number, recent.counts))
            recent.push(features)
        profile.learn(state, chunk, 1.0)
    return found
