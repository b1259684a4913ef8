"""Files that people name, read within bounds: never a pipe or a device, and never more than a limit."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple


class Unread(NamedTuple):
    """Why a file was not read."""

    reason: str
    """As it goes on a sentence: "PATH: no such file"."""
    missing: bool = False
    forbidden: bool = False


def read(path: Path, limit: int, *, follow: bool = True) -> bytes | Unread:
    """Return the content of a regular file of at most ``limit`` bytes, or why not.

    Links are followed, as osquery and logrotate follow them, unless told otherwise. Nothing is waited for.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags if follow else flags | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return Unread("there is no such file", missing=True)
    except PermissionError:
        return Unread("it may not be read", forbidden=True)
    except (OSError, ValueError) as error:
        return Unread(f"it cannot be opened: {getattr(error, 'strerror', None) or error}")
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return Unread("it is no regular file")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    except OSError as error:
        return Unread(f"it cannot be read: {error.strerror}")
    finally:
        os.close(descriptor)
    return data if len(data) <= limit else Unread(f"it is larger than {limit >> 10:,} KiB")
