"""How the commands talk: scores and tables to standard output, words for people to standard error."""

from __future__ import annotations

import io
import json
import os
import select
import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

import click

from anomaly.errors import AnomalyError
from anomaly.sinks.visible import visible

if TYPE_CHECKING:
    from anomaly.harvest import Watch
    from anomaly.sinks.interface import Sink


def say(text: str) -> None:
    """Tell a person something, on standard error."""
    # A newline within it can only come from a name or a value: what one message says is one line.
    with suppress(OSError):  # nobody listens; the work goes on
        click.echo(visible(text), err=True)


def sink(output: str) -> Sink:
    """Return where scores go: ``json``, ``ecs``, or ``text``, in colour on a terminal that wants it."""
    stream = standard_output()
    if output == "json":
        from anomaly.sinks.ndjson import NdjsonSink

        return NdjsonSink(stream)
    if output == "ecs":
        from anomaly.sinks.ecs import EcsSink

        return EcsSink(stream)
    from anomaly.sinks.text import TextSink

    colour = stream.isatty() and not os.environ.get("NO_COLOR")
    width = shutil.get_terminal_size((80, 24)).columns if stream.isatty() else 80
    return TextSink(stream, colour=colour, width=width)


def standard_output() -> TextIO:
    """Return standard output; an error where it is closed."""
    _check_output()
    return _whole_writes(sys.stdout)


def _whole_writes(stream: TextIO) -> TextIO:
    """Return a stream that writes all or raises.

    Without a buffer (``python -u``, ``PYTHONUNBUFFERED``) Python takes a short write for a whole one: a signal
    that interrupts it would cost the rest of a batch, which the checkpoint would then call handed on.
    """
    if isinstance(getattr(stream, "buffer", None), io.RawIOBase):
        return open(stream.fileno(), "w", encoding=stream.encoding, errors=stream.errors, closefd=False)
    return stream


def _check_output() -> None:
    if sys.stdout is None:
        raise AnomalyError("Standard output is closed; there is nowhere to write to.")


def gone() -> bool:
    """Say whether nobody sits at the terminal any more: of one that does not steer us, no signal says so."""
    poll = select.poll()
    poll.register(0, 0)
    return bool(poll.poll(0))


def watch() -> Watch:
    """Return what shows progress bars."""
    from anomaly.progress import progress

    return progress


def print_rows(rows: list[dict[str, Any]], output: str, file: TextIO | None = None) -> None:
    """Print a table, or a line of JSON each; to a file, where one is given."""
    if output == "json":
        print_lines((json.dumps(row) for row in rows), file)
        return
    from anomaly.overview import table

    print_lines(table(rows), file)


def print_lines(lines: Iterable[str], file: TextIO | None = None) -> None:
    """Print lines that are safe to show."""
    if file is None:
        _check_output()
    for line in lines:
        click.echo(line, file=file)
