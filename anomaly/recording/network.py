"""Connections, listening ports and neighbours: ``open_sockets``, ``listening_ports``, ``arp_cache``."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from anomaly.recording.accounts import Accounts
from anomaly.recording.processes import Program
from anomaly.recording.rows import Row, row

_EPHEMERAL = 32768
"""Ports from here on are handed out by the kernel; their number means nothing."""

_TABLES = {
    "tcp": socket.IPPROTO_TCP,
    "tcp6": socket.IPPROTO_TCP,
    "udp": socket.IPPROTO_UDP,
    "udp6": socket.IPPROTO_UDP,
}
_TIME_WAIT, _LISTEN = "06", "0A"  # the kernel's include/net/tcp_states.h


class Socket(NamedTuple):
    """An internet socket. Address and port are those of its own end where it listens, else the other end's."""

    program: Program | None
    """None where it is not known, which for others' sockets takes root."""
    protocol: int
    address: str
    port: int
    listening: bool


def sockets(owners: Mapping[int, Program], root: Path = Path("/")) -> Iterator[Socket]:
    """Read each socket that is connected or listens. A closed connection's remains are nobody's: left out.

    Parameters
    ----------
    owners
        Programs by the inodes of their sockets.
    root
        Where the file system begins.
    """
    for name, protocol in _TABLES.items():
        try:
            text = (root / "proc/net" / name).read_text("ascii")
        except FileNotFoundError:  # a kernel without IPv6
            continue
        for line in text.splitlines()[1:]:
            _, local, remote, state, *rest = line.split()
            if state == _TIME_WAIT:
                continue
            program = owners.get(int(rest[5]))
            address, port = _end(remote)
            if port:
                yield Socket(program, protocol, address, port, listening=False)
            elif protocol == socket.IPPROTO_UDP or state == _LISTEN:
                yield Socket(program, protocol, *_end(local), listening=True)


def connected(found: Iterable[Socket], accounts: Accounts) -> Iterable[Row]:
    """Give the rows of ``open_sockets``: each remote address and port once a user."""
    rows: dict[Row, None] = {}
    for each in found:
        if not each.listening:
            owner = _owner(each.program, accounts)
            rows[row(remote_address=each.address, remote_port=_port(each.port), **owner)] = None
    return rows


def listening(found: Iterable[Socket], accounts: Accounts) -> Iterable[Row]:
    """Give the rows of ``listening_ports``: each once a program and user."""
    rows: dict[Row, None] = {}
    for each in found:
        if each.listening:
            name = each.program.name if each.program else None
            owner = _owner(each.program, accounts)
            place = {"address": each.address, "port": _port(each.port), "protocol": each.protocol}
            rows[row(name=name, **place, **owner)] = None
    return rows


def neighbours(root: Path = Path("/")) -> Iterator[Row]:
    """Give the rows of ``arp_cache``; a kernel without IPv4 has none."""
    try:
        text = (root / "proc/net/arp").read_text("ascii", "surrogateescape")
    except FileNotFoundError:
        return
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) >= 6:
            yield row(address=words[0], interface=words[5], mac=words[3])


def _owner(program: Program | None, accounts: Accounts) -> dict[str, str | int | None]:
    if program is None:
        return {"uid": None, "username": None}
    return {"uid": program.uid, "username": accounts.name(program.uid)}


def _end(text: str) -> tuple[str, int]:
    """Read ``0100007F:1F90``: an address as words in this machine's byte order, and a port.

    >>> _end("00000000:0016")
    ('0.0.0.0', 22)
    """
    address, _, port = text.partition(":")
    words = (int(address[start : start + 8], 16) for start in range(0, len(address), 8))
    raw = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw), int(port, 16)


def _port(number: int) -> str | int:
    return number if number < _EPHEMERAL else "ephemeral"
