from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.osquery import Action
from anomaly.records import Alert, ModelRef, Score, Severity
from anomaly.sinks.ecs import EcsSink, alert_document, score_document
from anomaly.sinks.formats import encoder
from anomaly.sinks.jsonline import line

NOW = 1_793_600_000
_TABLE = json.loads((Path(__file__).parent / "ecs-8.11.json").read_bytes())
_FIELDS: dict[str, dict[str, Any]] = _TABLE["fields"]
_PYTHON = {"keyword": str, "wildcard": str, "match_only_text": str, "long": int, "boolean": bool, "float": float}


def leaves(document: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Give each field with its full name."""
    for name, value in document.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def faults(document: dict[str, Any]) -> Iterator[str]:
    """Say what the published schema would not have."""
    yield from (f"{name} is required" for name in ("@timestamp", "ecs") if name not in document)
    for name, value in leaves({key: part for key, part in document.items() if key != "anomaly"}):
        if (field := _FIELDS.get(name)) is None:
            yield f"{name} is no field"
            continue
        values = value if isinstance(value, list) else [value]
        if isinstance(value, list) != bool(field.get("array")):
            yield f"{name} is {'no ' if isinstance(value, list) else 'an '}array"
        yield from (f"{name} is no {field['type']}: {one!r}" for one in values if not fits(field["type"], one))
        yield from (f"{name} is {one!r}" for one in values if one not in field.get("allowed", [one]))
    event = document["event"]
    expected = {kind for category in event.get("category", []) for kind in _TABLE["categories"][category]}
    yield from (f"type {kind} does not go with {event}" for kind in event.get("type", []) if kind not in expected)


def fits(kind: str, value: object) -> bool:
    """Tell whether an index would take the value as this type."""
    if kind == "date":
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    if kind == "ip":
        return bool(ip_address(str(value)))
    if kind == "float" and type(value) is int:
        return True
    return type(value) is _PYTHON[kind]


def of(query: str, verb: str = "added", **row: str) -> dict[str, Any]:
    """Score a row and give its document."""
    action = Action(1793585624, "ws1", "alice", query, verb, row)
    return score_document(Score("f:0", action, 31.0, 12.0, 9.0, ModelRef("LSTM", 1, "ready")), NOW)


def test_an_alert(alert: Alert) -> None:
    """An alert is of kind alert, has the time of its last action, the user, the host, the rule and the figures."""
    document = alert_document(alert, NOW)
    assert list(faults(document)) == []
    assert document["@timestamp"] == "2026-11-02T02:13:44Z"
    event = document["event"]
    assert (event["kind"], event["category"], event["type"]) == ("alert", ["intrusion_detection"], ["info"])
    assert (event["id"], event["severity"], event["risk_score"]) == ("9f2c:18000", 47, 37.24)
    assert (event["start"], event["end"]) == ("2026-11-02T02:11:44Z", "2026-11-02T02:13:44Z")
    assert event["reason"].startswith('new command "nmap", never seen in 12,034; usually ls, git; unusual hour')
    assert (document["user"], document["host"]) == ({"name": "alice"}, {"name": "ws1"})
    assert document["process"] == {"command_line": "nmap -sS 10.0.0.0/24"}
    assert document["rule"]["name"] == "Unusual behaviour of a user"
    assert document["message"].startswith("alice on ws1: 3 unusual actions in 2 min, warning")
    own = document["anomaly"]
    assert own["alert"] == {"count": 3, "update": 0, "closed": False}
    assert (own["score"], own["risk"], own["columns"]) == (37.24, 12.5, alert.worst.action.columns)


@pytest.mark.parametrize(
    ("update", "closed", "action"),
    [(0, False, "alert-created"), (2, False, "alert-updated"), (3, True, "alert-closed")],
)
def test_updates(alert: Alert, update: int, closed: bool, action: str) -> None:  # noqa: FBT001 - a case
    """An update keeps its alert's id and says what it is."""
    document = alert_document(msgspec.structs.replace(alert, update=update, closed=closed), NOW)
    assert (document["event"]["id"], document["event"]["action"]) == ("9f2c:18000", action)


def test_an_unknown_time_is_now(alert: Alert) -> None:
    """ECS wants a time of each document: where the log has none it is that of writing, and said to be."""
    document = alert_document(msgspec.structs.replace(alert, first=0, last=0), NOW)
    assert document["@timestamp"] == document["event"]["created"] == "2026-11-02T06:13:20Z"
    assert "start" not in document["event"]


@pytest.mark.parametrize(
    ("query", "verb", "row", "category", "types"),
    [
        ("process_events", "added", {"path": "/bin/ls"}, ["process"], ["start"]),
        ("processes", "removed", {"name": "ls"}, ["process"], ["end"]),
        ("shell_history", "added", {"command": "ls"}, ["process"], ["info"]),
        ("open_files", "added", {"path": "/etc/a"}, ["file"], ["access"]),
        ("file_events", "added", {"target_path": "/etc/a", "action": "DELETED"}, ["file"], ["deletion"]),
        ("open_sockets", "added", {"remote_address": "10.0.0.7"}, ["network"], ["connection", "start"]),
        ("listening_ports", "added", {"port": "80"}, ["network"], ["info"]),
        ("logged_in_users", "added", {"host": "10.0.0.7"}, ["session"], ["start"]),
        ("user_events", "added", {"address": "10.0.0.7"}, ["authentication"], ["info"]),
        ("crontab", "snapshot", {"command": "ls"}, ["configuration"], ["info"]),
        ("kernel_modules", "removed", {"name": "x"}, ["driver"], ["end"]),
        ("usb_devices", "added", {"vendor": "x"}, ["host"], ["change"]),
        ("syslog", "added", {"message": "x"}, None, None),
    ],
)
def test_categories(
    query: str, verb: str, row: dict[str, str], category: list[str] | None, types: list[str] | None
) -> None:
    """A row of a known table has the category and the types that go with it; of another it has none."""
    document = of(query, verb, **row)
    assert (document["event"].get("category"), document["event"].get("type")) == (category, types)
    assert list(faults(document)) == []


def test_ends_of_connections() -> None:
    """Source is who began; a port that listens is a server."""
    out = of("open_sockets", remote_address="10.0.0.7", remote_port="443", local_address="10.0.0.1")
    assert (out["source"]["ip"], out["destination"]["ip"], out["destination"]["port"]) == (
        "10.0.0.1",
        "10.0.0.7",
        443,
    )
    back = of("socket_events", action="accept", remote_address="10.0.0.7", local_address="10.0.0.1")
    assert (back["source"]["ip"], back["destination"]["ip"]) == ("10.0.0.7", "10.0.0.1")
    assert of("listening_ports", address="10.0.0.1", port="80")["server"]["port"] == 80
    assert of("logged_in_users", host="10.0.0.7")["source"]["ip"] == "10.0.0.7"
    assert out["related"]["ip"] == ["10.0.0.1", "10.0.0.7"]


@pytest.mark.parametrize(
    ("name", "user"), [("alice", {"name": "alice"}), ("uid:1000", {"id": "1000"}), ("host:ws1", None)]
)
def test_users(scan: Score, name: str, user: dict[str, str] | None) -> None:
    """A number is an id, and a host is no user."""
    action = msgspec.structs.replace(scan.action, user=name)
    document = score_document(msgspec.structs.replace(scan, action=action), NOW)
    assert document.get("user") == user
    assert document["anomaly"]["user"] == name


def test_empty_columns_are_kept(scan: Score) -> None:
    """What the row says is repeated, also where it says that something is empty."""
    action = msgspec.structs.replace(scan.action, columns={"tty": ""})
    assert score_document(msgspec.structs.replace(scan, action=action), NOW)["anomaly"]["columns"] == {"tty": ""}


@settings(deadline=None)
@given(st.from_type(Score))
def test_any_score(score: Score) -> None:
    """Whatever the score, its document has only fields of ECS, of their types, beside our own, and is one line."""
    document = score_document(score, NOW)
    assert list(faults(document)) == []
    assert line(document).count(b"\n") == 1


@settings(deadline=None)
@given(st.from_type(Alert))
def test_any_alert(alert: Alert) -> None:
    """The same holds for alerts."""
    document = alert_document(alert, NOW)
    assert list(faults(document)) == []
    written = encoder("ecs", lambda: NOW)(alert)
    assert written.isascii()
    assert json.loads(written)["event"]["kind"] == "alert"


@pytest.mark.parametrize(
    "change",
    [
        {"@timestamp": 5},
        {"userr": {"name": "x"}},
        {"process": {"pid": "7"}},
        {"event": {"type": ["creation"], "category": ["process"]}},
        {"related": {"user": "alice"}},
    ],
)
def test_the_table_refuses_what_does_not_fit(alert: Alert, change: dict[str, Any]) -> None:
    """A field that ECS does not know, or of another type, is a fault: the tests above can fail."""
    try:
        found = list(faults(alert_document(alert, NOW) | change))
    except TypeError:
        return
    assert found


def test_severities(alert: Alert) -> None:
    """The number grows with the severity."""
    replaced = [msgspec.structs.replace(alert, severity=severity) for severity in Severity]
    assert [alert_document(one, NOW)["event"]["severity"] for one in replaced] == [0, 21, 47, 99]


def test_sink(scan: Score, stranger: Score) -> None:
    """The sink writes a line a score, in order, and leaves the stream open."""
    stream = io.StringIO()
    sink = EcsSink(stream, lambda: NOW)
    sink.write([scan, stranger])
    sink.close()
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["user"]["name"], second["user"]["name"]) == ("alice", "bob")
    assert second["@timestamp"] == "2026-11-02T06:13:20Z"
