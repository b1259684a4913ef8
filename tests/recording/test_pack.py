"""What is recorded is what the pack promises."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from anomaly.recording.accounts import Accounts, Home
from anomaly.recording.descriptors import Held
from anomaly.recording.network import Socket
from anomaly.recording.pack import Look, Query, queries
from anomaly.recording.processes import Program
from anomaly.recording.rows import Row
from tests.test_conf import _PACK, _TABLES

MISSING = {"user_events", "syslog"}
"""Queries that nothing but osquery answers."""


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Row]]:
    """Look twice at this machine, with something in each table, and return all rows."""
    (tmp_path / "sys/bus/usb/devices/1-2").mkdir(parents=True)
    (tmp_path / "sys/bus/usb/devices/1-2/idVendor").write_text("0781\n")
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/modules").write_text("dm_crypt 1 0 - Live 0x0\n")
    (tmp_path / "proc/net/arp").write_text("head\n10.0.0.1 0x1 0x2 00:00:5e:00:53:01 * eth0\n")
    for name in ("tcp", "tcp6", "udp", "udp6"):
        (tmp_path / "proc/net" / name).symlink_to(f"/proc/net/{name}")
    (tmp_path / ".bash_history").write_text("ls\n")
    session = SimpleNamespace(name="alice", terminal="pts/0", host="", started=1.0, pid=1)
    monkeypatch.setattr(psutil, "users", lambda: [session])
    accounts = Accounts()
    monkeypatch.setattr(accounts, "homes", lambda: [Home(os.getuid(), "alice", tmp_path)])
    asked = queries(accounts)
    rows: dict[str, list[Row]] = {}
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
        for query in asked:
            rows[query.name] = list(query.rows(Look(accounts, tmp_path)))
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        for query in asked:
            rows[query.name] += query.rows(Look(accounts, tmp_path))
        child.communicate(b"\n", timeout=30)
    return rows


def test_every_query_of_the_pack_is_answered_but_those_of_audit_and_syslog() -> None:
    """No query has a name of its own; histories can be left out."""
    names = {query.name for query in queries(Accounts())}
    assert names == set(_PACK) - MISSING
    assert {query.name for query in queries(Accounts(), history=False)} == names - {"shell_history"}


def test_columns_are_those_of_the_pack(found: dict[str, list[Row]]) -> None:
    """Each row has exactly the columns that SQLite gives for the pack's query, sorted, and strings in them."""
    machine = sqlite3.connect(":memory:")
    machine.executescript(_TABLES)
    for name, rows in found.items():
        promised = sorted(column[0] for column in machine.execute(_PACK[name]["query"]).description)
        assert rows, name
        assert {tuple(column for column, _ in row) for row in rows} == {tuple(promised)}, name
        assert all(type(value) is str for row in rows for _, value in row)
    machine.close()


def test_what_is_never_removed_in_the_pack_is_never_removed_here() -> None:
    """Events and histories only grow."""

    def removes(query: Query) -> bool:
        query.memory.update([(("a", "b"),)])
        return bool(query.memory.update([]).removed)

    assert all(removes(query) == _PACK[query.name].get("removed", True) for query in queries(Accounts()))


def test_this_machines_rows_name_their_user(found: dict[str, list[Row]]) -> None:
    """The test's own process, sockets and child are laid to who runs the test."""
    mine = {"uid": str(os.getuid()), "username": Accounts().name(os.getuid())}
    for name in ("processes", "process_events", "open_sockets", "listening_ports"):
        assert any(mine.items() <= dict(row).items() for row in found[name]), name
    (started,) = [dict(row) for row in found["process_events"] if dict(row)["parent"] == str(os.getpid())]
    assert started["cmdline"] == f"{sys.executable} -c input()"
    assert started["path"] == os.path.realpath(sys.executable)
    assert started["cwd"] == f'"{Path.cwd()}"'


def test_the_machine_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries share one walk over the processes, one over what they hold, and one list of sockets."""
    calls = []

    def programs() -> list[Program]:
        calls.append("programs")
        return []

    def held(_: object) -> Held:
        calls.append("held")
        return Held(set(), {})

    def sockets(*_: object) -> list[Socket]:
        calls.append("sockets")
        return []

    monkeypatch.setattr("anomaly.recording.processes.programs", programs)
    monkeypatch.setattr("anomaly.recording.descriptors.held", held)
    monkeypatch.setattr("anomaly.recording.network.sockets", sockets)
    accounts = Accounts()
    look = Look(accounts)
    for query in queries(accounts, history=False):
        list(query.rows(look))
    assert sorted(calls) == ["held", "programs", "sockets"]
