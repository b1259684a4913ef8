"""The lock of a directory of models: waited for once, however many there are to be written."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from anomaly.errors import StateLocked
from anomaly.learned import StoreKeeper
from anomaly.store import Store
from anomaly.store_lock import BRIEF, NAME, PATIENCE


class Waiting:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.slept = 0.0
        self.then: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        """Return the time."""
        return self.slept

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept += seconds
        self.then()


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Waiting:
    """Give the time that the lock sees."""
    found = Waiting()
    monkeypatch.setattr("anomaly.store_lock.time", found)
    return found


@contextmanager
def held(models: Path) -> Iterator[int]:
    """Hold the lock as another process would."""
    descriptor = os.open(models / NAME, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


WRITES: dict[str, Callable[[Store], object]] = {
    "save": lambda store: store.save("alice", store.load("alice").model),  # type: ignore[union-attr]
    "use": lambda store: store.use("alice", 1),
    "prune": lambda store: store.prune("alice", 1),
    "forget": lambda store: store.forget_learned("alice", 1),
    "prepare": lambda store: store.prepare(),
    "learn": lambda store: store.write_learned("alice", 1, "log.0", b""),
}


@pytest.mark.parametrize("name", WRITES)
def test_whoever_writes_waits_a_while(name: str, models: Path, waiting: Waiting) -> None:
    """While another process writes, writing waits, less where a log is followed; reading goes on."""
    store = Store(models)
    with held(models):
        with pytest.raises(StateLocked, match=f"Another process is writing models to {models}"):
            WRITES[name](store)
        assert waiting.slept == pytest.approx(BRIEF if name == "learn" else PATIENCE, abs=0.1)
        assert store.load("alice") is not None


def test_it_is_taken_when_it_is_free(models: Path, waiting: Waiting) -> None:
    """Whoever waits goes on as soon as the other process has done."""
    store = Store(models)
    with held(models) as descriptor:
        waiting.then = lambda: fcntl.flock(descriptor, fcntl.LOCK_UN)
        store.use("alice", 1)
    assert 0 < waiting.slept < 0.1


def test_a_wait_in_vain_is_not_repeated(models: Path, waiting: Waiting) -> None:
    """However many there are to write, one waits and the others look; after a success there is patience again."""
    store = Store(models)
    with held(models):
        for _ in range(5):
            with pytest.raises(StateLocked):
                store.use("alice", 1)
        assert waiting.slept < PATIENCE + 0.1
    store.use("alice", 1)
    before = waiting.slept
    with held(models), pytest.raises(StateLocked):
        store.use("alice", 1)
    assert waiting.slept - before == pytest.approx(PATIENCE, abs=0.1)


def test_what_users_learned_waits_once_for_all(models: Path, waiting: Waiting) -> None:
    """Keeping what many have learned takes a second in all, and is said once to be in the checkpoint."""
    said: list[str] = []
    keeper = StoreKeeper(Store(models), "log", said.append)
    with held(models):
        references = [keeper.keep(user, 1, b"x", None) for _ in range(3) for user in ("alice", "bob")]
    assert waiting.slept < BRIEF + 0.1
    assert {type(reference) for reference in references} == {str}
    (sentence,) = said
    assert "kept in the checkpoint" in sentence
