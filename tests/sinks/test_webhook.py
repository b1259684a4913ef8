from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.records import Alert
from anomaly.sinks.address import open_sink
from anomaly.sinks.formats import encoder
from anomaly.sinks.http_post import Answer, Post, receiver, secret_from
from anomaly.sinks.spool import Entry, Spool
from anomaly.sinks.webhook import LATEST, Courier, WebhookSink, _key

Alerts = Callable[[int], list[Alert]]
Receiving = Callable[..., AbstractContextManager[Any]]
NOW = 1_793_600_000.0


def post(port: int) -> Post:
    """Make what posts to a port of this machine."""
    to = receiver(f"http://127.0.0.1:{port}/hook")
    return Post(to, secret=secret_from(environ={}), authorities=None, content="application/json")


class Script(Post):
    """Answers as it is told, by the time of a clock that only the test moves."""

    def __init__(self, answer: Callable[[float], Answer | OSError]) -> None:
        super().__init__(
            receiver("https://example.org/"),
            secret=secret_from(environ={}),
            authorities=None,
            content="text/plain",
        )
        self.now = NOW
        self.keys: list[str] = []
        self.tries: list[float] = []
        self._answer = answer

    def send(self, body: bytes, key: str) -> Answer:
        """Note the try, and answer."""
        assert body
        self.tries.append(self.now)
        answer = self._answer(self.now)
        if isinstance(answer, OSError):
            raise answer
        if answer.status == 200:
            self.keys.append(key)
        return answer


@contextmanager
def courier(
    place: Path, number: int, answer: Callable[[float], Answer | OSError], chance: float = 1.0
) -> Iterator[tuple[Courier, Script, Spool]]:
    """Give a courier with so many entries to deliver."""
    with closing(Spool(place)) as spool:
        spool.append([Entry(str(key), "{}") for key in range(number)])
        script = Script(answer)
        yield Courier(spool, script, clock=lambda: script.now, chance=lambda: chance), script, spool


def go(courier: Courier, script: Script, seconds: float) -> None:
    """Let time pass, and the courier do what it would in it."""
    end = script.now + seconds
    while script.now <= end:
        pause = courier.step()
        if pause is None:
            break
        script.now += pause


def test_ten_minutes_down(tmp_path: Path) -> None:
    """A receiver that is down for ten minutes gets everything afterwards, in order, and is asked seldom."""

    def answer(now: float) -> Answer | OSError:
        return ConnectionRefusedError(111, "Connection refused") if now < NOW + 600 else Answer(200, None)

    with courier(tmp_path, 1000, answer) as (carrying, script, spool):
        go(carrying, script, 599)
        assert (carrying.delivered, carrying.trouble) == (0, "Connection refused")
        assert len(script.tries) <= 12
        assert spool.waiting == 1000
        go(carrying, script, 600)
        assert script.keys == [str(number) for number in range(1000)]
        assert script.now <= NOW + 600 + 300
        assert (spool.waiting, carrying.trouble) == (0, None)


def test_pauses_grow(tmp_path: Path) -> None:
    """Each pause is twice the last up to five minutes, and at random as little as half of that."""
    for chance, first in ((1.0, 1.0), (0.0, 0.5)):
        with courier(tmp_path / str(chance), 1, lambda _: Answer(500, None), chance) as (carrying, _, _):
            pauses = [carrying.step() for _ in range(12)]
        assert pauses[:4] == [first, 2 * first, 4 * first, 8 * first]
        assert pauses[-1] == 300 * first


def test_a_try_that_takes_long(tmp_path: Path) -> None:
    """That a receiver has not answered for ten seconds is told while it is waited for, and not after."""
    seen: list[str | None] = []

    def answer(_: float) -> Answer:
        for pause in (10.0, 0.5):
            script.now += pause
            seen.append(carrying.trouble)
        return Answer(200, None)

    with courier(tmp_path, 1, answer) as (carrying, script, _):
        carrying.step()
        assert seen == [None, "there is no whole answer for more than 10 s"]
        assert carrying.trouble is None


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 301, 307, 100])
def test_what_is_tried_again(status: int, tmp_path: Path) -> None:
    """What may get better is kept and tried again, and what is in the way is told."""
    with courier(tmp_path, 1, lambda _: Answer(status, None)) as (carrying, _, spool):
        assert carrying.step() == 1.0
        assert spool.waiting == 1
        assert f"HTTP {status}" in (carrying.trouble or "")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422])
def test_what_is_refused(status: int, tmp_path: Path) -> None:
    """What will not get better is put aside, counted, and not in the way of the next."""
    answers = iter([Answer(status, None), Answer(200, None)])
    with courier(tmp_path, 2, lambda _: next(answers)) as (carrying, script, _):
        assert (carrying.step(), carrying.refused) == (0.0, 1)
        assert carrying.trouble == f"the last one was refused with HTTP {status}"
        assert (carrying.step(), script.keys) == (0.0, ["1"])
    (kept,) = (tmp_path / "refused.ndjson").read_bytes().splitlines()
    assert json.loads(kept) == {"refused": f"HTTP {status}", "entry": {"key": "0", "body": "{}"}}


@pytest.mark.parametrize(
    ("later", "pause"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 1.0),
        ("99999999999999999999", LATEST),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 1.0),
        (formatdate(NOW + 10**7, usegmt=True), LATEST),
        ("-5", 1.0),
        ("soon", 1.0),
        ("", 1.0),
        (None, 1.0),
    ],
)
def test_retry_after(later: str | None, pause: float, tmp_path: Path) -> None:
    """A receiver may say when to come again, by seconds or by date, but not later than in an hour."""
    with courier(tmp_path, 1, lambda _: Answer(503, later)) as (carrying, _, _):
        assert carrying.step() == pause


