"""The One-Class SVM's quadratic programme, solved in numpy for up to a thousand windows or so.

Schölkopf et al. (2001), equations 3.3 to 3.5: ``min 1/2 a'Ka`` over ``0 <= a_i <= bound_i`` with ``sum(a) = 1``.
Each step moves weight between the two windows that promise the most: sequential minimal optimisation with the
choice of Fan, Chen & Lin (2005), "Working set selection using second order information for training support
vector machines". Nothing is random, and no sum that rounds is left to BLAS, whose order depends on its threads:
the same input gives the same bits. Of equals, the first is taken.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

STEPS = 100
"""Steps taken at most, by window (or as for a hundred). In trials, bags took ten, at the default tolerance."""

_FLAT = 1e-12
"""The least curvature, as in libsvm: between windows that are the same, a step must remain finite."""

_ROUNDING = 1e-9
"""Differences of weights that are taken for rounding, by bound or, for sums, by one."""

Reals = NDArray[np.float64]


class Solution(NamedTuple):
    """The windows' weights, shape (windows,), adding up to 1, and rho, in units of the kernel.

    The decision function is ``sum_i alphas_i k(x_i, x) - offset``; the windows of weight 0 can be dropped.
    """

    alphas: Reals
    offset: float


def rbf(bags: NDArray[np.uint8] | NDArray[np.bool_], gamma: float) -> Reals:
    """Return the kernel between bags made to have length one, ``exp(-2 gamma (1 - cosine))``.

    ``bags`` are of 0 and 1, shape (windows, buckets); the kernel is of shape (windows, windows), symmetric and
    positive semi-definite. An empty bag has length one but overlaps with nothing, not even with itself.
    Raises ValueError for other bags, or a gamma that is negative or not finite.
    """
    if bags.ndim != 2 or bags.max(initial=0) > 1:
        raise ValueError("the bags are not a table of 0 and 1")
    if not 0.0 <= gamma < np.inf:
        raise ValueError("gamma is negative or not finite")
    # Whole numbers this small are exact in float32, in whatever order BLAS adds them up.
    whole = bags.astype(np.float32)
    kernel = Kernel(whole @ whole.T, gamma)
    return np.array([kernel[row] for row in range(len(bags))]).reshape(len(bags), len(bags))


class Kernel:
    """The kernel between bags of which it is known how many buckets each two share, worked out row by row.

    A solution that starts from an earlier one looks at some of the rows only. See :func:`rbf`.
    """

    def __init__(self, overlaps: NDArray[Any], gamma: float) -> None:
        self.shape = overlaps.shape
        self._overlaps, self._gamma = overlaps, gamma
        self._lengths = np.sqrt(np.maximum(overlaps.diagonal().astype(np.float64), 1.0))
        self._rows: dict[int, Reals] = {}

    def __getitem__(self, row: int) -> Reals:
        """Return one bag's kernel with all."""
        known = self._rows.get(row)
        if known is None:
            known = self._rows[row] = self._of(self._overlaps[row], self._lengths[row] * self._lengths)
        return known

    def diagonal(self) -> Reals:
        """Return each bag's kernel with itself."""
        return self._of(self._overlaps.diagonal(), self._lengths * self._lengths)

    def _of(self, overlaps: NDArray[Any], lengths: Reals) -> Reals:
        kernel: Reals = overlaps / lengths
        kernel -= 1.0
        kernel *= 2.0 * self._gamma
        return np.exp(kernel, out=kernel)


