"""``anomaly predict`` as a process of its own, with a place to work in: what these tests hold it by."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, Unpack

import pytest

if TYPE_CHECKING:
    from tests.conftest import Event

ROOT = Path(__file__).parents[2]

DEADLINE = 20.0
"""Seconds that anything may take that has no promise of its own: these machines are slow and shared."""

_OURS = ("ANOMALY_", "PYTHON", "NOTIFY_SOCKET", "WATCHDOG_")
"""Variables that would change what the program does, and are not the test's."""

_OVERRIDE = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
_SETPCAP = 1 << 8

Record = dict[str, Any]


class Place:
    """A log in a directory of its own, models to work with, a state directory, and the options that name them.

    Parameters
    ----------
    folder
        Where all of it is.
    trained
        The models to copy; they are not touched.
    """

    def __init__(self, folder: Path, trained: Path) -> None:
        self.folder = folder
        self.log = folder / "log" / "osqueryd.results.log"
        self.models = folder / "models"
        self.state = folder / "state"
        self.trained = trained
        self.log.parent.mkdir()
        self.install(trained)

    def install(self, trained: Path) -> None:
        """Work with a copy of these models."""
        self.trained = trained
        shutil.rmtree(self.models, ignore_errors=True)
        shutil.copytree(trained, self.models)

    def append(self, *lines: bytes) -> None:
        """Write as osquery does: for each line open, write once, close."""
        for line in lines:
            self.append_raw(line + b"\n")

    def append_raw(self, data: bytes) -> None:
        """Write bytes that need not be a line."""
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)

    def rotate(self) -> None:
        """Rotate as osquery does: ``.N.gz`` up, ``.1`` compressed to ``.2.gz``, the log renamed over ``.1``."""
        if not self.log.exists():
            return
        beside, name = self.log.parent, self.log.name
        first, number = beside / f"{name}.1", 2
        while (beside / f"{name}.{number}.gz").exists():
            number += 1
        for old in range(number - 1, 1, -1):
            (beside / f"{name}.{old}.gz").rename(beside / f"{name}.{old + 1}.gz")
        if first.exists():
            (beside / f"{name}.2.gz").write_bytes(gzip.compress(first.read_bytes(), 1))
        self.log.rename(first)

    def options(self) -> list[str]:
        """Name the places as the command takes them."""
        return ["-l", str(self.log), "--models", str(self.models), "--state", str(self.state)]

    def remembered(self) -> bool:
        """Say whether a checkpoint on disk is at the end of the log."""
        end = re.compile(rb'"offset": ?%d\b' % self.log.stat().st_size)
        return end.search(self.checkpoint()) is not None

    def checkpoint(self) -> bytes:
        """Return the checkpoint on disk, nothing where there is none."""
        return b"".join(path.read_bytes() for path in self.state.glob("*[0-9a-f].json"))


class How(TypedDict, total=False):
    """What to run a daemon with."""

    program: Sequence[str]
    """What to run in place of ``python -m anomaly``."""
    stdout: int
    """A descriptor for records, in place of a file."""
    environment: Mapping[str, str]
    """Variables to add."""


