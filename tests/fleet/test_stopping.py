"""Signals end work, whatever it waits for."""

from __future__ import annotations

import os
import signal
from threading import Event, main_thread

import pytest

from anomaly.errors import StateError
from anomaly.fleet import stopping
from anomaly.fleet.stopping import attended


class Left(BaseException):
    """The process would have ended."""


def leave() -> None:
    """End, as far as a test can."""
    raise Left


def ask(number: int = signal.SIGTERM) -> None:
    """Send the main thread a signal, as another process does."""
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_for_the_end(number: int) -> None:
    """Work hears of it while it waits; what it fails with then is no failure, and handlers are as they were."""
    before = signal.getsignal(number)
    ended = []

    def work(stop: Event) -> None:
        ask(number)
        ended.append(stop.wait(10))
        raise StateError("torn apart")

    attended(work, leave)
    assert ended == [True]
    assert signal.getsignal(number) is before


def test_what_fails_is_told() -> None:
    """Without a signal an error of the work is the caller's."""

    def work(_: Event) -> None:
        raise StateError("full")

    with pytest.raises(StateError, match="full"):
        attended(work, leave)
    attended(lambda _: None, leave)


def test_work_that_does_not_end_is_left() -> None:
    """After the grace, though the work waits for something that never comes."""
    free = Event()

    def work(_: Event) -> None:
        ask()
        free.wait(10)

    try:
        with pytest.raises(Left):
            attended(work, leave, grace=0.0)
    finally:
        free.set()


def test_a_second_signal_leaves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it comes with the first, as from a hand or a script that gives two."""
    free = Event()

    def work(stop: Event) -> None:
        ask()
        stop.wait(10)
        ask()
        free.wait(10)

    monkeypatch.setattr(stopping, "TWICE", 0.0)
    try:
        with pytest.raises(Left):
            attended(work, leave)
    finally:
        free.set()
    free.clear()
    monkeypatch.setattr(stopping, "TWICE", 60.0)

    def patient(stop: Event) -> None:
        ask()
        stop.wait(10)
        ask()

    attended(patient, leave)


def test_what_work_starts_hears_no_ctrl_c() -> None:
    """Java and the workers inherit it: a terminal sends the signal to them as well."""
    masks = []
    attended(lambda _: masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, [])), leave)
    assert signal.SIGINT in masks[0]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert main_thread().is_alive()
