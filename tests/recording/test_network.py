"""Connections, ports and neighbours."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from anomaly.recording import network
from anomaly.recording.accounts import Accounts
from anomaly.recording.network import Socket, connected, listening, neighbours, sockets
from anomaly.recording.processes import Program

ARP = """IP address       HW type     Flags       HW address            Mask     Device
10.0.0.1         0x1         0x2         00:00:5e:00:53:01     *        eth0
broken
"""
HERE: dict[int | None, Program] = {7: Program(7, 1, 0.0, "curl", "/usr/bin/curl", 1000, 1000)}


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> Accounts:
    """Know alice."""
    found = Accounts(0)
    monkeypatch.setattr(found, "name", lambda uid: {1000: "alice"}.get(uid, ""))
    return found


def test_a_socket_that_listens_here_is_seen() -> None:
    """A port that this very process opens is there, with its number."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert Socket(os.getpid(), 6, "127.0.0.1", port, listening=True) in sockets()


def test_what_is_left_of_a_connection_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed connections, raw sockets and unconnected TCP are no rows; UDP without another end is a port."""

    def each(
        kind: int, status: str, laddr: tuple[str, int] | tuple[()], raddr: tuple[str, int] | tuple[()]
    ) -> object:
        return SimpleNamespace(type=kind, status=status, laddr=laddr, raddr=raddr, pid=None)

    near, far = ("10.0.0.2", 5353), ("10.0.0.9", 443)
    found = [
        each(socket.SOCK_STREAM, psutil.CONN_TIME_WAIT, near, far),
        each(socket.SOCK_RAW, psutil.CONN_NONE, near, far),
        each(socket.SOCK_STREAM, psutil.CONN_CLOSE, near, ()),
        each(socket.SOCK_DGRAM, psutil.CONN_NONE, (), ()),
        each(socket.SOCK_DGRAM, psutil.CONN_NONE, near, ()),
        each(socket.SOCK_STREAM, psutil.CONN_ESTABLISHED, near, far),
    ]
    monkeypatch.setattr(psutil, "net_connections", lambda _: found)
    assert sockets() == [
        Socket(None, 17, "10.0.0.2", 5353, listening=True),
        Socket(None, 6, "10.0.0.9", 443, listening=False),
    ]


def test_connections_name_the_other_end_once_a_user(accounts: Accounts) -> None:
    """High ports are all alike; a connection whose process is unknown is kept, and is nobody's."""
    found = [
        *[Socket(7, 6, "10.0.0.7", 443, listening=False)] * 2,
        Socket(7, 6, "10.0.0.7", 50_123, listening=False),
        Socket(None, 6, "10.0.0.7", 443, listening=False),
        Socket(8, 6, "10.0.0.8", 0, listening=False),
        Socket(7, 6, "10.0.0.2", 443, listening=True),
    ]
    assert [tuple(dict(row).values()) for row in connected(found, HERE, accounts)] == [
        ("10.0.0.7", "443", "1000", "alice"),
        ("10.0.0.7", "ephemeral", "1000", "alice"),
        ("10.0.0.7", "443", "", ""),
    ]


def test_ports_name_their_program(accounts: Accounts) -> None:
    """As far as it is known."""
    found = [Socket(pid, 6, "::", port, listening=True) for pid, port in ((7, 8080), (7, 40_000), (None, 22))]
    found.append(Socket(7, 6, "10.0.0.7", 443, listening=False))
    assert [dict(row) for row in listening(found, HERE, accounts)] == [
        {"address": "::", "name": "curl", "port": "8080", "protocol": "6", "uid": "1000", "username": "alice"},
        {
            "address": "::",
            "name": "curl",
            "port": "ephemeral",
            "protocol": "6",
            "uid": "1000",
            "username": "alice",
        },
        {"address": "::", "name": "", "port": "22", "protocol": "6", "uid": "", "username": ""},
    ]


def test_ephemeral_begins_where_the_pack_says() -> None:
    """The number in the recorder is the number in the pack."""
    pack = (Path(__file__).parents[2] / "conf/user-behavior.conf").read_text()
    assert pack.count(f"< {network._EPHEMERAL} ") == 2


def test_neighbours_are_read(tmp_path: Path) -> None:
    """Each line of the kernel's table is one; where there is no table, there are none."""
    assert list(neighbours(tmp_path)) == []
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/arp").write_text(ARP)
    assert [dict(row) for row in neighbours(tmp_path)] == [
        {"address": "10.0.0.1", "interface": "eth0", "mac": "00:00:5e:00:53:01"}
    ]
