"""How a user, an action and its reasons read on so many columns of a terminal, whatever they hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from anomaly.live.board import Entry, Watched
from anomaly.live.choice import Choice
from anomaly.records import Score, Severity
from anomaly.sinks.ndjson import timestamp
from anomaly.sinks.text import clock, points
from anomaly.sinks.visible import columns, visible
from anomaly.sinks.wording import sentence, summary

_WIDE, _MIDDLE = 72, 60
"""Columns from which on a line has all its parts, and from which on it has most."""

_LONGEST = 1200  # of a value, in columns: many lines of it, and not a screen full
_FLAT = "baseline"
_NOTHING = "No reasons: no part of it stands out."
_UNKNOWN = "No reasons: there is no model of this user."


class Row(NamedTuple):
    """One line of the screen."""

    text: str
    severity: Severity = Severity.NONE
    """What may colour it; the text says it too."""


def user_header(width: int) -> str:
    """Name the parts of :func:`user_row`."""
    return _user_line(width, "user", " risk", " high", "actions", "last action", "model", "severity")


def user_row(user: Watched, width: int, *, hosts: bool) -> Row:
    """Say where a user stands; with ``hosts``, of which host."""
    name = f"{user.user}@{user.host}" if hosts and user.host else user.user
    severity = user.severity
    text = _user_line(
        width,
        name,
        points(user.risk),
        points(user.highest),
        f"{user.actions:,}",
        clock(user.last),
        user.state,
        _word(severity),
    )
    return Row(text, severity)


def _user_line(
    width: int, name: str, risk: str, highest: str, actions: str, last: str, state: str, severity: str
) -> str:
    if width >= _WIDE:
        line = f"{_cell(name, 16)} {risk} {highest} {actions:>9} {last:<14} {state:<8} {severity}"
    elif width >= _MIDDLE:
        line = f"{_cell(name, 12)} {risk} {highest} {actions:>9} {state:<8} {severity}"
    else:
        line = f"{_cell(name, 10)} {risk} {actions:>9} {severity}"
    return visible(line, width)


def entry_header(width: int) -> str:
    """Name the parts of :func:`entry_row`."""
    return visible(_entry_start(width, "time", "user", "score", " risk", "severity") + "action", width)


def entry_row(entry: Entry, width: int) -> Row:
    """Say what somebody did, and how rare it is."""
    score = entry.score
    action = score.action
    word = _FLAT if action.baseline else _word(score.severity)
    start = _entry_start(
        width, clock(action.time) or "no time", action.user, points(score.score), points(score.risk), word
    )
    room = max(width - columns(start), 0)
    return Row(start + visible(summary(action, room), room), score.severity)


def _entry_start(width: int, time: str, user: str, score: str, risk: str, severity: str) -> str:
    if width >= _MIDDLE:
        return f"{time:<14} {_cell(user, 10)} {score} {risk} {severity:<8} "
    return f"{_cell(user, 8)} {score} {risk} {severity:<8} "


def details(score: Score, width: int) -> list[Row]:
    """Say all that is known of an action: its figures, why, and its columns."""
    action, severity = score.action, score.severity
    model = score.model
    made = f"{model.algorithm} {model.version}, {model.state}" if model.algorithm else f"no model, {model.state}"
    head = (
        f"{visible(action.user)} on {visible(action.host)}, {timestamp(action.time) or 'at an unknown time'}: "
        f"score {points(score.score).strip()}, risk {points(score.risk).strip()}"
        f"{f', {severity}' if severity.rank else ''} ({made})"
    )
    rows = [Row(line, severity) for line in wrapped(head, width)]
    rows += [Row(line) for reason in score.reasons for line in wrapped(sentence(reason, 2 * width), width)]
    if not score.reasons:
        rows += [Row(line) for line in wrapped(_NOTHING if model.algorithm else _UNKNOWN, width)]
    told = {"action": action.verb, "query": action.query} | action.columns
    rows += [
        Row(line)
        for name, value in told.items()
        for line in wrapped(f"{visible(name, 64)}: {visible(value, _LONGEST)}", width)
    ]
    return rows


def wrapped(text: str, width: int) -> Iterator[str]:
    """Give printable text as lines of so many columns, broken at a space where one is near, and then indented."""
    room = max(width, 8)
    line, taken = "", 0
    for character in text:
        wide = columns(character)
        if taken + wide > room:
            end = line.rfind(" ", room // 2) + 1 or len(line)
            yield line[:end]
            line = "  " + line[end:]
            taken = columns(line)
        line += character
        taken += wide
    yield line


def _cell(text: str, width: int) -> str:
    shown = visible(text, width)
    return shown + " " * (width - columns(shown))


def _word(severity: Severity) -> str:
    return severity.value if severity.rank else ""


def summed_up(choice: Choice, *, follow: bool) -> str:
    """Say which actions are shown, and in which order."""
    parts = ["newest last" if choice.entry_order == "newest" else f"highest {choice.entry_order} first"]
    if choice.paused:
        parts.append(f"paused, {choice.waiting:,} came meanwhile")
    elif choice.entry_order == "newest" and not follow:
        parts.append("not following")
    if choice.least.rank:
        parts.append(choice.least.value if choice.least is Severity.CRITICAL else f"{choice.least} and worse")
    if choice.user is not None:
        parts.append(f"only {choice.user[1]}")
    if choice.text:
        parts.append(f'with "{choice.text}"')
    return f"Actions: {'; '.join(parts)}"
