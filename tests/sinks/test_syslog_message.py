from __future__ import annotations

import re
import time
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.records import Alert, Severity
from anomaly.sinks.formats import encoder
from anomaly.sinks.syslog_message import FACILITIES, SD_ID, local_message, message
from anomaly.sinks.visible import visible

LOCAL0 = FACILITIES["local0"]


class Parsed(NamedTuple):
    """A message, taken apart."""

    facility: int
    severity: int
    time: str
    name: str
    kind: str
    data: dict[str, str]
    text: str


def parse(data: bytes) -> Parsed:
    """Read a message by the grammar of RFC 5424, section 6, one character after another."""
    match = re.match(
        rb"<([1-9]?[0-9]|1[0-9]{2})>1 (-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) ([!-~]{1,255}) ([!-~]{1,48})"
        rb" ([!-~]{1,128}) ([!-~]{1,32}) ",
        data,
    )
    assert match is not None
    parameters, rest = structured(data[match.end() :].decode("utf-8"))
    assert rest[:1] in {"", " "}
    text = rest[1:].removeprefix("\ufeff")
    priority = int(match[1])
    return Parsed(
        priority // 8, priority % 8, match[2].decode(), match[4].decode(), match[6].decode(), parameters, text
    )


def structured(text: str) -> tuple[dict[str, str], str]:
    """Read the one element of structured data that there is."""
    if text.startswith("-"):
        return {}, text[1:]
    assert text.startswith(f"[{SD_ID} ")
    found: dict[str, str] = {}
    place = len(SD_ID) + 1
    while text[place] != "]":
        match = re.compile(r' ([a-z]{1,32})="').match(text, place)
        assert match is not None
        place, value = match.end(), ""
        while text[place] != '"':
            assert text[place] != "]"
            if text[place] == "\\" and text[place + 1] in '"\\]':
                place += 1
            value += text[place]
            place += 1
        found[match[1]] = value
        place += 1
    return found, text[place + 1 :]


def of(alert: Alert, longest: int = 8192, **changes: Any) -> Parsed:  # noqa: ANN401 - any field of an alert
    """Write and read an alert."""
    written = message(msgspec.structs.replace(alert, **changes), facility=LOCAL0, longest=longest)
    assert len(written) <= longest
    return parse(written)


def test_message(alert: Alert) -> None:
    """Header, data and text say the alert; the text is marked as UTF-8."""
    parsed = of(alert)
    assert parsed[:5] == (16, 4, "2026-11-02T02:13:44Z", "anomaly", "ALERT")
    assert parsed.data == {
        "id": "9f2c:18000",
        "update": "0",
        "severity": "warning",
        "user": "alice",
        "host": "ws1",
        "count": "3",
        "score": "37.2",
        "risk": "12.5",
        "query": "shell_history",
        "event": "9f2c:18230",
        "first": "2026-11-02T02:11:44Z",
        "reason": 'new command "nmap", never seen in 12,034; usually ls, git',
    }
    assert parsed.text.startswith("alice on ws1: 3 unusual actions in 2 min, warning; worst: +shell_history nmap")
    assert b"] \xef\xbb\xbfalice" in message(alert, facility=LOCAL0, longest=8192)


@pytest.mark.parametrize(
    ("severity", "number"),
    [(Severity.NONE, 6), (Severity.NOTICE, 5), (Severity.WARNING, 4), (Severity.CRITICAL, 2)],
)
def test_priorities(alert: Alert, severity: Severity, number: int) -> None:
    """The severity is that of RFC 5424 by the same name."""
    assert of(alert, severity=severity).severity == number


@pytest.mark.parametrize(
    ("changes", "kind"), [({}, "ALERT"), ({"update": 1}, "UPDATE"), ({"update": 2, "closed": True}, "CLOSE")]
)
def test_kinds(alert: Alert, changes: dict[str, Any], kind: str) -> None:
    """MSGID tells the first word from the updates and the last."""
    assert of(alert, **changes).kind == kind


