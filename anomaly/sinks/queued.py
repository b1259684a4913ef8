"""What waits in memory for somebody slower: a bounded queue, and a thread that hands it on in order."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable

ROOM = 10_000
"""Messages that wait at most; a longer outage of the receiver loses what comes after them."""

ROOM_BYTES = 8 << 20
"""Bytes of them: ten thousand of the longest would be ten times that, for each of many receivers."""

PATIENCE = 1.0
"""Seconds from being told to stop within which something may still be handed on; half of that more, to end."""

LEAST = 0.05
"""Seconds that a thread has to end once it is interrupted, however late that is."""

ENDED = "the thread that hands them on has ended, which is a fault of anomaly: restart it, and report it"

_LONGEST = 60.0


class Carrier(ABC):
    """Carries one message after another to where they go."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Hand on a message, connecting first where need be; after an OSError it connects anew."""

    @abstractmethod
    def interrupt(self) -> None:
        """Let what another thread waits for fail at once."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection; nobody uses it any more."""


class Queue:
    """Messages on their way. Nothing here waits but the thread, which begins with the first message.

    A message that cannot be handed on stays, and is tried again after half a second, then after twice as long each
    time, up to a minute.

    Parameters
    ----------
    carrier
        Used by the thread alone, but for ``close``.
    room, room_bytes
        Messages that wait at most, and bytes of them.
    pause
        Seconds before the second try.
    """

    def __init__(
        self, carrier: Carrier, *, room: int = ROOM, room_bytes: int = ROOM_BYTES, pause: float = 0.5
    ) -> None:
        self._carrier, self._room, self._pause = carrier, room, pause
        self._waiting: deque[bytes] = deque()
        self._free = room_bytes
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closing, self._told = False, 0.0
        self.lost = 0
        """Messages that will not be handed on."""
        self._trouble: str | None = None

    @property
    def trouble(self) -> str | None:
        """Why the last try failed."""
        if self._thread is not None and not self._thread.is_alive() and not self._is_closing:
            return ENDED
        return self._trouble

    @property
    def waiting(self) -> int:
        """Messages that are still to be handed on."""
        return len(self._waiting)

    def put(self, messages: Iterable[bytes]) -> int:
        """Take messages; return how many there was no room for."""
        with self._changed:
            refused = 0
            for message in messages:
                if len(self._waiting) >= self._room or len(message) > self._free:
                    refused += 1
                else:
                    self._waiting.append(message)
                    self._free -= len(message)
            self.lost += refused
            if self._thread is None and self._waiting:
                self._thread = threading.Thread(target=self._run, name="anomaly-sink", daemon=True)
                self._thread.start()
            self._changed.notify()
        return refused

    def stop(self) -> None:
        """Let the thread hand on what it can, and end."""
        with self._changed:
            if not self._is_closing:
                self._is_closing, self._told = True, time.monotonic()
            self._changed.notify()

    def close(self, patience: float = PATIENCE) -> int:
        """Hand on what can be within so many seconds of ``stop``; return how many are lost by closing."""
        self.stop()
        # A thread that is left looks for an address, which nothing can interrupt; it ends with the process.
        if ended(self._thread, self._told, self._carrier.interrupt, patience):
            self._carrier.close()
        with self._changed:
            left = len(self._waiting)
            self._waiting.clear()
            self.lost += left
        return left

    def _run(self) -> None:
        pause = self._pause
        while (message := self._next()) is not None:
            try:
                self._carrier.send(message)
            except OSError as error:
                self._trouble = error.strerror or str(error)
                with self._changed:
                    if self._is_closing:
                        return
                    # Not for less because more has come: a burst must not become a burst of tries.
                    self._changed.wait_for(lambda: self._is_closing, pause)
                pause = min(2 * pause, _LONGEST)
                continue
            pause, self._trouble = self._pause, None
            with self._changed:
                if self._waiting and self._waiting[0] is message:
                    self._waiting.popleft()
                    self._free += len(message)

    def _next(self) -> bytes | None:
        with self._changed:
            while not self._waiting and not self._is_closing:
                self._changed.wait()
            return self._waiting[0] if self._waiting else None


def ended(
    thread: threading.Thread | None, told: float, interrupt: Callable[[], None], patience: float = PATIENCE
) -> bool:
    """Wait for a thread that was told to end, and interrupt it when its time is over; say whether it has ended.

    Its time begins when it was told (on the clock of :func:`time.monotonic`), not when somebody waits for it: of
    several that were told together, each ends while another is waited for.
    """
    if thread is None:
        return True
    thread.join(max(told + patience - time.monotonic(), 0.0))
    if thread.is_alive():
        interrupt()
        thread.join(max(told + 1.5 * patience - time.monotonic(), LEAST))
    return not thread.is_alive()
