"""What the commands say of themselves, as data."""

from __future__ import annotations

import click

from anomaly import cli_doctor, cli_predict, cli_status, errors
from anomaly.reference.commands import Described, _described, described, exit_codes, variables
from tests.test_cli import commands

DESCRIBED = {each.path: each for each in described()}


def test_every_command_is_described_with_an_example() -> None:
    """No command that help shows is missing."""
    assert set(DESCRIBED) == {("anomaly", *path) for path in commands()}
    assert all(each.examples and each.summary for each in DESCRIBED.values())


def test_an_option_is_said_as_help_says_it() -> None:
    """With its default, its choices and its place in the environment."""
    train = DESCRIBED["anomaly", "train"]
    options = dict(train.options)
    assert (
        options["-a, --algorithm [lstm|ocsvm|both]"] == "What to learn with (ANOMALY_ALGORITHM). [default: BOTH]"
    )
    assert options["-h, --help"] == "Show this message and exit."
    assert ("ANOMALY_ALGORITHM", "--algorithm") in train.variables
    assert DESCRIBED["anomaly", "simulate"].usage == "[OPTIONS] DIRECTORY"


def test_a_paragraph_that_keeps_its_lines_keeps_them() -> None:
    """And what is hidden is not told."""

    @click.command(help="Do.\n\n\b\none\ntwo\n\n\b\nExample:\n  anomaly do")
    @click.option("--secret", hidden=True)
    def command() -> None:
        """Do nothing."""

    found: Described = _described(command, click.Context(command), ("anomaly", "do"))
    assert found.about == ("Do.", "one\ntwo")
    assert found.examples == ("anomaly do",)
    assert [option for option, _ in found.options] == ["--help"]


def test_variables_are_those_that_help_names() -> None:
    """Each once, also the one that click does not know of since it may stand for several values."""
    found = dict(variables(list(DESCRIBED.values())))
    assert found["ANOMALY_LOG"] == "--log"
    assert list(found) == sorted(found)
    assert len(found) == len(variables(list(DESCRIBED.values())))


def test_exit_codes_are_those_of_the_errors() -> None:
    """Ascending, each with what it means."""
    found = dict(exit_codes())
    assert found[errors.LogMissing.exit_code] == "There is no such file."
    assert {0, 1, 2, cli_predict.EXIT_FOUND} <= set(found)
    assert cli_status.EXIT_BEHIND == cli_doctor.EXIT_PROBLEM  # which have one row, as in README
    assert all(word in found[cli_status.EXIT_BEHIND] for word in ("doctor", "--fail-if-behind"))
    assert list(found) == sorted(found)
