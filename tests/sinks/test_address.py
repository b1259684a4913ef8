from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.errors import ConfigError
from anomaly.records import Alert
from anomaly.sinks.address import open_sink, open_sinks, parse
from anomaly.sinks.syslog import SyslogSink

Alerts = Callable[[int], list[Alert]]
Receiving = Callable[..., AbstractContextManager[Any]]
SECRET = "s3cr3t-and-never-shown"  # noqa: S105 - of a test


@pytest.mark.parametrize(
    ("address", "kind", "place", "options", "label"),
    [
        ("-", "-", "", {}, "standard output"),
        ("-?format=json", "-", "", {"format": "json"}, "standard output"),
        ("file:/a b/c", "file", "/a b/c", {}, "/a b/c"),
        ("file:a#b?format=ecs", "file", "a#b", {"format": "ecs"}, "a#b"),
        ("syslog:", "syslog", "", {}, "syslog:"),
        ("syslog:/run/log?rfc=5424", "syslog", "/run/log", {"rfc": "5424"}, "syslog:/run/log"),
        ("syslog+udp://h", "syslog+udp", "//h", {}, "syslog+udp://h"),
        ("syslog+tls://h:1?ca=/c&facility=user", "syslog+tls", "//h:1", {"ca": "/c", "facility": "user"}, "syslog+tls://h:1"),
        (
            "https://h/p?format=theirs#format=ocsf",
            "https",
            "https://h/p?format=theirs",
            {"format": "ocsf"},
            "https://h",
        ),
        ("http://h:80/p?a#", "http", "http://h:80/p?a", {}, "http://h:80"),
    ],
)  # fmt: skip
def test_addresses(address: str, kind: str, place: str, options: dict[str, str], label: str) -> None:
    """Options stand behind ? but for webhooks, whose query is the receiver's own."""
    found = parse(address)
    assert (found.kind, found.place, found.options, found.label) == (kind, place, options, label)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("sylog:", "There is no kind of address for alerts called 'sylog'. Did you mean 'syslog'?"),
        ("/var/log/x", "To write alerts to a file, say so: file:/var/log/x"),
        ("file:", "The address file: needs a path"),
        ("file:/x?fromat=json", "kind file has no option 'fromat'. Did you mean 'format'?"),
        ("file:/x?format=jsn", "The option format of an address for alerts cannot be 'jsn'. Did you mean 'json'?"),
        ("file:/x?format", r"written \?NAME=VALUE&NAME=VALUE"),
        ("https://h/#format", "written #NAME=VALUE&NAME=VALUE"),
        ("file:/x?format=json&format=ecs", "The option format of an address of kind file needs one value"),
        ("https://h/x?token_file=/f", r"kind https stand behind #, not behind \?: write #token_file=\.\.\."),
        (
            f"http://h/x?a=b&token_env={SECRET}#format=json",
            "kind http stand behind #, not behind &: write #token_env=",
        ),
        ("file:X#format=text", r"kind file stand behind \?, not behind #: write \?format=\.\.\."),
        ("syslog+udp://h#facility=user", r"kind syslog\+udp stand behind \?, not behind #: write \?facility="),
        ("syslog:?facility=lokal0", "Did you mean 'local0'?"),
        ("https://h/#token=x", "kind https has no option 'token'. Did you mean 'token_env'"),
        ("", r"There is no kind of address for alerts\. There is: -, file"),
        (f"hooks.example.org/{SECRET}", r"There is no kind of address for alerts\. There is: -, file"),
    ],
)
def test_addresses_that_are_refused(address: str, said: str) -> None:
    """What does not fit is refused with what was probably meant; what may be a secret is not repeated."""
    with pytest.raises(ConfigError, match=said.replace("?'", r"\?'") if said.endswith("?") else said) as caught:
        parse(address)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("syslog+udp:host", "is written syslog"),
        ("syslog+udp://", "is written syslog"),
        (f"syslog+udp://{'a' * 64}", "is written syslog"),
        ("syslog+tcp://h:x", "is written syslog"),
        ("syslog+tcp://h:0", "is written syslog"),
        ("syslog+tls://h/path", "is written syslog"),
        ("syslog+tls://h?ca=/nonexistent", "cannot be read as certificates"),
        ("file:/nonexistent/x", "Alerts cannot be written to /nonexistent/x: No such file or directory"),
        ("file:/x\0/../y", r"^/x\\x00/\.\./y, in an address, is no path"),
        ("file:/x\ud800", "is no path"),
        (
            "file:~no-such-user-here/x",
            "^~no-such-user-here/x, in an address, is no path: write it in full",
        ),
        ("syslog:/x\0", "is no path"),
        ("syslog+tls://h?ca=%00", "is no path"),
        ("https://h/#token_file=~no-such-user-here/x", "is no path"),
        ("https://h/#ca=%00", "is no path"),
        ("-", "Alerts cannot go to standard output here"),
        ("https://h/#token_env=A&token_file=b", "from token_file or from token_env, not from both"),
        ("https://h/#token_env=UNSET", "environment variable UNSET, which holds the webhook's token, is not set"),
        (f"https://u:{SECRET}@h/", "no user name and no password"),
    ],
)
def test_what_cannot_be_opened(address: str, said: str, tmp_path: Path) -> None:
    """What an address names is looked at when it is opened, not when the first alert comes."""
    with pytest.raises(ConfigError, match=said) as caught:
        open_sink(address, spool=tmp_path, environ={})
    assert SECRET not in str(caught.value)


