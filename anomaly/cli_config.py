"""``anomaly config``: which settings there are, what they are, and where each comes from."""

from __future__ import annotations

from pathlib import Path

import click

from anomaly import options, options_file
from anomaly.terminal import print_rows, say


@click.group()
def config() -> None:
    """Show settings with their origins, or check a file of them.

    \b
    Example:
      anomaly config show
    """


@config.command()
@options_file.configuration
@options.output_format
@click.pass_context
def show(ctx: click.Context, output: str) -> None:
    """Show every setting with its value and where that comes from.

    A flag of a command wins over ANOMALY_*, that over the file, and that over the default. Of web addresses the
    host is shown, of files that hold a secret the name: what is shown can be passed on.

    \b
    Example:
      anomaly config show -c /etc/anomaly/anomaly.toml
      anomaly -c anomaly.toml config show --format json | jq 'select(.origin != "default")'
    """
    from anomaly.provenance import provenance, sheet

    found = provenance(ctx.default_map or {}, ctx.meta.get(options_file.CONFIGURATION))
    if output == "json":
        print_rows([setting._asdict() for setting in found], output)
        return
    for line in sheet(found):
        click.echo(line)


@config.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def check(file: Path) -> None:
    """Check a file of settings: that each is known, of its type and within its range.

    \b
    Example:
      anomaly config check /etc/anomaly/anomaly.toml
    """
    from anomaly.config import load

    values = load(file)
    settings = ", ".join(sorted(values)) or "none, so every default stands"
    say(f"{file} is in order. It sets: {settings}.")
