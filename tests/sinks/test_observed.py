from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.osquery import Action
from anomaly.sinks.observed import End, Kind, Observed, Process, observe


def of(query: str, **row: str) -> Observed:
    """Read a row of a query."""
    return observe(Action(1, "ws1", "alice", query, "added", row))


@pytest.mark.parametrize(
    ("query", "row", "process"),
    [
        (
            "process_events",
            {"pid": "7", "parent": "1", "path": "/bin/ls", "cmdline": "ls -l", "cwd": "/srv"},
            Process(7, "ls", "/bin/ls", "ls -l", "/srv", 1),
        ),
        ("processes", {"name": "bash", "path": "/usr/bin/bash"}, Process(None, "bash", "/usr/bin/bash")),
        ("shell_history", {"command": "nmap"}, Process(command="nmap")),
        ("process_open_files", {"pid": "-1", "path": "/etc/passwd"}, None),
        ("listening_ports", {"pid": "9", "path": "/run/x.sock", "name": "nginx"}, Process(9, "nginx")),
        ("user_events", {"path": "/usr/sbin/sshd"}, Process(None, "sshd", "/usr/sbin/sshd")),
        ("nobodys_query", {"pid": "7", "path": "/bin/ls"}, None),
    ],
)
def test_processes(query: str, row: dict[str, str], process: Process | None) -> None:
    """A path is a program where the table says so, and no row of an unknown table is read."""
    assert of(query, **row).process == process


@pytest.mark.parametrize(
    ("query", "row", "path"),
    [
        ("open_files", {"path": "/etc/shadow"}, "/etc/shadow"),
        ("file_events", {"target_path": "/etc/a", "category": "etc"}, "/etc/a"),
        ("process_events", {"path": "/bin/ls"}, ""),
        ("process_open_sockets", {"path": "/run/x.sock"}, ""),
    ],
)
def test_files(query: str, row: dict[str, str], path: str) -> None:
    """Only rows about files have one."""
    assert of(query, **row).file == path


@pytest.mark.parametrize(
    ("row", "there"),
    [
        ({"remote_address": "10.0.0.7", "remote_port": "443"}, End("10.0.0.7", 443)),
        ({"remote_address": "::ffff:10.0.0.7", "remote_port": "ephemeral"}, End("10.0.0.7", None)),
        ({"remote_address": "fe80::1%eth0", "remote_port": "65535"}, End("fe80::1", 65535)),
        ({"remote_address": "::", "remote_port": "0"}, None),
        ({"remote_address": "example.org", "remote_port": "65536"}, None),
        ({"remote_address": "", "remote_port": "²"}, None),
    ],
)
def test_the_other_end(row: dict[str, str], there: End | None) -> None:
    """An address is an IP address and a port a port, or neither is said."""
    assert of("open_sockets", **row).there == there


def test_who_began() -> None:
    """Whoever is accepted has begun; so has whoever logs in."""
    assert of("socket_events", action="accept", remote_address="10.0.0.7").incoming
    assert not of("socket_events", action="connect", remote_address="10.0.0.7").incoming
    assert of("user_events", address="10.0.0.7") == Observed(
        Kind.AUTHENTICATION, None, there=End("10.0.0.7"), incoming=True
    )
    assert of("logged_in_users", host="10.0.0.7").there == End("10.0.0.7")


_NAMES = st.sampled_from((
    "processes", "process_events", "open_files", "file_events", "process_file_events", "open_sockets",
    "listening_ports", "logged_in_users", "user_events", "crontab", "x",
))  # fmt: skip
_COLUMNS = st.sampled_from((
    "pid", "path", "name", "cmdline", "remote_address", "remote_port", "local_port", "host", "action",
    "target_path",
))  # fmt: skip


@settings(deadline=None)
@given(_NAMES, st.dictionaries(_COLUMNS, st.text(st.characters(exclude_categories=()), max_size=12)))
def test_any_row(query: str, row: dict[str, str]) -> None:
    """Whatever the values, a row is read, and numbers are in their ranges."""
    found = of(query, **row)
    assert found.process is None or found.process.pid is None or 0 < found.process.pid < 2**31
    assert found.there is None or found.there.port is None or 0 < found.there.port < 2**16
