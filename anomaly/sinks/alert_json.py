"""An alert as JSON of our own, one line each, described by ``alert.schema.json`` beside it."""

from __future__ import annotations

import json
from typing import Any

from anomaly.records import Alert
from anomaly.sinks.jsonline import clip, shortened
from anomaly.sinks.ndjson import encode, reason_object, timestamp
from anomaly.sinks.wording import headline

SCHEMA = 1
"""Number of the format; a change that could break a reader raises it."""


def alert_object(alert: Alert) -> dict[str, Any]:
    """Give an alert as ``alert.schema.json`` describes it; ``worst`` is as ``score.schema.json`` does."""
    return {
        "schema": SCHEMA,
        "id": clip(alert.id),
        "update": alert.update,
        "closed": alert.closed,
        "user": clip(alert.user),
        "host": clip(alert.host),
        "severity": alert.severity.value,
        "first": timestamp(alert.first),
        "last": timestamp(alert.last),
        "count": alert.count,
        "message": headline(alert),
        "reasons": [reason_object(reason) for reason in alert.reasons],
        "worst": json.loads(encode([shortened(alert.worst)])),
    }
