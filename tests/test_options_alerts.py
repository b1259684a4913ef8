"""Options of alerts: what flags, variables and the file say comes out the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from anomaly import cli_predict, options_alerts, options_file

FILE = """
alert_on = "critical"
budget = 2
suppressions = "~/harmless.toml"
alerts = ["text", "file:/var/log/a b.ndjson"]
metrics = "127.0.0.1:9477"
"""


@click.command()
@options_file.configuration
@options_alerts.alert_on
@options_alerts.budget
@options_alerts.suppressions
@options_alerts.alerts
@options_alerts.metrics
def command(**chosen: Any) -> None:  # noqa: ANN401 - of any option
    """Show what was chosen."""
    click.echo("\n".join(f"{name}={value}" for name, value in sorted(chosen.items())))


def run(*words: object, **variables: str) -> Result:
    """Run a command with all of them."""
    return CliRunner().invoke(command, [str(word) for word in words], env=variables)


def chosen(*words: object, **variables: str) -> dict[str, str]:
    """Return what a command gets."""
    result = run(*words, **variables)
    assert result.exit_code == 0, result.output
    return dict(line.split("=", 1) for line in result.output.splitlines())


def test_defaults() -> None:
    """Warnings alert, without limit, into nothing."""
    assert chosen() == {
        "alert_on": "warning",
        "alerts": "()",
        "budget": "None",
        "metrics": "None",
        "suppressions": "None",
    }


def test_a_file_a_variable_a_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file gives all of them; a variable wins over it, and a flag over that."""
    monkeypatch.setenv("HOME", "/home/a")
    file = tmp_path / "anomaly.toml"
    file.write_text(FILE)
    values = chosen("-c", file)
    assert values == {
        "alert_on": "critical",
        "alerts": "('text', 'file:/var/log/a b.ndjson')",
        "budget": "2.0",
        "metrics": "127.0.0.1:9477",
        "suppressions": "/home/a/harmless.toml",
    }
    variables = {"ANOMALY_BUDGET": "3", "ANOMALY_ALERTS": " a  b:c ", "ANOMALY_ALERT_ON": "notice"}
    assert chosen("-c", file, **variables) == values | {
        "budget": "3.0",
        "alerts": "('a', 'b:c')",
        "alert_on": "notice",
    }
    flags = ("--budget", 4, "--alert", "x", "--alert", "y z")
    assert chosen("-c", file, *flags, **variables) == values | {
        "budget": "4.0",
        "alerts": "('x', 'y z')",
        "alert_on": "notice",
    }


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--budget", "0"), "0.0 is not in the range 0<x<=10000.0."),
        (("--alert-on", "none"), "'none' is not one of 'notice', 'warning', 'critical'."),
        (("--alert", ""), "the address is empty."),
        (("--metrics", "9477"), "9477: give 127.0.0.1:PORT, [::1]:PORT or textfile:/PATH/anomaly.prom."),
        (("--metrics", "host:0"), "so only 127.0.0.1 and [::1] are taken."),
        (("--suppressions", ""), "the path is empty."),
    ],
)
def test_what_does_not_fit_is_a_usage_error(words: tuple[str, ...], error: str) -> None:
    """A flag that does not fit ends with 2 and says why."""
    result = run(*words)
    assert result.exit_code == 2
    assert error in result.output


@pytest.mark.parametrize("name", ["predict", "run"])
def test_a_severity_beside_a_budget_is_a_usage_error(name: str, tmp_path: Path) -> None:
    """Whoever types both is told that one of them would not count, before any work; a setting gives way."""
    asked: click.Command = getattr(cli_predict, name)
    places = ["--log", str(tmp_path / "none"), "--models", str(tmp_path), "--state", str(tmp_path)]
    words = [*places, "--alert-on", "critical"]
    result = CliRunner().invoke(asked, [*words, "--budget", "2"])
    assert result.exit_code == 2
    assert "Error: Give either --alert-on or --budget: a budget finds what is rare of each user." in result.output
    assert "Give either --alert-on" not in CliRunner().invoke(asked, words, env={"ANOMALY_BUDGET": "2"}).output
