"""What a shell may complete a user's name to: whoever has a model."""

from __future__ import annotations

import os
import re
from pathlib import Path

from anomaly.store_layout import decode_user

_MOST = 1000
"""Names offered; nobody reads more."""

# Bash puts a completion into the line as it is, unquoted: a name that is more than a word to some shell, such as
# `$(reboot)`, would be run with the line. Names come from logs, and whoever can write to a log can make one up.
_WORD = re.compile(r"[^\W-][\w.@:+-]*")


def users(models: Path, begin: str = "") -> list[str]:
    """List the users who have a directory in a store, whose names begin so and are plain words; sorted.

    Parameters
    ----------
    models
        Directory of models; where it cannot be read there is nobody.
    begin
        What has been typed.
    """
    try:
        directories = [entry.name for entry in os.scandir(models) if entry.is_dir(follow_symlinks=False)]
    except (OSError, ValueError):
        return []
    names = (decode_user(directory) for directory in directories)
    return sorted(name for name in names if name and name.startswith(begin) and _WORD.fullmatch(name))[:_MOST]
