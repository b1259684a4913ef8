"""A command as a child on a core of its own: when its first output came, how long it took, and its memory."""

from __future__ import annotations

import os
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

BIN = os.path.dirname(sys.executable)  # noqa: PTH120 - of the environment, which links to Python elsewhere
ANOMALY = shutil.which("anomaly", path=BIN) or "anomaly"
"""The installed command."""

CORES = os.sched_getaffinity(0)
"""Those that there are."""

CORE = max(CORES)
"""The core on which everything that is measured runs, one after the other."""

ENVIRONMENT = os.environ | {"OPENBLAS_NUM_THREADS": "1"}

LOOK = 0.0005
"""Seconds between two looks whether there is output."""

PATIENCE = 20.0
"""Seconds after which an answer is given up."""


class Ran(NamedTuple):
    """What became of a command; seconds, and MiB of resident memory at its highest."""

    wall: float
    user: float
    peak: float
    """NaN where it is no higher than this process's own."""
    first: float
    """Until the first output; NaN where there was none, or nobody looked."""
    early: int
    """Lines that were there then."""
    lines: int

    @property
    def rate(self) -> float:
        """Lines a second, the start included."""
        return self.lines / self.wall

    @property
    def steady(self) -> float:
        """Lines a second after the first that were written."""
        return (self.lines - self.early) / (self.wall - self.first)


def step_aside() -> None:
    """Leave ``CORE`` to what is measured, where there is another one."""
    os.sched_setaffinity(0, CORES - {CORE} or {CORE})


def run(command: list[str], out: Path | None = None, *, cores: set[int] | None = None) -> Ran:
    """Run a command to its end.

    Parameters
    ----------
    command
        Program and arguments.
    out
        File for its standard output, which is watched; None to throw it away.
    cores
        Where it may run; ``CORE`` by default.

    Raises
    ------
    SystemExit
        It failed; its last words are in the message.
    """
    with tempfile.TemporaryFile() as said, (out or Path(os.devnull)).open("wb") as output:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=said, env=ENVIRONMENT)
        os.sched_setaffinity(process.pid, cores or {CORE})
        first, early = _first(process, out, begin) if out is not None else (float("nan"), 0)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)}\nfailed: {said.read()[-2000:].decode(errors='replace')}")
    lines = _lines(out, out.stat().st_size) if out is not None else 0
    # A child begins with our own peak (execve keeps it): below that its own cannot be told.
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = usage.ru_maxrss / 1024 if usage.ru_maxrss > own else float("nan")
    return Ran(wall, usage.ru_utime, peak, first, early, lines)


def predict(log: Path | str, models: Path, user: str | None, state: Path, *words: str) -> list[str]:
    """Return the command that scores a log from its start, as JSON."""
    whose = ["--user", user] if user is not None else ["--all-users"]
    where = ["-l", str(log), "--models", str(models), "--state", str(state)]
    return [ANOMALY, "predict", *whose, *where, "--from", "start", "--format", "json", *words]


class Dialogue:
    """A running command that is given one line, and the next one only when it has answered.

    Parameters
    ----------
    lines
        To give, in order; the first one only wakes it.
    into
        Descriptor that the lines are written to.
    answers
        Its standard output.
    """

    def __init__(self, lines: Iterator[bytes], into: int, answers: IO[bytes]) -> None:
        self._lines = lines
        self._into = into
        self._answers = answers.fileno()
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)
        self.ask(next(lines))

    def ask(self, line: bytes) -> float:
        """Write a line, wait for all of the answer, and return the seconds it took.

        Raises
        ------
        SystemExit
            There is none.
        """
        begin = time.perf_counter()
        os.write(self._into, line)
        answer = b""
        while not answer.endswith(b"\n"):
            if not self._poll.poll(1000 * PATIENCE):
                raise SystemExit(f"No answer in {PATIENCE:g} s to {line[:200]!r}")
            piece = os.read(self._answers, 1 << 16)
            if not piece:
                raise SystemExit(f"The command ended at {line[:200]!r}")
            answer += piece
        return time.perf_counter() - begin

    def talk(self, count: int) -> list[float]:
        """Ask so many lines and return how long each took."""
        return [self.ask(line) for line, _ in zip(self._lines, range(count), strict=False)]


@contextmanager
def piped(models: Path, user: str, lines: Iterator[bytes], state: Path) -> Iterator[Dialogue]:
    """Start ``predict`` on a pipe and give the dialogue with it."""
    command = predict("-", models, user, state)
    with _started(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None  # noqa: S101 - for the type checker
        assert process.stdout is not None  # noqa: S101 - the same
        yield Dialogue(lines, process.stdin.fileno(), process.stdout)


@contextmanager
def followed(models: Path, user: str, lines: Iterator[bytes], state: Path) -> Iterator[Dialogue]:
    """Start ``predict`` on a log that grows and give the dialogue with it."""
    state.mkdir(mode=0o700)
    log = state / "followed.log"
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    with _started(predict(log, models, user, state / "state"), stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        try:
            yield Dialogue(lines, descriptor, process.stdout)
        finally:
            os.close(descriptor)


@contextmanager
def _started(command: list[str], stdin: int) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT
    ) as process:
        os.sched_setaffinity(process.pid, {CORE})
        try:
            yield process
        finally:
            process.terminate()


def _first(process: subprocess.Popen[bytes], out: Path, begin: float) -> tuple[float, int]:
    """Wait for the first output; return when it came, and how many lines it was."""
    while True:
        ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        if size := out.stat().st_size:
            return time.perf_counter() - begin, _lines(out, size)
        if ended:
            return float("nan"), 0
        time.sleep(LOOK)


def _lines(path: Path, size: int) -> int:
    """Count the lines in the first bytes of a file."""
    count = 0
    with path.open("rb") as file:
        while size > 0 and (piece := file.read(min(size, 1 << 20))):
            count += piece.count(b"\n")
            size -= len(piece)
    return count
