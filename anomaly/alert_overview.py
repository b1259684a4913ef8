"""Tables of alerts and suppressions, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import structs

from anomaly.alert_journal import Told, told
from anomaly.overview import table
from anomaly.records import Alert, Reason
from anomaly.sinks.ndjson import encode, timestamp
from anomaly.sinks.visible import visible
from anomaly.suppression import day_of, load

Row = dict[str, Any]

_UNKNOWN = "-"
_USER = 12
_NOTE = 32
_WIDTH = 80


def alert_lines(state: Path, user: str | None, since: int | None) -> Iterator[str]:
    """Yield two lines an alert, for a terminal of 80 columns: what and whose it is, and why."""
    alerts = [one.alert for one in _chosen(state, user, since)]
    lines = iter(list(table([_row(alert) for alert in alerts])))
    yield from islice(lines, 1)
    for line, alert in zip(lines, alerts, strict=True):
        yield line
        yield f"  {visible(_why(alert), _WIDTH - 2)}"


def _row(alert: Alert) -> Row:
    return {
        "last": (timestamp(alert.last) or _UNKNOWN)[5:16].replace("T", " "),
        "user": alert.user[:_USER],
        "severity": alert.severity.value,
        "actions": alert.count,
        "state": "closed" if alert.closed else "open",
        "id": alert.worst.id,
    }


def _why(alert: Alert) -> str:
    """Say what the worst action was and why, and then what else weighed much: that may be of other queries."""
    own = sorted(alert.worst.reasons, key=lambda reason: -reason.bits)
    things = list(dict.fromkeys(map(_thing, own)))
    others = [thing for thing in dict.fromkeys(map(_thing, alert.reasons)) if thing not in things]
    said = f"{alert.worst.action.query}: {', '.join(things) or 'its window'}"
    return f"{said}; also {', '.join(others)}" if others else said


def _thing(reason: Reason) -> str:
    return f'{reason.field} "{reason.value}"'


def alert_records(state: Path, user: str | None, since: int | None) -> list[Row]:
    """Return a record per alert, whole."""
    return [_record(one.alert) for one in _chosen(state, user, since)]


def suppression_lines(path: Path) -> Iterator[str]:
    """Yield two lines a suppression, for a terminal of 80 columns: which it is, and what it is about."""
    entries, today = load(path), day_of(0)
    rows: list[Row] = [
        {
            "id": entry.id,
            "expires": entry.expires.isoformat(),
            "state": "in force" if entry.applies(today) else "expired",
            "note": entry.note[:_NOTE],
        }
        for entry in entries
    ]
    lines = iter(list(table(rows)))
    yield from islice(lines, 1)
    for line, entry in zip(lines, entries, strict=True):
        yield line
        yield f"  {visible(entry.scope(), _WIDTH - 2)}"


def suppression_records(path: Path) -> list[Row]:
    """Return a record per suppression, whole."""
    today = day_of(0)
    return [
        {name: _text(part) for name, part in structs.asdict(entry).items()} | {"in_force": entry.applies(today)}
        for entry in load(path)
    ]


def _text(part: object) -> object:
    return part.isoformat() if isinstance(part, date) else part


def _chosen(state: Path, user: str | None, since: int | None) -> Iterator[Told]:
    for one in told(state):
        alert = one.alert
        # One of many hosts names none itself, but its worst action does.
        hosts = alert.host, alert.worst.action.host
        if user in (None, alert.user, *(f"{alert.user}@{host}" for host in hosts)) and alert.last >= (since or 0):
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
