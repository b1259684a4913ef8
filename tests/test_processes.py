"""Processes that share the work: what they are kept from, and what is said of their end."""

from __future__ import annotations

import signal

import pytest

from anomaly.processes import how_it_ended, shielded


@pytest.mark.parametrize("code", [None, 0, 1, 3, -6, -9, -11, -40, -200])
def test_an_end_is_told_by_its_code(code: int | None) -> None:
    """A signal is named where it has a name, an exit code is given, and only SIGKILL is laid to memory."""
    said = how_it_ended(code)
    assert ("memory" in said) is (code == -9)
    if code is None:
        assert said == "does not answer any more"
    elif code >= 0:
        assert said == f"ended with exit code {code}"
    else:
        assert {-6: "SIGABRT", -9: "SIGKILL", -11: "SIGSEGV"}.get(code, f"signal {-code}") in said


def test_signals_are_blocked_only_meanwhile() -> None:
    """What is started within is kept from the signals; afterwards they reach us as before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with shielded({signal.SIGHUP, signal.SIGTERM}):
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before | {signal.SIGHUP, signal.SIGTERM}
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
