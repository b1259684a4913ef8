"""Signals become flags, and a stop that takes too long comes to an end."""

from __future__ import annotations

import os
import signal
import time

import pytest

from anomaly import control
from anomaly.control import Control, Overdue


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_a_flag(number: signal.Signals) -> None:
    """The first request to stop interrupts nothing."""
    with Control() as asked:
        assert not asked.stopped
        os.kill(os.getpid(), number)
        assert asked.stopped
        assert not asked.hung_up()


def test_a_second_stop_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks twice wants it now."""
    with Control():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # at once: the same request, as a hand or a script often gives it
        monkeypatch.setattr(control, "_TWICE", 0.0)
        with pytest.raises(Overdue):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_stop_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever hangs is interrupted when the time is up, and not before a stop was asked for."""
    monkeypatch.setattr(control, "OVERDUE", 0.05)
    with Control():
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)
        begun = time.monotonic()
        with pytest.raises(Overdue):
            time.sleep(30)
        assert time.monotonic() - begun < 15


def test_a_stop_can_be_asked_for_without_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one as any other, and may not take for ever; an event loop is told so, and not interrupted."""
    monkeypatch.setattr(control, "OVERDUE", 0.05)
    late: list[bool] = []
    with Control(overdue=lambda: late.append(True)) as asked:
        asked.stop()
        assert asked.stopped
        assert not late
        deadline = time.monotonic() + 15
        while not late and time.monotonic() < deadline:
            time.sleep(0.01)
        assert late == [True]
        monkeypatch.setattr(control, "_TWICE", 0.0)
        asked.stop()
        assert late == [True, True]


def test_a_stop_in_time_leaves_no_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """After it nothing is interrupted any more, and the handlers are those from before."""
    monkeypatch.setattr(control, "OVERDUE", 0.05)
    before = signal.getsignal(signal.SIGTERM)
    with Control():
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_hangup_asks_once_for_a_reload() -> None:
    """Each SIGHUP is answered once."""
    with Control() as asked:
        os.kill(os.getpid(), signal.SIGHUP)
        assert asked.hung_up()
        assert not asked.hung_up()
        assert not asked.stopped


def test_a_terminal_that_is_gone_ends_it() -> None:
    """Where a person watches, SIGHUP says that nobody does any more."""
    with Control(terminal=True) as asked:
        os.kill(os.getpid(), signal.SIGHUP)
        assert asked.stopped
        assert not asked.hung_up()
