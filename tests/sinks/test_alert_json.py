from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from anomaly.records import Alert, Severity
from anomaly.sinks.alert_json import SCHEMA, alert_object
from anomaly.sinks.formats import encoder
from anomaly.sinks.ndjson import encode


def schema(name: str) -> dict[str, Any]:
    """Read a schema of the package."""
    found: dict[str, Any] = json.loads(files("anomaly.sinks").joinpath(f"{name}.schema.json").read_bytes())
    return found


_ALERT, _SCORE = schema("alert"), schema("score")
_VALID = Draft202012Validator(
    _ALERT, registry=Registry().with_resource(_SCORE["$id"], DRAFT202012.create_resource(_SCORE))
)


def test_alert(alert: Alert) -> None:
    """An alert becomes the object that the schema describes, with its worst action as scores are written."""
    written = json.loads(encoder("json")(alert))
    _VALID.validate(written)
    assert written.pop("worst") == json.loads(encode([alert.worst]))
    assert [reason["kind"] for reason in written.pop("reasons")] == ["new_value", "unusual_hour"]
    assert written == {
        "schema": 1,
        "id": "9f2c:18000",
        "update": 0,
        "closed": False,
        "user": "alice",
        "host": "ws1",
        "severity": "warning",
        "first": "2026-11-02T02:11:44Z",
        "last": "2026-11-02T02:13:44Z",
        "count": 3,
        "message": "alice on ws1: 3 unusual actions in 2 min, warning; worst: +shell_history nmap -sS 10.0.0.0/24",
    }


def test_schema_is_sound() -> None:
    """The schema is one, is strict, and knows what the program has."""
    Draft202012Validator.check_schema(_ALERT)
    assert _ALERT["properties"]["schema"]["const"] == SCHEMA
    assert set(_ALERT["required"]) == set(_ALERT["properties"])
    assert _ALERT["properties"]["severity"]["enum"] == list(Severity)


@pytest.mark.parametrize("change", [{"count": 0}, {"first": "2026-11-02"}, {"more": 1}, {"worst": {}}])
def test_schema_refuses_what_we_do_not_write(alert: Alert, change: dict[str, object]) -> None:
    """A field that is unknown, out of range or of another type is invalid, in the worst action too."""
    assert not _VALID.is_valid(alert_object(alert) | change)


@settings(deadline=None)
@given(st.from_type(Alert))
def test_any_alert(alert: Alert) -> None:
    """Whatever the alert, its line is one line of ASCII and valid, and its message is printable."""
    written = encoder("json")(alert)
    assert written[:-1].decode("ascii").isprintable()
    _VALID.validate(json.loads(written))
    assert json.loads(written)["message"].isprintable()
