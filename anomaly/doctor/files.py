"""Names in directories of others, of which only so many are looked at."""

from __future__ import annotations

import os
from pathlib import Path

ENTRIES = 1000
"""Most names of a directory that are looked at."""


def names(directory: Path) -> list[str]:
    """Return the first names of a directory, sorted; none where it cannot be read."""
    found = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                found.append(entry.name)
                if len(found) == ENTRIES:
                    break
    except (OSError, ValueError):
        return []
    return sorted(found)


def existing(path: Path) -> Path:
    """Return a path, or the nearest directory above it that is there."""
    path = path.absolute()
    while not os.path.exists(path) and path != path.parent:  # noqa: PTH110 - a Path raises where it may not look
        path = path.parent
    return path
