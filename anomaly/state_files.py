"""Files beside the checkpoints: which there are, read with the same distrust, written whole or not at all.

What a checkpoint decides is weightier, and has a room of its own (:mod:`anomaly.sources.checkpoint_file`).
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anomaly.atomic import replace
from anomaly.errors import StateError, StateRefused
from anomaly.trust import refusal

MAX_BYTES = 1 << 26
"""Largest status file read: far above what ten thousand users take."""

CHECKPOINT, STATUS, LOCK, BAD, TEMPORARY = ".json", ".status.json", ".lock", ".bad", ".tmp"
"""How the files of one checkpoint end."""

_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NAME = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._-]*-[0-9a-f]{16})\.(?:json|status\.json|lock|bad|tmp)")


@contextmanager
def opened(directory: Path) -> Iterator[int | None]:
    """Open the state directory; None where there is none.

    Raises
    ------
    StateRefused
        Others may write it: what lies in it says nothing.
    StateError
        It cannot be opened.
    """
    try:
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        raise StateError(f"{directory} cannot be used: {error.strerror}; name another with --state.") from error
    try:
        if (reason := refusal(directory, os.fstat(folder))) is not None:
            raise StateRefused(f"{reason}, or give another directory with --state.")
        yield folder
    finally:
        os.close(folder)


def names(folder: int) -> list[str]:
    """Return the names of the checkpoints that a state directory has files of."""
    return sorted({match[1] for name in os.listdir(folder) if (match := _NAME.fullmatch(name))})


def read(folder: int, name: str, most: int = MAX_BYTES) -> bytes | None:
    """Read a file; None where there is none.

    Raises
    ------
    ValueError
        It is not to be believed, as an end of a sentence that begins with its name.
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | _FLAGS, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"it cannot be opened ({error.strerror})") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):  # before it is made a file of Python's, which no directory can be
            raise ValueError("it is no regular file")
        if refusal(Path(name), status) is not None:
            raise ValueError("others than root and you may write it")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(most + 1)
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror})") from error
    finally:
        os.close(descriptor)
    if len(data) > most:
        raise ValueError(f"it is larger than {most:,} bytes")
    return data


def write(folder: int, name: str, data: bytes) -> None:
    """Replace a file in one step, for its owner alone; raises OSError.

    It is not waited for until it is on the disk: after a power failure it may be empty, and it is not worth more.
    """
    replace(folder, name, data, temporary=f"{name}{TEMPORARY}", lasting=False)


def holder(folder: int, name: str) -> int | None:
    """Return the process that works with a checkpoint, 0 where it does not say; None where there is none.

    The lock is taken for a moment: nothing else says whether it is held wherever processes have other numbers.
    """
    try:
        descriptor = os.open(f"{name}{LOCK}", os.O_RDONLY | _FLAGS, dir_fd=folder)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(descriptor, 32).strip()
        return int(text) if re.fullmatch(rb"[0-9]{1,10}", text) else 0
    except OSError:
        return None
    else:
        return None
    finally:
        os.close(descriptor)
