r"""The commands as a manual page, in roff with the macros of man(7).

In roff a backslash begins an escape, a line that begins with ``.`` or ``'`` is a request, and ``-`` is a hyphen,
which can be broken at and pasted nowhere: ``\-`` is the minus that options are written with.
"""

from __future__ import annotations

from collections.abc import Iterator

from anomaly import __version__
from anomaly.reference.commands import Described, exit_codes, variables


def manual(commands: list[Described]) -> str:
    """Write the page."""
    return "\n".join(_lines(commands)) + "\n"


def escaped(text: str) -> str:
    r"""Make a line of text that roff prints as it is.

    >>> print(escaped(".so --all-users \\ it's"))
    \&.so \-\-all\-users \e it\(aqs
    """
    safe = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    safe = safe.replace("^", "\\(ha").replace("~", "\\(ti").replace('"', "\\(dq")
    return f"\\&{safe}" if safe.startswith(".") else safe


def _lines(commands: list[Described]) -> Iterator[str]:
    main, *rest = commands
    yield f'.TH ANOMALY 1 "" "anomaly {escaped(__version__)}" "User Commands"'
    yield from (".nh", ".ad l")  # what is broken at a hyphen cannot be pasted
    yield ".SH NAME"
    yield f"anomaly \\- {escaped(main.summary[0].lower() + main.summary[1:])}"
    yield ".SH SYNOPSIS"
    for each in rest:
        if not each.is_group:
            yield f".B {escaped(each.name)}"
            yield escaped(each.usage)
            yield ".br"
    yield ".SH DESCRIPTION"
    yield from _paragraphs(main)
    yield from _options(main)
    yield ".SH COMMANDS"
    for each in rest:
        yield f".SS {escaped(f'{each.name} {each.usage}')}"
        yield from _body(each)
    yield ".SH ENVIRONMENT"
    for name, option in variables(commands):
        yield from _item(name, f"The default of {option}.")
    yield ".SH EXIT STATUS"
    for code, meaning in exit_codes():
        yield from _item(str(code), meaning)
    yield ".SH SEE ALSO"
    yield escaped(
        "osqueryd(8); the pages in docs/ of the project, of which docs/cli.md says the same as this one."
    )


def _body(each: Described) -> Iterator[str]:
    yield from _paragraphs(each)
    yield from _options(each)
    if each.examples:
        yield from (".PP", "Example:", ".PP", ".RS", ".nf")
        yield from (escaped(line) for line in each.examples)
        yield from (".fi", ".RE")


def _paragraphs(each: Described) -> Iterator[str]:
    for paragraph in each.about:
        yield ".PP"
        if "\n" in paragraph:
            yield from (".nf", *map(escaped, paragraph.splitlines()), ".fi")
        else:
            yield escaped(paragraph)


def _options(each: Described) -> Iterator[str]:
    for option, meaning in each.options:
        yield from _item(option, meaning)


def _item(term: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield f".B {escaped(term)}"
    yield escaped(text)
