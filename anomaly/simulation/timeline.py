"""What happened on the simulated host: processes, states that lasted a while, and single events."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

FOREVER = float("inf")
_OUTLIVE_REBOOT = frozenset({"shell_history", "kernel_modules", "arp_cache", "usb_devices"})
_EPHEMERAL = 32768  # from here on the kernel hands ports out, and the pack leaves their numbers away
TCP, UDP = "6", "17"
HOSTS = {
    "localhost": "127.0.0.1",
    "ws1": "10.20.0.21",
    "gateway": "10.20.0.1",
    "git.corp": "10.20.1.10",
    "build01": "10.20.1.11",
    "build02": "10.20.1.12",
    "registry.corp": "10.20.1.15",
    "web01": "10.20.2.11",
    "web02": "10.20.2.12",
    "web03": "10.20.2.13",
    "app01": "10.20.2.21",
    "app02": "10.20.2.22",
    "db01": "10.20.3.11",
    "db02": "10.20.3.12",
    "mail01": "10.20.4.11",
    "backup01": "10.20.4.21",
    "mon01": "10.20.4.31",
    "ldap01": "10.20.4.41",
    "files01": "10.20.4.51",
    "hpc01": "10.20.5.11",
}


def address(name: str) -> str:
    """Return the address of a host.

    The outside world lies in 198.18.0.0/15, which nobody owns (RFC 2544): a sample log must not accuse anyone.
    """
    if name in HOSTS:
        return HOSTS[name]
    if name.replace(".", "").isdigit():
        return name
    digest = zlib.crc32(name.encode())
    return f"198.{18 + (digest >> 16) % 2}.{(digest >> 8) % 256}.{1 + digest % 254}"


def _port(number: int) -> str:
    return str(number) if number < _EPHEMERAL else "ephemeral"


@dataclass(frozen=True, slots=True)
class Account:
    """A user account of the host."""

    name: str
    uid: int
    home: str


ROOT = Account("root", 0, "/root")


@dataclass(slots=True, eq=False)
class Process:
    """One process, from its exec to its end."""

    name: str
    path: str
    cmdline: str
    cwd: str
    start: float
    end: float
    runs_as: Account
    login: Account | None
    """Whose login it descends from (audit's auid, which survives sudo); None for a daemon."""
    parent: Process | None = None
    step: str = ""
    """The step of an intrusion that caused it; empty for everything else."""
    pid: int = 0


@dataclass(slots=True)
class State:
    """A row of a polled table that is there from ``start`` to ``end``."""

    query: str
    columns: dict[str, str]
    start: float
    end: float
    step: str = ""
    process: Process | None = None
    """Who holds it, and takes it away on ending."""

    @property
    def until(self) -> float:
        """When the row is gone."""
        return min(self.end, self.process.end) if self.process else self.end


@dataclass(slots=True)
class Event:
    """A row of an evented table; ``process`` gives the pid, which is known only when all is told."""

    query: str
    columns: dict[str, str]
    time: float
    process: Process | None = None
    step: str = ""


@dataclass(slots=True)
class Timeline:
    """Everything that happened on the host, in the order it was told rather than the order it happened."""

    processes: list[Process] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def execute(
        self,
        path: str,
        cmdline: str = "",
        *,
        start: float,
        end: float,
        parent: Process | None = None,
        runs_as: Account | None = None,
        login: Account | None = None,
        cwd: str = "",
        name: str = "",
    ) -> Process:
        """Start a process; what is not said is inherited from the parent, as fork does."""
        process = Process(
            name=(name or path.rsplit("/", 1)[-1])[:15],  # the kernel keeps 15 bytes of a name
            path=path,
            cmdline=cmdline or path,
            cwd=cwd or (parent.cwd if parent else "/"),
            start=start,
            end=end,
            runs_as=runs_as or (parent.runs_as if parent else ROOT),
            login=login or (parent.login if parent else None),
            parent=parent,
            step=parent.step if parent else "",
        )
        self.processes.append(process)
        return process

    def hold(self, query: str, columns: dict[str, str], start: float, end: float, step: str = "") -> None:
        """Let a row stand in a polled table from ``start`` to ``end``."""
        self.states.append(State(query, columns, start, end, step))

    def owned(self, query: str, process: Process, columns: dict[str, str], start: float, end: float) -> None:
        """Let a row stand that osquery joins with its process's user: sockets, open files, ports."""
        owner = {"uid": str(process.runs_as.uid), "username": process.runs_as.name}
        self.states.append(State(query, {**columns, **owner}, start, end, process.step, process))

    def connect(self, process: Process, host: str, port: int, start: float, end: float) -> None:
        """Hold a connection from a process to a host."""
        columns = {"remote_address": address(host), "remote_port": _port(port)}
        self.owned("open_sockets", process, columns, start, end)

    def listen(
        self,
        process: Process,
        port: int,
        start: float,
        end: float,
        *,
        where: str = "127.0.0.1",
        protocol: str = TCP,
    ) -> None:
        """Listen on a port of an address."""
        columns = {"address": where, "name": process.name, "port": _port(port), "protocol": protocol}
        self.owned("listening_ports", process, columns, start, end)

    def open(self, process: Process, path: str, start: float, end: float) -> None:
        """Hold a file open."""
        self.owned("open_files", process, {"path": path}, start, end)

    def log(self, time: float, tag: str, message: str, facility: str, step: str = "") -> None:
        """Write a line to syslog; the pack asks for the facilities ``auth`` and ``authpriv`` alone."""
        columns = {"facility": facility, "message": message, "severity": "6", "tag": tag, "time": f"{time:.0f}"}
        self.events.append(Event("syslog", columns, time, step=step))

    def audit(
        self, process: Process, kind: int, operation: str, target: str, *, time: float, tty: str, host: str = "?"
    ) -> None:
        """Write a USER_* record of the audit trail, as sshd, sudo and the display manager do."""
        login = process.login
        where = "?" if host == "?" else address(host)
        message = (
            f'op={operation} acct="{target}" exe="{process.path}" hostname={where} addr={where} '
            f"terminal={tty} res=success"
        )
        columns = {
            "address": where,
            "auid": str(login.uid if login else 2**32 - 1),
            "message": message,
            "path": process.path,
            "terminal": tty,
            "time": f"{int(time)}",
            "type": str(kind),
            "uid": str(login.uid if login and process.path.endswith("sudo") else 0),
            "username": login.name if login else "root",
        }
        self.events.append(Event("user_events", columns, time, process, process.step))

    def settle(self, down: float, up: float) -> None:
        """Make it consistent: children go with their parents, and nothing outlives or happens in a reboot."""
        self.processes = sorted((p for p in self.processes if not down <= p.start < up), key=lambda p: p.start)
        for process in self.processes:
            ceiling = down if process.start < down else FOREVER
            if process.parent:
                ceiling = min(ceiling, process.parent.end)
            process.end = min(process.end, ceiling)
        self.processes = [process for process in self.processes if process.start < process.end]
        self.states = [state for state in self.states if not down <= state.start < up]
        for state in self.states:
            if state.start < down and state.query not in _OUTLIVE_REBOOT:
                state.end = min(state.end, down)
        self.events = [event for event in self.events if not down <= event.time < up]

    def number(self, rng: Random, up: float) -> None:
        """Give every process its pid, in order of start (after :meth:`settle`); a boot starts again from below."""
        pid, before = 600, True
        for process in self.processes:
            if before and process.start >= up:
                pid, before = 300, False
            pid = pid + rng.choice((1, 1, 1, 2, 3, 7))  # the gaps are forks that never called exec
            process.pid = pid if pid < 2**22 else 300
