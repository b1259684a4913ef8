"""However a command ends, it says so in a sentence."""

from __future__ import annotations

import click
from click.testing import CliRunner

from anomaly.cli_errors import Explained


@click.command(cls=Explained)
def long_work() -> None:
    """Be interrupted."""
    raise KeyboardInterrupt


def test_what_is_interrupted_says_what_stays() -> None:
    """Ctrl-C is no error of Python's: what was written is whole, and how to go on is told."""
    result = CliRunner().invoke(long_work)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "Interrupted. What was written before is whole and stays; the same command does the rest.\n"
    )
