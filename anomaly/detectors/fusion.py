"""From the views of a user's last actions to one figure: how far they are beyond what alarms.

There is one channel for each length of window. Its views become a log-likelihood ratio, and the ratios of one
window after another go through a filter with two states, the user or somebody else (a hidden Markov model; Rabiner
1989): suspicion lasts a while, and only evidence takes it back. Each window is filtered after the one that ends
where it begins, which shares no action with it, so no evidence counts twice. The figure is the highest of all
channels, less the channel's threshold.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from math import exp, inf, isfinite, log, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.interface import STEP, WINDOW

START = 0.01
"""Probability that somebody else begins within a window."""

STAY = 0.8
"""Probability that somebody else is still there in the next window."""

MOST_EVIDENCE = 30.0
"""Nats that one window is evidence of at most."""

TOLERATED = 4.0
"""Nats beyond the alarm from which on a window is doubtful. What barely alarms is mostly the user's own, and a
user who is never learned any more stays suspicious for good."""

DOUBT = 6.0
"""Nats of evidence for each deviation beyond the guard, where a user is measured by their own figures."""

LATE = 3
"""Chunks of actions after which one moves the scale: by then an intruder has been noticed."""

LEAST_DEVIATION, MOST_FIGURE = 1e-6, 1e6
"""Bounds of the scale of a user's own figures."""

LEAST_SHARE = 0.5**0.5
"""Share of the deviation of training that it never falls below, however steady the user is."""

MOST_DELAY = 2000
"""Actions after a chunk, at most, before it may be learned."""

_MOST_ODDS = 60.0  # nats: beyond, probabilities are 0 and 1

Floats = NDArray[np.float64]


class Channel(NamedTuple):
    """Weights of the views of one length of window.

    The evidence of a window is ``bias + sum(weights * clip((views - centre) / scale, low, high))``: a
    log-likelihood ratio in nats if the channel is filtered, else a figure that is measured by the user's own.
    """

    length: int
    """Actions in a window: its filter looks back so far."""
    bias: float
    threshold: float
    """Threshold of the alarm: log-odds, or standard deviations above the user's mean."""
    start: float
    """Of the filter, see :data:`START`; 0 for a channel that is measured by the user's own figures."""
    stay: float
    guards: bool
    """Whether its evidence decides what is learned."""
    low: float = -inf
    high: float = inf
    mean: float = 0.0
    """Of the user's own figures, when training ended..."""
    deviation: float = 1.0
    """...and their standard deviation."""
    skew: float = 1.0
    """Divisor of deviations, more than 1 where the user's own figures have a heavy tail."""
    rate: float = 0.0
    """Share by which mean and deviation follow each chunk of actions."""
    above: float = 1.0
    """What a deviation beyond the threshold counts..."""
    below: float = 1.0
    """...and one short of it, beside the other channels."""
    most_moving: float = inf
    """Deviations from which on a chunk of actions does not move the scale."""
    guard: float = 0.0
    """Deviations above the user's mean beyond which a window is evidence against learning."""
    guard_is_fixed: bool = False
    """Whether these are measured as training left them, so that drift lets no intruder in."""


