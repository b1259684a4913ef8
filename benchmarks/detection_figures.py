"""What risks come to: false alarms, what is found of intruders, costs and their intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

from anomaly.evaluation import Block, Figures, figures
from anomaly.records import ALARM
from benchmarks.detection_data import BLOCK

AFTER = 30
"""Own actions after an intruder's last in which an alarm still counts as found."""
DRAWS = 1_000


class Found(NamedTuple):
    """Whether one intruder was found."""

    after: int | None
    """How many of their actions it took; None if there was no alarm."""
    before: bool
    """Whether the risk alarmed already at the own action before them."""


def false_alarms(risks: Sequence[float]) -> int:
    """Count the alarms in a user's own actions: ALARM reached, BLOCK actions or more after the last time.

    >>> false_alarms([30.0, 0.0, 30.0, *[0.0] * 100, 30.0])
    2
    """
    high = np.flatnonzero(np.asarray(risks) >= ALARM)
    return int(bool(len(high)) + (np.diff(high) > BLOCK).sum())


def found(risks: Sequence[float], visit: range) -> Found:
    """Return whether the risk reached ALARM during a visit or up to AFTER own actions later."""
    looked = range(visit.start, min(visit.stop + AFTER, len(risks)))
    first = next((at for at in looked if risks[at] >= ALARM), None)
    after = None if first is None else min(first + 1, visit.stop) - visit.start
    return Found(after, before=visit.start > 0 and risks[visit.start - 1] >= ALARM)


def highest(risks: Sequence[float], visit: range) -> float:
    """Return the risk after a visit's last action."""
    return risks[visit.stop - 1]


def own_blocks(risks: Sequence[float]) -> list[float]:
    """Return the risk after each BLOCK of own actions."""
    return list(risks[BLOCK - 1 :: BLOCK])


def middle(visits: Sequence[Found]) -> str:
    """Return the median of the intruder's actions until an alarm, of those who found no alarm waiting for them."""
    counts = [visit.after for visit in visits if visit.after is not None and not visit.before]
    return f"{median(counts):.0f}" if counts else "-"


def share(part: int, of: int) -> str:
    """Return a part as a count and its per cent."""
    return f"{part} of {of} ({100 * part / of:.0f} %)" if of else "-"


def preset_cost(found_: Figures) -> float:
    """Return 6 x false alarms + misses at the preset risk, in per cent: no label had a part in the threshold."""
    return 600 * found_.false_alarms + 100 * (1 - found_.hits)


def intervals(blocks: dict[str, list[Block]], *of: Callable[[Figures], float]) -> list[str]:
    """Return of each figure the bootstrap interval of 90 % over users, drawn with replacement by a fixed seed."""
    random, users = np.random.default_rng(0), list(blocks)
    drawn = []
    for _ in range(DRAWS):
        some = random.choice(len(users), len(users))
        got = figures([block for at in some for block in blocks[users[at]]], ALARM)
        if got.own and got.other:
            drawn.append([figure(got) for figure in of])
    low, high = np.quantile(np.array(drawn), [0.05, 0.95], axis=0)
    forms = ["{:.3f}-{:.3f}" if most <= 1 else "{:.1f}-{:.1f}" for most in high]
    return [form.format(*ends) for form, *ends in zip(forms, low, high, strict=True)]
