"""Tables of alerts and suppressions, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anomaly.alert_journal import Told, told
from anomaly.records import Alert, Reason
from anomaly.sinks.ndjson import encode, timestamp
from anomaly.suppression import Suppression, day_of, load

Row = dict[str, Any]

_UNKNOWN = "-"


def alert_rows(state: Path, user: str | None, since: int | None) -> list[Row]:
    """Return a row per alert, for a terminal of 80 columns."""
    return [
        {
            "last": (timestamp(alert.last) or _UNKNOWN)[5:16].replace("T", " "),
            "user": alert.user[:12],
            "severity": alert.severity.value,
            "actions": alert.count,
            "open": not alert.closed,
            "id": alert.id,
            "why": _why(alert.reasons),
        }
        for alert in (one.alert for one in _chosen(state, user, since))
    ]


def alert_records(state: Path, user: str | None, since: int | None) -> list[Row]:
    """Return a record per alert, whole."""
    return [_record(one.alert) for one in _chosen(state, user, since)]


def suppression_rows(path: Path, *, whole: bool) -> list[Row]:
    """Return a row per suppression; with ``whole`` each part has an entry of its own."""
    today = day_of(0)
    rows: list[Row] = []
    for entry in load(path):
        row: Row = {"id": entry.id, "expires": entry.expires.isoformat(), "in_force": entry.applies(today)}
        rows.append(row | (_parts(entry) if whole else {"scope": entry.scope(), "note": entry.note}))
    if not whole:
        for row in rows:
            row["state"] = "in force" if row.pop("in_force") else "expired"
        rows = [{key: row[key] for key in ("id", "expires", "state", "scope", "note")} for row in rows]
    return rows


def _parts(entry: Suppression) -> Row:
    names = ("user", "query", "field", "value", "pattern", "note")
    added = entry.added.isoformat() if entry.added is not None else None
    return {name: getattr(entry, name) for name in names} | {"added": added}


def _chosen(state: Path, user: str | None, since: int | None) -> Iterator[Told]:
    for one in told(state):
        if user in (None, one.alert.user, f"{one.alert.user}@{one.alert.host}") and one.alert.last >= (since or 0):
            yield one


def _record(alert: Alert) -> Row:
    worst = json.loads(encode([alert.worst]))
    return {
        "id": alert.id,
        "user": alert.user,
        "host": alert.host,
        "severity": alert.severity.value,
        "first": timestamp(alert.first),
        "last": timestamp(alert.last),
        "actions": alert.count,
        "update": alert.update,
        "closed": alert.closed,
        "reasons": [
            {"kind": r.kind.value, "field": r.field, "value": r.value, "bits": r.bits} for r in alert.reasons
        ],
        "worst": worst,
    }


def _why(reasons: tuple[Reason, ...]) -> str:
    weightiest = reasons[0] if reasons else None
    return f"{weightiest.field} {weightiest.value}" if weightiest else _UNKNOWN
