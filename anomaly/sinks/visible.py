"""Log text made safe to print: who can write into the log must not be able to steer the reader's terminal."""

from __future__ import annotations

import unicodedata

_CUT = "..."


def visible(text: str, limit: int | None = None) -> str:
    r"""Write whatever cannot be seen, or moves what can, as an escape such as ``\n``, ``\x1b`` or ``\u202e``.

    That is every character that Python does not call printable: C0 and C1 controls, DEL, bidirectional and
    zero-width controls, line and paragraph separators, other spaces than U+0020, private-use, unassigned
    and lone surrogate code points. A backslash of the text itself stays as it is: this is for reading, and
    the JSON output is the one to compare byte by byte.

    Parameters
    ----------
    text : str
        Anything, of any length.
    limit : int, optional
        Longest result, in terminal columns (see `columns`). A longer one ends in ``...``; an escape is never
        cut in two.

    Returns
    -------
    str
        Text for which ``str.isprintable`` holds.

    Examples
    --------
    >>> print(visible("a\x1b[31mb\u202ec"))
    a\x1b[31mb\u202ec
    >>> visible("nmap -sS 10.0.0.0/24", 12)
    'nmap -sS ...'
    """
    if limit is not None:
        # A character takes a column at least, so nothing behind these can be part of the result.
        text = text[: limit + 1]
    if text.isascii() and text.isprintable() and (limit is None or len(text) <= limit):
        return text
    pieces = [character if character.isprintable() else _escape(character) for character in text]
    if limit is None or sum(map(columns, pieces)) <= limit:
        return "".join(pieces)
    return _head(pieces, limit - len(_CUT)) + _CUT[:limit]


def columns(text: str) -> int:
    """Count the terminal columns that printable text takes.

    East Asian wide characters take two. A combining mark is counted as one although it takes none, so that a
    pile of them is cut as early as any other text.

    >>> columns("nmap"), columns("日本")
    (4, 4)
    """
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(character) in ("W", "F") else 1 for character in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _head(pieces: list[str], room: int) -> str:
    """Join the first pieces, as many as fit."""
    kept = []
    for piece in pieces:
        room -= columns(piece)
        if room < 0:
            break
        kept.append(piece)
    return "".join(kept)
