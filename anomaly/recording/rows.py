r"""Rows as osquery writes them: columns by name, every value a string, nothing in it that breaks a line.

Since 5.22.0 osquery passes valid UTF-8 on and writes control characters and bytes that are no UTF-8 as four
characters, ``\xHH`` (osquery/sql/sql.cpp, ``escapeNonPrintableBytes``).
"""

from __future__ import annotations

import re

Row = tuple[tuple[str, str], ...]
"""Columns and their values, sorted by name."""

MAX_VALUE = 16_384
"""Longest value, in characters. A command line may have 2 MiB, and a line of that length would be passed over by
whoever reads it: then a program could hide behind its arguments."""

_BROKEN = re.compile("[\0-\x1f\ud800-\udfff]")


def row(**columns: str | int | None) -> Row:
    """Make a row.

    >>> row(username="alice", uid=1000, path=None)
    (('path', ''), ('uid', '1000'), ('username', 'alice'))
    """
    return tuple((name, told(columns[name])) for name in sorted(columns))


def told(value: str | int | None) -> str:
    r"""Write a value as osquery would; None, SQL's NULL, is an empty string.

    Parameters
    ----------
    value
        Text as Python reads it from the system: bytes that are no UTF-8 are surrogates (``surrogateescape``).

    >>> print(told("two\nlines"), told(b"\xff".decode("utf-8", "surrogateescape")), told("né"))
    two\x0Alines \xFF né
    """
    if value is None:
        return ""
    text = str(value)[:MAX_VALUE]
    return text if text.isprintable() else _BROKEN.sub(_escape, text)[:MAX_VALUE]


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return f"\\x{code:02X}"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02X}"
    return "".join(f"\\x{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))
