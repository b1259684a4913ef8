from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anomaly.records import Alert
from anomaly.sinks.syslog import Local, SyslogSink, Tcp, Tls, Udp, Wire
from anomaly.sinks.syslog_message import FACILITIES

Alerts = Callable[[int], list[Alert]]
LOCAL0 = FACILITIES["local0"]
RSYSLOGD = shutil.which("rsyslogd") or shutil.which("rsyslogd", path="/usr/sbin:/sbin")
ODD = 'a"b\\]c é\n\x1b[31m'

_CONFIGURATION = """
global(workDirectory="{0}" net.enableDNS="off")
module(load="imudp")
module(load="imtcp")
module(load="imuxsock" SysSock.Use="off")
module(load="mmpstrucdata")
template(name="record" type="list" option.jsonf="on") {{
  property(outname="priority" name="pri" format="jsonf")
  property(outname="name" name="app-name" format="jsonf")
  property(outname="kind" name="msgid" format="jsonf")
  property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="data" name="$!rfc5424-sd" format="jsonf")
  property(outname="text" name="msg" format="jsonf")
}}
input(type="imudp" address="127.0.0.1" port="{1}")
input(type="imtcp" address="127.0.0.1" port="0" listenPortFileName="{0}/port")
input(type="imuxsock" Socket="{0}/log")
input(type="imuxsock" Socket="{0}/log5424" useSpecialParser="off" parseHostname="on"
      ignoreTimestamp="off")
action(type="mmpstrucdata")
action(type="omfile" file="{0}/out" template="record" flushOnTXEnd="on")
"""


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def free_port() -> int:
    """Find a UDP port that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
        return port


class Receiver:
    """A syslog daemon that writes what it has understood to a file."""

    def __init__(self, place: Path, port: int) -> None:
        self.place, self.udp = place, port
        self.tcp = int((place / "port").read_text())

    def received(self, number: int) -> list[dict[str, Any]]:
        """Wait for so many messages."""
        out = self.place / "out"
        until(lambda: out.exists() and out.read_bytes().count(b"\n") >= number)
        return [json.loads(line) for line in out.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """Run a real rsyslogd, of our own, on loopback and in a directory of its own."""
    if RSYSLOGD is None:
        pytest.skip("there is no rsyslogd on this machine (Debian: apt-get install rsyslog)")
    place, port = tmp_path_factory.mktemp("rsyslog"), free_port()
    (place / "conf").write_text(_CONFIGURATION.format(place, port))
    command = [RSYSLOGD, "-n", "-C", "-f", str(place / "conf"), "-i", str(place / "pid")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(
                lambda: process.poll() is not None or ((place / "port").exists() and (place / "log5424").exists())
            )
            assert process.poll() is None, "rsyslogd ended at once"
            until(lambda: bool((place / "port").read_text()))
            yield Receiver(place, port)
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture
def receiver(daemon: Receiver) -> Receiver:
    """Give the daemon with nothing received yet."""
    with suppress(FileNotFoundError):
        (daemon.place / "out").write_bytes(b"")
    return daemon


def wire(kind: str, receiver: Receiver) -> Wire:
    """Give a way to the daemon."""
    match kind:
        case "udp":
            return Udp("127.0.0.1", receiver.udp)
        case "tcp":
            return Tcp("127.0.0.1", receiver.tcp)
        case _:
            return Local(receiver.place / kind)


@pytest.mark.parametrize("kind", ["udp", "tcp", "log5424"])
def test_rsyslog_understands(kind: str, receiver: Receiver, alerts: Alerts) -> None:
    """A real rsyslogd reads each part of each message, in order, however odd the user's name."""
    sent = [msgspec.structs.replace(alert, user=ODD, update=number) for number, alert in enumerate(alerts(20))]
    with closing(SyslogSink(wire(kind, receiver), facility=LOCAL0)) as sink:
        sink.write(sent)
    found = receiver.received(20)
    assert len(found) == 20
    first, second = found[:2]
    assert (first["priority"], first["name"], first["kind"]) == ("132", "anomaly", "ALERT")
    assert (first["time"], second["kind"]) == ("2026-11-02T02:13:44Z", "UPDATE")
    assert (
        first["text"].removeprefix("\ufeff").startswith('a"b\\]c é\\n\\x1b[31m on ws1: 3 unusual actions in 2 min')
    )
    data = first["data"] if isinstance(first["data"], dict) else json.loads(first["data"])
    (parameters,) = data.values()
    assert parameters["count"] == "3"
    assert parameters["user"] == 'a"b\\]c é\\n\\x1b[31m'
    assert [one["kind"] for one in found] == ["ALERT"] + ["UPDATE"] * 19


