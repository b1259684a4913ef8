"""The queries of conf/user-behavior.conf that can be answered without osquery, over one look at the machine.

Two cannot: ``user_events`` and ``syslog`` come from the kernel's audit stream and from the syslog daemon alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from anomaly.recording import descriptors, devices, files, logins, network, processes
from anomaly.recording.accounts import Accounts
from anomaly.recording.descriptors import Held
from anomaly.recording.differential import Differential, Growing
from anomaly.recording.history import Histories
from anomaly.recording.network import Socket
from anomaly.recording.processes import Program
from anomaly.recording.rows import Row


class Look:
    """The machine at one moment. What several queries need is looked at once, and only if one asks.

    Parameters
    ----------
    accounts
        Names of numbers.
    root
        Where the file system begins.
    """

    def __init__(self, accounts: Accounts, root: Path = Path("/")) -> None:
        self.accounts = accounts
        self.root = root

    @cached_property
    def programs(self) -> list[Program]:
        """Each process."""
        return processes.programs()

    @cached_property
    def held(self) -> Held:
        """What each process holds open."""
        return descriptors.held(self.programs)

    @cached_property
    def sockets(self) -> list[Socket]:
        """Each socket."""
        return list(network.sockets(self.held.sockets, self.root))


class Query(NamedTuple):
    """One query of the pack, and what it remembers."""

    name: str
    rows: Callable[[Look], Iterable[Row]]
    memory: Differential | Growing


def queries(accounts: Accounts, *, history: bool = True) -> list[Query]:
    """Return the queries, none of which has run yet.

    Parameters
    ----------
    accounts
        Names of numbers, and homes.
    history
        Whether the histories of shells are read.
    """
    starts, histories = processes.Starts(accounts), Histories(accounts)
    found = [
        Query("processes", lambda look: processes.running(look.programs, look.accounts), Differential()),
        Query("process_events", lambda look: starts.rows(look.programs), Growing(1)),
        Query("open_files", lambda look: files.opened(look.held.files, look.accounts), Differential()),
        Query(
            "open_sockets",
            lambda look: network.connected(look.sockets, look.accounts),
            Differential(),
        ),
        Query(
            "listening_ports",
            lambda look: network.listening(look.sockets, look.accounts),
            Differential(),
        ),
        Query("logged_in_users", lambda _: logins.sessions(), Differential()),
        Query("usb_devices", lambda look: devices.usb(look.root), Differential()),
        Query("kernel_modules", lambda look: devices.modules(look.root), Differential()),
        Query("arp_cache", lambda look: network.neighbours(look.root), Differential()),
    ]
    if history:
        found.append(Query("shell_history", lambda _: histories.rows(), Growing(0)))
    return found
