"""Links among the logs that are scored: none is followed, since whoever may write a log may also make a link.

Spark follows them when it lists a directory, and nobody can tell it not to. Two that lead to their own directory
make a tree that never ends.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from anomaly.advice import shell_word
from anomaly.errors import LogMissing, LogUnreadable

EVERY = 5.0
"""Seconds between two looks, or more: a look takes a twentieth of the time at most."""

_SHARE = 20


class Watch:
    """Looks for links to directories, at first and then from time to time.

    Parameters
    ----------
    root
        Directory of logs; it may itself be a link. None to look at nothing.

    Raises
    ------
    LogMissing, LogUnreadable
        It is not there, cannot be read, or a link to a directory is in it.
    """

    def __init__(self, root: Path | None) -> None:
        self._root = root
        self._next = 0.0
        if root is not None:
            _check(root)
            self.look()

    def look(self) -> None:
        """Look again where it is time to; raises LogUnreadable where there is a link."""
        begin = time.monotonic()
        if self._root is None or begin < self._next:
            return
        link = directory_link(self._root)
        end = time.monotonic()
        self._next = end + max(EVERY, _SHARE * (end - begin))
        if link is not None:
            raise LogUnreadable(
                f"{link} is a link to a directory, which Spark would follow, perhaps for ever. Ask who made it,"
                f" and take it away: rm {shell_word(link)}"
            )


def directory_link(root: Path) -> str | None:
    """Return a link to a directory that Spark would come across; None where there is none.

    Directories that vanish or cannot be read are passed over, as they are by Spark.
    """
    waiting = [str(root)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if is_hidden(entry.name) or not entry.is_dir():
                        continue
                    if entry.is_symlink():
                        return entry.path
                    waiting.append(entry.path)
        except OSError:
            continue
    return None


def missing(where: str) -> LogMissing:
    """Return what is raised where there are no logs."""
    return LogMissing(f"{where} is not there. Make it, or name another directory with --from.")


def is_hidden(name: str) -> bool:
    """Say whether Spark passes over a name, as its ``HadoopFSUtils.shouldFilterOutPathName`` does.

    >>> [is_hidden(name) for name in (".a", "_a", "_a=1", "_metadata", "a", "a._COPYING_")]
    [True, True, False, False, False, True]
    """
    if name.startswith(("_common_metadata", "_metadata")):
        return False
    return name.startswith(".") or (name.startswith("_") and "=" not in name) or name.endswith("._COPYING_")


def _check(root: Path) -> None:
    try:
        with os.scandir(root):
            return
    except (FileNotFoundError, ValueError) as error:  # a NUL is in no name
        raise missing(str(root)) from error
    except OSError as error:
        raise LogUnreadable(f"{root} cannot be read as a directory of logs: {error.strerror}.") from error