def test_rsyslog_understands_the_local_form(receiver: Receiver, alerts: Alerts) -> None:
    """On a local socket as rsyslog has it by default, the message is ours by name, severity and text."""
    with closing(SyslogSink(Local(receiver.place / "log"), facility=LOCAL0, is_local=True)) as sink:
        sink.write(alerts(1))
    (found,) = receiver.received(1)
    assert (found["priority"], found["name"]) == ("132", "anomaly")
    assert found["text"].lstrip().startswith("alice on ws1: 3 unusual actions in 2 min, warning; worst:")
    assert '[anomaly@32473 id="9f2c:0"' in found["text"]


def test_a_receiver_that_comes_late(alerts: Alerts, tmp_path: Path) -> None:
    """What is written before anybody listens waits, and is sent in order once there is a socket."""
    path = tmp_path / "log"
    with closing(SyslogSink(Local(path), facility=LOCAL0)) as sink:
        sink.write(alerts(3))
        until(lambda: sink.health().trouble is not None)
        assert sink.health()[:2] == (3, 0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
            opened.bind(str(path))
            opened.settimeout(10)
            assert [b'id="9f2c:%d"' % number in opened.recv(9000) for number in range(3)] == [True] * 3
    assert sink.health() == (0, 0, None)


def test_a_local_stream(alerts: Alerts, tmp_path: Path) -> None:
    """Where the local socket is one of a stream, messages are lines."""
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as opened:
        opened.bind(str(path))
        opened.listen()
        with closing(SyslogSink(Local(path), facility=LOCAL0)) as sink:
            sink.write(alerts(2))
        taken, _ = opened.accept()
        with taken, taken.makefile("rb") as lines:
            assert [line.endswith(b"10.0.0.0/24\n") for line in lines] == [True, True]


@contextmanager
def served(
    context: ssl.SSLContext | None = None, *, connections: int = 1
) -> Iterator[tuple[int, list[bytes], threading.Semaphore]]:
    """Take connections, one after another, each until a message has come; give the port and what came."""
    came: list[bytes] = []
    told = threading.Semaphore(0)

    def take() -> None:
        for _ in range(connections):
            plain, _ = opened.accept()
            with suppress(OSError), plain:
                stream = context.wrap_socket(plain, server_side=True) if context else plain
                with stream, stream.makefile("rb") as data:
                    length = data.read1(4).partition(b" ")
                    rest = length[2] + data.read(int(length[0]) - len(length[2]))
                    came.append(rest)
            told.release()

    with socket.create_server(("127.0.0.1", 0)) as opened:
        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield opened.getsockname()[1], came, told
        finally:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def test_octets_are_counted(alerts: Alerts) -> None:
    """Over TCP the length stands before each message, so that nothing in it can look like the next."""
    with served() as (port, came, told), closing(SyslogSink(Tcp("127.0.0.1", port), facility=LOCAL0)) as sink:
        sink.write(alerts(1))
        assert told.acquire(timeout=10)
    assert came[0].startswith(b"<132>1 2026-11-02T02:13:44Z ")


def test_a_closed_connection_is_noticed(alerts: Alerts) -> None:
    """A receiver that has closed the connection gets the next message over a new one."""
    first, second = alerts(2)
    both = served(connections=2)
    with both as (port, came, told), closing(SyslogSink(Tcp("127.0.0.1", port), facility=LOCAL0)) as sink:
        sink.write([first])
        assert told.acquire(timeout=10)
        time.sleep(0.01)  # the end of the connection is on its way
        sink.write([second])
        assert told.acquire(timeout=10)
    assert [b'id="9f2c:0"' in came[0], b'id="9f2c:1"' in came[1]] == [True, True]


def test_tls(alerts: Alerts, certificate: Path) -> None:
    """A receiver whose certificate we trust gets the message, framed as over TCP."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    with served(server) as (port, came, told):
        client = ssl.create_default_context(cafile=certificate)
        with closing(SyslogSink(Tls("127.0.0.1", port, client), facility=LOCAL0)) as sink:
            sink.write(alerts(1))
            assert told.acquire(timeout=10)
    assert came[0].startswith(b"<132>1 ")


def test_tls_is_verified(alerts: Alerts, certificate: Path) -> None:
    """A receiver whose certificate nobody vouches for gets nothing; that is told, and the message waits."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    with served(server, connections=2) as (port, came, told):
        sink = SyslogSink(Tls("127.0.0.1", port, ssl.create_default_context()), facility=LOCAL0)
        sink.write(alerts(1))
        assert told.acquire(timeout=10)
        until(lambda: sink.health().trouble is not None)
        assert "certificate verify failed" in (sink.health().trouble or "")
        with pytest.raises(OSError, match="1 alerts were not sent before the end"):
            sink.close()
    assert came == []
