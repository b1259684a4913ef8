"""What a row surely says of processes, files and the network, for formats that have fields for these.

A column means what its query's table says it means: ``path`` is a program in ``process_events`` and a file in
``file_events``. So only rows of tables that are known by name are read, and of them only what has one meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from anomaly.osquery import Action


class Kind(StrEnum):
    """What an action is about, by its query."""

    PROCESS = "process"
    FILE = "file"
    NETWORK = "network"
    SESSION = "session"
    AUTHENTICATION = "authentication"
    CONFIGURATION = "configuration"
    DRIVER = "driver"
    HOST = "host"
    OTHER = "other"


class Process(NamedTuple):
    """A process, as far as the row tells."""

    pid: int | None = None
    name: str = ""
    path: str = ""
    command: str = ""
    directory: str = ""
    parent: int | None = None


class End(NamedTuple):
    """One end of a connection."""

    ip: str | None = None
    port: int | None = None


class Observed(NamedTuple):
    """What a row says; what it does not say is None or empty."""

    kind: Kind
    process: Process | None = None
    file: str = ""
    here: End | None = None
    there: End | None = None
    """The other end: of a connection, or whence somebody logged in."""
    incoming: bool = False
    """Whether the other end began."""


_PID = 1 << 31
_PORT = 1 << 16

_KINDS = {
    Kind.PROCESS: (
        "processes", "process_events", "running_processes", "bpf_process_events", "es_process_events",
        "shell_history", "docker_container_processes",
    ),
    Kind.FILE: ("open_files", "process_open_files", "file_events", "process_file_events"),
    Kind.NETWORK: (
        "open_sockets", "process_open_sockets", "socket_events", "bpf_socket_events", "listening_ports",
    ),
    Kind.SESSION: ("logged_in_users", "last"),
    Kind.AUTHENTICATION: ("user_events",),
    Kind.CONFIGURATION: ("crontab", "sudoers", "authorized_keys", "user_ssh_keys", "ssh_configs", "systemd_units"),
    Kind.DRIVER: ("kernel_modules", "kernel_extensions"),
    Kind.HOST: ("usb_devices", "hardware_events", "mounts", "disk_events"),
}  # fmt: skip
_KIND = {query: kind for kind, queries in _KINDS.items() for query in queries}


def observe(action: Action) -> Observed:
    """Read a row.

    >>> observe(Action(0, "", "", "socket_events", "added", {"remote_address": "10.0.0.7"})).there
    End(ip='10.0.0.7', port=None)
    """
    row, kind = action.columns, _KIND.get(action.query, Kind.OTHER)
    match kind:
        case Kind.PROCESS:
            return Observed(kind, _program(action.query, row))
        case Kind.FILE:
            path = row.get("target_path") or row.get("dest_path") or row.get("path", "")
            program = row.get("executable", "") if action.query == "process_file_events" else ""
            return Observed(kind, _known(Process(_number(row, "pid", _PID), _base(program), program)), path)
        case Kind.NETWORK:
            return _connection(action.query, row)
        case Kind.SESSION:
            return Observed(kind, _known(Process(_number(row, "pid", _PID))), there=_end(row, "host", ""))
        case Kind.AUTHENTICATION:
            path = row.get("path", "")
            process = _known(Process(_number(row, "pid", _PID), _base(path), path))
            return Observed(kind, process, there=_end(row, "address", ""), incoming=True)
        case _:
            return Observed(kind)


def _program(query: str, row: Mapping[str, str]) -> Process | None:
    if query == "shell_history":
        return _known(Process(command=row.get("command", "")))
    path = row.get("path", "")
    return _known(
        Process(
            _number(row, "pid", _PID),
            row.get("name", "") or _base(path),
            path,
            row.get("cmdline", ""),
            row.get("cwd", ""),
            _number(row, "parent", _PID),
        )
    )


def _connection(query: str, row: Mapping[str, str]) -> Observed:
    pid = _number(row, "pid", _PID)
    if query == "listening_ports":
        # Its own `path` is that of a local socket; a name can only come from a join with processes.
        return Observed(Kind.NETWORK, _known(Process(pid, row.get("name", ""))), here=_end(row, "address", "port"))
    path = row.get("path", "") if query.endswith("_events") else ""
    return Observed(
        Kind.NETWORK,
        _known(Process(pid, _base(path), path)),
        here=_end(row, "local_address", "local_port"),
        there=_end(row, "remote_address", "remote_port"),
        incoming=row.get("action") == "accept",
    )


def _end(row: Mapping[str, str], address: str, port: str) -> End | None:
    end = End(_ip(row.get(address, "")), _number(row, port, _PORT))
    return end if end != End() else None


def _ip(text: str) -> str | None:
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return None if found.is_unspecified else str(found)


def _number(row: Mapping[str, str], column: str, limit: int) -> int | None:
    """Read a number from 1 to below a limit; osquery has -1 and 0 for what it does not know."""
    text = row.get(column, "")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else 0
    return number if 0 < number < limit else None


def _known(process: Process) -> Process | None:
    return process if process != Process() else None


def _base(path: str) -> str:
    return path.rpartition("/")[2]
