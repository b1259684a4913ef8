"""The thread that scores while the screen is drawn, and what it tells of itself."""

from __future__ import annotations

import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import Self

from anomaly.control import Control
from anomaly.daemon import Follower
from anomaly.systemd import Notifier

_MESSAGES = 100


class Told(Notifier):
    """Keeps what the loop says of itself, and what else a person should know, for whoever looks."""

    def __init__(self) -> None:
        super().__init__()
        self.state = "Loading"
        self.messages: deque[str] = deque(maxlen=_MESSAGES)
        self.said_at = float("-inf")
        """When the last message came, on the clock that never goes back."""

    def say(self, text: str) -> None:
        """Take a sentence."""
        self.messages.append(f"{datetime.now(UTC):%H:%M:%S} {text[:2000]}")
        self.said_at = time.monotonic()

    def status(self, text: str) -> None:
        """Take how it goes."""
        self.state = text


class Worker:
    """Lets a follower run in a thread of its own, until it is left.

    Parameters
    ----------
    follower
        What goes along the log.
    control
        Asked by the follower whether to stop, and told so at the end.
    """

    def __init__(self, follower: Follower, control: Control) -> None:
        self.error: BaseException | None = None
        """What ended it; None where nothing did."""
        self._follower, self._control = follower, control
        self._thread = threading.Thread(target=self._run, name="anomaly-scoring")

    @property
    def ended(self) -> bool:
        """Whether nothing more comes."""
        return not self._thread.is_alive()

    def check(self) -> None:
        """Raise what ended it, where something did."""
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            self._follower.run(self._control)
        except BaseException as error:  # noqa: BLE001 - raised by whoever waits for this thread
            self.error = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._control.stopped = True
        self._thread.join()
