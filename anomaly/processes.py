"""What the rooms that share work out to processes have in common: signals kept from them, and how they end."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker


@contextmanager
def shielded(signals: Collection[signal.Signals]) -> Iterator[None]:
    """Keep signals from a process that is started within: they are for the one that started it, which ends it."""
    resource_tracker.ensure_running()  # to start it later would unblock the signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def how_it_ended(code: int | None) -> str:
    """Say how a process ended, by its exit code as :mod:`multiprocessing` has it; None while it has not.

    >>> how_it_ended(-9)
    'was killed (SIGKILL), as the system does where memory is short'
    >>> how_it_ended(-11), how_it_ended(-40), how_it_ended(3)
    ('was ended by SIGSEGV', 'was ended by signal 40', 'ended with exit code 3')
    """
    if code is None:
        return "does not answer any more"
    if code == -signal.SIGKILL:
        return "was killed (SIGKILL), as the system does where memory is short"
    if code < 0:
        name = f"signal {-code}"
        with suppress(ValueError):
            name = signal.Signals(-code).name
        return f"was ended by {name}"
    return f"ended with exit code {code}"


def end_with_parent() -> None:
    """Wait for the process that started this one, and then end it: what a thread of it does."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
