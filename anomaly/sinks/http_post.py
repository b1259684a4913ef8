"""Posting to one address over HTTP: certificates verified, redirects not followed, secrets never said."""

from __future__ import annotations

import errno
import http.client
import os
import re
import socket
import ssl
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from anomaly import __version__
from anomaly.bounded import Unread, read
from anomaly.deadline import Deadline, hang_up
from anomaly.errors import ConfigError

TIMEOUT = 10.0
"""Seconds that connecting, and each piece of the answer, may take."""

LONGEST = 30.0
"""Seconds that a post may take in all, in however small pieces the answer comes."""

_ANSWER = 1 << 16
_LONGEST_SECRET = 1 << 16
_MOST_AUTHORITIES = 1 << 24
_PRINTABLE = re.compile(r"[!-~]+")
_SECRET = re.compile(r"[ -~]+")

Secret = Callable[[], str | None]
"""Gives the value of the header Authorization, read anew each time it is called."""


class Receiver(NamedTuple):
    """Who is posted to."""

    is_secure: bool
    host: str
    port: int | None
    target: str
    """Path and query, as they were written."""

    @property
    def label(self) -> str:
        """Name the receiver without its path and query, which are secret with many services."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.is_secure else ''}://{host}{f':{self.port}' if self.port else ''}"

    @property
    def is_near(self) -> bool:
        """Whether it is this machine: nobody else hears what is said."""
        with suppress(ValueError):
            return ip_address(self.host).is_loopback
        return self.host == "localhost"


class Answer(NamedTuple):
    """What a receiver has said."""

    status: int
    retry_after: str | None


def receiver(url: str) -> Receiver:
    """Read an address; no error repeats it, since it may hold a secret.

    Raises
    ------
    ConfigError
        It is no http(s) address of a host, or has a user name or a password in it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host = host if ":" in host else host.encode("idna").decode("ascii")
    except ValueError as error:
        raise ConfigError("The webhook's address is not valid: write https://HOST/PATH.") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise ConfigError("The webhook's address is not valid: write https://HOST/PATH.")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"The webhook's address must hold no user name and no password (it is that of {host}): put the value"
            " of the header Authorization into a file, and name it by #token_file=FILE."
        )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not _PRINTABLE.fullmatch(target) or not _PRINTABLE.fullmatch(host):
        raise ConfigError(
            f"The webhook's address at {host} has characters that no address has: write them as %XX."
        )
    return Receiver(parts.scheme == "https", host, port, target)


def secret_from(*, file: Path | None = None, variable: str | None = None, environ: Mapping[str, str]) -> Secret:
    """Return what reads the header Authorization: out of a file, or an environment variable.

    A value without a space in it is a token, and gets ``Bearer`` before it. Reading raises ConfigError where the
    file or variable is missing, everybody may read it, or it holds what no header can; none of these repeats it.
    """
    if file is not None:
        return lambda: _value(_content(file), str(file))
    if variable is not None:
        if variable not in environ:
            raise ConfigError(f"The environment variable {variable}, which holds the webhook's token, is not set.")
        return lambda: _value(environ.get(variable, ""), variable)
    return lambda: None


def _content(file: Path) -> str:
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            status = os.fstat(opened.fileno())
            data = opened.read(_LONGEST_SECRET) if stat.S_ISREG(status.st_mode) else b""
    except OSError as error:
        raise ConfigError(f"{file}, which holds the webhook's token, cannot be read: {error.strerror}.") from error
    if status.st_mode & stat.S_IRWXO:
        raise ConfigError(f"{file} holds the webhook's token, and everybody may read it. Run: chmod o= {file}")
    return data.decode("ascii", "replace")


def _value(text: str, where: str) -> str:
    value = text.strip()
    if not _SECRET.fullmatch(value):
        raise ConfigError(f"{where} should hold the webhook's token, one line of ASCII, and does not.")
    return value if " " in value else f"Bearer {value}"


