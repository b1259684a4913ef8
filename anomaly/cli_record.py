"""``anomaly record``: a results log of this machine without osquery, to try things out."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anomaly import option_types
from anomaly.terminal import say

if TYPE_CHECKING:
    from anomaly.control import Control
    from anomaly.recording.output import Recording
    from anomaly.recording.recorder import Recorder

_SLICE = 0.2
"""Seconds after which it looks whether it was asked to stop."""


@click.command()
@click.option(
    "-l",
    "--log",
    "recording",  # not the setting `log`, which names osquery's own
    type=option_types.Place(),
    default="recorded.results.log",
    show_default=True,
    help="File to append to.",
)
@click.option(
    "--interval",
    type=click.IntRange(1, 3600),
    default=5,
    show_default=True,
    help="Seconds from one look to the next; more where a look takes more than 5 % of a CPU.",
)
@click.option("--once", is_flag=True, help="Look once, and end: that is a baseline, and nobody's behaviour.")
@click.option(
    "--no-history", "history", is_flag=True, flag_value=False, default=True, help="Leave out shell_history."
)
@click.option("--force", is_flag=True, help="Append even to what may be osquery's own log, or another machine's.")
def record(recording: Path, interval: int, once: bool, history: bool, force: bool) -> None:
    """Record what users of this machine do as osquery would, where there is no osquery, to try anomaly out.

    It is no substitute for osquery: it polls, and misses what lives shorter than an interval; it sees only what
    the user who runs it may see; and whoever wants to hide from it can. Commands are recorded with the secrets
    that are typed in them. It ends on Ctrl-C.

    \b
    Example:
      anomaly record --interval 2
      anomaly train --all-users -a OCSVM -l recorded.results.log
    """
    from anomaly.control import Control, Overdue
    from anomaly.errors import AnomalyError

    if recording == Path("-"):
        raise click.UsageError("A recording is a file; - is none.")
    recorder, file = _prepared(recording, history=history, force=force)
    try:
        with Control(terminal=sys.stderr is not None and sys.stderr.isatty()) as control:
            for line in _warning(interval, once=once):
                say(line)
            _run(recorder, control, interval, once=once)
    except Overdue:
        os._exit(0)  # something that is looked at does not answer, such as a home on a lost server
    finally:
        file.close()
    say(f"{recording}: {recorder.lines:,} lines, {recorder.rounds:,} look{'' if recorder.rounds == 1 else 's'}.")
    if file.waiting or file.lost:
        raise AnomalyError(f"{recording} is incomplete: there was no room for all lines.")


def _prepared(path: Path, *, history: bool, force: bool) -> tuple[Recorder, Recording]:
    from anomaly.recording.accounts import Accounts
    from anomaly.recording.output import Recording
    from anomaly.recording.pack import queries
    from anomaly.recording.recorder import Recorder

    host = socket.gethostname()
    accounts = Accounts()
    file = Recording(path, host, force=force)
    return Recorder(queries(accounts, history=history), accounts, file, host, say), file


def _warning(interval: int, *, once: bool) -> tuple[str, str]:
    sees = "everybody" if os.geteuid() == 0 else "you and what others do not hide"
    if once:
        first = "No substitute for osquery: one look is a baseline, and nobody's behaviour;"
        return first, f"it sees {sees}, and can be fooled."
    first = f"No substitute for osquery: it looks every {interval} s, misses what is shorter,"
    return first, f"sees {sees}, and can be fooled. Ctrl-C ends it."


def _run(recorder: Recorder, control: Control, interval: int, *, once: bool) -> None:
    """Look until asked to stop; a look is always finished, and its lines written."""
    while True:
        began = time.monotonic()
        took = recorder.round()
        until = began + recorder.pause(took, interval)
        while not control.stopped and not once and (left := until - time.monotonic()) > 0:
            if control.hung_up():
                recorder.reopen()
            time.sleep(min(left, _SLICE))
        if control.stopped or once:
            return
