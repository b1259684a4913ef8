"""The forms an alert is written in, by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from anomaly.records import Alert
from anomaly.sinks.alert_json import alert_object
from anomaly.sinks.alert_text import alert_text
from anomaly.sinks.ecs import alert_document
from anomaly.sinks.jsonline import line
from anomaly.sinks.ocsf import finding

Encode = Callable[[Alert], bytes]
"""Writes an alert, with a newline at the end."""

_FORMATS: Final[Mapping[str, Callable[[Alert, int], bytes]]] = {
    "text": lambda alert, _: alert_text(alert).encode("utf-8", "backslashreplace"),
    "json": lambda alert, _: line(alert_object(alert)),
    "ecs": lambda alert, now: line(alert_document(alert, now)),
    "ocsf": lambda alert, now: line(finding(alert, now)),
}

FORMATS = tuple(_FORMATS)
"""For people; our own JSON; Elastic Common Schema; OCSF Detection Finding."""


def encoder(name: str, clock: Callable[[], float] = time.time) -> Encode:
    """Return what writes alerts in a format of :data:`FORMATS`; the clock is for what the log does not date."""
    write = _FORMATS[name]
    return lambda alert: write(alert, int(clock()))
