"""Processes as they are: hostile, vanishing, and mostly somebody else's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from anomaly.recording import processes
from anomaly.recording.accounts import Accounts
from anomaly.recording.processes import Program, Starts, programs, running
from anomaly.recording.rows import Row

ALICE = 1000


@dataclass
class Fake:
    """A process, as psutil would tell of it."""

    pid: int
    parent: int = 1
    called: str = "sh"
    argv: tuple[str, ...] = ("sh",)
    started: float = 1e9
    uid: int = ALICE
    fault: Exception | None = None

    @contextmanager
    def oneshot(self) -> Iterator[None]:
        """Do nothing."""
        yield

    def name(self) -> str:
        """Return the name, or raise what is wrong with it."""
        if self.fault:
            raise self.fault
        return self.called

    def ppid(self) -> int:
        """Return the parent."""
        return self.parent

    def create_time(self) -> float:
        """Return the start."""
        return self.started

    def uids(self) -> SimpleNamespace:
        """Return the users."""
        return SimpleNamespace(real=self.uid, effective=0)

    def cmdline(self) -> list[str]:
        """Return the arguments."""
        return list(self.argv)


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> Accounts:
    """Know alice and root."""
    found = Accounts(0)
    monkeypatch.setattr(found, "name", lambda uid: {0: "root", ALICE: "alice"}.get(uid, ""))
    return found


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put processes in place of the real ones; where a path is given, that is what their link says."""

    def put(*fakes: Fake, path: str = "/usr/bin/sh") -> None:
        table = {fake.pid: fake for fake in fakes}

        def process(pid: int) -> Fake:
            if pid not in table:
                raise psutil.NoSuchProcess(pid)
            return table[pid]

        def readlink(link: str | Path) -> str:
            if str(link).endswith("/exe") and path:
                return path
            raise PermissionError(13, "Permission denied", link)

        monkeypatch.setattr(psutil, "pids", lambda: [*table, 99_999])
        monkeypatch.setattr(psutil, "Process", process)
        monkeypatch.setattr("anomaly.recording.processes.os.readlink", readlink)
        monkeypatch.setattr(processes, "_login", lambda _: 2**32 - 1)

    return put


def column(rows: list[Row], name: str) -> list[str]:
    """Take one column."""
    return [dict(row)[name] for row in rows]


def test_this_very_process_is_seen() -> None:
    """On the machine that the test runs on, its own process is there with its user."""
    mine = next(each for each in programs() if each.pid == os.getpid())
    assert (mine.parent, mine.uid, mine.euid) == (os.getppid(), os.getuid(), os.geteuid())
    assert mine.path == os.path.realpath("/proc/self/exe")
    assert mine.name


