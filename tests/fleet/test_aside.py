"""What is done beside a worker may die, and the worker goes on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anomaly.errors import TooLittleData, WorkerLost
from anomaly.fleet import aside
from anomaly.fleet.aside import Aside, reason

ROOT = Path(__file__).parents[2]


@pytest.fixture
def beside() -> Iterator[Aside]:
    """Give a process beside, and end it."""
    found = Aside()
    yield found
    found.end()
    assert multiprocessing.active_children() == []


def gone(how: int) -> None:
    """Die by a signal."""
    os.kill(os.getpid(), how)


def end(code: int) -> None:
    """Leave without a word."""
    os._exit(code)


def too_little(what: str) -> None:
    """Fail as training does."""
    raise TooLittleData(what)


def eagerness() -> str:
    """Return how readily the kernel ends this process."""
    return Path("/proc/self/oom_score_adj").read_text().strip()


def test_one_process_does_one_thing_after_another(beside: Aside) -> None:
    """It is another than this one, and stays; what it raises is a reason and ends it not."""
    first = beside.do(os.getpid)
    assert first != os.getpid()
    with pytest.raises(WorkerLost, match=r"^only 3 of 500$"):
        beside.do(too_little, "only 3\nof 500")
    assert beside.do(os.getpid) == first
    assert beside.do(int, "ff", base=16) == 255


def test_one_that_dies_is_told_how_and_another_begun(beside: Aside) -> None:
    """Whoever comes next has a process again."""
    first = beside.do(os.getpid)
    with pytest.raises(WorkerLost, match=r"^its process was killed \(SIGKILL\), as the system does where memory"):
        beside.do(gone, signal.SIGKILL)
    with pytest.raises(WorkerLost, match=r"^its process was ended by SIGSEGV;"):
        beside.do(gone, signal.SIGSEGV)
    with pytest.raises(WorkerLost, match=r"^its process ended with exit code 3;"):
        beside.do(end, 3)
    assert beside.do(os.getpid) not in {first, os.getpid()}


def test_one_that_died_while_nothing_was_asked_is_told(beside: Aside) -> None:
    """What is sent to it does not arrive, and that is no other error."""
    os.kill(beside.do(os.getpid), signal.SIGKILL)
    with pytest.raises(WorkerLost, match=r"^its process was killed \(SIGKILL\)"):
        beside.do(len, b"x" * 1_000_000)
    assert beside.do(len, b"x") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels are not told so")
def test_it_is_the_first_that_the_system_ends(beside: Aside) -> None:
    """Not the worker, and not the executor, which may be larger."""
    assert beside.do(eagerness) == "1000"


def test_one_that_keeps_too_much_is_ended(beside: Aside, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it found, or why it failed, is told first."""
    first = beside.do(os.getpid)
    monkeypatch.setattr(aside, "_MOST", 1)
    assert beside.do(os.getpid) == first
    with pytest.raises(WorkerLost, match=r"^only 3$"):
        beside.do(too_little, "only 3")
    monkeypatch.setattr(aside, "_MOST", 1000)
    second = beside.do(os.getpid)
    assert second == beside.do(os.getpid) != first


def test_it_ends_with_its_worker() -> None:
    """However the worker ends: nobody is there who could end it."""
    worker = "import os, signal; from anomaly.fleet.aside import aside; beside = aside().do(os.getpid)"
    worker += "; print(beside, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    with subprocess.Popen([sys.executable, "-c", worker], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        output = process.stdout.read()  # which ends when the last process has closed it
    assert process.returncode == -signal.SIGKILL
    assert int(output) > 0


def test_a_reason_is_one_line() -> None:
    """Ours is a sentence; of others the kind is told, too."""
    assert reason(TooLittleData("a\n  b")) == "a b"
    assert reason(ValueError("\ud800" + "x" * 1000)) == "ValueError: ?" + "x" * 287
