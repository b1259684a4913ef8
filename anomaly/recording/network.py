"""Connections, listening ports and neighbours: ``open_sockets``, ``listening_ports``, ``arp_cache``."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

from anomaly.recording.accounts import Accounts
from anomaly.recording.processes import Program
from anomaly.recording.rows import Row, row

_EPHEMERAL = 32768
"""Ports from here on are handed out by the kernel; their number means nothing."""

_PROTOCOLS = {socket.SOCK_STREAM: socket.IPPROTO_TCP, socket.SOCK_DGRAM: socket.IPPROTO_UDP}


class Socket(NamedTuple):
    """An internet socket. Address and port are those of its own end where it listens, else the other end's."""

    pid: int | None
    """None where the process is not known, which for others' sockets takes root."""
    protocol: int
    address: str
    port: int
    listening: bool


def sockets() -> list[Socket]:
    """Look at each socket that is connected or listens. A closed connection's remains are nobody's: left out."""
    found = []
    for each in psutil.net_connections("inet"):
        protocol = _PROTOCOLS.get(each.type)
        if protocol is None or each.status == psutil.CONN_TIME_WAIT:
            continue
        if each.raddr:
            found.append(Socket(each.pid, protocol, each.raddr[0], each.raddr[1], listening=False))
        elif each.laddr and (protocol == socket.IPPROTO_UDP or each.status == psutil.CONN_LISTEN):
            found.append(Socket(each.pid, protocol, each.laddr[0], each.laddr[1], listening=True))
    return found


def connected(
    found: Iterable[Socket], programs: Mapping[int | None, Program], accounts: Accounts
) -> Iterable[Row]:
    """Give the rows of ``open_sockets``: each remote address and port once a user."""
    rows: dict[Row, None] = {}
    for each in found:
        if not each.listening and each.port > 0:
            owner = _owner(programs.get(each.pid), accounts)
            rows[row(remote_address=each.address, remote_port=_port(each.port), **owner)] = None
    return rows


def listening(
    found: Iterable[Socket], programs: Mapping[int | None, Program], accounts: Accounts
) -> Iterable[Row]:
    """Give the rows of ``listening_ports``: each once a program and user."""
    rows: dict[Row, None] = {}
    for each in found:
        if each.listening:
            program = programs.get(each.pid)
            name = program.name if program else None
            owner = _owner(program, accounts)
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


def _port(number: int) -> str | int:
    return number if number < _EPHEMERAL else "ephemeral"
