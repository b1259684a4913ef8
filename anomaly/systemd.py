"""Tells systemd how it goes: what sd_notify(3) describes, as datagrams of our own.

Nothing here can disturb the watch: without systemd, or with a systemd that does not listen, nothing happens.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from typing import Self

_LONGEST = 1000
"""Characters of a status: systemd ignores a datagram above 4 KiB, and a character is at most 4 bytes."""

_STATUS_EVERY = 1.0


class Notifier:
    """Sends datagrams to systemd, without ever waiting or raising.

    Parameters
    ----------
    address
        The socket, as ``NOTIFY_SOCKET`` gives it: a path, or ``@`` and an abstract name. Any other is none.
    beat
        Seconds from one sign of life to the next; None where none is wanted.
    clock
        Gives seconds that never go back.
    """

    def __init__(
        self, address: str = "", beat: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        raw = os.fsencode(address)
        self._address = b"\0" + raw[1:] if raw.startswith(b"@") else raw if raw.startswith(b"/") else None
        self._beat = beat
        self._clock = clock
        self._alive = self._said = float("-inf")
        self._text: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Return what the variables that systemd sets ask for; they stay as they are."""
        beat = None
        period = _number(environ.get("WATCHDOG_USEC", ""))
        # A watchdog that is set for another process comes to us only because the environment is inherited.
        if period and environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            beat = period / 2 / 1e6  # sd_watchdog_enabled(3): at half of the time
        return cls(environ.get("NOTIFY_SOCKET", ""), beat)

    def ready(self) -> None:
        """Say that the start, or a reload, is done."""
        self._send("READY=1")

    def watchdog(self) -> None:
        """Give the sign of life if it is time for one; to be called at each turn of the loop it vouches for."""
        now = self._clock()
        if self._beat is not None and now - self._alive >= self._beat and self._send("WATCHDOG=1"):
            self._alive = now

    def status(self, text: str) -> None:
        """Say in a line how it goes, if that is new, at most once a second: what is new sooner is left out."""
        now = self._clock()
        # The text may hold names from the log, and a newline would begin an assignment of its own. What is left
        # is valid UTF-8 as well, which systemd insists on.
        line = "".join(character if character.isprintable() else "?" for character in text[:_LONGEST])
        if line != self._text and now - self._said >= _STATUS_EVERY and self._send(f"STATUS={line}"):
            self._text, self._said = line, now

    def reloading(self) -> None:
        """Say that a reload begins; ``ready`` must follow, whether or not it succeeds."""
        # Of CLOCK_MONOTONIC, as systemd compares it with its own: Python's clock may be another one's.
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> bool:
        if self._address is None:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(message.encode(), self._address)
        except OSError:
            # systemd is gone, restarts or is busy. The log is what matters: what can be said again will be.
            return False
        return True


def _number(text: str) -> int | None:
    """Read what systemd writes as a number of 64 bits; None where it is no such number, or stands for infinity."""
    number = int(text) if re.fullmatch(r"[0-9]{1,20}", text) else None
    return number if number is not None and number < 2**64 - 1 else None
