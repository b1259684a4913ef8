"""``--metrics`` as a person meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from prometheus_client.parser import text_string_to_metric_families

from anomaly import cli, cli_predict


def run(command: str, log: Path, models: Path, state: Path, *words: str, environment: str | None = None) -> Result:
    """Run a command with its directories."""
    given = [command, "-l", log, "--models", models, "--state", state, *words]
    return CliRunner().invoke(cli.main, [str(word) for word in given], env={"ANOMALY_METRICS": environment})


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_a_runs_metrics_are_in_the_file_when_it_has_ended(
    log: Path, models: Path, tmp_path: Path, by: str
) -> None:
    """What was scored is what the file says, whichever way it was asked for."""
    path = tmp_path / "anomaly.prom"
    text = f"textfile:{path}"
    words = ("--all-users", "--no-follow", "--jobs", "1", "--from", "start", "--format", "json")
    flag, environment = (("--metrics", text), None) if by == "flag" else ((), text)
    result = run("predict", log, models, tmp_path / "state", *words, *flag, environment=environment)
    assert result.exit_code == 0, result.output
    families = {family.name: family for family in text_string_to_metric_families(path.read_text())}
    assert families["anomaly_actions"].samples[0].value == len(result.stdout.splitlines()) == 2406
    risks = {sample.labels["user"]: sample.value for sample in families["anomaly_user_risk"].samples}
    assert set(risks) == {"alice", "bob"}
    assert all(0 <= risk <= 100 for risk in risks.values())


def test_a_wrong_address_is_an_error_before_anything_begins(log: Path, models: Path, tmp_path: Path) -> None:
    """Exit code 2, and no state was made; also where the original's words are used, before any training."""
    result = run("predict", log, models, tmp_path / "state", "--all-users", "--metrics", "0.0.0.0:9469")
    assert result.exit_code == 2
    assert (
        "Invalid value for '--metrics': 0.0.0.0:9469: metrics name users and say who is suspected,"
        in result.stderr
    )
    words = [
        "-l",
        str(log),
        "--models",
        str(tmp_path / "new"),
        "--state",
        str(tmp_path / "state"),
        "--metrics",
        "x",
    ]
    result = CliRunner().invoke(cli_predict.run, words)
    assert result.exit_code == 2
    assert result.stderr.endswith(
        "'--metrics': x: give 127.0.0.1:PORT, [::1]:PORT or textfile:/PATH/anomaly.prom.\n"
    )
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "state").exists()
