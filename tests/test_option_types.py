"""Values of options are what they say, or are refused before anything is done."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner, Result

from anomaly import cli, option_types

FIGURES = [
    (("predict",), "--budget"),
    (("predict",), "--min-score"),
    (("evaluate", "--user", "alice"), "--alarm"),
    (("status",), "--fail-if-behind"),
]


def options_of(command: click.Command) -> list[click.Parameter]:
    """Give the options of a command and of those in it."""
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    return [*command.params, *(option for each in inner for option in options_of(each))]


def run(*words: str, **variables: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(cli.main, words, env=variables)


@pytest.mark.parametrize(("words", "option"), FIGURES, ids=[option for _, option in FIGURES])
def test_a_figure_is_a_number(words: tuple[str, ...], option: str) -> None:
    """What is no number would pass every bound, since it compares with none."""
    result = run(*words, option, "nan")
    assert result.exit_code == 2
    assert f"Error: Invalid value for '{option}': 'nan' is no number.\n" in result.output


def test_a_variable_is_a_number() -> None:
    """The same from the environment."""
    result = run("predict", ANOMALY_MIN_SCORE="NaN")
    assert result.exit_code == 2
    assert "'NaN' is no number." in result.output


def test_no_option_takes_any_float() -> None:
    """Every figure of every command is checked."""
    kinds = [option.type for option in options_of(cli.main)]
    numbers = [kind for kind in kinds if isinstance(kind, click.types.FloatParamType)]
    assert len(numbers) >= len(FIGURES)
    assert all(isinstance(number, option_types.Figure) for number in numbers)