def solve(kernel: Reals | Kernel, bounds: Reals, start: Reals | None = None, tolerance: float = 1e-5) -> Solution:
    """Find the weights that describe the windows best; see the top of the module for the problem.

    Parameters
    ----------
    kernel
        Shape (windows, windows), symmetric and positive semi-definite, which is not checked.
    bounds
        The most that each window may weigh, shape (windows,), adding up to 1 or more: how often it occurs, over
        nu times the sum of that. A window of bound 0 has no say.
    start
        Weights to start from, shape (windows,), such as an earlier solution with 0 for new windows; made to fit
        the bounds and to add up to 1 (the first windows get what is missing). By default 0, so that the first
        windows start at their bounds, as in libsvm.
    tolerance
        How far, in units of the kernel, windows may be on the wrong side of the offset for their weights. Where
        :data:`STEPS` are not enough, the solution fits the bounds all the same, but is less exact.

    Raises
    ------
    ValueError
        If shapes differ, numbers are not finite, bounds are negative or add up to less than 1, or the
        tolerance is not above 0.
    """
    start = np.zeros_like(bounds) if start is None else start
    if bounds.ndim != 1 or kernel.shape != (bounds.size, bounds.size) or start.shape != bounds.shape:
        raise ValueError("kernel, bounds and start do not fit each other")
    numbers = (bounds, start) if isinstance(kernel, Kernel) else (kernel, bounds, start)
    if not all(np.isfinite(array).all() for array in numbers):
        raise ValueError("kernel, bounds or start are not finite")
    if bounds.min(initial=0.0) < 0.0 or bounds.sum() < 1.0 - _ROUNDING:
        raise ValueError("the bounds are negative, or add up to less than 1")
    if not tolerance > 0.0:
        raise ValueError("the tolerance is not above 0")
    alphas = _feasible(bounds, start)
    gradient = _gradient(kernel, alphas)
    _descend(kernel, bounds, alphas, gradient, tolerance)
    # A weight that only rounding keeps off its bound says nothing of where the offset is.
    least = _ROUNDING * np.minimum(bounds, 1.0)
    weighing, growing = alphas > least, alphas < bounds - least
    if (weighing & growing).any():
        return Solution(alphas, float(gradient[weighing & growing].mean()))
    # Any offset between the two sides is right; libsvm takes the middle.
    lower, upper = float(gradient[weighing].max()), float(gradient[growing].min(initial=np.inf))
    return Solution(alphas, (lower + upper) / 2.0 if upper < np.inf else lower)


def _feasible(bounds: Reals, start: Reals) -> Reals:
    alphas = np.clip(start, 0.0, bounds)
    missing = 1.0 - float(alphas.sum())
    if missing < -_ROUNDING:
        alphas /= 1.0 - missing
    elif missing > _ROUNDING:
        # All that goes into the first ones: a bit for each would take a step for each to undo.
        room = bounds - alphas
        alphas += np.clip(missing - (np.cumsum(room) - room), 0.0, room)
    return np.minimum(alphas, bounds)


def _gradient(kernel: Reals | Kernel, alphas: Reals) -> Reals:
    gradient = np.zeros(len(alphas))
    for row in np.flatnonzero(alphas).tolist():
        gradient += kernel[row] * alphas[row]
    return gradient


def _descend(kernel: Reals | Kernel, bounds: Reals, alphas: Reals, gradient: Reals, tolerance: float) -> None:
    """Move weight from windows above the offset to windows below; changes alphas and gradient in place."""
    diagonal = kernel.diagonal().copy()
    # The gradient, but beyond all bounds at windows that cannot weigh more, or less: one of the two always has it.
    upper, lower = np.where(alphas < bounds, gradient, np.inf), np.where(alphas > 0.0, gradient, -np.inf)
    excess, gain = np.empty_like(gradient), np.empty_like(gradient)
    curvatures: dict[int, Reals] = {}  # a few windows are chosen time and again
    for _ in range(STEPS * max(len(alphas), 100)):
        grow = int(upper.argmin())
        np.subtract(lower, upper.item(grow), out=excess)
        np.maximum(excess, 0.0, out=excess)
        curvature = curvatures.get(grow)
        if curvature is None:
            between = kernel[grow] * -2.0 + diagonal
            curvature = curvatures[grow] = np.maximum(between + diagonal.item(grow), _FLAT)
        shrink = int(np.divide(np.multiply(excess, excess, out=gain), curvature, out=gain).argmax())
        slope = excess.item(shrink)
        if slope <= tolerance and excess.item(excess.argmax()) <= tolerance:
            break
        weight, most, stock = alphas.item(grow), bounds.item(grow), alphas.item(shrink)
        step = min(slope / curvature.item(shrink), most - weight, stock)
        # Exactly at the bound, or rounding would leave something to be moved again.
        alphas[grow] = weight = min(weight + step, most) if step < most - weight else most
        alphas[shrink] = stock = stock - step
        np.multiply(np.subtract(kernel[grow], kernel[shrink], out=gain), step, out=gain)
        upper += gain
        lower += gain
        lower[grow], upper[shrink] = upper.item(grow), lower.item(shrink)
        if weight >= most:
            upper[grow] = np.inf
        if stock <= 0.0:
            lower[shrink] = -np.inf
    gradient[:] = np.where(alphas > 0.0, lower, upper)
