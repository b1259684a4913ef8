"""A document as one line of JSON that any reader takes: ASCII, well-formed text, finite numbers, bounded.

What is alarming was chosen by whoever wrote the log. A receiver that refuses a record for one odd character would
be the way past it, so nothing odd is left in a document that goes out.
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

import msgspec

from anomaly.records import Score

LONGEST = 4096
"""Characters of one value that an alert repeats: more is shown by nobody, and indexed by none that we know."""

WIDEST = 64
"""Columns of one row that an alert repeats."""

_NAME = 128
_CUT = "..."


def line(document: dict[str, Any]) -> bytes:
    r"""Write a document as one ASCII line; half a surrogate pair becomes U+FFFD.

    >>> line({"a": "é", "b": 1.5})
    b'{"a":"\\u00e9","b":1.5}\n'
    """
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    if not text.isascii():
        document = json.loads(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
        text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    # JSON lets DEL stand unescaped; inside a string is the only place where it can be.
    return text.replace("\x7f", "\\u007f").encode("ascii") + b"\n"


def finite(value: float | None) -> float | None:
    """Give a figure with four decimals, None for what JSON has no number for."""
    return round(float(value), 4) if value is not None and isfinite(value) else None


def filled(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is not known: None, and empty text, lists and objects.

    >>> filled({"a": None, "b": 0, "c": {"d": ""}})
    {'b': 0}
    """
    found = {name: filled(value) if isinstance(value, dict) else value for name, value in document.items()}
    return {name: value for name, value in found.items() if value not in (None, "", [], {})}


def clip(text: str, longest: int = LONGEST) -> str:
    """Cut a text that is longer than that, and end it in ``...``.

    >>> clip("nmap -sS", 6)
    'nma...'
    """
    return text if len(text) <= longest else text[: longest - len(_CUT)] + _CUT


def clipped(columns: dict[str, str]) -> dict[str, str]:
    """Give the first columns of a row, with no more of their names and values than is of use."""
    if (
        len(columns) <= WIDEST
        and sum(map(len, columns.values())) <= LONGEST
        and max(map(len, columns), default=0) <= _NAME
    ):
        return columns
    return {clip(name, _NAME): clip(columns[name]) for name in list(columns)[:WIDEST]}


def shortened(score: Score) -> Score:
    """Give a score with no more of its row than :func:`clipped` leaves."""
    action = score.action
    columns, user, host, query = clipped(action.columns), clip(action.user), clip(action.host), clip(action.query)
    if columns is action.columns and (user, host, query) == (action.user, action.host, action.query):
        return score
    action = msgspec.structs.replace(action, columns=columns, user=user, host=host, query=query)
    return msgspec.structs.replace(score, action=action)
