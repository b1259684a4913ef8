"""What the commands say of themselves: help, options, examples, variables and exit codes, as data."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import NamedTuple

import click

from anomaly import cli, cli_doctor, cli_predict, errors
from anomaly.errors import AnomalyError

_EXAMPLE = "\b\nExample:"
_VARIABLE = re.compile(r"\((ANOMALY_[A-Z_]+)\)")


class Described(NamedTuple):
    """One command."""

    path: tuple[str, ...]
    """``("anomaly", "models", "list")``."""
    summary: str
    """Its first sentence, without the full stop."""
    about: tuple[str, ...]
    """Paragraphs, the summary first. One of several lines keeps them."""
    examples: tuple[str, ...]
    """Lines for a shell."""
    usage: str
    """What follows the name."""
    options: tuple[tuple[str, str], ...]
    """How each is written, and what it means."""
    variables: tuple[tuple[str, str], ...]
    """Environment variables, each with the option whose default it is."""
    is_group: bool

    @property
    def name(self) -> str:
        """The command as it is typed."""
        return " ".join(self.path)


def described() -> list[Described]:
    """Describe the program and each of its commands, by name, a group before what is in it."""
    ctx = click.Context(cli.main, info_name="anomaly", **cli.main.context_settings)
    return list(_walk(cli.main, ctx, ("anomaly",)))


def exit_codes() -> list[tuple[int, str]]:
    """Return what the program ends with, and why, ascending."""
    codes = {
        0: "Done, or stopped.",
        cli_predict.EXIT_FOUND: "predict --fail-on has seen that severity, or worse.",
        cli_doctor.EXIT_PROBLEM: "doctor has found a problem; status --fail-if-behind: a log is not watched, or a"
        " line of it has waited longer.",
    }
    codes |= {error.exit_code: _first_line(error) for error in _errors()}
    codes[AnomalyError.exit_code] = "An error that has no code of its own."
    return sorted(codes.items())


def variables(commands: list[Described]) -> list[tuple[str, str]]:
    """Return each environment variable once, with its option, by name."""
    return sorted({pair for command in commands for pair in command.variables})


def _walk(command: click.Command, ctx: click.Context, path: tuple[str, ...]) -> Iterator[Described]:
    yield _described(command, ctx, path)
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            inner = command.commands[name]
            if not inner.hidden:
                yield from _walk(inner, click.Context(inner, parent=ctx, info_name=name), (*path, name))


def _described(command: click.Command, ctx: click.Context, path: tuple[str, ...]) -> Described:
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    examples = [text.splitlines()[2:] for text in paragraphs if text.startswith(_EXAMPLE)]
    about = tuple(_paragraph(text) for text in paragraphs if not text.startswith(_EXAMPLE))
    options, named = [], []
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is None or not isinstance(param, click.Option):
            continue
        options.append((record[0], " ".join(record[1].split())))
        found = {param.envvar} if isinstance(param.envvar, str) else set(param.envvar or ())
        named += [(variable, max(param.opts, key=len)) for variable in found | {*_VARIABLE.findall(record[1])}]
    return Described(
        path=path,
        summary=about[0].removesuffix("."),
        about=about,
        examples=tuple(line.strip() for lines in examples for line in lines),
        usage=" ".join(command.collect_usage_pieces(ctx)),
        options=tuple(options),
        variables=tuple(sorted(named)),
        is_group=isinstance(command, click.Group),
    )


def _paragraph(text: str) -> str:
    verbatim = text.removeprefix("\b\n")
    return " ".join(text.split()) if verbatim == text else verbatim


def _errors() -> Iterator[type[AnomalyError]]:
    """Yield the errors that have a code of their own."""
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, AnomalyError) and "exit_code" in vars(error):
            yield error


def _first_line(error: type[AnomalyError]) -> str:
    return (error.__doc__ or "").strip().splitlines()[0]
