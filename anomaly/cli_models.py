"""``anomaly models``: looking after stored models."""

from __future__ import annotations

from pathlib import Path

import click

from anomaly import options
from anomaly.terminal import print_rows, say


@click.group()
def models() -> None:
    """Look after stored models.

    \b
    Example:
      anomaly models list
    """


@models.command(name="list")
@options.models
@options.output_format
def list_(models: Path, output: str) -> None:
    """List the models of every user.

    \b
    Example:
      anomaly models list
    """
    from anomaly.overview import model_rows

    print_rows(model_rows(models, say), output)


@models.command()
@click.option("--user", metavar="NAME", required=True, help="Whose model.")
@click.option("--version", type=click.IntRange(1), help="Which version; by default the one in use.")
@options.models
@options.output_format
def show(user: str, version: int | None, models: Path, output: str) -> None:
    """Show what a model was learned from.

    \b
    Example:
      anomaly models show --user alice
    """
    from anomaly.overview import card_rows

    print_rows(card_rows(models, user, version), output)


@models.command()
@click.option("--user", metavar="NAME", required=True, help="Whose model.")
@click.option("--to", type=click.IntRange(1), help="Version to use; by default the one before.")
@options.models
def rollback(user: str, to: int | None, models: Path) -> None:
    """Go back to an earlier version of a model.

    \b
    Example:
      anomaly models rollback --user alice
    """
    from anomaly.store import Store

    store = Store(models)
    if to is None:
        to = store.rollback(user)
    else:
        store.use(user, to)
    say(f"{user}: model {to} is in use.")


@models.command()
@click.option("--user", metavar="NAME", help="Whose models; by default everyone's.")
@click.option("--keep", type=click.IntRange(1), default=3, show_default=True, help="Newest versions to keep.")
@options.models
def prune(user: str | None, keep: int, models: Path) -> None:
    """Delete old versions; the one in use is always kept.

    \b
    Example:
      anomaly models prune --keep 2
    """
    from anomaly.store import Store

    store = Store(models)
    for name in [user] if user else store.users():
        gone = store.prune(name, keep)
        say(f"{name}: deleted {', '.join(map(str, gone)) or 'nothing'}.")
