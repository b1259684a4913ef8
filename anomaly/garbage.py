"""How often Python searches for garbage in a process that scores."""

from __future__ import annotations

import gc

BETWEEN = 50_000
"""Objects made between two searches; Python's own is 700.

What scores makes hardly a cycle, and holds models and users that no search can free. On one user's log of 45,000
actions the searches took 3 to 5 % of the time, with hundreds of users a tenth.
"""


def search_seldom() -> None:
    """Search after so many objects, from now on."""
    _, *older = gc.get_threshold()
    gc.set_threshold(BETWEEN, *older)
