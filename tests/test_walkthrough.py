"""Living with it, from simulated logs to a report: what docs/alerts.md tells, done by commands."""

from __future__ import annotations

import gzip
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.browsing import Browser

ROOT = Path(__file__).parents[1]
PATIENCE = 60.0
"""Seconds that anything here may take on a busy machine."""


def anomaly(*words: object) -> str:
    """Run a command to its end, and return what it printed."""
    command = [sys.executable, "-m", "anomaly", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=4 * PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something that takes no known time."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Receiver:
    """A webhook's receiver on loopback, which keeps what it is sent."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        got = self.got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.address = f"http://127.0.0.1:{self._server.server_port}/alerts"

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Sinks:
    """Where alerts go: three files, syslog and a webhook, all of them here."""

    def __init__(self, folder: Path) -> None:
        self.files = {kind: folder / f"alerts.{kind}" for kind in ("json", "ecs", "ocsf")}
        self.syslog = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.syslog.bind(("127.0.0.1", 0))
        self.syslog.settimeout(PATIENCE)
        self.webhook = Receiver()
        files = [f"file:{path}?format={kind}" for kind, path in self.files.items()]
        port = self.syslog.getsockname()[1]
        self.addresses = [*files, f"syslog+udp://127.0.0.1:{port}", self.webhook.address]

    def close(self) -> None:
        """Stop them."""
        self.syslog.close()
        self.webhook.close()

    def alerts(self, kind: str = "json") -> list[dict[str, Any]]:
        """Return what a file has got."""
        path = self.files[kind]
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def told(self) -> set[str]:
        """Return which alerts were told, by id."""
        return {alert["id"] for alert in self.alerts()}


@pytest.fixture
def sinks(tmp_path: Path) -> Iterator[Sinks]:
    """Give places that alerts can go to."""
    made = Sinks(tmp_path)
    yield made
    made.close()


class Osquery:
    """Writes the simulated intrusion into the log, as osqueryd would, as often as it is asked to."""

    def __init__(self, log: Path, intrusion: bytes) -> None:
        self._log = log
        self._rows = [json.loads(line) for line in intrusion.splitlines()]
        self._weeks = 0

    def goes_on(self) -> None:
        """Write the two days once more, each time a week later."""
        later = [row | {"unixTime": int(row["unixTime"]) + 604_800 * self._weeks} for row in self._rows]
        self._weeks += 1
        with self._log.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in later)


@pytest.fixture
def watches(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Give what starts a command that goes on, and ends it after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "anomaly", *map(str, words)]
        with (tmp_path / "said").open("w") as said:
            started.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=said, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(PATIENCE)


def test_simulate_train_follow_alert_suppress_and_report(
    tmp_path: Path, sinks: Sinks, browser: Browser, watches: Callable[..., subprocess.Popen[str]]
) -> None:
    """An intrusion alerts on every sink; suppressed it alerts on none, and later again; the report shows it."""
    anomaly("simulate", tmp_path / "sample")
    log, models = tmp_path / "osqueryd.results.log", ("--models", tmp_path / "models")
    state = ("--state", tmp_path / "state")
    log.write_bytes(gzip.decompress((tmp_path / "sample" / "osqueryd.results.log.gz").read_bytes()))
    osquery = Osquery(log, gzip.decompress((tmp_path / "sample" / "attack.results.log.gz").read_bytes()))
    anomaly("train", "--user", "carol", "-a", "OCSVM", "-l", log, *models)
    addresses = [word for address in sinks.addresses for word in ("--alert", address)]
    watch = watches("predict", "--user", "carol", "-l", log, *models, *state, *addresses, "--min-score", "100")

    osquery.goes_on()
    until(lambda: bool(sinks.webhook.got), "no alert came to the webhook")
    first = sinks.alerts()[0]
    assert first["user"] == "carol"
    assert sinks.webhook.got[0]["id"] == first["id"]
    assert sinks.alerts("ecs")[0]["event"]["id"] == first["id"]
    assert sinks.alerts("ocsf")[0]["finding_info"]["uid"] == first["id"]
    assert "carol" in sinks.syslog.recv(65536).decode()
    until(lambda: is_at_the_end(state), "the log was not read to its end")
    listed = [json.loads(line) for line in anomaly("alerts", "list", *state, "--format", "json").splitlines()]
    assert {alert["id"] for alert in listed} == sinks.told()

    anomaly("suppress", "add", "--user", "carol", "--note", "a drill", *state)
    (suppression,) = [
        json.loads(line) for line in anomaly("suppress", "list", *state, "--format", "json").splitlines()
    ]
    assert suppression["note"] == "a drill"
    said = tmp_path / "said"
    until(lambda: "in force from now on: 1." in said.read_text(), "nothing was suppressed")
    before = sinks.told()
    osquery.goes_on()
    until(lambda: is_at_the_end(state), "the log was not read to its end")
    assert sinks.told() == before

    anomaly("suppress", "rm", suppression["id"], *state)
    until(lambda: "in force from now on: 0." in said.read_text(), "it stayed suppressed")
    osquery.goes_on()
    until(lambda: sinks.told() > before, "what is suppressed no longer does not alert")
    watch.send_signal(signal.SIGTERM)
    assert watch.wait(PATIENCE) == 0

    page = tmp_path / "carol.html"
    anomaly("report", "--user", "carol", "-l", log, *models, "--out", page)
    browser.open(page)
    assert browser.complaints() == []
    assert first["reasons"][0]["value"] in browser.value("document.body.textContent")


def is_at_the_end(state: tuple[object, ...]) -> bool:
    """Say whether the daemon has read all of its log."""
    told = anomaly("status", *state, "--format", "json").splitlines()  # nothing before the first checkpoint
    return [json.loads(line)["lag_bytes"] for line in told] == [0]
