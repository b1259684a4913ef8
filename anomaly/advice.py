"""What an error proposes: the name that was probably meant, a command that can be pasted into a shell."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable


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
    >>> nearest("x", [])
    ''
    """
    known = sorted(names)
    if close := difflib.get_close_matches(name, known, n=1):
        return f"Did you mean {close[0]!r}?"
    more = f" and {len(known) - 8} more" if len(known) > 8 else ""
    return f"There is: {', '.join(known[:8])}{more}." if known else ""
