"""Commands whose errors end as one sentence on standard error and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from anomaly import options_file, terminal
from anomaly.errors import AnomalyError


class Explained(click.Command):
    """A command whose errors end as one sentence on standard error and an exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as click has it
        """Run the command as a program."""
        # Our matrices are small: threads make them slower, on a busy machine twenty times. Set before numpy
        # is imported, which the commands do.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        try:
            return super().main(*args, **kwargs)
        except AnomalyError as error:
            terminal.say(f"Error: {error}")
            sys.exit(error.exit_code)
        except OSError as error:
            # What a room foresees it says in its own words; this is what is left: output that cannot be written.
            where = f"{error.filename}" if error.filename else "The output cannot be written"
            terminal.say(f"Error: {where}: {error.strerror or error}")
            sys.exit(AnomalyError.exit_code)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments: a reload reads them again."""
        ctx.meta[options_file.ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Run what the command does."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Whoever read our output has closed it (head, a pager). That is no error, and Python's own
            # flush at exit must not find it either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        except KeyboardInterrupt:
            terminal.say(
                "Interrupted. What was written before is whole and stays; the same command does the rest."
            )
            ctx.exit(AnomalyError.exit_code)


class Commands(Explained, click.Group):
    """A group of such commands."""

    command_class = Explained
