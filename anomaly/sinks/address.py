"""Where alerts go, as a person writes it: one line for each sink.

::

    -                                       standard output, for people
    file:/var/log/anomaly/alerts.ndjson     a file
    syslog:                                 the local syslog daemon
    syslog+udp://HOST[:514]                 another machine's, and so syslog+tcp
    syslog+tls://HOST[:6514]?ca=FILE        the same by TLS
    https://HOST/PATH?QUERY#token_file=F    a webhook

Options stand behind ``?`` and are joined by ``&``. Those of a webhook stand behind ``#``: its path and query are
the receiver's own, and what is behind a ``#`` is never sent to anybody.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple, overload
from urllib.parse import parse_qsl, urlsplit

from anomaly.advice import nearest
from anomaly.errors import ConfigError
from anomaly.sinks.file import FileSink
from anomaly.sinks.formats import FORMATS, encoder
from anomaly.sinks.http_post import Post, receiver, secret_from, verified
from anomaly.sinks.interface import AlertSink
from anomaly.sinks.several import Several
from anomaly.sinks.spool import Spool
from anomaly.sinks.stream import StreamSink
from anomaly.sinks.syslog import LOCAL, Local, SyslogSink, Tcp, Tls, Udp, Wire
from anomaly.sinks.syslog_message import FACILITIES
from anomaly.sinks.visible import visible
from anomaly.sinks.webhook import WebhookSink

_OPTIONS = {
    "-": ("format",),
    "file": ("format",),
    "syslog": ("facility", "rfc"),
    "syslog+udp": ("facility", "format"),
    "syslog+tcp": ("facility", "format"),
    "syslog+tls": ("facility", "format", "ca"),
    "http": ("format", "token_file", "token_env"),
    "https": ("format", "token_file", "token_env", "ca"),
}
# Behind the sign of the other kinds. A receiver may have a format of its own, but nobody has our files of secrets.
_MISPLACED = {
    "?": re.compile(r"#(format|facility|rfc|ca|token_file|token_env)="),
    "#": re.compile(r"[?&](token_file|token_env)="),
}
_WORD = re.compile(r"[a-z0-9+]{1,20}")
_PORTS = {"syslog+udp": 514, "syslog+tcp": 514, "syslog+tls": 6514}
# Not auth, from which conf/rsyslog-osquery.conf feeds osquery: alerts would be actions to be scored.
_FACILITY = "local0"
_CONTENT = {"text": "text/plain; charset=utf-8"}


class Address(NamedTuple):
    """An address, read but not yet opened."""

    kind: str
    place: str
    """Path, host and port, or the whole address of a webhook."""
    options: dict[str, str]

    @property
    def label(self) -> str:
        """Name the sink in messages; of a webhook only its host, since the rest may be secret."""
        match self.kind:
            case "-":
                return "standard output"
            case "http" | "https":
                return receiver(self.place).label
            case "file":
                return self.place
            case _:
                return f"{self.kind}:{self.place}"


def parse(address: str) -> Address:
    """Read an address.

    Raises
    ------
    ConfigError
        There is no such kind of address, or no such option there; what was probably meant is proposed.
    """
    if address.startswith(("http://", "https://")):
        place, _, query = address.partition("#")
        kind = place.partition(":")[0]
    else:
        whole, _, query = address.partition("?")
        kind, _, place = whole.partition(":")
    if kind not in _OPTIONS:
        if address.startswith(("/", "./", "~")):
            raise ConfigError(f"To write alerts to a file, say so: file:{address}")
        # What is no word may be an address without its beginning, which is nothing to repeat.
        called = f" called {kind!r}" if _WORD.fullmatch(kind) else ""
        raise ConfigError(f"There is no kind of address for alerts{called}. {nearest(kind[:40], _OPTIONS)}")
    if kind == "file" and not place:
        raise ConfigError("The address file: needs a path, as in file:/var/log/anomaly/alerts.ndjson")
    if (found := _MISPLACED[_mark(kind)].search(place)) is not None:
        wrong = found[0][0]
        raise ConfigError(
            f"Options of an address of kind {kind} stand behind {_mark(kind)}, not behind {wrong}:"
            f" write {_mark(kind)}{found[1]}=..."
        )
    return Address(kind, place, _options(kind, query))


def _mark(kind: str) -> str:
    """Return what options of an address stand behind."""
    return "#" if kind in ("http", "https") else "?"


def _options(kind: str, text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text))
    except ValueError as error:
        raise ConfigError(f"Options of an address are written {_mark(kind)}NAME=VALUE&NAME=VALUE.") from error
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in _OPTIONS[kind]:
            hint = nearest(name, _OPTIONS[kind])
            raise ConfigError(f"An address of kind {kind} has no option {name[:40]!r}. {hint}")
        if name in found or not value:
            raise ConfigError(f"The option {name} of an address of kind {kind} needs one value.")
        found[name] = value
    _check(found, "format", FORMATS)
    _check(found, "facility", FACILITIES)
    _check(found, "rfc", ("3164", "5424"))
    return found


def _check(options: Mapping[str, str], name: str, known: Sequence[str] | Mapping[str, int]) -> None:
    value = options.get(name)
    if value is not None and value not in known:
        raise ConfigError(
            f"The option {name} of an address for alerts cannot be {value[:40]!r}. {nearest(value, known)}"
        )


def open_sink(
    address: str,
    *,
    spool: Path,
    stdout: IO[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> AlertSink:
    """Open what an address names.

    Parameters
    ----------
    address
        As at the top of this module.
    spool
        Directory in which a webhook keeps what is not delivered yet; each address has its own within it.
    stdout
        What ``-`` is.
    environ
        Where ``token_env`` is looked up.

    Raises
    ------
    ConfigError
        The address does not fit, or what it names cannot be opened.
    StateError
        What waits for a webhook cannot be used.
    """
    found = parse(address)
    options = found.options
    if found.kind == "-":
        if stdout is None or found.place:
            raise ConfigError("Alerts cannot go to standard output here." if stdout is None else "Write - alone.")
        return StreamSink(stdout, encoder(options.get("format", "text")))
    if found.kind == "file":
        return FileSink(_path(found.place), encoder(options.get("format", "json")))
    if found.kind.startswith("http"):
        return _webhook(found, spool, environ)
    return _syslog(found)


def _webhook(address: Address, spool: Path, environ: Mapping[str, str]) -> WebhookSink:
    options, form = address.options, address.options.get("format", "json")
    if "token_file" in options and "token_env" in options:
        raise ConfigError("A webhook has its token from token_file or from token_env, not from both.")
    file = _path(options.get("token_file"))
    post = Post(
        receiver(address.place),
        secret=secret_from(file=file, variable=options.get("token_env"), environ=environ),
        authorities=_path(options.get("ca")),
        content=_CONTENT.get(form, "application/json"),
    )
    # By its address alone: another format or token is still the same receiver, for whom the same alerts wait.
    name = hashlib.sha256(address.place.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return WebhookSink(Spool(spool / name), post, encoder(form))


def _syslog(address: Address) -> SyslogSink:
    options = address.options
    facility = FACILITIES[options.get("facility", _FACILITY)]
    if address.kind == "syslog":
        wire: Wire = Local(_path(address.place or None) or LOCAL)
        return SyslogSink(wire, facility=facility, is_local=options.get("rfc") != "5424")
    host, port = _host(address)
    if address.kind == "syslog+udp":
        wire = Udp(host, port)
    elif address.kind == "syslog+tcp":
        wire = Tcp(host, port)
    else:
        wire = Tls(host, port, verified(_path(options.get("ca"))))
    form = options.get("format", "text")
    return SyslogSink(wire, facility=facility, encode=None if form == "text" else encoder(form))


def _host(address: Address) -> tuple[str, int]:
    wrong = ConfigError(
        f"An address of kind {address.kind} is written {address.kind}://HOST or {address.kind}://HOST:PORT."
    )
    try:
        parts = urlsplit(f"x:{address.place}")
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")  # what no name server could be asked for
    except ValueError as error:
        raise wrong from error
    if not host or parts.path or parts.username is not None or port == 0:
        raise wrong
    return host, port or _PORTS[address.kind]


@overload
def _path(text: str) -> Path: ...
@overload
def _path(text: str | None) -> Path | None: ...
def _path(text: str | None) -> Path | None:
    if text is None:
        return None
    try:
        path = Path(text).expanduser()
        if b"\0" in os.fsencode(path):
            raise ValueError("a path ends there")
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"{visible(text, 200)}, in an address, is no path: write it in full.") from error
    return path


def open_sinks(
    addresses: Sequence[str],
    *,
    spool: Path,
    say: Callable[[str], None],
    stdout: IO[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Several:
    """Open several addresses as one sink; none where one of them does not fit.

    Parameters
    ----------
    addresses, spool, stdout, environ
        As :func:`open_sink` has them.
    say
        Told, as a sentence, what goes wrong later and is survived.

    Raises
    ------
    ConfigError
        An address does not fit, or is there twice.
    StateError
        What waits for a webhook cannot be used.
    """
    opened: list[tuple[str, AlertSink]] = []
    places: set[tuple[str, str]] = set()
    try:
        for text in addresses:
            address = parse(text)
            if address[:2] in places:
                raise ConfigError(f"Alerts would go to {address.label} twice. Give each address once.")
            places.add(address[:2])
            opened.append((address.label, open_sink(text, spool=spool, stdout=stdout, environ=environ)))
    except BaseException:
        for _, sink in opened:
            with suppress(OSError):
                sink.close()
        raise
    return Several(opened, say)
