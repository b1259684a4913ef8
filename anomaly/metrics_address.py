"""Where a run may show its metrics: on this machine alone, or in a file."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import NamedTuple

from anomaly.errors import ConfigError

_FILE = "textfile:"
_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<host>[^\[\]:]*)):(?P<port>[0-9]{1,5})")


class Served(NamedTuple):
    """Metrics served by HTTP, on this machine alone."""

    host: str
    port: int


class Written(NamedTuple):
    """Metrics written to a file for node_exporter."""

    path: Path


def place(text: str) -> Served | Written:
    """Read what ``--metrics`` was given.

    Raises
    ------
    ConfigError
        It is neither an address of this machine alone nor a file that node_exporter would read.

    Examples
    --------
    >>> place("127.0.0.1:9469"), place("[::1]:9469")
    (Served(host='127.0.0.1', port=9469), Served(host='::1', port=9469))
    """
    if text.startswith(_FILE):
        path = Path(text.removeprefix(_FILE))
        if not path.is_absolute() or path.suffix != ".prom" or "\0" in text:
            raise ConfigError(
                f"{text}: node_exporter reads files that end in .prom; give textfile:/PATH/anomaly.prom."
            )
        return Written(path)
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ConfigError(f"{text}: give 127.0.0.1:PORT, [::1]:PORT or textfile:/PATH/anomaly.prom.")
    host = match["six"] or match["host"]
    host = "127.0.0.1" if host == "localhost" else host
    if not _is_loopback(host):
        raise ConfigError(
            f"{text}: metrics name users and say who is suspected, and there is no password before them;"
            " so only 127.0.0.1 and [::1] are taken. For other machines, put a proxy that asks for one before it,"
            " or give textfile:/PATH/anomaly.prom to node_exporter."
        )
    return Served(host, int(match["port"]))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
