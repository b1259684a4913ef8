"""What an error proposes: the name that was probably meant, a command that can be pasted into a shell."""

from __future__ import annotations

import difflib
import errno
import shlex
from collections.abc import Iterable
from pathlib import Path

from anomaly.errors import AnomalyError, ConfigError

_LONGEST = 40
_PLACES = frozenset((
    errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EISDIR, errno.EEXIST, errno.ELOOP,
    errno.ENAMETOOLONG, errno.EROFS,
))  # fmt: skip
"""What is the matter with a place, whatever is on its disk."""


def shell_word(text: str) -> str:
    r"""Quote a name so that a person can paste it into a shell, and a terminal can show it.

    >>> shell_word("alice"), shell_word("a b"), shell_word("a\x1b")
    ('alice', "'a b'", "$'a\\x1b'")
    """
    if text.isprintable():
        return shlex.quote(text)
    escaped = text.encode("unicode_escape", "backslashreplace").decode().replace("'", "\\'")
    return f"$'{escaped}'"


def nearest(name: str, names: Iterable[str]) -> str:
    """Give a sentence that suggests the most similar of some names, or lists them.

    >>> nearest("alcie", ["alice", "bob"])
    "Did you mean 'alice'?"
    >>> nearest("x", ["alice", "bob"])
    'There is: alice, bob.'
    >>> nearest("x", ["a" * 99])
    'There is: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa....'
    >>> nearest("x", [])
    ''
    """
    known = sorted(names)
    if close := difflib.get_close_matches(name, known, n=1):
        return f"Did you mean {close[0]!r}?"
    more = f" and {len(known) - 8} more" if len(known) > 8 else ""
    return f"There is: {', '.join(map(shortened, known[:8]))}{more}." if known else ""


def shortened(name: str) -> str:
    """Cut a name that is one of several to 40 characters: whoever writes the log chooses how long it is."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 3]}..."


def unwritable(path: Path, error: OSError | ValueError) -> AnomalyError:
    """Return what to raise where a file that somebody asked for cannot be written.

    It is a ConfigError where the place does not fit; a full disk is no fault of the command line.

    >>> unwritable(Path("a.html"), OSError(errno.ENOSPC, "No space left on device"))
    AnomalyError('a.html cannot be written: No space left on device. Make room, or name another place.')
    >>> unwritable(Path("b/a.html"), OSError(errno.ENOTDIR, "Not a directory"))
    ConfigError('b/a.html cannot be written: Not a directory. Name another place.')
    """
    if isinstance(error, ValueError) or error.errno in _PLACES:
        reason = (error.strerror if isinstance(error, OSError) else None) or f"{error}"
        return ConfigError(f"{path} cannot be written: {reason}. Name another place.")
    return AnomalyError(f"{path} cannot be written: {error.strerror or error}. Make room, or name another place.")
