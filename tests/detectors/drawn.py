"""Random actions as features, for tests of what counts them."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomaly.features.levels import Features, Level

Damage = dict[str, NDArray[Any] | None]


def feature(level: Level, number: int) -> int:
    """Return the feature of a level by number; numbers far apart are hashes far apart."""
    return (number * 0x9E3779B97F4A7C15 + 0x1234567) % 2**61 << 3 | level


def program(number: int) -> Features:
    """Return an action that is one program and nothing else."""
    return (feature(Level.PROGRAM, number), feature(Level.KIND, 0))


def actions(count: int, seed: int, first: int = 0, width: int = 12) -> list[Features]:
    """Return actions with up to three programs each, drawn from a vocabulary that begins at ``first``."""
    draw = Random(seed)  # noqa: S311 - sample data
    found = []
    for _ in range(count):
        numbers = [first + int(width * draw.random() ** 2) for _ in range(draw.choice((0, 1, 1, 1, 2, 3)))]
        one = [feature(Level.PROGRAM, number) for number in numbers]
        one += [feature(Level.SUBCOMMAND, number) for number in numbers]
        one += [feature(Level.ARGUMENT, first + draw.randrange(3 * width)) for _ in range(draw.randrange(4))]
        one += [feature(Level.ROW, hash((tuple(numbers), draw.randrange(3)))), feature(Level.VALUE, first % 7)]
        one.append(feature(Level.KIND, draw.randrange(2)))
        found.append(tuple(dict.fromkeys(one)))
    return found


def damages(arrays: Mapping[str, NDArray[Any]]) -> list[tuple[str, Damage]]:
    """Return what may happen to saved arrays, one by one: the name of the damage, and the arrays it changes."""
    found: list[tuple[str, Damage]] = []
    for name, array in arrays.items():
        changed: dict[str, NDArray[Any] | None] = {
            "missing": None,
            "text": array.astype("U3"),
            "objects": array.astype(object),
            "complex": array.astype(complex),
            "single precision": array.astype(np.float32),
            "small integers": np.zeros(array.shape, dtype=np.int8),
            "other byte order": array.astype(array.dtype.newbyteorder()),
            "one dimension more": array[None],
            "no dimension": array.ravel()[:1].reshape(()) if array.size else np.zeros((), dtype=array.dtype),
            "one entry more": np.concatenate([array, array[-1:]])
            if array.size
            else np.zeros(1, dtype=array.dtype),
        }
        if array.size:
            changed["one entry fewer"] = array[:-1]
            changed["nothing"] = array[:0]
        if array.size and array.dtype.kind == "f":
            for value in (np.nan, np.inf, -np.inf, -1.0, 1e300):
                changed[str(value)] = _first(array, value)
        if array.size and array.dtype.kind == "i":
            for value in (-1, -(2**63), 2**63 - 1):
                changed[str(value)] = _first(array, value)
        if array.size > 1 and array.dtype == np.uint64:
            changed["reversed"] = array[::-1].copy()
        found += [(f"{name}: {what}", {name: value}) for what, value in changed.items()]
    return found


def damaged(arrays: Mapping[str, NDArray[Any]], damage: Damage) -> dict[str, NDArray[Any]]:
    """Return arrays with some changed or missing."""
    changed = {name: damage.get(name, array) for name, array in arrays.items()}
    return {name: array for name, array in changed.items() if array is not None}


def _first(array: NDArray[Any], value: float) -> NDArray[Any]:
    changed = array.copy()
    changed.flat[0] = value
    return changed
