"""Scores for people: one aligned line each, and below it why, where there is something to say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, assert_never

import click

from anomaly.osquery import Action
from anomaly.records import Reason, ReasonKind, Score, Severity
from anomaly.sinks.interface import Sink
from anomaly.sinks.ndjson import timestamp
from anomaly.sinks.visible import columns, visible

_HEADER = f"{'time':<14} {'user':<10} {'score':>5} {'risk':>5} {'severity':<8} action"
_USER = 10
_SEVERITY = 8
_INDENT = "  "
# Narrower than this the fixed columns leave no room for the action.
_NARROWEST = 60
# What one value may take of a reason, so that what is usual still has its place on the line.
_VALUE = 32

_SIGNS = {"added": "+", "removed": "-", "snapshot": "="}
_COLOURS = {Severity.NOTICE: "cyan", Severity.WARNING: "yellow", Severity.CRITICAL: "red"}

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


class TextSink(Sink):
    """Writes an aligned table, with a sentence for each reason from severity ``notice`` upwards.

    Text of the log is printed through `visible` and never read as markup.

    Parameters
    ----------
    stream : IO[str]
        Where the lines go. It stays the caller's: ``close`` leaves it open.
    colour : bool
        Whether to colour severities; without it, no escape sequence is written at all.
    width : int
        Longest line, in terminal columns; less than 60 is taken as 60.
    """

    def __init__(self, stream: IO[str], *, colour: bool, width: int = 80) -> None:
        self._stream = stream
        self._colour = colour
        self._width = max(width, _NARROWEST)
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._has_header = False

    def write(self, scores: Sequence[Score]) -> None:
        """Hand on the scores; raises OSError where they cannot be."""
        lines = [line for score in scores for line in self._lines(score)]
        if lines and not self._has_header:
            lines.insert(0, self._styled(_HEADER, dim=True))
            self._has_header = True
        self._stream.write("".join(f"{line}\n" for line in lines))
        self._stream.flush()

    def _lines(self, score: Score) -> Iterator[str]:
        action = score.action
        user = self._visible(action.user, _USER)
        user += " " * (_USER - columns(user))
        before = f"{clock(action.time):<14} {user} {points(score.score)} {points(score.risk)} "
        room = self._width - columns(before) - _SEVERITY - 1
        told = self._visible(summary(action, room), room)
        yield f"{before}{self._severity(score)} {told}"
        if score.severity is not Severity.NONE:
            for reason in score.reasons:
                room = self._width - len(_INDENT)
                yield _INDENT + self._visible(sentence(reason, room), room)

    def _severity(self, score: Score) -> str:
        if score.action.baseline:
            return self._styled(f"{'baseline':<{_SEVERITY}}", dim=True)
        severity = score.severity
        if severity is Severity.NONE:
            return " " * _SEVERITY
        word = f"{severity.value:<{_SEVERITY}}"
        return self._styled(word, fg=_COLOURS[severity], bold=severity is Severity.CRITICAL)

    def _styled(self, text: str, *, fg: str | None = None, bold: bool = False, dim: bool = False) -> str:
        if not self._colour:
            return text
        return click.style(text, fg=fg, bold=bold or None, dim=dim or None)

    def _visible(self, text: str, limit: int) -> str:
        """Escape what the stream's encoding lacks as well: no character may stop the program."""
        shown = visible(text, limit)
        if shown.isascii():
            return shown
        return visible(shown.encode(self._encoding, "backslashreplace").decode(self._encoding), limit)


def clock(seconds: int) -> str:
    """Month, day and time of day in UTC, as the log has it; empty where it has none."""
    stamp = timestamp(seconds)
    return "" if stamp is None else f"{stamp[5:10]} {stamp[11:19]}"


def points(value: float | None) -> str:
    """Write a score or a risk in five columns."""
    return f"{value:5.1f}" if value is not None and math.isfinite(value) else f"{'-':>5}"


def summary(action: Action, room: int) -> str:
    """Say what the action is: its sign, its query, and the columns that say most, as far as there is room."""
    told = f"{_SIGNS.get(action.verb, '?')}{action.query[:room]}"
    row = {name[:room]: value[:room] for name, value in action.columns.items() if value}
    for place, name in enumerate((_telling(row) or list(row))[:_MOST]):
        # The first may go without its name, which the query suggests, and may be cut; the others are whole.
        pair = row[name] if place == 0 and name in _TELLING else f"{name}={row[name]}"
        if place > 0 and columns(visible(f"{told} {pair}")) > room:
            break
        told += f" {pair}"
    return told


def _telling(row: Mapping[str, str]) -> list[str]:
    first = [name for name in _TELLING if name in row]
    return first + [name for name in row if name not in _SKIPPED and name not in first]


def sentence(reason: Reason, room: int) -> str:
    """Say one reason as a person would, with as much of what is usual as has room."""
    field, value = visible(reason.field, _VALUE), visible(reason.value, _VALUE)
    expected = [visible(text, _VALUE) for text in reason.expected]
    usually = "usually"
    match reason.kind:
        case ReasonKind.NEW_VALUE:
            start = f'new {field} "{value}", never seen in {reason.of:,}'
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
        whole = f"{start}; {usually} {', '.join(expected[:count])}"
        if columns(whole) <= room:
            return whole
    return start


def _bits(bits: float) -> str:
    return f" ({bits:.1f} bits)" if math.isfinite(bits) else ""