class Post:
    """Posts to one receiver, over one connection as long as that lasts. One thread uses it.

    Any thread may call ``interrupt`` and ``reload``.

    Parameters
    ----------
    to
        Who is posted to.
    secret
        Gives the header Authorization.
    authorities
        File with the certificates of those who may vouch for the receiver, instead of the system's.
    content
        The header Content-Type.

    Raises
    ------
    ConfigError
        The secret or the certificates cannot be read, or the secret would go over the network unencrypted.
    """

    def __init__(self, to: Receiver, *, secret: Secret, authorities: Path | None, content: str) -> None:
        self._to, self._read_secret, self._content = to, secret, content
        self._secret = secret()
        if self._secret and not to.is_secure and not to.is_near:
            raise ConfigError(f"{to.label} would be sent the token in the clear: use https.")
        self._context = verified(authorities) if to.is_secure else None
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._is_interrupted = False

    def __repr__(self) -> str:
        return f"Post({self._to.label})"

    def reload(self) -> None:
        """Read the secret anew; raises ConfigError, and keeps the old one, where that fails."""
        self._secret = self._read_secret()

    def send(self, body: bytes, key: str) -> Answer:
        """Post once; raises OSError where there is no answer.

        Parameters
        ----------
        body
            What is posted.
        key
            The header Idempotency-Key, by which a receiver knows what it has had already.
        """
        headers = {"Content-Type": self._content, "User-Agent": f"anomaly/{__version__}", "Idempotency-Key": key}
        if self._secret:
            headers["Authorization"] = self._secret
        with Deadline(LONGEST) as deadline:
            kept = self._connection
            if kept is not None:
                # That the receiver has closed a connection meanwhile is no failure yet; that he says nothing is.
                try:
                    return self._ask(kept, body, headers, deadline)
                except TimeoutError:
                    raise
                except OSError:
                    if self._is_interrupted:
                        raise
            return self._ask(self._connect(), body, headers, deadline)

    def _ask(
        self, connection: http.client.HTTPConnection, body: bytes, headers: dict[str, str], deadline: Deadline
    ) -> Answer:
        try:
            if connection.sock is None:
                connection.connect()
            # The connection forgets it as soon as the receiver says that this answer is its last.
            self._socket = connection.sock
            deadline.watch(connection.sock)
            connection.request("POST", self._to.target, body, headers)
            response = connection.getresponse()
            while 100 <= response.status < 200:  # hints; http.client passes over nothing but 100
                response.headers = None  # type: ignore[assignment]  # else it has begun, and does not begin again
                response.begin()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            if deadline.is_over:
                raise TimeoutError(errno.ETIMEDOUT, f"no whole answer within {LONGEST:.0f} s") from error
            if isinstance(error, OSError) and error.strerror:
                raise
            raise ConnectionError(0, f"no proper answer ({type(error).__name__})") from error
        # What it has answered is known: what is behind that is read only for the sake of the next answer.
        with suppress(OSError, http.client.HTTPException, ValueError):
            response.read(_ANSWER)
        if deadline.is_over or response.will_close or not response.isclosed():
            self.close()
        return Answer(response.status, response.headers.get("Retry-After"))

    def _connect(self) -> http.client.HTTPConnection:
        if self._context is None:
            self._connection = http.client.HTTPConnection(self._to.host, self._to.port, timeout=TIMEOUT)
        else:
            self._connection = http.client.HTTPSConnection(
                self._to.host, self._to.port, timeout=TIMEOUT, context=self._context
            )
        return self._connection

    def interrupt(self) -> None:
        """Let a thread that waits for an answer have none; nothing is posted after that."""
        self._is_interrupted = True
        if (opened := self._socket) is not None:
            hang_up(opened)

    def close(self) -> None:
        """Close the connection; the next post opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def verified(authorities: Path | None) -> ssl.SSLContext:
    """Return what TLS is spoken with: version 1.2 or newer, the other's certificate and name verified.

    Raises
    ------
    ConfigError
        The file of certificates cannot be read, or holds none.
    """
    given = read(authorities, _MOST_AUTHORITIES) if authorities is not None else b""
    if isinstance(given, Unread):  # OpenSSL would wait for a pipe, and read a device without end
        raise ConfigError(f"{authorities} cannot be read as certificates of authorities (PEM): {given.reason}.")
    try:
        context = ssl.create_default_context(cafile=authorities)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{authorities} cannot be read as certificates of authorities (PEM).") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
