"""``-c``: a file of settings, which become the defaults of every command, and are read again for a reload."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from anomaly.config import load
from anomaly.errors import ConfigError
from anomaly.options import F

ARGUMENTS, CONFIGURATION = "anomaly.arguments", "anomaly.configuration"
"""What is kept with a command's context: how it was called, and with which file."""


def configuration(function: F) -> F:
    """Add ``-c``: a file whose settings become the defaults of every command."""
    return click.option(
        "-c",
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        is_eager=True,
        expose_value=False,
        callback=_configure,
        help="TOML file with settings; flags and ANOMALY_* win over it. See conf/anomaly.toml.",
    )(function)


def again(ctx: click.Context) -> dict[str, Any]:
    """Return a command's parameters as they would be if it were started now: flags, environment, file.

    Raises
    ------
    ConfigError
        The configuration file, or a setting in it, does not fit any more.
    """
    path = ctx.meta.get(CONFIGURATION)
    try:
        fresh = ctx.command.make_context(
            ctx.info_name,
            list(ctx.meta[ARGUMENTS]),
            parent=ctx.parent,
            default_map=settings(path) if path else None,
        )
    except click.UsageError as error:
        raise ConfigError(f"A setting does not fit: {error.format_message()}") from error
    return fresh.params


def _configure(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    ctx.meta[CONFIGURATION] = path
    ctx.default_map = _defaults(ctx.command, settings(path))


def settings(path: Path) -> dict[str, Any]:
    """Read a configuration file into parameters of commands.

    Raises
    ------
    ConfigError
        It does not fit.
    """
    values = load(path)
    if "format" in values:
        values["output"] = values.pop("format")
    for place in {"log", "models", "state", "olddir", "suppressions"} & values.keys():
        values[place] = os.path.expanduser(values[place])  # noqa: PTH111 - a str, as on the command line
    if "log" in values and not os.environ.get("ANOMALY_LOG"):
        values["logs"] = [values["log"]]
    return values


def _defaults(command: click.Command, values: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(command, click.Group):
        return values
    return {name: _defaults(inner, values) for name, inner in command.commands.items()}