@settings(deadline=None)
@given(st.text() | st.from_regex(r"(file|syslog(\+udp)?|https?)(:|://).*", fullmatch=True))
def test_any_address(text: str) -> None:
    """Any text is an address or a ConfigError."""
    try:
        parse(text)
    except ConfigError:
        return


def test_each_kind_opens(receiving: Receiving, alerts: Alerts, tmp_path: Path) -> None:
    """An alert comes to all of several addresses at once, in each one's format."""
    out, said, log = io.StringIO(), list[str](), tmp_path / "log"
    with (
        receiving() as there,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        local.bind(str(log))
        udp.bind(("127.0.0.1", 0))
        for opened in (local, udp):
            opened.settimeout(10)
        addresses = [
            "-",
            f"file:{tmp_path}/alerts?format=ocsf",
            f"syslog:{log}",
            f"syslog+udp://127.0.0.1:{udp.getsockname()[1]}?facility=local1&format=json",
            f"http://127.0.0.1:{there.port}/x?y=z#format=ecs&token_env=HOOK",
        ]
        environ = {"HOOK": SECRET}
        with closing(
            open_sinks(addresses, spool=tmp_path / "spool", say=said.append, stdout=out, environ=environ)
        ) as sinks:
            sinks.write(alerts(1))
            near, far = local.recv(9000), udp.recv(9000)
            there.wait(1)
        (request,) = there.requests
    assert out.getvalue().startswith("2026-11-02 02:13:44 alice on ws1")
    assert json.loads((tmp_path / "alerts").read_bytes())["class_uid"] == 2004
    assert near.startswith(b"<132>")
    assert b" anomaly[" in near
    assert far.startswith(b"<140>1 ")
    assert json.loads(far.partition(b"] ")[2])["id"] == "9f2c:0"
    assert (request.target, request.headers["Authorization"]) == ("/x?y=z", f"Bearer {SECRET}")
    assert json.loads(request.body)["event"]["kind"] == "alert"
    assert said == []


def test_the_default_ports(tmp_path: Path) -> None:
    """Without a port it is the one of the transport."""
    for kind, port in (("udp", 514), ("tcp", 514), ("tls", 6514)):
        sink = open_sink(f"syslog+{kind}://127.0.0.1", spool=tmp_path)
        assert isinstance(sink, SyslogSink)
        wire = sink._queue._carrier
        assert (wire._host, wire._port) == ("127.0.0.1", port)  # type: ignore[attr-defined]
        sink.close()


def test_two_webhooks_wait_apart(alerts: Alerts, tmp_path: Path) -> None:
    """Each receiver has its own spool, whatever the format; the same receiver twice is refused."""
    addresses = ["http://127.0.0.1:1/a", "http://127.0.0.1:1/b#format=ecs"]
    with closing(open_sinks(addresses, spool=tmp_path, say=lambda _: None)) as sinks:
        sinks.write(alerts(2))
        assert sinks.health().waiting == 4
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(ConfigError, match=r"Alerts would go to http://127\.0\.0\.1:1 twice"):
        open_sinks([addresses[0], f"{addresses[0]}#format=ecs"], spool=tmp_path, say=lambda _: None)
    with closing(open_sinks(addresses, spool=tmp_path, say=lambda _: None)) as sinks:
        assert sinks.health().waiting == 4
