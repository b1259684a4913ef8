"""Scores and alerts to write: some that look like life, and a strategy for anything the types allow."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import strategies as st

from anomaly.osquery import Action
from anomaly.records import Alert, ModelRef, Reason, ReasonKind, Score, Severity

# Any code point, lone surrogates included, and often one of those that matter.
_CHARACTERS = st.characters(exclude_categories=()) | st.sampled_from("\0\t\n\r\x1b\x7f\x9b\u202e\u2028\ufeff日")
_TEXT = st.text(_CHARACTERS, max_size=40) | st.builds("x".__mul__, st.integers(0, 300))
_POINTS = st.none() | st.floats(0, 100) | st.sampled_from((float("nan"), float("inf")))
_FIGURE = st.floats() | st.integers(-(2**70), 2**70)
_COUNT = st.integers(0, 2**70)
_NAME = _TEXT | st.sampled_from(("command", "path", "uid", "remote_port"))

st.register_type_strategy(
    Score,
    st.builds(
        Score,
        id=_TEXT,
        action=st.builds(
            Action,
            time=st.integers(0, 2**33) | st.integers(-(2**70), 2**70),
            host=_TEXT,
            user=_TEXT,
            query=_TEXT,
            verb=st.sampled_from(("added", "removed", "snapshot")),
            columns=st.dictionaries(_NAME, _TEXT, max_size=5),
            baseline=st.booleans(),
        ),
        score=_POINTS,
        risk=_POINTS,
        surprise=st.none() | _FIGURE,
        model=st.sampled_from((ModelRef("LSTM", 7, "ready"), ModelRef(None, None, "none"))),
        reasons=st.lists(
            st.builds(
                Reason,
                kind=st.sampled_from(ReasonKind),
                field=_TEXT,
                value=_TEXT,
                expected=st.lists(_TEXT, max_size=3).map(tuple),
                seen=_COUNT,
                of=_COUNT,
                bits=_FIGURE,
            ),
            max_size=5,
        ).map(tuple),
    ),
)

st.register_type_strategy(
    Alert,
    st.builds(
        Alert,
        id=_TEXT,
        user=_TEXT | st.sampled_from(("uid:1000", "host:ws1")),
        host=_TEXT,
        severity=st.sampled_from(Severity),
        first=st.integers(0, 2**33),
        last=st.integers(0, 2**33),
        count=st.integers(1, 2**40),
        update=st.integers(0, 2**40),
        closed=st.booleans(),
        worst=st.from_type(Score),
        reasons=st.from_type(Score).map(lambda score: score.reasons),
    ),
)


@pytest.fixture
def scan() -> Score:
    """Let alice, who never did, map a network at night."""
    return Score(
        id="9f2c:18230",
        action=Action(
            time=1793585624,
            host="ws1",
            user="alice",
            query="shell_history",
            verb="added",
            columns={"username": "alice", "uid": "1000", "command": "nmap -sS 10.0.0.0/24"},
        ),
        score=37.24,
        risk=12.5,
        surprise=21.4,
        model=ModelRef("LSTM", 7, "ready"),
        reasons=(
            Reason(ReasonKind.NEW_VALUE, "command", "nmap", ("ls", "git"), 0, 12034, 13.1),
            Reason(ReasonKind.UNUSUAL_HOUR, "time", "02:00 UTC", ("09:00 UTC",), 0, 12034, 11.04),
        ),
    )


@pytest.fixture
def baseline() -> Score:
    """Report a process that ran when osquery was first asked."""
    row = {"name": "bash", "path": "/usr/bin/bash", "username": "alice"}
    return Score(
        id="9f2c:18630",
        action=Action(1793585654, "ws1", "alice", "processes", "added", row, baseline=True),
        score=None,
        risk=12.5,
        surprise=None,
        model=ModelRef("LSTM", 7, "ready"),
    )


@pytest.fixture
def stranger() -> Score:
    """Report a row of a user without a model, from a line without a time."""
    return Score(
        id="9f2c:18930",
        action=Action(0, "ws1", "bob", "open_sockets", "removed", {"remote_address": "10.0.0.7", "uid": "1001"}),
        score=None,
        risk=None,
        surprise=None,
        model=ModelRef(None, None, "none"),
    )


@pytest.fixture
def alert(scan: Score) -> Alert:
    """Tell of three alarming actions of alice in two minutes, the worst of which maps a network."""
    return Alert(
        id="9f2c:18000",
        user="alice",
        host="ws1",
        severity=Severity.WARNING,
        first=1793585504,
        last=1793585624,
        count=3,
        update=0,
        closed=False,
        worst=scan,
        reasons=scan.reasons,
    )


@pytest.fixture
def alerts(alert: Alert) -> Callable[[int], list[Alert]]:
    """Make many alerts, each with an id of its own."""
    return lambda number: [msgspec.structs.replace(alert, id=f"9f2c:{place}") for place in range(number)]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for 127.0.0.1, with its key in the same file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl on this machine")
    place = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", "key", "-out", "certificate"],
        cwd=place, check=True, capture_output=True,
    )  # fmt: skip
    (place / "both").write_bytes((place / "certificate").read_bytes() + (place / "key").read_bytes())
    return place / "both"


class Request(NamedTuple):
    """What somebody posted."""

    target: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """A receiver of posts on loopback: notes what comes, and answers what it is told to, then 200."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.requests: list[Request] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        """What to answer to the next ones."""
        self.came = threading.Semaphore(0)
        self.connections = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                receiver.connections += 1
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append(Request(self.path, dict(self.headers), body))
                status, headers = receiver.answers.pop(0) if receiver.answers else (200, {})
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                receiver.came.release()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port: int = self.server.server_address[1]

    def wait(self, number: int) -> None:
        """Wait until so many more have come."""
        for _ in range(number):
            assert self.came.acquire(timeout=10), "nothing came"


@pytest.fixture
def receiving() -> Callable[..., object]:
    """Give what runs a receiver for a while."""

    @contextmanager
    def run(certificate: Path | None = None) -> Iterator[Receiver]:
        receiver = Receiver(certificate)
        thread = threading.Thread(target=receiver.server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield receiver
        finally:
            receiver.server.shutdown()
            thread.join(10)
            receiver.server.server_close()

    return run
