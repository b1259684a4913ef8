"""One row as one line of the results log: the keys, in the order, that osquery's filesystem logger writes."""

from __future__ import annotations

from time import asctime, gmtime

import msgspec

from anomaly import __version__
from anomaly.recording.rows import Row

PACK = "pack_user_behavior_"
"""How the names of the queries of conf/user-behavior.conf begin in a log."""

MARK = "recorder"
"""The decoration that tells a recording from osquery's own log."""

_DECORATIONS = {MARK: f"anomaly record {__version__}"}


def line(host: str, query: str, moment: int, counter: int, verb: str, row: Row) -> bytes:
    """Write a row, with its newline.

    Parameters
    ----------
    host
        ``hostIdentifier``.
    query
        Name of the query, without its pack.
    moment
        When it ran, in seconds since 1970 UTC.
    counter
        Of the run; 0 is a baseline.
    verb
        ``added`` or ``removed``.
    row
        Its columns.
    """
    result = {
        "name": f"{PACK}{query}",
        "hostIdentifier": host,
        "calendarTime": f"{asctime(gmtime(moment))} UTC",
        "unixTime": moment,
        "epoch": 0,
        "counter": counter,
        "numerics": False,
        "decorations": _DECORATIONS,
        "columns": dict(row),
        "action": verb,
    }
    return msgspec.json.encode(result) + b"\n"


def is_recorded(text: bytes, host: str) -> bool:
    """Tell whether a line was recorded, on this host; osquery's own, and anything else, was not."""
    try:
        found = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return False
    decorations = found.get("decorations") if isinstance(found, dict) else None
    return isinstance(decorations, dict) and MARK in decorations and found.get("hostIdentifier") == host
