"""One-Class SVM over the bag of a user's last actions, scored in numpy.

Schölkopf et al. (2001), equation 3.5: ``f(x) = sum_i alpha_i k(x_i, x) - rho``; the margin is ``-f``. ``x`` has
one dimension for each feature: it is the same in all that the window has, zero in the others, and of length one.
``k`` is the RBF kernel. The number of features that two windows share is whole, and exact in float32 in whatever
order it is added up, so a result does not depend on where a reader was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.ocsvm_solve import solve
from anomaly.detectors.profile import look_up
from anomaly.features.levels import Features, Level, packed, unpacked

LENGTH = 100
"""Actions in a window."""

NU = 0.1
"""Upper bound on the share of the windows outside (Schölkopf et al. 2001, proposition 4)."""

GAMMA = 1.0
"""Width of the kernel between bags of length one."""

STRIDE = 100
"""Actions between one learned window and the next."""

MAX_WINDOWS = 300
"""Windows that a fit uses at most: the newest."""

REFIT = 10
"""Learned windows between one fit and the next. At 2, intruders are absorbed before they are found."""

_IS_USED = np.arange(len(Level)) != Level.ROW  # whole rows are too many, and their parts are enough
_ROUNDING = 1e-6
_MOST_LEARNED = 2.0**53  # a float64 counts that far

Arrays = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]


def bag_of(window: Iterable[Features]) -> Keys:
    """Return the distinct features of some actions, ascending, without those of whole rows."""
    flat = np.unique(np.fromiter(chain.from_iterable(window), dtype=np.uint64))
    found: Keys = flat[_IS_USED[(flat & np.uint64(7)).astype(np.intp)]]
    return found


class _Table(NamedTuple):
    """Bags of windows, by feature. Most features are in one window alone, and a table of those would be huge."""

    shared: Keys
    """Features of two windows or more, ascending."""
    holds: NDArray[np.float32]
    """1 where a window holds a shared feature, else 0; shape (windows, shared)."""
    single: Keys
    """Features of one window alone, ascending."""
    window: NDArray[np.intp]
    """The window of each."""
    lengths: Floats
    """Length of each bag before it is scaled, shape (windows,)."""


class WindowPool:
    """Learned windows, the oldest first, as arrays that take far less memory than a table of windows and features.

    Parameters
    ----------
    features
        Bags of all windows, one after the other; each is ascending.
    sizes
        Features of each window, shape (windows,).
    """

    def __init__(self, features: Keys, sizes: NDArray[np.int64]) -> None:
        if features.dtype != np.uint64 or features.ndim != 1 or sizes.dtype != np.int64 or sizes.ndim != 1:
            raise ValueError("the learned windows are invalid: they have other types")
        # Each size by itself first: the sum of sizes that no window has would overflow.
        if ((sizes < 0) | (sizes > len(features))).any() or sizes.sum() != len(features):
            raise ValueError("the learned windows are invalid: their sizes do not add up")
        self.features, self.sizes = features, sizes

    def __len__(self) -> int:
        return len(self.sizes)

    @classmethod
    def of(cls, bags: Sequence[Keys]) -> WindowPool:
        """Return a pool of bags."""
        flat = np.concatenate(bags) if bags else np.zeros(0, dtype=np.uint64)
        return cls(flat, np.array(list(map(len, bags)), dtype=np.int64))

    def with_bag(self, bag: Keys) -> WindowPool:
        """Return a pool with one more window."""
        return WindowPool(np.concatenate([self.features, bag]), np.append(self.sizes, len(bag)))

    def __getitem__(self, part: slice) -> WindowPool:
        """Return a pool of consecutive windows."""
        ends = np.append(0, np.cumsum(self.sizes))
        windows = range(len(self))[part]
        return WindowPool(self.features[ends[windows.start] : ends[windows.stop]], self.sizes[part])

    def table(self) -> _Table:
        """Return which window holds which feature."""
        found, first, place, windows = np.unique(
            self.features, return_index=True, return_inverse=True, return_counts=True
        )
        is_shared = windows > 1
        column = np.cumsum(is_shared) - 1
        rows = np.repeat(np.arange(len(self)), self.sizes)
        holds = np.zeros((len(self), int(is_shared.sum())), dtype=np.float32)
        kept = is_shared[place]
        holds[rows[kept], column[place[kept]]] = 1.0
        lengths = np.sqrt(np.maximum(self.sizes, 1).astype(np.float64))
        return _Table(found[is_shared], holds, found[~is_shared], rows[first[~is_shared]], lengths)

    def kernel(self) -> Floats:
        """Return the kernel between each two windows, shape (windows, windows)."""
        table = self.table()
        # A feature of one window alone counts in no product but that of the window with itself, which is one.
        found = _rbf((table.holds @ table.holds.T) / np.multiply.outer(table.lengths, table.lengths))
        np.fill_diagonal(found, 1.0)
        return found


class Expansion:
    """Decision function: support vectors, their weights and the offset.

    Parameters
    ----------
    pool
        The learned windows.
    alphas
        Weight of each, shape (windows,), adding up to one; zero for windows that are not support vectors.
    offset
        The rho.
    """

    def __init__(self, pool: WindowPool, alphas: Floats, offset: float) -> None:
        if alphas.dtype != np.float64 or alphas.shape != (len(pool),) or not len(pool):
            raise ValueError("the decision function is invalid: weights and learned windows do not pair up")
        # Kernels are in 0..1 and weights add up to one, so the offset is in 0..1 but for rounding.
        if not (0.0 <= offset <= 2.0 and (alphas >= 0.0).all() and abs(alphas.sum() - 1.0) <= _ROUNDING):
            raise ValueError("the decision function is invalid: its numbers are out of range")
        self.alphas, self.offset = alphas, offset
        support = np.flatnonzero(alphas)
        table = pool.table()
        holds = table.holds[support]
        used = holds.any(axis=0)
        self._shared, self._holders = table.shared[used], np.ascontiguousarray(holds[:, used].T)
        used = alphas[table.window] > 0.0
        self._single, self._holder = table.single[used], support.searchsorted(table.window[used])
        self._lengths, self._weights = table.lengths[support], alphas[support]

    def margin(self, bag: Keys) -> float:
        """Return how far outside a bag lies; above zero it is an outlier."""
        place, known = look_up(self._shared, bag)
        common = self._holders[place[known]].sum(axis=0, dtype=np.float64)
        place, known = look_up(self._single, bag)
        common += np.bincount(self._holder[place[known]], minlength=len(common))
        cosines = common / (self._lengths * max(len(bag), 1) ** 0.5)
        return self.offset - float(np.vecdot(_rbf(cosines), self._weights))


class SvmState:
    """Adapted window model, and learned actions that do not fill a window yet."""

    def __init__(self, pool: WindowPool, expansion: Expansion, learned: int = 0) -> None:
        self.pool = pool
        self.expansion = expansion
        self.learned = learned
        """Windows learned since training."""
        self.waiting: tuple[Features, ...] = ()
        """Learned actions that do not fill a window yet, the oldest first."""


class OneClassSvm:
    """Trained window model. Immutable.

    Parameters
    ----------
    pool, alphas, offset
        See :class:`Expansion`.
    """

    def __init__(self, pool: WindowPool, alphas: Floats, offset: float) -> None:
        self.pool = pool
        self.expansion = Expansion(pool, alphas, offset)

    def start(self) -> SvmState:
        """Return the state that training ended in."""
        return SvmState(self.pool, self.expansion)

    def margin(self, state: SvmState, window: Sequence[Features]) -> float:
        """Return how far outside the last actions lie: ``LENGTH`` of them, or fewer."""
        return state.expansion.margin(bag_of(window))

    def learn(self, state: SvmState, chunk: Sequence[Features], weight: float) -> None:
        """Add the windows of consecutive actions to the pool, if ``weight`` is above 1/2."""
        if weight <= 0.5:
            return
        waiting = (*state.waiting, *chunk)
        while len(waiting) >= LENGTH:
            state.pool = state.pool.with_bag(bag_of(waiting[:LENGTH]))
            waiting = waiting[STRIDE:]
            state.learned += 1
            if state.learned % REFIT == 0:
                self._refit(state)
        state.waiting = waiting

    def learned(self, state: SvmState) -> Arrays:
        """Return the adapted model as arrays to save."""
        waiting, sizes = packed(state.waiting)
        return {
            "features": state.pool.features,
            "sizes": state.pool.sizes,
            "alphas": state.expansion.alphas,
            "offset": np.array([state.expansion.offset, float(state.learned)]),
            "waiting": waiting,
            "waiting_sizes": sizes,
        }

    def resume(self, learned: Mapping[str, NDArray[Any]]) -> SvmState:
        """Return the state that :meth:`learned` saved; raise ValueError or KeyError if the arrays are invalid."""
        pool = WindowPool(learned["features"], learned["sizes"])
        alphas = learned["alphas"]
        offset, count = _numbers(learned["offset"], 2)
        if len(pool) >= MAX_WINDOWS + REFIT or not 0.0 <= count < _MOST_LEARNED:
            raise ValueError("the adapted window model is invalid: it holds too many windows")
        if alphas.ndim != 1 or len(alphas) > len(pool):
            raise ValueError("the adapted window model is invalid: it holds more weights than windows")
        # Windows learned since the last fit have no weight yet.
        state = SvmState(pool, Expansion(pool[: len(alphas)], alphas, offset), int(count))
        state.waiting = unpacked(learned["waiting"], learned["waiting_sizes"])
        if len(state.waiting) >= LENGTH:
            raise ValueError("the adapted window model is invalid: too many actions are waiting")
        return state

    def arrays(self) -> Arrays:
        """Return the trained model as arrays to save."""
        return {
            "features": self.pool.features,
            "sizes": self.pool.sizes,
            "alphas": self.expansion.alphas,
            "offset": np.array([self.expansion.offset]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> OneClassSvm:
        """Return the model that :meth:`arrays` saved; raise ValueError or KeyError if the arrays are invalid."""
        pool = WindowPool(arrays["features"], arrays["sizes"])
        if len(pool) > MAX_WINDOWS:
            raise ValueError("the window model is invalid: it holds too many windows")
        (offset,) = _numbers(arrays["offset"], 1)
        return cls(pool, arrays["alphas"], offset)

    def _refit(self, state: SvmState) -> None:
        state.pool = state.pool[max(len(state.pool) - MAX_WINDOWS, 0) :]
        size = len(state.pool)
        start = np.zeros(size)
        fitted = state.expansion.alphas[-(size - REFIT) :] if size > REFIT else start[:0]
        start[: len(fitted)] = fitted
        solution = solve(state.pool.kernel(), np.full(size, 1.0 / (NU * size)), start)
        state.expansion = Expansion(state.pool, solution.alphas, solution.offset)


def _numbers(array: NDArray[Any], count: int) -> list[float]:
    if array.dtype != np.float64 or array.shape != (count,):
        raise ValueError("the window model is invalid: its offset has another shape or type")
    numbers: list[float] = array.tolist()
    return numbers


def _rbf(cosines: Any) -> Floats:  # noqa: ANN401 - float32 or float64
    # Bags have length one: |x - y|^2 = 2 - 2 x.y
    found: Floats = np.exp(2.0 * GAMMA * (np.asarray(cosines, dtype=np.float64) - 1.0))
    return found
