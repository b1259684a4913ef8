"""``anomaly config`` as a person meets it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from anomaly import cli
from anomaly.config import Settings


def run(*words: object) -> Result:
    """Run ``anomaly`` with some words."""
    return CliRunner().invoke(cli.main, [str(word) for word in words])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a file with two settings."""
    path = tmp_path / "anomaly.toml"
    path.write_text('log = "/srv/x.log"\nalerts = ["webhook:https://a:hunter2@h.example/T0/hunter2"]\n')
    return path


@pytest.mark.parametrize("before", [True, False])
def test_every_setting_with_its_origin(file: Path, monkeypatch: pytest.MonkeyPatch, *, before: bool) -> None:
    """A row a setting: its name, where it comes from, its value; -c may stand before or after the command."""
    monkeypatch.setenv("ANOMALY_MIN_SCORE", "20")
    result = run("-c", file, "config", "show") if before else run("config", "show", "-c", file)
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()}
    assert list(rows) == list(Settings.__struct_fields__)
    assert rows["log"] == ["anomaly.toml:1", "/srv/x.log"]
    assert rows["min_score"] == ["ANOMALY_MIN_SCORE", "20.0"]
    assert rows["adapt"] == ["default", "yes"]
    assert rows["budget"] == ["default", "none"]
    assert rows["alerts"] == ["anomaly.toml:2", "webhook:https://***@h.example/***"]
    assert "hunter2" not in result.output


def test_as_json(file: Path) -> None:
    """A line a setting, with the whole path of the file; its own --format is not taken for the setting."""
    result = run("config", "show", "-c", file, "--format", "json")
    rows = {row["name"]: row for row in map(json.loads, result.stdout.splitlines())}
    assert rows["log"] == {"name": "log", "value": "/srv/x.log", "origin": "file", "where": f"{file}:1"}
    assert rows["format"] == {"name": "format", "value": "text", "origin": "default", "where": None}
    assert "hunter2" not in result.output


def test_a_variable_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with 2 and names the variable."""
    monkeypatch.setenv("ANOMALY_BUDGET", "-1")
    result = run("config", "show")
    assert result.exit_code == 2
    reason = "Invalid value for '--budget': -1.0 is not in the range 0<x<=10000.0."
    assert result.stderr == f"Error: ANOMALY_BUDGET does not fit: {reason}\n"


def test_a_file_that_is_in_order(file: Path) -> None:
    """It ends with 0 and says what the file sets."""
    result = run("config", "check", file)
    assert (result.exit_code, result.stderr) == (0, f"{file} is in order. It sets: alerts, log.\n")
    file.write_text("")
    assert run("config", "check", file).stderr.endswith("It sets: none, so every default stands.\n")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("bugdet = 3", "{file} has an unknown key 'bugdet'. Did you mean 'budget'?"),
        ("[alert]\non = 'x'", "{file} has an unknown key 'alert'. Did you mean 'alerts'?"),
        ("budget = 'x'", "{file} does not fit: budget: expected `float`, got `str`."),
    ],
)
def test_a_file_that_is_not(file: Path, text: str, error: str) -> None:
    """It ends with 2 and says which key, and what was probably meant."""
    file.write_text(text)
    result = run("config", "check", file)
    assert (result.exit_code, result.stderr) == (2, f"Error: {error.format(file=file)}\n")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It ends with 2 and the reason."""
    result = run("config", "check", tmp_path / "none")
    assert result.exit_code == 2
    assert result.stderr == f"Error: {tmp_path / 'none'} cannot be read: there is no such file.\n"


def test_settings_of_alerts_do_not_disturb_other_commands(tmp_path: Path) -> None:
    """A file with settings that a command has no flag for is taken by every command."""
    file = tmp_path / "anomaly.toml"
    file.write_text('budget = 3\nmetrics = "127.0.0.1:9477"\nalerts = ["text"]\n')
    assert run("-c", file, "models", "list", "--models", tmp_path / "m").exit_code == 0


def test_a_format_of_scores_alone_disturbs_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file or a variable says of scores is JSON of our own for tables; as a flag it is refused."""
    file = tmp_path / "anomaly.toml"
    file.write_text('format = "ecs"\n')
    words = ("models", "list", "--models", tmp_path / "m")
    assert run(*words, "--format", "ecs").exit_code == 2
    assert run("-c", file, *words).exit_code == 0
    rows = {row["name"]: row for row in map(json.loads, run("-c", file, "config", "show").stdout.splitlines())}
    assert (rows["format"]["value"], rows["format"]["origin"]) == ("ecs", "file")
    monkeypatch.setenv("ANOMALY_FORMAT", "ecs")
    assert run(*words).exit_code == 0
    assert run("config", "show").stdout.startswith('{"name": "algorithm"')


def test_the_default_of_suppressions_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a file of the state directory, wherever that is, and not none."""
    monkeypatch.setenv("ANOMALY_STATE", str(tmp_path))
    monkeypatch.delenv("ANOMALY_SUPPRESSIONS", raising=False)
    rows = {
        row["name"]: row for row in map(json.loads, run("config", "show", "--format", "json").stdout.splitlines())
    }
    assert rows["suppressions"]["value"] == str(tmp_path / "suppressions.toml")
    assert rows["suppressions"]["origin"] == "default"


def test_settings_are_a_regular_file(tmp_path: Path) -> None:
    """A device without end and a pipe that nobody writes to end with 2 at once, by their names."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (Path("/dev/zero"), pipe):
        result = run("-c", path, "config", "show")
        assert result.exit_code == 2
        assert result.stderr == f"Error: {path} cannot be read: it is no regular file.\n"


def test_settings_that_are_no_text(file: Path) -> None:
    """The line is named, and what to do."""
    file.write_bytes(b"# fine\n\xa1")
    result = run("-c", file, "config", "show")
    assert result.exit_code == 2
    reason = "is not valid TOML: line 2 is not UTF-8. Mend it, or move it away."
    assert result.stderr == f"Error: {file} {reason}\n"
