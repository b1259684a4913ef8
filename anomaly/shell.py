"""Commands that an error proposes, so that a person can paste them into a shell."""

from __future__ import annotations

import shlex


def shell_word(text: str) -> str:
    r"""Quote a name so that a person can paste it into a shell, and a terminal can show it.

    >>> shell_word("alice"), shell_word("a b"), shell_word("a\x1b")
    ('alice', "'a b'", "$'a\\x1b'")
    """
    if text.isprintable():
        return shlex.quote(text)
    escaped = text.encode("unicode_escape", "backslashreplace").decode().replace("'", "\\'")
    return f"$'{escaped}'"
