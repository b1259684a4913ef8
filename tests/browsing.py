"""Chromium without a window, spoken to through two pipes by the DevTools protocol."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

PATIENCE = 60.0
"""Seconds that Chromium may take for one answer on a busy machine."""


class Browser:
    """One page of a browser, by the DevTools protocol.

    Parameters
    ----------
    program
        Path of Chromium.
    profile
        An empty directory for what it keeps.
    """

    def __init__(self, program: str, profile: Path) -> None:
        self.events: list[dict[str, Any]] = []
        """What the browser told of itself since the page was opened."""
        self._number = 0
        self._rest = b""
        asked, self._in = os.pipe()
        self._out, answered = os.pipe()
        # Chromium reads commands from descriptor 3 and writes answers to 4, where ours may lie crosswise.
        high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in (asked, answered)]
        script = 'exec 3<&{} 4>&{} {}<&- {}>&-; exec "$@"'.format(*high, *high)
        options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run")
        quiet = (
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        )
        words = [
            "bash",
            "-c",
            script,
            "bash",
            program,
            *options,
            *quiet,
            f"--user-data-dir={profile}",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            words, pass_fds=high, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in (asked, answered, *high):
            os.close(end)
        targets = self._ask("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        self._session = self._ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a command to the page and return its result."""
        return self._ask(method, session=self._session, **parameters)

    def open(self, page: Path, *, width: int = 1200, dark: bool = False) -> None:
        """Open a page in a window of some width, which is as tall as the page, and wait for its charts."""
        size = {"width": width, "height": 40_000, "deviceScaleFactor": 1, "mobile": False}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.ask("Page.navigate", url=page.as_uri())
        deadline = time.monotonic() + PATIENCE
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.value("0")
            assert time.monotonic() < deadline, "the page was not loaded"
        drawn = "[...document.querySelectorAll('[data-chart]')].every(chart => chart.querySelector('.trace'))"
        self.value(
            f"new Promise(done => {{ const look = () => {drawn} ? done(1) : setTimeout(look, 20);"
            " setTimeout(done, 20000); look(); })"
        )

    def value(self, script: str) -> Any:  # noqa: ANN401 - whatever the script gives
        """Evaluate JavaScript in the page, and return what it gives."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def complaints(self) -> list[str]:
        """Return what the page's console says: errors, warnings, and what was thrown."""
        self.value("0")
        told = []
        for event in self.events:
            said = event["params"]
            if event["method"] == "Log.entryAdded":
                told.append(said["entry"]["text"])
            elif event["method"] == "Runtime.exceptionThrown":
                told.append(str(said["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled":
                told.append(f"{said['type']}: {said['args']}")
        return told

    def requests(self) -> list[str]:
        """Return the addresses that were asked for."""
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    def close(self) -> None:
        """End the browser."""
        try:
            self._ask("Browser.close")
        finally:
            os.close(self._in)
            os.close(self._out)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _ask(self, method: str, session: str | None = None, **parameters: object) -> dict[str, Any]:
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if session:
            command["sessionId"] = session
        os.write(self._in, json.dumps(command).encode() + b"\0")
        while True:
            message = self._next()
            if message.get("id") == self._number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            if "method" in message:
                self.events.append(message)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            chunk = os.read(self._out, 1 << 16)
            assert chunk, "Chromium has ended"
            self._rest += chunk
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message
