"""Scores and alerts as documents of the Elastic Common Schema, version 8.11: one line of JSON each.

Source: the field reference of ECS 8.11. What ECS has no field for stands below ``anomaly``, as ECS asks of fields
of one's own. Values are cut where an index would no longer hold them (:mod:`anomaly.sinks.jsonline`); the format
that repeats a row whole is ``json``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import isfinite
from typing import IO, Any

from anomaly.osquery import Action
from anomaly.records import Alert, Reason, Score, Severity
from anomaly.sinks.interface import Sink
from anomaly.sinks.jsonline import clip, filled, finite, line, shortened
from anomaly.sinks.ndjson import reason_object, timestamp
from anomaly.sinks.observed import End, Kind, Observed, observe
from anomaly.sinks.visible import visible
from anomaly.sinks.wording import headline, sentence, summary

VERSION = "8.11.0"

_ROOM = 200
_KEYWORD = 1024  # what ECS's mapping indexes of a keyword
_NAMELESS = "host:"

# Severity as Elastic's own rules number it: low, medium, critical.
_SEVERITIES = {Severity.NONE: 0, Severity.NOTICE: 21, Severity.WARNING: 47, Severity.CRITICAL: 99}

# What a row that came, and one that went, is called.
_TYPES = {
    Kind.PROCESS: ("start", "end"),
    Kind.FILE: ("access", "info"),
    Kind.NETWORK: ("start", "end"),
    Kind.SESSION: ("start", "end"),
    Kind.AUTHENTICATION: ("info", "info"),
    Kind.CONFIGURATION: ("creation", "deletion"),
    Kind.DRIVER: ("start", "end"),
    Kind.HOST: ("change", "change"),
    Kind.OTHER: ("info", "info"),
}
_FILE_TYPES = {
    "CREATED": "creation", "DELETED": "deletion", "UPDATED": "change", "ATTRIBUTES_MODIFIED": "change",
    "MOVED_FROM": "deletion", "MOVED_TO": "creation", "OPENED": "access", "ACCESSED": "access",
    "create": "creation", "unlink": "deletion", "write": "change", "open": "access", "rename": "change",
}  # fmt: skip
# Rows that report what is there, not that it began.
_STANDING = frozenset({"shell_history", "listening_ports"})


class EcsSink(Sink):
    """Writes one ASCII line a score, and flushes once a batch.

    Parameters
    ----------
    stream : IO[str]
        Where the lines go. It stays the caller's.
    clock : callable, optional
        Seconds since 1970, for actions whose line has no time: ECS wants one of each document.
    """

    def __init__(self, stream: IO[str], clock: Callable[[], float] = time.time) -> None:
        self._stream, self._clock = stream, clock

    def write(self, scores: Sequence[Score]) -> None:
        """Hand on the scores; raises OSError where they cannot be."""
        now = int(self._clock())
        self._stream.write(b"".join(line(score_document(score, now)) for score in scores).decode("ascii"))
        self._stream.flush()


def score_document(score: Score, now: int) -> dict[str, Any]:
    """Give a score as an ECS event.

    Parameters
    ----------
    score
        What was made of an action.
    now
        Seconds since 1970, which stand for the time where the log has none.
    """
    score = shortened(score)
    action = score.action
    seen = observe(action)
    event = {
        "kind": "event",
        "id": clip(score.id, _KEYWORD),
        "action": clip(f"{action.query}-{action.verb}", _KEYWORD),
        "category": [] if seen.kind is Kind.OTHER else [seen.kind.value],
        "type": _types(action, seen),
        "dataset": "anomaly.score",
        "severity": _SEVERITIES[score.severity],
        "risk_score": _risk(score),
        "reason": _reason(score.reasons),
    }
    document = _document(action.time, now, event, action, seen)
    document["message"] = visible(summary(action, _ROOM), _ROOM)
    document["anomaly"] = _own(score, score.severity, score.reasons)
    return _with_columns(document, action)


def alert_document(alert: Alert, now: int) -> dict[str, Any]:
    """Give an alert as an ECS alert: its worst action, and how many there were.

    Parameters
    ----------
    alert
        The alert as it stands. Every update is a document of its own with the same ``event.id``; what makes it
        another one is ``anomaly.alert.update``.
    now
        Seconds since 1970, which stand for the time where the log has none.
    """
    worst = shortened(alert.worst)
    event = {
        "kind": "alert",
        "id": clip(alert.id, _KEYWORD),
        "action": "alert-closed" if alert.closed else "alert-updated" if alert.update else "alert-created",
        "category": ["intrusion_detection"],
        "type": ["info"],
        "dataset": "anomaly.alert",
        "start": timestamp(alert.first),
        "end": timestamp(alert.last),
        "severity": _SEVERITIES[alert.severity],
        "risk_score": _risk(worst),
        "reason": _reason(alert.reasons),
    }
    document = _document(alert.last, now, event, worst.action, observe(worst.action))
    document["message"] = headline(alert, _ROOM)
    model = worst.model
    document["rule"] = {
        "name": "Unusual behaviour of a user",
        "category": "Behaviour",
        "ruleset": "anomaly",
        "id": model.algorithm,
        "version": None if model.version is None else str(model.version),
    }
    document["anomaly"] = _own(worst, alert.severity, alert.reasons) | {
        "alert": {"count": alert.count, "update": alert.update, "closed": alert.closed}
    }
    return _with_columns(document, worst.action)


def _with_columns(document: dict[str, Any], action: Action) -> dict[str, Any]:
    """Leave out what is not known, but nothing that the row says."""
    document = filled(document)
    document["anomaly"]["columns"] = action.columns
    return document


def _document(seconds: int, now: int, event: dict[str, Any], action: Action, seen: Observed) -> dict[str, Any]:
    user, number = _user(action.user)
    source, destination = (
        (seen.there, seen.here) if seen.incoming or seen.kind is Kind.SESSION else (seen.here, seen.there)
    )
    ends = {"source": _end(source), "destination": _end(destination)}
    if action.query == "listening_ports":
        ends = {"server": _end(seen.here)}
    ips = [end.ip for end in (seen.here, seen.there) if end and end.ip]
    known = timestamp(seconds)
    return {
        "@timestamp": known or timestamp(now),
        "ecs": {"version": VERSION},
        "event": event | {"module": "anomaly", "created": None if known else timestamp(now)},
        "user": {"name": user, "id": number},
        "host": {"name": clip(action.host, _KEYWORD)},
        "process": _process(seen),
        "file": _file(seen),
        "related": {
            "user": [user] if user else [],
            "hosts": [clip(action.host, _KEYWORD)] if action.host else [],
            "ip": list(dict.fromkeys(ips)),
        },
    } | ends


def _user(name: str) -> tuple[str | None, str | None]:
    """Tell a name from a number; a row that names nobody belongs to a host, which is no user."""
    if name.startswith(_NAMELESS):
        return None, None
    return (None, clip(name[4:], _KEYWORD)) if name.startswith("uid:") else (clip(name, _KEYWORD), None)


def _process(seen: Observed) -> dict[str, Any]:
    if (process := seen.process) is None:
        return {}
    return {
        "pid": process.pid,
        "name": clip(process.name, _KEYWORD),
        "executable": clip(process.path, _KEYWORD),
        "command_line": process.command,
        "working_directory": clip(process.directory, _KEYWORD),
        "parent": {"pid": process.parent},
    }


def _file(seen: Observed) -> dict[str, Any]:
    directory, _, name = seen.file.rpartition("/")
    return {
        "path": clip(seen.file, _KEYWORD),
        "name": clip(name, _KEYWORD),
        "directory": clip(directory, _KEYWORD),
    }


def _end(end: End | None) -> dict[str, Any]:
    return {} if end is None else {"ip": end.ip, "address": end.ip, "port": end.port}


def _types(action: Action, seen: Observed) -> list[str]:
    if seen.kind is Kind.OTHER:
        return []
    if action.verb == "snapshot" or action.baseline or action.query in _STANDING:
        return ["info"]
    came, went = _TYPES[seen.kind]
    if action.query.endswith("file_events"):
        column = action.columns.get("action") or action.columns.get("operation", "")
        return [_FILE_TYPES.get(column, "info")]
    types = [came if action.verb == "added" else went]
    return ["connection", *types] if seen.kind is Kind.NETWORK else types


def _risk(score: Score) -> float | None:
    """Give the higher of the two figures, which both are 0 to 100."""
    figures = [figure for figure in (score.score, score.risk) if figure is not None and isfinite(figure)]
    return finite(max(figures)) if figures else None


def _reason(reasons: Sequence[Reason]) -> str | None:
    return clip("; ".join(sentence(reason, _ROOM) for reason in reasons[:3]), _KEYWORD) or None


def _own(score: Score, severity: Severity, reasons: Sequence[Reason]) -> dict[str, Any]:
    """Give what ECS has no field for."""
    model, action = score.model, score.action
    return {
        "score": finite(score.score),
        "risk": finite(score.risk),
        "surprise": finite(score.surprise),
        "severity": severity.value,
        "user": clip(action.user, _KEYWORD),
        "query": clip(action.query, _KEYWORD),
        "verb": action.verb,
        "baseline": action.baseline,
        "event": clip(score.id, _KEYWORD),
        "model": {"algorithm": model.algorithm, "version": model.version, "state": model.state},
        "reasons": [reason_object(reason) for reason in reasons],
    }
