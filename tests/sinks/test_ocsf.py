from __future__ import annotations

import json
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from anomaly.osquery import Action
from anomaly.records import Alert, Severity
from anomaly.sinks.formats import encoder
from anomaly.sinks.ocsf import finding

NOW = 1_793_600_000


@cache
def published(version: str) -> Draft202012Validator:
    """Give the published schema of a Detection Finding with the profile that we name; it allows nothing else."""
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version))
    return Draft202012Validator(schema.get_class_schema("detection_finding", ["host"]))


def of(alert: Alert, query: str, **row: str) -> dict[str, Any]:
    """Give the finding of an alert whose worst action is a row of a query."""
    action = Action(1793585624, "ws1", "alice", query, "added", row)
    return finding(msgspec.structs.replace(alert, worst=msgspec.structs.replace(alert.worst, action=action)), NOW)


@pytest.mark.parametrize("version", ["1.4.0", "1.8.0"])
def test_is_a_detection_finding(alert: Alert, version: str) -> None:
    """It is valid by the version it names, and by the newest that was to be had."""
    document = finding(alert, NOW)
    published(version).validate(document)
    assert (document["class_uid"], document["category_uid"], document["type_uid"]) == (2004, 2, 200401)
    assert document["metadata"]["version"] == "1.4.0"
    assert document["metadata"]["profiles"] == ["host"]
    assert "log_name" not in document["metadata"]  # an alert does not know how its log is called
    assert document["finding_info"]["uid"] == "9f2c:18000"
    assert (document["time"], document["start_time"]) == (1793585624000, 1793585504000)
    assert (document["severity_id"], document["risk_score"], document["count"]) == (3, 37, 3)
    assert document["evidences"][0]["data"] == alert.worst.action.columns
    assert document["actor"] == {"user": {"name": "alice"}}
    assert document["device"]["hostname"] == "ws1"


@pytest.mark.parametrize(
    ("update", "closed", "activity", "status"),
    [(0, False, "Create", "New"), (1, False, "Update", "New"), (2, True, "Close", "Burst over")],
)
def test_activities(
    alert: Alert,
    update: int,
    closed: bool,  # noqa: FBT001 - a case
    activity: str,
    status: str,
) -> None:
    """An alert is created, updated and closed, with one uid of the finding and one of its own for each."""
    document = finding(msgspec.structs.replace(alert, update=update, closed=closed), NOW)
    published("1.4.0").validate(document)
    assert (document["activity_name"], document["status"]) == (activity, status)
    assert document["type_uid"] == 200400 + document["activity_id"]
    assert document["metadata"]["uid"] == f"9f2c:18000/{update}"


def test_evidences(alert: Alert) -> None:
    """Processes whose number is known, files and ends of connections have attributes of their own."""
    process = of(alert, "process_events", pid="7", parent="1", path="/bin/ls", cmdline="ls -l")["evidences"][0]
    assert process["process"] == {
        "pid": 7,
        "name": "ls",
        "path": "/bin/ls",
        "cmd_line": "ls -l",
        "parent_process": {"pid": 1},
    }
    assert of(alert, "open_files", path="/etc/a")["evidences"][0]["file"]["name"] == "a"
    out = of(alert, "open_sockets", remote_address="10.0.0.7", remote_port="443")["evidences"][0]
    assert out["dst_endpoint"] == {"ip": "10.0.0.7", "port": 443}
    into = of(alert, "user_events", address="10.0.0.7")
    assert into["evidences"][0]["src_endpoint"] == {"ip": "10.0.0.7"}
    assert "evidences[0].src_endpoint.ip" in [found["name"] for found in into["observables"]]


def test_without_a_time(alert: Alert) -> None:
    """Where the log has no time it is that of writing."""
    document = finding(msgspec.structs.replace(alert, first=0, last=0), NOW)
    assert document["time"] == NOW * 1000
    assert "start_time" not in document


def test_severities(alert: Alert) -> None:
    """Each severity has the number of its caption."""
    found = [finding(msgspec.structs.replace(alert, severity=severity), NOW) for severity in Severity]
    assert [(one["severity_id"], one["severity"]) for one in found] == [
        (1, "Informational"),
        (2, "Low"),
        (3, "Medium"),
        (5, "Critical"),
    ]


@settings(deadline=None)
@given(st.from_type(Alert))
def test_any_alert(alert: Alert) -> None:
    """Whatever the alert, its finding is valid, and one line of ASCII."""
    written = encoder("ocsf", lambda: NOW)(alert)
    assert written.isascii()
    assert written.count(b"\n") == 1
    published("1.4.0").validate(json.loads(written))


@pytest.mark.parametrize("change", [{"class_uid": 2003}, {"severity_id": 7}, {"more": 1}, {"evidences": [{}]}])
def test_the_schema_refuses_what_does_not_fit(alert: Alert, change: dict[str, Any]) -> None:
    """The published schema is strict: the tests above can fail."""
    assert not published("1.4.0").is_valid(finding(alert, NOW) | change)