@settings(deadline=None)
@given(
    st.text() | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,5} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")
)
def test_any_retry_after(text: str) -> None:
    """Whatever a receiver says there, it is a time from none to an hour."""
    wanted = Courier.__new__(Courier)
    wanted._clock = lambda: NOW
    assert 0.0 <= wanted._wanted(text) <= LATEST


def test_delivers(receiving: Receiving, alerts: Alerts, tmp_path: Path) -> None:
    """Alerts come to a real receiver in order, each with its key, as JSON."""
    with receiving() as there:
        sink = WebhookSink(Spool(tmp_path), post(there.port), encoder("json"))
        sink.write(alerts(3))
        there.wait(3)
        sink.close()
        assert [request.headers["Idempotency-Key"] for request in there.requests] == [
            "9f2c:0.0",
            "9f2c:1.0",
            "9f2c:2.0",
        ]
        assert [json.loads(request.body)["id"] for request in there.requests] == ["9f2c:0", "9f2c:1", "9f2c:2"]
        assert there.requests[0].target == "/hook"


def test_writing_never_waits(receiving: Receiving, alerts: Alerts, tmp_path: Path) -> None:
    """With the receiver down a thousand alerts are kept at once; the next run delivers them all, in order."""
    with receiving() as there:
        port = there.port
    sink = WebhookSink(Spool(tmp_path), post(port), encoder("json"))
    begin = time.monotonic()
    sink.write(alerts(1000))
    assert time.monotonic() - begin < 3.0
    while sink.health().trouble is None:
        time.sleep(0.001)
    assert sink.health() == (1000, 0, "Connection refused")
    sink.close()
    with receiving() as there:
        sink = WebhookSink(Spool(tmp_path), post(there.port), encoder("json"))
        there.wait(1000)
        sink.close()
        ids = [json.loads(request.body)["id"] for request in there.requests]
    assert ids == [f"9f2c:{number}" for number in range(1000)]


def test_a_receiver_that_says_nothing(alerts: Alerts, tmp_path: Path) -> None:
    """Closing does not wait for an answer that does not come; the alert is the next run's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sink = WebhookSink(Spool(tmp_path), post(server.getsockname()[1]), encoder("json"))
        sink.write(alerts(1))
        taken, _ = server.accept()
        with taken:
            assert taken.recv(100)
            begin = time.monotonic()
            sink.close()
            assert time.monotonic() - begin < 3.0
    with closing(Spool(tmp_path)) as spool:
        assert spool.waiting == 1


def test_what_has_no_room(alerts: Alerts, tmp_path: Path) -> None:
    """More than the spool takes is lost, said and counted; what was there first stays."""
    sink = WebhookSink(Spool(tmp_path, room=5000), post(1), encoder("json"))
    with pytest.raises(OSError, match=r"too much waits to be delivered; \d+ of 50 alerts are lost"):
        sink.write(alerts(50))
    waiting, lost, _ = sink.health()
    sink.close()
    assert waiting > 0
    assert waiting + lost == 50


def test_reopen_tries_at_once(receiving: Receiving, alerts: Alerts, tmp_path: Path) -> None:
    """After a reload nobody waits for the pause to end."""
    with receiving() as there:
        there.answers = [(503, {"Retry-After": "3600"})]
        sink = WebhookSink(Spool(tmp_path), post(there.port), encoder("json"))
        sink.write(alerts(1))
        there.wait(1)
        while sink.health().trouble is None:
            time.sleep(0.001)
        sink.reopen()
        there.wait(1)
        sink.close()


def test_without_an_alert_there_is_no_thread(tmp_path: Path) -> None:
    """A sink that has nothing to deliver starts nothing."""
    before = threading.active_count()
    sink = WebhookSink(Spool(tmp_path), post(1), encoder("json"))
    assert threading.active_count() == before
    sink.close()


@settings(deadline=None)
@given(st.from_type(Alert))
def test_keys(alert: Alert) -> None:
    """A key can stand in a header, and another update of the alert has another."""
    key = _key(alert)
    assert key.isascii()
    assert key.isprintable()
    assert " " not in key
    assert _key(msgspec.structs.replace(alert, update=alert.update + 1)) != key


_KILLED = """
import sys
from pathlib import Path
from anomaly.osquery import Action
from anomaly.records import Alert, ModelRef, Score, Severity
from anomaly.sinks.address import open_sink

score = Score("f:0", Action(5, "ws1", "alice", "q", "added", {}), 40.0, 40.0, 9.0, ModelRef("LSTM", 1, "ready"))
alerts = [
    Alert(f"f:{number}", "alice", "ws1", Severity.WARNING, 5, 5, 1, 0, False, score, ()) for number in range(300)
]
open_sink(sys.argv[1], spool=Path(sys.argv[2])).write(alerts)
sys.stdin.read()
"""


def test_kill_9(receiving: Receiving, tmp_path: Path) -> None:
    """Killed in the middle of delivering, the next run goes on: all come, in order, at most one of them twice."""
    with receiving() as there:
        url = f"http://127.0.0.1:{there.port}/hook"
        command = [sys.executable, "-c", _KILLED, url, str(tmp_path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
            there.wait(20)
            process.kill()
        (place,) = tmp_path.iterdir()
        with closing(Spool(place)) as spool:
            assert spool.waiting > 0
        sink = open_sink(url, spool=tmp_path)
        while sink.health().waiting:
            time.sleep(0.001)
        sink.close()
        ids = [json.loads(request.body)["id"] for request in there.requests]
    assert list(dict.fromkeys(ids)) == [f"f:{number}" for number in range(300)]
    assert len(ids) <= 301
