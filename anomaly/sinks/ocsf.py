"""An alert as a Detection Finding of OCSF 1.4 (class 2004), with the profile ``host``.

Source: the Open Cybersecurity Schema Framework, version 1.4.0. What has no attribute there stands in ``unmapped``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from anomaly import __version__
from anomaly.records import Alert, Severity
from anomaly.sinks.jsonline import clip, filled, finite, shortened
from anomaly.sinks.ndjson import reason_object
from anomaly.sinks.observed import End, Observed, Process, observe
from anomaly.sinks.wording import headline, sentence

VERSION = "1.4.0"
CLASS = 2004

_ROOM = 200
_NAMELESS = "host:"
_LEARNING = 4  # of analytic.type_id: machine learning
_REGULAR, _UNKNOWN = 1, 0  # of file.type_id; of device.type_id
_HOSTNAME, _IP, _USER, _COMMAND = 1, 2, 4, 13  # of observable.type_id

_ACTIVITIES = {1: "Create", 2: "Update", 3: "Close"}
_SEVERITIES = {
    Severity.NONE: (1, "Informational"),
    Severity.NOTICE: (2, "Low"),
    Severity.WARNING: (3, "Medium"),
    Severity.CRITICAL: (5, "Critical"),
}


def finding(alert: Alert, now: int) -> dict[str, Any]:
    """Give an alert as a Detection Finding.

    Parameters
    ----------
    alert
        The alert as it stands: told first it is a Create, then an Update, and a Close when its burst is over. All
        have one ``finding_info.uid``; ``metadata.uid`` is each one's own.
    now
        Seconds since 1970, which stand for the time where the log has none.
    """
    worst = shortened(alert.worst)
    activity = 3 if alert.closed else 2 if alert.update else 1
    number, word = _SEVERITIES[alert.severity]
    user, device = _user(alert.user), _device(alert.host)
    seen = observe(worst.action)
    document = {
        "activity_id": activity,
        "activity_name": _ACTIVITIES[activity],
        "category_uid": CLASS // 1000,
        "category_name": "Findings",
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "type_uid": CLASS * 100 + activity,
        "type_name": f"Detection Finding: {_ACTIVITIES[activity]}",
        "severity_id": number,
        "severity": word,
        "is_alert": True,
        "time": (alert.last or now) * 1000,
        "start_time": _milliseconds(alert.first),
        "end_time": _milliseconds(alert.last),
        "count": alert.count,
        "message": headline(alert, _ROOM),
        "metadata": _metadata(alert),
        "finding_info": _info(alert),
        "evidences": [_evidence(worst.action.columns, user, seen)],
        "observables": list(_observables(alert, seen)),
        "actor": {"user": user},
        "device": device,
        "risk_score": None if (risk := _risk(alert)) is None else round(risk),
        "unmapped": {"anomaly": _own(alert)},
    } | _status(alert)
    return filled(document)


def _status(alert: Alert) -> dict[str, Any]:
    """Nobody has looked at it, as far as we know: that its burst is over does not mean that it is resolved."""
    if alert.closed:
        return {"status_id": 99, "status": "Burst over"}
    return {"status_id": 1, "status": "New"}


def _metadata(alert: Alert) -> dict[str, Any]:
    return {
        "version": VERSION,
        "profiles": ["host"],
        "product": {"name": "anomaly", "vendor_name": "osquery-anomaly", "version": __version__},
        "uid": f"{clip(alert.id, 256)}/{alert.update}",
    }


def _info(alert: Alert) -> dict[str, Any]:
    model = alert.worst.model
    return {
        "uid": clip(alert.id, 256) or "-",
        "title": "Unusual behaviour of a user",
        "desc": "; ".join(sentence(reason, _ROOM) for reason in alert.reasons[:3]),
        "types": ["User behaviour"],
        "data_sources": [f"osquery {clip(alert.worst.action.query, 128)}"],
        "created_time": _milliseconds(alert.first),
        "first_seen_time": _milliseconds(alert.first),
        "last_seen_time": _milliseconds(alert.last),
        "analytic": {
            "type_id": _LEARNING,
            "type": "Learning (ML/DL)",
            "name": f"anomaly {model.algorithm or ''}".rstrip(),
            "version": None if model.version is None else str(model.version),
        },
    }


def _evidence(columns: dict[str, str], user: dict[str, Any], seen: Observed) -> dict[str, Any]:
    parts = {
        "actor": {"user": user},
        "process": _process(seen.process),
        "file": _file(seen.file),
        "src_endpoint": _endpoint(seen.there if seen.incoming else seen.here),
        "dst_endpoint": _endpoint(seen.here if seen.incoming else seen.there),
    }
    return {"data": dict(columns)} | filled(parts)


def _process(process: Process | None) -> dict[str, Any]:
    """Give a process whose number is known: OCSF has no other."""
    if process is None or process.pid is None:
        return {}
    parent = {} if process.parent is None else {"pid": process.parent}
    return {
        "pid": process.pid,
        "name": process.name,
        "path": process.path,
        "cmd_line": process.command,
        "working_directory": process.directory,
        "parent_process": parent,
    }


def _file(path: str) -> dict[str, Any]:
    return {"path": path, "name": path.rpartition("/")[2] or path, "type_id": _UNKNOWN} if path else {}


def _endpoint(end: End | None) -> dict[str, Any]:
    return {} if end is None or end.ip is None else {"ip": end.ip, "port": end.port}


def _user(name: str) -> dict[str, Any]:
    if name.startswith(_NAMELESS):
        return {}
    return {"uid": clip(name[4:])} if name.startswith("uid:") else {"name": clip(name)}


def _device(host: str) -> dict[str, Any]:
    return {"name": clip(host), "hostname": clip(host), "type_id": _UNKNOWN} if host else {}


def _observables(alert: Alert, seen: Observed) -> Iterator[dict[str, Any]]:
    """Name what a search would look for."""
    there = "src_endpoint" if seen.incoming else "dst_endpoint"
    for place, number, kind, value in (
        ("actor.user.name", _USER, "User Name", _user(alert.user).get("name")),
        ("device.hostname", _HOSTNAME, "Hostname", clip(alert.host)),
        (f"evidences[0].{there}.ip", _IP, "IP Address", seen.there.ip if seen.there else None),
        ("evidences[0].process.cmd_line", _COMMAND, "Command Line", _process(seen.process).get("cmd_line")),
    ):
        if value:
            yield {"name": place, "type_id": number, "type": kind, "value": clip(value)}


def _risk(alert: Alert) -> float | None:
    figures = [figure for figure in map(finite, (alert.worst.score, alert.worst.risk)) if figure is not None]
    return max(figures, default=None)


def _own(alert: Alert) -> dict[str, Any]:
    """Give what OCSF has no attribute for."""
    worst = alert.worst
    return {
        "severity": alert.severity.value,
        "score": finite(worst.score),
        "risk": finite(worst.risk),
        "surprise": finite(worst.surprise),
        "user": clip(alert.user),
        "query": clip(worst.action.query),
        "verb": worst.action.verb,
        "event": clip(worst.id, 256),
        "update": alert.update,
        "model": {"version": worst.model.version, "state": worst.model.state},
        "reasons": [reason_object(reason) for reason in alert.reasons],
    }


def _milliseconds(seconds: int) -> int | None:
    return seconds * 1000 if seconds else None
