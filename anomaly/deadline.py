"""An end to a conversation, however slowly the other drips: a socket's own timeout is only for each piece."""

from __future__ import annotations

import errno
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self


class Deadline:
    """Shuts a connection down when its time is over, so that who reads from it or writes to it fails.

    Parameters
    ----------
    seconds
        Time from entering the context to the end.

    Raises
    ------
    OSError
        On entering: no thread can be started.
    """

    def __init__(self, seconds: float) -> None:
        self._guard = threading.Lock()
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self.is_over = False
        """Whether the time is over."""

    def __enter__(self) -> Self:
        """Begin."""
        try:
            self._timer.start()
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, "no thread can be started") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the connection alone from now on."""
        self._timer.cancel()
        self._timer.join()

    def watch(self, connection: socket.socket) -> None:
        """Say which connection it is from now on."""
        with self._guard:
            self._socket = connection
            if self.is_over:
                hang_up(connection)

    def _end(self) -> None:
        with self._guard:
            self.is_over = True
            if self._socket is not None:
                hang_up(self._socket)


def hang_up(connection: socket.socket) -> None:
    """Let whoever reads from a connection or writes to it fail at once; it is still theirs to close."""
    with suppress(OSError):
        # Not the method of a TLS socket, which would go on in the clear.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
