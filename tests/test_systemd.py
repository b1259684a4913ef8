from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from anomaly.systemd import Notifier

_ROOT = Path(__file__).parents[1]


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


class Listener:
    """Stands in for systemd: a socket of datagrams."""

    def __init__(self, address: str | bytes) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(address)

    def heard(self) -> list[str]:
        """Return the datagrams that have come, and forget them."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(65536).decode())
            except BlockingIOError:
                return found


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Give the socket's path."""
    return str(tmp_path / "notify")


@pytest.fixture
def systemd(path: str) -> Iterator[Listener]:
    """Give a systemd that listens."""
    listener = Listener(path)
    yield listener
    listener.socket.close()


@pytest.fixture
def clock() -> Clock:
    """Give a clock."""
    return Clock()


def test_each_message_is_a_datagram_of_its_own(path: str, systemd: Listener) -> None:
    """What is said comes as sd_notify(3) writes it, in order, one datagram each."""
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": path})
    notifier.ready()
    notifier.status("3 s behind")
    notifier.stopping()
    assert systemd.heard() == ["READY=1", "STATUS=3 s behind", "STOPPING=1"]


def test_a_reload_is_dated(path: str, systemd: Listener) -> None:
    """A reload carries the microseconds of CLOCK_MONOTONIC, by which systemd tells it from an earlier one."""
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    Notifier.from_environment({"NOTIFY_SOCKET": path}).reloading()
    (message,) = systemd.heard()
    match = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=([0-9]+)", message)
    assert match is not None
    assert before <= int(match[1]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_an_abstract_address(tmp_path: Path) -> None:
    """An address with an @ is an abstract one, without a file."""
    name = f"anomaly-test-{os.getpid()}-{tmp_path.name}"
    listener = Listener(b"\0" + name.encode())
    Notifier.from_environment({"NOTIFY_SOCKET": f"@{name}"}).ready()
    assert listener.heard() == ["READY=1"]
    listener.socket.close()


@pytest.mark.parametrize("address", [None, "", "notify", "vsock:2:9999", "@", "/", "/\udcff"])
def test_no_address_of_ours(address: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address, or with one that is no socket of ours, nothing is sent and nothing is raised."""
    monkeypatch.chdir(tmp_path)
    listener = Listener("notify")  # a relative address would reach it
    notifier = Notifier.from_environment(
        {"WATCHDOG_USEC": "1000000"} | ({} if address is None else {"NOTIFY_SOCKET": address})
    )
    notifier.ready()
    notifier.watchdog()
    notifier.status("well")
    notifier.reloading()
    notifier.stopping()
    assert listener.heard() == []
    listener.socket.close()


def test_a_systemd_that_comes_later(path: str, clock: Clock) -> None:
    """A socket that is missing costs nothing, and what can be said again is said when it is there."""
    notifier = Notifier(path, beat=5.0, clock=clock)
    notifier.ready()
    notifier.watchdog()
    notifier.status("well")
    listener = Listener(path)
    notifier.watchdog()
    notifier.status("well")
    assert listener.heard() == ["WATCHDOG=1", "STATUS=well"]
    listener.socket.close()


@pytest.mark.timeout(20)
def test_a_full_socket(path: str, systemd: Listener, clock: Clock) -> None:
    """A systemd that does not read is not waited for, and what can be said again is said when it reads."""
    notifier = Notifier(path, beat=5.0, clock=clock)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as other,
        suppress(BlockingIOError),
    ):
        while True:
            other.sendto(b"X=1", path)
    notifier.ready()
    notifier.watchdog()
    notifier.status("well")
    assert set(systemd.heard()) == {"X=1"}
    notifier.watchdog()
    notifier.status("well")
    assert systemd.heard() == ["WATCHDOG=1", "STATUS=well"]


def test_signs_of_life_at_half_the_time(path: str, systemd: Listener, clock: Clock) -> None:
    """The first turn gives a sign of life, a later one only when half of the watchdog's time has passed since."""
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "30000000"})
    notifier._clock = clock
    beats = []
    for _ in range(46):
        notifier.watchdog()
        beats.append(len(systemd.heard()))
        clock.now += 1.0
    assert [turn for turn, count in enumerate(beats) if count] == [0, 15, 30, 45]
    assert set(beats) == {0, 1}


@pytest.mark.parametrize(
    "period", [None, "", "0", "-1", "x", "30s", " 30", "3_0", "\u0663\u0660", "9" * 5000, str(2**64 - 1)]
)
def test_no_watchdog(period: str | None, path: str, systemd: Listener) -> None:
    """Without a time for the watchdog, or with one that is none, there is no sign of life."""
    notifier = Notifier.from_environment(
        {"NOTIFY_SOCKET": path} | ({} if period is None else {"WATCHDOG_USEC": period})
    )
    notifier.watchdog()
    notifier.ready()
    assert systemd.heard() == ["READY=1"]


@pytest.mark.parametrize(
    ("process", "beats"),
    [(str(os.getpid()), 1), (str(os.getpid() + 1), 0), ("1", 0), ("", 0), ("me", 0)],
    ids=["this", "the next", "the first", "none", "no number"],  # several processes of tests name them alike
)
def test_the_watchdog_of_another_process(process: str, beats: int, path: str, systemd: Listener) -> None:
    """Who inherited the environment of a watched process does not vouch for it."""
    environ = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": process}
    Notifier.from_environment(environ).watchdog()
    assert systemd.heard() == ["WATCHDOG=1"] * beats


def test_a_status_is_said_when_it_is_new(path: str, systemd: Listener, clock: Clock) -> None:
    """A status is sent once, and a new one not before a second has passed; the newest is then said."""
    notifier = Notifier(path, clock=clock)
    for text, later in [("a", 5.0), ("a", 5.0), ("b", 0.5), ("c", 0.25), ("d", 0.25), ("d", 5.0), ("a", 0.0)]:
        notifier.status(text)
        clock.now += later
    assert systemd.heard() == ["STATUS=a", "STATUS=b", "STATUS=d", "STATUS=a"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("alice\nSTOPPING=1", "alice?STOPPING=1"),
        ("a\r\n\0\x1b[2J\x7f\x85b", "a????[2J??b"),
        ("\u2028\u2029\u202e\u200b\ud800", "?????"),
        ("Zoë 日本 1 s", "Zoë 日本 1 s"),
        ("", ""),
    ],
)
def test_a_status_is_one_line(text: str, line: str, path: str, systemd: Listener) -> None:
    """No text can add an assignment or steer a terminal, and what can be printed stays."""
    Notifier(path).status(text)
    assert systemd.heard() == [f"STATUS={line}"]


def test_a_status_fits_into_systemds_buffer(path: str, systemd: Listener) -> None:
    """However long a status is, its datagram is below the 4,096 bytes from which on systemd ignores it."""
    Notifier(path).status("\U0001f600" * 100_000)
    (message,) = systemd.heard()
    assert message.startswith("STATUS=\U0001f600")
    assert 3000 < len(message.encode()) < 4096


def test_the_environment_stays(path: str, systemd: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables are left to whoever wants them too, and may be given as the process has them."""
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    before = dict(os.environ)
    Notifier.from_environment(os.environ).watchdog()
    assert dict(os.environ) == before
    assert systemd.heard() == ["WATCHDOG=1"]


def test_it_needs_the_standard_library_only() -> None:
    """Importing it loads nothing from outside the standard library, and opens no socket."""
    code = (
        "import socket, sys; socket.socket = None\n"
        "import anomaly.systemd\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names))"
    )
    ran = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=_ROOT)
    assert ran.stdout == "__main__ anomaly\n"
