"""Alerts to a syslog daemon: over a local socket, UDP (RFC 5426), TCP (RFC 6587) or TLS (RFC 5425)."""

from __future__ import annotations

import errno
import select
import socket
import ssl
import time
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from anomaly.records import Alert
from anomaly.sinks.formats import Encode
from anomaly.sinks.interface import AlertSink, Health
from anomaly.sinks.queued import Carrier, Queue
from anomaly.sinks.syslog_message import local_message, message

LOCAL = Path("/dev/log")
TIMEOUT = 5.0
"""Seconds that connecting, and sending a message, may take."""

LONGEST = 8192
"""Bytes of a message over a stream or a local socket: what rsyslog takes unless told otherwise..."""

LONGEST_DATAGRAM = 2048
"""...and over UDP: what RFC 5426 asks receivers to take."""


class SyslogSink(AlertSink):
    """Sends alerts as messages of RFC 5424. What cannot be sent waits in memory, 10,000 messages at most.

    Parameters
    ----------
    carrier
        How messages get there.
    facility
        Number of the facility, as in RFC 5424.
    encode
        What writes the text instead of a sentence.
    is_local
        Whether messages are written as ``syslog(3)`` does and not by RFC 5424.
    """

    def __init__(
        self, carrier: Wire, *, facility: int, encode: Encode | None = None, is_local: bool = False
    ) -> None:
        self._longest, self._facility, self._encode, self._is_local = carrier.longest, facility, encode, is_local
        self._queue = Queue(carrier)

    def write(self, alerts: Sequence[Alert]) -> None:
        """Let the alerts wait to be sent; raises OSError where there is no room for some."""
        lines = [self._message(alert) for alert in alerts]
        if refused := self._queue.put(lines):
            raise OSError(errno.ENOBUFS, f"the queue is full; {refused:,} of {len(lines):,} alerts are lost")

    def _message(self, alert: Alert) -> bytes:
        if self._is_local:
            return local_message(alert, facility=self._facility, longest=self._longest, now=time.time())
        return message(alert, facility=self._facility, longest=self._longest, encode=self._encode)

    def stop(self) -> None:
        """Send what is left, and no more."""
        self._queue.stop()

    def close(self) -> None:
        """Send what can be sent within a second; raises OSError where some are lost."""
        if lost := self._queue.close():
            raise OSError(errno.ETIMEDOUT, f"{lost:,} alerts were not sent before the end")

    def health(self) -> Health:
        """Tell what waits, what is lost, and why."""
        return Health(self._queue.waiting, self._queue.lost, self._queue.trouble)


class Wire(Carrier):
    """A socket that is opened anew after each failure."""

    longest = LONGEST

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def send(self, data: bytes) -> None:
        """Hand on a message; raises OSError where that fails."""
        if self._socket is not None and self.is_over(self._socket):
            self.close()
        if self._socket is None:
            self._socket = self.connect()
        try:
            self._socket.sendall(self.framed(data))
        except OSError:
            self.close()
            raise

    def interrupt(self) -> None:
        """Let what waits for the socket fail."""
        if (opened := self._socket) is not None:
            with suppress(OSError):
                # Not the method of a TLS socket, which would go on in the clear.
                socket.socket.shutdown(opened, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        opened, self._socket = self._socket, None
        if opened is not None:
            opened.close()

    @abstractmethod
    def connect(self) -> socket.socket:
        """Open the socket, ready to send."""

    def framed(self, data: bytes) -> bytes:
        """Give the message as this transport carries it."""
        return data

    def is_over(self, _: socket.socket, /) -> bool:
        """Tell whether the other side has closed: what is sent after that is lost without a word."""
        return False


class Local(Wire):
    """A socket in the file system, for datagrams or else for a stream."""

    def __init__(self, path: Path = LOCAL) -> None:
        super().__init__()
        self._path = path
        self._is_stream = False

    def connect(self) -> socket.socket:
        """Connect as the socket wants it."""
        try:
            opened = _opened(socket.SOCK_DGRAM, self._path)
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:
                raise
            self._is_stream = True
            return _opened(socket.SOCK_STREAM, self._path)
        self._is_stream = False
        return opened

    def framed(self, data: bytes) -> bytes:
        """Give a line, where it is a stream: no message has a newline in it."""
        return data + b"\n" if self._is_stream else data


def _opened(kind: socket.SocketKind, path: Path) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX, kind)
    opened.settimeout(TIMEOUT)
    try:
        opened.connect(str(path))
    except OSError:
        opened.close()
        raise
    return opened


class Udp(Wire):
    """Datagrams; nobody says whether they arrive, but a port that nobody listens at is noticed."""

    longest = LONGEST_DATAGRAM

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self._host, self._port = host, port

    def connect(self) -> socket.socket:
        """Find the address; the first one it has is used."""
        family, kind, number, _, address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)[0]
        opened = socket.socket(family, kind, number)
        opened.settimeout(TIMEOUT)
        try:
            opened.connect(address)
        except OSError:
            opened.close()
            raise
        return opened


class Tcp(Wire):
    """A connection, with the length of each message before it (RFC 6587, 3.4.1)."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self._host, self._port = host, port

    def connect(self) -> socket.socket:
        """Connect to the first address that answers."""
        return socket.create_connection((self._host, self._port), TIMEOUT)

    def framed(self, data: bytes) -> bytes:
        """Count the octets."""
        return b"%d %b" % (len(data), data)

    def is_over(self, opened: socket.socket, /) -> bool:
        """Tell whether the other side has closed."""
        # A syslog daemon says nothing; what there is to read is the end (or a TLS message about it).
        return bool(select.select([opened], [], [], 0)[0])


class Tls(Tcp):
    """A connection by TLS 1.2 or newer; the receiver's certificate is verified.

    Parameters
    ----------
    host, port
        Whom to connect to; the certificate must name the host.
    context
        Made by :func:`verified`.
    """

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__(host, port)
        self._context = context

    def connect(self) -> socket.socket:
        """Connect, and check who it is."""
        plain = super().connect()
        try:
            return self._context.wrap_socket(plain, server_hostname=self._host)
        except BaseException:
            plain.close()
            raise

    def is_over(self, opened: socket.socket, /) -> bool:
        """Tell whether the other side has closed."""
        # Readable may mean a session ticket of TLS 1.3, which reading takes in.
        if not super().is_over(opened):
            return False
        opened.settimeout(0.0)
        try:
            return not opened.recv(1)
        except (ssl.SSLWantReadError, BlockingIOError):
            return False
        except OSError:
            return True
        finally:
            opened.settimeout(TIMEOUT)
