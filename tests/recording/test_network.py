"""Connections, ports and neighbours."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from anomaly.recording import network
from anomaly.recording.accounts import Accounts
from anomaly.recording.descriptors import held
from anomaly.recording.network import Socket, connected, listening, neighbours, sockets
from anomaly.recording.processes import Program

ARP = """IP address       HW type     Flags       HW address            Mask     Device
10.0.0.1         0x1         0x2         00:00:5e:00:53:01     *        eth0
broken
"""
CURL = Program(7, 1, 0.0, "curl", "/usr/bin/curl", 1000, 1000)
MINE = Program(os.getpid(), 1, 0.0, "python", "/usr/bin/python3", os.getuid(), os.geteuid())


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> Accounts:
    """Know alice."""
    found = Accounts(0)
    monkeypatch.setattr(found, "name", lambda uid: {1000: "alice"}.get(uid, ""))
    return found


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["IPv4", "IPv6"]
)
def test_sockets_of_this_process_are_seen(family: socket.AddressFamily, address: str) -> None:
    """A port that this very process opens, and a connection to it, are there with address, number and program."""
    if family == socket.AF_INET6 and not Path("/proc/net/tcp6").exists():
        pytest.skip("this kernel has no IPv6")
    with socket.socket(family) as server, socket.socket(family) as client:
        try:
            server.bind((address, 0))
        except OSError:
            pytest.skip("this machine has no such addresses")
        server.listen()
        port = server.getsockname()[1]
        client.connect((address, port))
        found = list(sockets(held([MINE]).sockets))
    assert Socket(MINE, 6, address, port, listening=True) in found
    assert Socket(MINE, 6, address, port, listening=False) in found


def test_the_kernels_tables_are_read(tmp_path: Path) -> None:
    """Closed connections' remains and unconnected TCP are no rows; UDP without another end is a port."""
    (tmp_path / "proc/net").mkdir(parents=True)
    head, tail = (
        "  sl  local_address rem_address   st tx_queue",
        "00000000:00000000 00:00000000 00000000     0        0",
    )

    def table(name: str, *lines: tuple[str, str, str, int]) -> None:
        rows = [f"   0: {local} {remote} {state} {tail} {inode} 1" for local, remote, state, inode in lines]
        (tmp_path / "proc/net" / name).write_text("\n".join([head, *rows]) + "\n")

    def address(*words: int) -> str:
        return "".join(f"{int.from_bytes(word.to_bytes(4, 'big'), sys.byteorder):08X}" for word in words)

    near, far, nowhere = f"{address(0x0A000002)}:14E9", f"{address(0x0A000009)}:01BB", f"{address(0)}:0000"
    table("tcp", (near, far, "01", 5), (near, far, "06", 0), (near, nowhere, "0A", 6), (near, nowhere, "07", 7))
    table("udp", (near, nowhere, "07", 0))
    table("tcp6", (f"{address(0x20010DB8, 0, 0, 1)}:0016", f"{address(0, 0, 0, 0)}:0000", "0A", 5))
    assert list(sockets({5: CURL}, tmp_path)) == [
        Socket(CURL, 6, "10.0.0.9", 443, listening=False),
        Socket(None, 6, "10.0.0.2", 5353, listening=True),
        Socket(CURL, 6, "2001:db8::1", 22, listening=True),
        Socket(None, 17, "10.0.0.2", 5353, listening=True),
    ]


def test_connections_name_the_other_end_once_a_user(accounts: Accounts) -> None:
    """High ports are all alike; a connection whose process is unknown is kept, and is nobody's."""
    found = [
        *[Socket(CURL, 6, "10.0.0.7", 443, listening=False)] * 2,
        Socket(CURL, 6, "10.0.0.7", 50_123, listening=False),
        Socket(None, 6, "10.0.0.7", 443, listening=False),
        Socket(CURL, 6, "10.0.0.2", 443, listening=True),
    ]
    assert [tuple(dict(row).values()) for row in connected(found, accounts)] == [
        ("10.0.0.7", "443", "1000", "alice"),
        ("10.0.0.7", "ephemeral", "1000", "alice"),
        ("10.0.0.7", "443", "", ""),
    ]


def test_ports_name_their_program(accounts: Accounts) -> None:
    """As far as it is known."""
    found = [
        Socket(who, 6, "::", port, listening=True) for who, port in ((CURL, 8080), (CURL, 40_000), (None, 22))
    ]
    found.append(Socket(CURL, 6, "10.0.0.7", 443, listening=False))
    assert [dict(row) for row in listening(found, accounts)] == [
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
