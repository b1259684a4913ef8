"""``anomaly models``: looking after stored models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from anomaly import option_types, options
from anomaly.terminal import print_rows, say

if TYPE_CHECKING:
    from anomaly.store import Store


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
@click.option("--user", type=option_types.UserName(), metavar="NAME", required=True, help="Whose model.")
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
@click.option("--user", type=option_types.UserName(), metavar="NAME", required=True, help="Whose model.")
@click.option("--to", type=click.IntRange(1), help="Version to use; by default the one before.")
@click.option(
    "--learned", is_flag=True, help="Keep the version, and take away what it has learned since training."
)
@options.models
def rollback(user: str, to: int | None, learned: bool, models: Path) -> None:
    """Go back to an earlier version of a model, or to how it was trained.

    \b
    Example:
      anomaly models rollback --user alice
      anomaly models rollback --user alice --learned
    """
    from anomaly.store import Store

    store = Store(models)
    if learned:
        if to is not None:
            raise click.UsageError("Give either --to or --learned.")
        say(_forget(store, user))
        return
    if to is None:
        to = store.rollback(user)
    else:
        store.use(user, to)
    say(f"{user}: model {to} is in use.")


@models.command()
@click.option("--user", type=option_types.UserName(), metavar="NAME", help="Whose models; by default everyone's.")
@options.models
@options.output_format
def drift(user: str | None, models: Path, output: str) -> None:
    """Say how far models have moved since they were trained, by what they learned while running.

    Drift is the share of the last 20 learned windows that would have surprised the model as it was trained.

    \b
    Example:
      anomaly models drift --user alice
    """
    from anomaly.overview import drift_rows

    rows = drift_rows(models, user, say)
    if output == "text":  # what does not fit 80 columns is in the JSON
        rows = [{key: value for key, value in row.items() if key not in ("version", "last")} for row in rows]
    print_rows(rows, output)
    if not rows:
        say("Nothing has been learned since training.")


def _forget(store: Store, user: str) -> str:
    version = store.current(user)
    count = store.forget_learned(user, version) if version is not None else 0
    if not count:
        return f"{user}: nothing has been learned since training."
    return f"{user}: model {version} is as it was trained; a running anomaly notices within seconds."


@models.command()
@click.option("--user", type=option_types.UserName(), metavar="NAME", help="Whose models; by default everyone's.")
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
