from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from watchdog.observers import Observer

from anomaly.sources import watch
from anomaly.sources.watch import LogWatch

LONG = 30.0


@pytest.fixture(autouse=True)
def _no_leaked_thread() -> Iterator[None]:
    """Fail a test that leaves a thread behind."""
    before = threading.enumerate()
    yield
    assert threading.enumerate() == before


def wakes(watching: LogWatch, action: threading.Thread) -> bool:
    """Whether an action ends a long wait early."""
    watching.wait(0)
    watching.wait(0.05)  # what is already on its way
    before = time.monotonic()
    action.start()
    watching.wait(LONG)
    action.join()
    return time.monotonic() - before < LONG / 2


def test_a_write_ends_the_wait(tmp_path: Path) -> None:
    """An append is heard of at once, not at the next poll."""
    log = tmp_path / "X"
    log.touch()
    watching = LogWatch(tmp_path / "X", Counter())
    assert wakes(watching, threading.Timer(0.05, log.write_bytes, [b"line\n"]))
    watching.close()


def test_a_replaced_directory_is_watched_again(tmp_path: Path) -> None:
    """Watchdog goes on watching the directory that is gone; we watch the one that is there."""
    folder = tmp_path / "log"
    counters = Counter[str]()
    watching = LogWatch(folder / "X", counters)
    watching.wait(0.01)
    folder.mkdir()
    assert wakes(watching, threading.Timer(0.05, (folder / "X").touch))
    folder.rename(tmp_path / "old")
    folder.mkdir()
    assert wakes(watching, threading.Timer(0.05, (folder / "X").touch))
    watching.close()
    assert not counters


def test_reading_does_not_wake(tmp_path: Path) -> None:
    """Our own opening and closing of the log is no event."""
    log = tmp_path / "X"
    log.write_bytes(b"line\n")
    watching = LogWatch(tmp_path / "X", Counter())
    watching.wait(0)
    watching.wait(0.05)
    log.read_bytes()
    assert not watching._flag.wait(0.1)
    watching.close()


@pytest.mark.parametrize("error", [OSError("inotify watch limit reached"), RuntimeError("no more threads")])
def test_a_watch_that_cannot_start_is_counted_and_tried_later(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    """Waiting still works, as a sleep, and the failure is not repeated at every poll."""

    def refuse(_: object) -> None:
        raise error

    counters = Counter[str]()
    watching = LogWatch(tmp_path / "X", counters)
    with monkeypatch.context() as patch:
        patch.setattr(Observer, "start", refuse)
        watching.wait(0.01)
        watching.wait(0.01)
    assert counters == {"watch_errors": 1}
    monkeypatch.setattr(watch, "RETRY", 0.0)
    watching._retry_at = 0.0
    assert wakes(watching, threading.Timer(0.05, (tmp_path / "X").touch))
    watching.close()
