"""The commands as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from anomaly.reference.commands import Described, variables

_BEGIN = """# What are the commands?

This page is made of what the commands say of themselves (`anomaly COMMAND --help`).
`python -m anomaly.reference` writes it anew, and the manual page [`anomaly.1`](anomaly.1) with it
(`man -l docs/anomaly.1`). What the program ends with is listed in [README](../README.md#exit-codes).

| command | what it does |
|---|---|
"""

_COMPLETION = """
## Completion in the shell

Commands, options, choices and files are completed with Tab, and after `--user` whoever has a model. Put one line
into the file of your shell, once:

| shell | file | line |
|---|---|---|
| bash 4.4 or later | `~/.bashrc` | `eval "$(_ANOMALY_COMPLETE=bash_source anomaly)"` |
| zsh | `~/.zshrc`, after `compinit` | `eval "$(_ANOMALY_COMPLETE=zsh_source anomaly)"` |
| fish | `~/.config/fish/completions/anomaly.fish` | `_ANOMALY_COMPLETE=fish_source anomaly \\| source` |

Users are looked up in `--models` if it stands before `--user`, else in `ANOMALY_MODELS` or the usual directory. A
name that is not a plain word (letters, digits and `_ . @ : + -`) is not offered: bash would put it into the line
unquoted.
"""


_VARIABLES = "What a variable sets wins over the configuration file, and an option over both.\n"


def markdown(commands: list[Described]) -> str:
    """Write the page."""
    rows = (
        f"| [`{each.name}`](#{'-'.join(each.path)}) | {_cell(each.summary)} |\n"
        for each in commands
        if not each.is_group
    )
    lines = [_BEGIN + "".join(rows)]
    for each in commands:
        lines += _command(each)
    lines += ["\n## Environment variables\n", _VARIABLES]
    pairs = ((f"`{name}`", f"`{option}`") for name, option in variables(commands))
    lines += _table("variable", "is the default of", pairs)
    return "\n".join(lines) + "\n" + _COMPLETION


def _command(each: Described) -> Iterator[str]:
    yield f"\n## {each.name}\n"
    for paragraph in each.about:
        yield f"```\n{paragraph}\n```\n" if "\n" in paragraph else f"{paragraph}\n"
    yield f"```\n{each.name} {each.usage}\n```\n"
    yield from _table(
        "option", "meaning", ((f"`{_cell(option)}`", _cell(help_)) for option, help_ in each.options)
    )
    if each.examples:
        yield "\nExample:\n"
        yield "```sh"
        yield from each.examples
        yield "```"


def _table(left: str, right: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield f"| {left} | {right} |"
    yield "|---|---|"
    for row in rows:
        yield f"| {row[0]} | {row[1]} |"


def _cell(text: str) -> str:
    """Keep a cell in its column, and what stands in angle brackets from being taken for HTML."""
    return text.replace("|", "\\|").replace("<", "&lt;") if "`" not in text else text.replace("|", "\\|")
