"""Our pack for osquery, as far as a check must know it; conf/user-behavior.conf is the whole of it."""

from __future__ import annotations

import re

QUERIES = {
    "processes": 30,
    "open_files": 30,
    "open_sockets": 30,
    "listening_ports": 30,
    "logged_in_users": 60,
    "shell_history": 30,
    "process_events": 10,
    "user_events": 10,
    "syslog": 30,
    "usb_devices": 60,
    "kernel_modules": 30,
    "arp_cache": 30,
}
"""Seconds between two runs, by query."""

HOST_LEVEL = frozenset({"syslog", "usb_devices", "kernel_modules", "arp_cache"})
"""Queries whose rows name nobody, since no column says who it was."""

INSTALL = "sudo install -D -m 0644 conf/user-behavior.conf /etc/osquery/packs/user-behavior.conf"
"""What puts the pack in place, from a checkout."""

RESTART = "sudo systemctl restart osqueryd"

_PEOPLE = re.compile(
    r"\b(?:processes|process_events|bpf_process_events|process_file_events|socket_events|bpf_socket_events|user_events"
    r"|process_open_files|process_open_sockets|listening_ports|logged_in_users|last|shell_history|authorized_keys"
    r"|user_ssh_keys|docker_container_processes)\b",
    re.IGNORECASE,
)
_USER = re.compile(r"\b(?:username|user|auid|uid|euid)\b|\*", re.IGNORECASE)
_FROM = re.compile(r"\bfrom\b", re.IGNORECASE)


def names_user(sql: str) -> bool:
    """Say whether the rows of a query name who acted, as far as its text tells; True for one about no people.

    >>> names_user("SELECT name FROM processes"), names_user("SELECT name, uid FROM processes")
    (False, True)
    >>> names_user("SELECT name FROM kernel_modules")
    True
    """
    columns, *rest = _FROM.split(sql, maxsplit=1)
    if not rest or not _PEOPLE.search(rest[0]):
        return True
    return bool(_USER.search(columns))


def reads_root_alone(sql: str) -> bool:
    """Say whether a query reads shell histories without the join that makes osquery read those of all users.

    >>> reads_root_alone("SELECT * FROM shell_history"), reads_root_alone("SELECT 1 FROM users JOIN shell_history")
    (True, False)
    """
    history = re.search(r"\bshell_history\b", sql, re.IGNORECASE)
    return bool(history) and not re.search(r"\busers\b|\buid\s*=", sql, re.IGNORECASE)
