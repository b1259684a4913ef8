"""Scores for people: one aligned line each, and below it why, where there is something to say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import IO

import click

from anomaly.records import Score, Severity
from anomaly.sinks.interface import Sink
from anomaly.sinks.ndjson import timestamp
from anomaly.sinks.visible import columns, visible
from anomaly.sinks.wording import sentence, summary

_HEADER = f"{'time':<14} {'user':<10} {'score':>5} {'risk':>5} {'severity':<8} action"
_USER = 10
_SEVERITY = 8
_INDENT = "  "
# Narrower than this the fixed columns leave no room for the action.
_NARROWEST = 60
_COLOURS = {Severity.NOTICE: "cyan", Severity.WARNING: "yellow", Severity.CRITICAL: "red"}


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
        before = f"{clock(action.time) or 'no time':<14} {user} {points(score.score)} {points(score.risk)} "
        room = self._width - columns(before) - _SEVERITY - 1
        what = self._visible(summary(action, room), room)
        yield f"{before}{self._severity(score)} {what}"
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
