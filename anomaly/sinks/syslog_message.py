"""An alert as a syslog message: header, structured data (RFC 5424), and a line for people.

The structured data is ``[anomaly@32473 ...]``; 32473 is the enterprise number that RFC 5612 sets aside for
examples, since anomaly has none of its own.
"""

from __future__ import annotations

import os
import re
import socket
import time
from functools import cache

from anomaly.records import Alert, Severity
from anomaly.sinks.formats import Encode
from anomaly.sinks.jsonline import finite
from anomaly.sinks.ndjson import timestamp
from anomaly.sinks.visible import visible
from anomaly.sinks.wording import headline, sentence

SD_ID = "anomaly@32473"

FACILITIES = {
    "kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "syslog": 5, "lpr": 6, "news": 7, "uucp": 8,
    "cron": 9, "authpriv": 10, "ftp": 11, "local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20,
    "local5": 21, "local6": 22, "local7": 23,
}  # fmt: skip
"""Numbers of RFC 5424, table 1, by the names that syslog daemons use."""

# Numbers of RFC 5424, table 2: informational, notice, warning, critical.
_SEVERITIES = {Severity.NONE: 6, Severity.NOTICE: 5, Severity.WARNING: 4, Severity.CRITICAL: 2}

# Not strftime, which writes them in the language of the locale.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_BOM = b"\xef\xbb\xbf"
_VALUE = 128
_ROOM = 200
_BLOCK = f"[{SD_ID.partition('@')[0]}@"
_ESCAPED = re.compile(r'(["\\\]])')


def message(alert: Alert, *, facility: int, longest: int, encode: Encode | None = None) -> bytes:
    """Give an alert as a message, without any framing and without a newline in it.

    Parameters
    ----------
    alert
        Any alert.
    facility
        One of :data:`FACILITIES`.
    longest
        Bytes that the transport carries; structured data is left out from its end, and then the text is cut.
    encode
        What writes the text instead of a sentence, in ASCII; where that does not fit, the sentence is what stands.
    """
    stamp = timestamp(alert.last) or "-"
    what = "CLOSE" if alert.closed else "UPDATE" if alert.update else "ALERT"
    priority = facility * 8 + _SEVERITIES[alert.severity]
    header = f"<{priority}>1 {stamp} {_hostname()} anomaly {os.getpid()} {what} ".encode("ascii")
    text = _BOM + headline(alert, _ROOM).encode("utf-8")
    parameters = _parameters(alert)
    if encode is not None:
        whole = header + _structured(parameters) + b" " + encode(alert).rstrip(b"\n")
        if len(whole) <= longest:
            return whole
    # What says which alert it is stands first, so it is left out last.
    while parameters and len(header) + len(_structured(parameters)) + 1 + len(text) > longest:
        parameters.pop()
    cut = (header + _structured(parameters) + b" " + text)[:longest]
    return cut.decode("utf-8", "ignore").encode("utf-8")


def local_message(alert: Alert, *, facility: int, longest: int, now: float) -> bytes:
    """Give an alert as ``syslog(3)`` would write it to the local socket, with the structured data behind the text.

    Neither journald nor rsyslog, unless told to, reads RFC 5424 there. Whoever reads the structured data has to
    look for it, so what was logged must not look like it: its ``[anomaly@`` is written ``(anomaly@``.

    Parameters
    ----------
    alert, facility, longest
        As :func:`message` has them.
    now
        Seconds since 1970; the header has them in local time.
    """
    header = f"<{facility * 8 + _SEVERITIES[alert.severity]}>{_stamp(now)} anomaly[{os.getpid()}]: "
    parameters = [(name, _no_block(value)) for name, value in _parameters(alert)]
    text = header.encode() + _no_block(headline(alert, _ROOM)).encode()
    while parameters and len(text) + 1 + len(_structured(parameters)) > longest:
        parameters.pop()
    whole = text + b" " + _structured(parameters) if parameters else text[:longest]
    return whole.decode("utf-8", "ignore").encode("utf-8")


def _stamp(now: float) -> str:
    moment = time.localtime(now)
    return f"{_MONTHS[moment.tm_mon - 1]} {moment.tm_mday:2} {time.strftime('%H:%M:%S', moment)}"


def _parameters(alert: Alert) -> list[tuple[str, str]]:
    worst = alert.worst
    found = [
        ("id", alert.id),
        ("update", str(alert.update)),
        ("severity", alert.severity.value),
        ("user", alert.user),
        ("host", alert.host),
        ("count", str(alert.count)),
        ("score", _figure(worst.score)),
        ("risk", _figure(worst.risk)),
        ("query", worst.action.query),
        ("event", worst.id),
        ("first", timestamp(alert.first) or ""),
        *(("reason", sentence(reason, _VALUE)) for reason in alert.reasons[:1]),
    ]
    return [(name, value) for name, value in found if value]


def _figure(value: float | None) -> str:
    figure = finite(value)
    return "" if figure is None else f"{figure:.1f}"


def _structured(parameters: list[tuple[str, str]]) -> bytes:
    if not parameters:
        return b"-"
    # Controls are shown as escapes first: RFC 5424 allows them, and few receivers pass them on unharmed.
    pairs = (f'{name}="{_ESCAPED.sub(_backslash, visible(value, _VALUE))}"' for name, value in parameters)
    return f"[{SD_ID} {' '.join(pairs)}]".encode()


def _no_block(text: str) -> str:
    return text.replace(_BLOCK, f"({_BLOCK[1:]}")


def _backslash(match: re.Match[str]) -> str:
    return "\\" + match[0]


@cache
def _hostname() -> str:
    """Give the machine's name in the characters that RFC 5424 allows."""
    return re.sub(r"[^!-~]", "?", socket.gethostname())[:255] or "-"
