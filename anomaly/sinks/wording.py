"""How an alert, an action and a reason are said to people, on one line each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import assert_never

from anomaly.osquery import Action
from anomaly.records import Alert, Reason, ReasonKind
from anomaly.sinks.visible import columns, visible

# What one value may take of a reason, so that what is usual still has its place on the line.
_VALUE = 32

_SIGNS = {"added": "+", "removed": "-", "snapshot": "="}

# Columns that say most of an action, most telling first.
_TELLING = (
    "cmdline", "command", "path", "name", "remote_address", "remote_port", "port", "address",
    "message", "tag", "tty", "terminal", "host",
)  # fmt: skip
# Columns that say who and when, which has its own place on the line, or nothing at all to a reader.
_SKIPPED = frozenset((
    "username", "user", "uid", "auid", "euid", "fsuid", "suid", "gid", "egid", "fsgid", "sgid",
    "pid", "ppid", "parent", "time", "uptime", "atime", "mtime", "ctime", "btime", "eid",
))  # fmt: skip
_MOST = 3
# What a name may take of a headline.
_NAME = 40


def headline(alert: Alert, room: int = 200) -> str:
    """Say an alert on one line: whose, how much, and the worst action; nothing in it moves a terminal."""
    who = (
        f"{visible(alert.user, _NAME)} on {visible(alert.host, _NAME)}"
        if alert.host
        else visible(alert.user, _NAME)
    )
    said = f"{who}: {burst(alert)}; worst: "
    return visible(said + summary(alert.worst.action, room), room)


def burst(alert: Alert) -> str:
    """Say how many actions alarmed, in how long, and how severe the worst is."""
    many = f"{alert.count:,} unusual actions" if alert.count != 1 else "1 unusual action"
    lasted = _lasted(alert.last - alert.first) if 0 < alert.first < alert.last else ""
    return f"{many}{lasted}, {alert.severity.value}{', over' if alert.closed else ''}"


def _lasted(seconds: int) -> str:
    if seconds < 120:
        return f" in {seconds} s"
    return f" in {seconds // 60} min" if seconds < 7200 else f" in {seconds // 3600:,} h"


def summary(action: Action, room: int) -> str:
    """Say what the action is: its sign, its query, and the columns that say most, as far as there is room."""
    said = f"{_SIGNS.get(action.verb, '?')}{action.query[:room]}"
    row = {name[:room]: value[:room] for name, value in action.columns.items() if value}
    for place, name in enumerate((telling(row) or list(row))[:_MOST]):
        # The first may go without its name, which the query suggests, and may be cut; the others are whole.
        pair = row[name] if place == 0 and name in _TELLING else f"{name}={row[name]}"
        if place > 0 and columns(visible(f"{said} {pair}")) > room:
            break
        said += f" {pair}"
    return said


def telling(row: Mapping[str, str]) -> list[str]:
    """Return the columns that say something of an action, those that say most first.

    >>> telling({"uid": "0", "shell": "sh", "path": "/bin/ls"})
    ['path', 'shell']
    """
    first = [name for name in _TELLING if name in row]
    return first + [name for name in row if name not in _SKIPPED and name not in first]


def sentence(reason: Reason, room: int) -> str:
    """Say one reason as a person would, with as much of what is usual as has room."""
    field, value = visible(reason.field, _VALUE), visible(reason.value, _VALUE)
    expected = [visible(text, _VALUE) for text in reason.expected]
    usually = "usually"
    match reason.kind:
        case ReasonKind.NEW_VALUE:
            # Nothing was counted: a column that the user never had, or a user whom everyone's habits judge.
            start = f'new {field} "{value}"' + (f", never seen in {reason.of:,}" if reason.of else "")
        case ReasonKind.RARE_VALUE:
            start = f'rare {field} "{value}", {reason.seen:,} of {reason.of:,}'
        case ReasonKind.UNEXPECTED_NEXT:
            start, usually = f"unexpected {value} here{_bits(reason.bits)}", "expected"
        case ReasonKind.UNUSUAL_HOUR:
            start = f"unusual hour {value}, {reason.seen:,} of {reason.of:,}"
        case ReasonKind.UNUSUAL_MIX:
            start = f'unusual in this mix: {field} "{value}"'
        case _:
            assert_never(reason.kind)
    for count in range(len(expected), 0, -1):
        sentence = f"{start}; {usually} {', '.join(expected[:count])}"
        if columns(sentence) <= room:
            return sentence
    return start


def _bits(bits: float) -> str:
    return f" ({bits:.1f} bits)" if math.isfinite(bits) else ""
