"""A progress bar with the time left, on a terminal; silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from anomaly.harvest import Report
from anomaly.sinks.visible import visible


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """Show how far some work has come, on standard error, and take the bar away at its end."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _fraction, _what: None
        return
    from rich.console import Console  # noqa: PLC0415 - 50 ms that only a terminal needs
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        # A title may hold text from the log: it is not markup.
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[what]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(visible(title, 30), total=1.0, what="")
        yield lambda fraction, what: bar.update(task, completed=fraction, what=what)