class Fusion:
    """The channels of one model.

    Parameters
    ----------
    channels
        One for each row of views.
    weights, centre, scale
        Of each view of each channel, shape (channels, views).
    delay
        Actions after a chunk of actions before it may be learned.
    """

    def __init__(
        self, channels: Sequence[Channel], weights: Floats, centre: Floats, scale: Floats, delay: int = 0
    ) -> None:
        _check_weights(channels, weights, centre, scale)
        for channel in channels:
            _check_channel(channel)
        if not 0 <= delay <= MOST_DELAY:
            raise ValueError("the delay of learning is invalid")
        self.channels = tuple(channels)
        self.weights, self.centre, self.scale, self.delay = weights, centre, scale, delay
        self._low = np.array([[channel.low] for channel in channels])
        self._high = np.array([[channel.high] for channel in channels])
        self._bias = np.array([channel.bias for channel in channels])
        self._clips = bool(np.isfinite(self._low).any() or np.isfinite(self._high).any())
        self._most = np.array([MOST_EVIDENCE if channel.start else inf for channel in channels])

    def evidence(self, views: Floats) -> list[float]:
        """Return each channel's evidence; see :class:`Channel`. The higher, the more it speaks for somebody else.

        Parameters
        ----------
        views
            Shape (channels, views).
        """
        units = (views - self.centre) / self.scale
        if self._clips:
            units = np.minimum(np.maximum(units, self._low), self._high)
        ratio = (self.weights * units).sum(axis=1) + self._bias
        found: list[float] = np.minimum(np.maximum(ratio, -self._most), self._most).tolist()
        return found

    def with_thresholds(self, thresholds: Sequence[float]) -> Fusion:
        """Return the same channels with other thresholds."""
        pairs = zip(self.channels, thresholds, strict=True)
        return Fusion(
            [channel._replace(threshold=threshold) for channel, threshold in pairs],
            self.weights,
            self.centre,
            self.scale,
            self.delay,
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays."""
        return {
            "channels": np.array([list(map(float, channel)) for channel in self.channels]),
            "weights": self.weights,
            "centre": self.centre,
            "scale": self.scale,
            "delay": np.array([self.delay], dtype=np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Fusion:
        """Rebuild from what :meth:`arrays` gave; raises ValueError or KeyError where it does not fit."""
        table = arrays["channels"]
        if table.dtype != np.float64 or table.ndim != 2 or table.shape[1] != len(Channel._fields):
            raise ValueError("the channels have another form")
        if not (np.isfinite(table[:, 0]).all() and (table[:, 0] <= 10_000).all()):
            raise ValueError("the channels are invalid")
        channels = [
            Channel(*row)._replace(length=int(row[0]), guards=bool(row[5]), guard_is_fixed=bool(row[-1]))
            for row in table.tolist()
        ]
        delay = arrays["delay"]
        if delay.shape != (1,) or delay.dtype != np.int64:
            raise ValueError("the delay of learning is invalid")
        return cls(channels, arrays["weights"], arrays["centre"], arrays["scale"], int(delay[0]))


def _check_weights(channels: Sequence[Channel], weights: Floats, centre: Floats, scale: Floats) -> None:
    """Raise ValueError if the weights are not those of the channels."""
    shape = weights.shape
    if not channels or len(shape) != 2 or shape[0] != len(channels):
        raise ValueError("the channels and their weights do not pair up")
    for array in (weights, centre, scale):
        if array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
            raise ValueError("the weights of the views are invalid")
    if not (scale > 0.0).all():
        raise ValueError("the scale of the views is invalid")


def _check_channel(channel: Channel) -> None:
    """Raise ValueError if a channel is not one that training makes."""
    if not (0.0 <= channel.start < 1.0 and 0.0 <= channel.stay < 1.0 and channel.length >= STEP):
        raise ValueError("the filter is invalid")
    numbers = channel.bias, channel.threshold, channel.mean, channel.deviation, channel.skew, channel.guard
    if not (all(map(isfinite, numbers)) and channel.low <= channel.high):
        raise ValueError("the channels are invalid")
    if not (LEAST_DEVIATION <= channel.deviation <= MOST_FIGURE and abs(channel.mean) <= MOST_FIGURE):
        raise ValueError("the scale of a channel is invalid")
    if not (channel.skew > 0.0 and 0.0 <= channel.rate <= 1.0):
        raise ValueError("the scale of a channel is invalid")
    if not (0.0 < channel.above < inf and 0.0 < channel.below < inf):
        raise ValueError("the scale of a channel is invalid")


class Verdict(NamedTuple):
    """What the windows that end in one action come to."""

    excess: float
    """How far the highest channel is beyond what alarms; above 0 it alarms."""
    doubt: float
    """Evidence against learning the windows, in nats..."""
    chunk_doubt: float
    """...and against the last actions as a chunk, whose window is exactly the chunk."""
    odds: tuple[float, ...]
    """By channel: log-odds, or deviations above the user's mean."""


class _Scale:
    """Mean and deviation of a user's own figures, following the user slowly and late."""

    def __init__(self, channel: Channel, mean: float, variance: float) -> None:
        self.channel, self.mean, self.variance = channel, mean, variance
        self.waiting: deque[list[float]] = deque([[]])
        """Figures of the last chunks of actions."""

    def measure(self, figure: float) -> float:
        """Return how many deviations a figure lies above the mean."""
        return (figure - self.mean) / (self.channel.skew * sqrt(self.variance))

    def follow(self, figure: float) -> None:
        """Take in a figure; the chunk of three chunks ago moves the scale, unless it was far out."""
        self.waiting[-1].append(figure)
        if len(self.waiting[-1]) < WINDOW // STEP:
            return
        self.waiting.append([])
        if len(self.waiting) <= LATE + 1:
            return
        chunk = self.waiting.popleft()
        if max(map(self.measure, chunk)) >= self.channel.most_moving:
            return
        most = 3.0 * sqrt(self.variance)
        moves = [min(max(one - self.mean, -most), most) for one in chunk]
        rate = self.channel.rate
        variance = sum(move * move for move in moves) / len(moves)
        # What was trained on looks better than anything later: read again, it must not make the user suspicious.
        self.mean = max(self.mean + rate * sum(moves) / len(moves), self.channel.mean)
        least = LEAST_SHARE * self.channel.deviation
        self.variance = max(self.variance + rate * (variance - self.variance), least**2)


class Filter:
    """What was found of the last windows, by channel, and the scale of the user's own figures.

    Parameters
    ----------
    fusion
        The channels.
    saved
        What :meth:`to_json` gave.
    adapt
        Whether scales follow the user.

    Raises
    ------
    ValueError, KeyError, TypeError
        By the constructor, if what was saved does not fit.
    """

    def __init__(self, fusion: Fusion, saved: Mapping[str, Any] | None = None, *, adapt: bool = True) -> None:
        self._fusion, self._adapt = fusion, adapt
        past = [()] * len(fusion.channels) if saved is None else saved["odds"]
        self.odds = [
            deque(map(_number, odds), maxlen=-(-channel.length // STEP))
            for channel, odds in zip(fusion.channels, past, strict=True)
        ]
        self._scales = [_Scale(channel, channel.mean, channel.deviation**2) for channel in fusion.channels]
        if saved is not None:
            for scale, (mean, variance, waiting) in zip(self._scales, saved["scales"], strict=True):
                scale.mean, scale.variance = _number(mean), _number(variance)
                chunks = [[_number(one) for one in chunk] for chunk in waiting]
                if not LEAST_DEVIATION**2 <= scale.variance <= MOST_FIGURE**2 or abs(scale.mean) > MOST_FIGURE:
                    raise ValueError("the saved scale is invalid")
                full = WINDOW // STEP
                if not 0 < len(chunks) <= LATE + 1 or any(len(chunk) != full for chunk in chunks[:-1]):
                    raise ValueError("the saved scale is invalid")
                if len(chunks[-1]) >= full:
                    raise ValueError("the saved scale is invalid")
                scale.waiting = deque(chunks)

    def step(self, evidence: Sequence[float]) -> Verdict:
        """Take in the evidence of the next windows; they are filtered after those that end where they begin."""
        found, excess, doubt, chunk_doubt = [], -inf, -inf, -inf
        for channel, past, scale, figure in zip(
            self._fusion.channels, self.odds, self._scales, evidence, strict=True
        ):
            if channel.start:
                before = probability(past[0]) if len(past) == past.maxlen else 0.0
                odds = figure + logit(channel.start * (1.0 - before) + channel.stay * before)
                doubt = max(doubt, odds - channel.threshold - TOLERATED)
                if channel.guards:
                    chunk_doubt = max(chunk_doubt, figure)
            else:
                odds = scale.measure(figure)
                trained = (figure - channel.mean) / (channel.skew * channel.deviation)
                if channel.guards:
                    doubt = max(doubt, DOUBT * ((trained if channel.guard_is_fixed else odds) - channel.guard))
                if self._adapt and channel.rate:
                    scale.follow(figure)
            past.append(odds)
            found.append(odds)
            beyond = odds - channel.threshold
            excess = max(excess, beyond * (channel.above if beyond > 0.0 else channel.below))
        return Verdict(excess, doubt, chunk_doubt, tuple(found))

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-able values, exactly."""
        return {
            "odds": list(map(list, self.odds)),
            "scales": [[scale.mean, scale.variance, list(scale.waiting)] for scale in self._scales],
        }


def _number(saved: Any) -> float:  # noqa: ANN401 - from a file
    try:
        number = float(saved)
    except OverflowError as error:
        raise ValueError("what was saved holds no such number") from error
    if not isfinite(number):
        raise ValueError("what was saved holds no number")
    return number


def logit(share: float) -> float:
    """Return the log-odds of a probability.

    >>> logit(0.5)
    0.0
    """
    return log(share / (1.0 - share))


def probability(odds: float) -> float:
    """Return the probability of log-odds.

    >>> probability(0.0)
    0.5
    """
    return 1.0 / (1.0 + exp(-max(min(odds, _MOST_ODDS), -_MOST_ODDS)))
