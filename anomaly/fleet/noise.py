"""What Spark's JVM writes to standard error, and how much of it a person is shown.

The JVM that a driver has started writes where the driver does. So the driver takes its lines first: what is said
while a session starts is only of use where none comes of it, some lines are chatter whatever happens, and of a
JVM that ends because it was asked to, a hundred lines of complaint say nothing.
"""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from contextlib import suppress
from functools import cache

_ENDS = re.compile(rb"(?<=[\r\n])")  # progress bars end with a return
_CHATTER = re.compile(rb"Streaming TransformWithStateInPandas Python worker|^[ \t]*\n?\Z")
_TRACE = re.compile(r"\s+at |\s*\.\.\. \d+ more")
_LONGEST = 1 << 16  # bytes of a line
_HELD = 200  # lines
_ERROR = 2  # standard error


class Noise:
    """A pipe for the JVM to write to, and the thread that reads it.

    Parameters
    ----------
    to
        Descriptor that gets what a person is shown.
    """

    def __init__(self, to: int = _ERROR) -> None:
        self._to = to
        self._held: deque[bytes] | None = deque(maxlen=_HELD)
        self._is_muted = False
        self._lock = threading.Lock()
        self._from, self._into = os.pipe()
        self._reader = threading.Thread(target=self._read, name="anomaly-noise", daemon=True)
        self._reader.start()

    def fileno(self) -> int:
        """Return the end to write to, for :class:`subprocess.Popen`."""
        return self._into

    def close(self) -> None:
        """Close this process's own end: the pipe ends with the JVM."""
        os.close(self._into)

    def release(self, *, told: bool) -> None:
        """Hold no more back, once there is a session; tell what was held, or forget it."""
        with self._lock:
            held, self._held = self._held or (), None
            if told:
                self._tell(b"".join(held))

    def mute(self) -> None:
        """Tell nothing any more."""
        self._is_muted = True

    def last_words(self) -> str:
        """Return the last line that was held and is no part of a stack's trace, once the JVM has ended."""
        self._reader.join(1)
        lines = [line.decode("utf-8", "replace").strip("\r\n") for line in self._held or ()]
        return next((line.strip() for line in reversed(lines) if line.strip() and not _TRACE.match(line)), "")

    def _read(self) -> None:
        rest = b""
        while chunk := os.read(self._from, _LONGEST):
            *lines, rest = _ENDS.split(rest + chunk)
            if len(rest) >= _LONGEST:
                lines, rest = [*lines, rest], b""
            self._take(lines)
        self._take([rest])
        os.close(self._from)

    def _take(self, lines: list[bytes]) -> None:
        shown = [line for line in lines if not _CHATTER.search(line)]
        with self._lock:
            if self._held is not None:
                self._held.extend(shown)
            else:
                self._tell(b"".join(shown))

    def _tell(self, data: bytes) -> None:
        with suppress(OSError):  # nobody listens
            while data and not self._is_muted:
                data = data[os.write(self._to, data) :]


@cache
def noise() -> Noise:
    """Return the one of this process."""
    return Noise()


def mute() -> None:
    """Tell nothing any more, where there is something to listen to."""
    if noise.cache_info().currsize:
        noise().mute()