@pytest.mark.parametrize(
    "fault",
    [
        psutil.NoSuchProcess(7),
        psutil.ZombieProcess(7),
        psutil.AccessDenied(7),
        FileNotFoundError(),
        OSError(3, "x"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_a_process_that_cannot_be_looked_at_is_left_out(machine: Callable[..., None], fault: Exception) -> None:
    """Whoever vanishes, is a zombie or somebody else's costs nothing but its own row."""
    machine(Fake(7, fault=fault), Fake(8))
    assert [each.pid for each in programs()] == [8]


def test_a_path_that_may_not_be_read_is_empty(machine: Callable[..., None], accounts: Accounts) -> None:
    """As with osquery; the arguments are no evidence of it, since a program writes them itself."""
    machine(Fake(7, argv=("/usr/bin/innocent",)), path="")
    (row,) = running(programs(), accounts)
    assert row == (("name", "sh"), ("path", ""), ("uid", "1000"), ("username", "alice"))


def test_a_program_that_was_deleted_keeps_its_path(machine: Callable[..., None], accounts: Accounts) -> None:
    """What the kernel adds to a link whose file is gone is no part of the name."""
    machine(Fake(7), path="/opt/implant (deleted)")
    assert column(list(running(programs(), accounts)), "path") == ["/opt/implant"]


def test_hostile_names_are_escaped(machine: Callable[..., None], accounts: Accounts) -> None:
    """Newlines and bytes that are no text, in names and arguments, come as osquery writes them."""
    machine(Fake(1, called="init", uid=0))
    starts = Starts(accounts)
    starts.rows(programs())
    argv = ("a\nb", b"\xff".decode("utf-8", "surrogateescape"), "\x1b]0;x\x07")
    machine(Fake(1, called="init", uid=0), Fake(7, called="a\nb", argv=argv))
    assert column(list(running(programs(), accounts)), "name") == ["init", "a\\x0Ab"]
    assert column(starts.rows(programs()), "cmdline") == ["a\\x0Ab \\xFF \\x1B]0;x\\x07"]


def test_what_ran_before_was_not_started(machine: Callable[..., None], accounts: Accounts) -> None:
    """The first look gives no events, and neither does a process that goes on."""
    starts = Starts(accounts)
    machine(Fake(7))
    assert starts.rows(programs()) == []
    assert starts.rows(programs()) == []


def test_a_start_says_what_and_when_and_who(machine: Callable[..., None], accounts: Accounts) -> None:
    """A new process gives the columns of process_events, dated by its start."""
    starts = Starts(accounts)
    machine()
    starts.rows(programs())
    machine(Fake(7, 5, argv=("ls", "-l"), started=1_793_585_624.7))
    (row,) = starts.rows(programs())
    assert dict(row) == {
        "auid": "4294967295",
        "cmdline": "ls -l",
        "cwd": "",
        "euid": "0",
        "parent": "5",
        "path": "/usr/bin/sh",
        "pid": "7",
        "time": "1793585624",
        "uid": "1000",
        "username": "alice",
    }


def test_who_logged_in_is_who_acts(
    machine: Callable[..., None], accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What alice does by sudo is hers."""
    starts = Starts(accounts)
    machine()
    starts.rows(programs())
    machine(Fake(7, uid=0))
    monkeypatch.setattr(processes, "_login", lambda _: ALICE)
    (row,) = starts.rows(programs())
    assert (dict(row)["uid"], dict(row)["username"]) == ("0", "alice")


def test_a_pid_that_is_used_again_is_a_start(machine: Callable[..., None], accounts: Accounts) -> None:
    """A number stands for another process when the start differs, and for another program when the path does."""
    starts = Starts(accounts)
    machine(Fake(7))
    starts.rows(programs())
    machine(Fake(7, started=2e9))
    assert column(starts.rows(programs()), "time") == ["2000000000"]
    machine(Fake(7, started=2e9), path="/usr/bin/vim")
    assert column(starts.rows(programs()), "path") == ["/usr/bin/vim"]


def test_a_fork_is_no_start(machine: Callable[..., None], accounts: Accounts) -> None:
    """A subshell runs what its parent runs, also if it is gone already; the kernel's own threads run nothing."""
    starts = Starts(accounts)
    machine(Fake(7))
    starts.rows(programs())
    machine(Fake(7), Fake(8, 7), Fake(9, 8), Fake(11, 7, argv=()))
    assert starts.rows(programs()) == []
    machine(Fake(7), Fake(8, 7), Fake(9, 8), Fake(10, 2, argv=()), path="")
    assert column(starts.rows(programs()), "pid") == []


def test_a_program_may_vanish_before_its_arguments_are_read(
    machine: Callable[..., None], accounts: Accounts
) -> None:
    """Then its path is what is known of it."""
    starts = Starts(accounts)
    machine()
    starts.rows(programs())
    gone = Program(4711, 1, 1e9, "sh", "/usr/bin/sh", ALICE, ALICE)
    assert column(starts.rows([gone]), "cmdline") == [""]


def test_without_auditing_in_the_kernel_nobody_logged_in() -> None:
    """A process that is not there has no login either."""
    assert processes._login(2**30) == 2**32 - 1
    assert 0 <= processes._login(os.getpid()) < 2**32
