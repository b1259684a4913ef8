"""What textual makes of signals, put right.

Its driver takes every SIGCONT for the end of a suspension of its own, and starts once more: it then remembers the
raw terminal as the one to leave behind, has a thread too many, and fails where its loop has ended. But SIGCONT
also comes from who stopped us unasked: a debugger, ``kill -STOP``, a machine that is short of CPUs.
"""

from __future__ import annotations

import signal
from typing import Any

from textual.drivers.linux_driver import LinuxDriver


class SteadyDriver(LinuxDriver):
    """Draws on, after whatever stop."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as textual has it
        before = {number: signal.getsignal(number) for number in (signal.SIGTSTP, signal.SIGCONT)}
        super().__init__(*args, **kwargs)
        self._before = before
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # no key sends it
        signal.signal(signal.SIGCONT, signal.SIG_DFL)

    def close(self) -> None:
        """Leave signals as they were."""
        super().close()
        for number, handler in self._before.items():
            signal.signal(number, handler)