def test_without_a_time(alert: Alert) -> None:
    """A time that the log does not tell is no value."""
    assert of(alert, first=0, last=0).time == "-"


@pytest.mark.parametrize("name", ['a"b', "a]b", "a\\b", '\\"]', "a\nb\0\x1b[2J", "müller 日本", "\udc80"])
def test_escapes(alert: Alert, name: str) -> None:
    """A value reads back as it is shown to people, whatever is in it, and no control character goes out."""
    written = message(msgspec.structs.replace(alert, user=name), facility=LOCAL0, longest=8192)
    assert parse(written).data["user"] == visible(name)
    assert written.decode("utf-8").replace("\ufeff", "").isprintable()


@settings(deadline=None)
@given(st.from_type(Alert), st.integers(480, 8192))
def test_any_alert(alert: Alert, longest: int) -> None:
    """Whatever the alert and the room, the message keeps the grammar and the room, and is one line of UTF-8."""
    parsed = of(alert, longest)
    values = {"id": alert.id, "user": alert.user, "host": alert.host}
    for name, value in values.items():
        assert parsed.data.get(name, visible(value, 128)) == visible(value, 128)
    assert parsed.text.isprintable()


def test_what_is_left_out(alert: Alert) -> None:
    """With little room the text stays and the data goes, the id last; with less the text is cut."""
    assert list(of(alert, 280).data.items()) == list(of(alert).data.items())[: len(of(alert, 280).data)]
    assert "id" in of(alert, 280).data
    assert "reason" not in of(alert, 280).data
    assert of(alert, 280).text == of(alert).text
    assert of(alert, 100).data == {}
    assert of(alert).text.startswith(of(alert, 100).text)


def test_a_document_as_text(alert: Alert) -> None:
    """With a format the text is that document, without a byte order mark; where it does not fit, the sentence."""
    encode = encoder("ecs", lambda: 0.0)
    whole = message(alert, facility=LOCAL0, longest=8192, encode=encode)
    assert whole.endswith(b"] " + encode(alert).rstrip())
    assert message(alert, facility=LOCAL0, longest=1024, encode=encode) == message(
        alert, facility=LOCAL0, longest=1024
    )


def test_the_local_form(alert: Alert, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the local socket it is what syslog(3) writes, in local time, with the data behind the text."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    written = local_message(alert, facility=LOCAL0, longest=8192, now=1793585624.0)
    match = re.fullmatch(
        rb"<132>Nov  2 02:13:44 anomaly\[\d+\]: (alice on ws1: .* 10\.0\.0\.0/24) (\[.*)", written
    )
    assert match is not None
    assert structured(match[2].decode())[0] == of(alert).data


@settings(deadline=None)
@given(st.from_type(Alert), st.integers(300, 8192))
def test_any_alert_in_the_local_form(alert: Alert, longest: int) -> None:
    """Whatever the alert and the room, it is one printable line that keeps the room."""
    written = local_message(alert, facility=LOCAL0, longest=longest, now=0.0)
    assert len(written) <= longest
    assert written.decode("utf-8").isprintable()


def test_what_was_logged_is_no_structured_data(alert: Alert) -> None:
    """In the local form the one block there is is ours, whatever the user, the action and the reasons hold."""
    forged = f'/tmp/[{SD_ID} id="0" user="bob" severity="notice"]'  # noqa: S108 - of a test
    worst = msgspec.structs.replace(
        alert.worst, action=msgspec.structs.replace(alert.worst.action, columns={"command": forged})
    )
    reasons = [msgspec.structs.replace(alert.reasons[0], value=forged)]
    harmed = msgspec.structs.replace(alert, user=forged, worst=worst, reasons=tuple(reasons))
    written = local_message(harmed, facility=LOCAL0, longest=8192, now=0.0).decode()
    assert written.count("[anomaly@") == 1
    data, _ = structured(written[written.index("[anomaly@") :])
    assert (data["id"], data["user"]) == (alert.id, forged.replace("[", "("))
    assert f"({SD_ID} id=" in written.partition("[anomaly@")[0]