class Daemon:
    """A running ``anomaly``; its records and its words go to files of its own.

    Parameters
    ----------
    words
        The command line after ``anomaly``.
    out
        The file for records; what it says goes beside it.
    """

    def __init__(self, words: Sequence[str], out: Path, **how: Unpack[How]) -> None:
        self.out = out
        self.err = out.with_suffix(".err")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        with out.open("wb") as records, self.err.open("wb") as said:
            self.process = subprocess.Popen(
                [*how.get("program", (sys.executable, "-m", "anomaly")), *words],
                stdin=subprocess.DEVNULL,
                stdout=how.get("stdout", records),
                stderr=said,
                cwd=out.parent,
                env={**inherited, "PYTHONPATH": str(ROOT), **how.get("environment", {})},
            )

    @property
    def records(self) -> list[Record]:
        """The whole records so far."""
        return [json.loads(line) for line in self.out.read_bytes().splitlines(keepends=True) if line[-1:] == b"\n"]

    @property
    def ids(self) -> list[str]:
        """Their ids."""
        return [record["id"] for record in self.records]

    @property
    def said(self) -> str:
        """What was said on standard error so far."""
        return self.err.read_text("utf-8", "replace")

    def until(self, met: Callable[[], object], what: str) -> None:
        """Wait for something; fail where it does not come, or the process ends first."""
        deadline = time.monotonic() + DEADLINE
        while not met():
            ended = self.process.poll()
            assert ended is None or met(), f"it ended with {ended} before {what}: {self.said}"
            assert time.monotonic() < deadline, f"no {what} in {DEADLINE:.0f} s: {self.said}"
            time.sleep(0.01)

    def until_records(self, count: int) -> list[Record]:
        """Wait for so many records, and return all there are."""
        self.until(lambda: self.out.read_bytes().count(b"\n") >= count, f"{count} records")
        return self.records

    def delay(self, append: Callable[[], object]) -> float:
        """Append a line and return how many seconds its record took."""
        count = len(self.records)
        begin = time.monotonic()
        append()
        self.until_records(count + 1)
        return time.monotonic() - begin

    def has_open(self, path: Path) -> bool:
        """Say whether the process has opened a file."""
        try:
            return any(Path(f"/proc/{self.process.pid}/fd/{fd}").samefile(path) for fd in self.descriptors())
        except FileNotFoundError:  # one that was closed while we looked
            return False

    def descriptors(self) -> dict[str, str]:
        """Return what each descriptor of the process is."""
        found = {}
        for path in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # one that was closed while we looked
                found[path.name] = str(path.readlink())
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code; it must come within the five seconds that are promised."""
        self.process.send_signal(number)
        return self.end(5.0)

    def end(self, seconds: float = DEADLINE) -> int:
        """Wait for the end and return the exit code."""
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(seconds)
        self.kill()
        pytest.fail(f"it did not end within {seconds} s: {self.said}")

    def kill(self) -> None:
        """End it as a power failure would."""
        self.process.kill()
        self.process.wait()


class Start(Protocol):
    """Starts ``anomaly predict``."""

    def __call__(self, *words: str, first: Sequence[str] = (), **how: Unpack[How]) -> Daemon:
        """Return it, running over the place; ``first`` are words before ``predict``."""


class Lines(Protocol):
    """Makes result lines of one action each."""

    def __call__(self, *commands: str, user: str = "alice", begin: int = 1_796_000_000) -> list[bytes]:
        """Return a line a command, a minute apart."""


@pytest.fixture
def place(tmp_path: Path, ocsvm_models: Path) -> Place:
    """Give a place without a log, with a copy of the One-Class SVMs."""
    return Place(tmp_path, ocsvm_models)


@pytest.fixture
def start(place: Place) -> Iterator[Start]:
    """Give the starter of ``anomaly predict`` over the place; whatever is started ends with the test."""
    running: list[Daemon] = []

    def begin(*words: str, first: Sequence[str] = (), **how: Unpack[How]) -> Daemon:
        whom = () if "--user" in words else ("--all-users",)
        command = [*first, "predict", *place.options(), "--format", "json", *whom, *words]
        running.append(Daemon(command, place.folder / f"{len(running)}.out", **how))
        return running[-1]

    yield begin
    for daemon in running:
        daemon.kill()


@pytest.fixture
def uninterrupted(place: Place) -> Callable[[], list[Record]]:
    """Give the maker of the records of one pass over the log, by models and a state that nothing else uses."""

    def run() -> list[Record]:
        models = shutil.copytree(place.trained, place.folder / "once" / "models")
        apart = ["--models", str(models), "--state", str(place.folder / "once" / "state")]
        words = ["predict", "--all-users", "--no-follow", "--from", "start", "--format", "json"]
        daemon = Daemon([*words, "-l", str(place.log), *apart], place.folder / "once.out")
        assert daemon.end() == 0, daemon.said
        return daemon.records

    return run


@pytest.fixture
def actions_of(event: Event) -> Lines:
    """Give the maker of lines of one user's commands."""

    def make(*commands: str, user: str = "alice", begin: int = 1_796_000_000) -> list[bytes]:
        return [event(user, time=begin + 60 * number, command=command) for number, command in enumerate(commands)]

    return make


@pytest.fixture
def wrapper(tmp_path: Path) -> Callable[[str], list[str]]:
    """Give the maker of a program that does something of ours first and is ``anomaly`` then."""

    def make(code: str) -> list[str]:
        script = tmp_path / "wrapper.py"
        script.write_text(
            f'{code}\nimport runpy\nrunpy.run_module("anomaly", run_name="__main__", alter_sys=True)\n'
        )
        return [sys.executable, str(script)]

    return make


@pytest.fixture
def unprivileged(wrapper: Callable[[str], list[str]]) -> list[str]:
    """Give ``anomaly`` as a program that file modes bind, also where the tests run as root."""
    found = re.search(r"CapEff:\s*(\w+)", Path("/proc/self/status").read_text())
    assert found is not None
    capabilities = int(found[1], 16)
    if capabilities & _OVERRIDE and not capabilities & _SETPCAP:
        pytest.skip("file modes bind no process here, and none may have itself bound")
    drop = f"""
import ctypes, os, sys
if {capabilities & _OVERRIDE}:
    for capability in (1, 2):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, gone with the exec below
        assert ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) == 0  # PR_CAPBSET_DROP
os.execv(sys.executable, [sys.executable, "-m", "anomaly", *sys.argv[1:]])
"""
    return wrapper(drop)
