"""Where settings come from, and what of them is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly import cli, cli_predict, options_file
from anomaly.config import Settings
from anomaly.errors import ConfigError
from anomaly.provenance import hidden, line_of, provenance, sheet
from anomaly.sinks.visible import columns

ROOT = Path(__file__).parents[1]

PENDING: set[str] = set()
"""Settings that no command has a flag for yet. Take out each that has one; in the end, this."""


def commands(command: click.Command) -> Iterator[click.Command]:
    """Yield a command and all below it."""
    yield command
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from commands(inner)


def flags() -> dict[str, list[click.Option]]:
    """Return the options of all commands, by the setting they are."""
    found: dict[str, list[click.Option]] = {}
    for command in [*commands(cli.main), cli_predict.run]:
        for option in command.params:
            if isinstance(option, click.Option):
                name = {"output": "format", "logs": "log"}.get(str(option.name), str(option.name))
                found.setdefault(name, []).append(option)
    return found


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.__struct_fields__:
        monkeypatch.delenv(f"ANOMALY_{name.upper()}", raising=False)


@pytest.mark.parametrize("name", Settings.__struct_fields__)
def test_every_setting_is_documented_and_has_its_variable_and_flag(name: str) -> None:
    """A key of the file is a commented line of the sample and of the page, a flag of a command, and ANOMALY_*."""
    sample = (ROOT / "conf" / "anomaly.toml").read_text()
    assert re.search(rf"(?m)^# [A-Z].*\n(?:# .*\n)*# {name} = ", sample)
    page = (ROOT / "docs" / "configuration.md").read_text()
    variable = f"ANOMALY_{name.upper()}"
    flag = "--alert" if name == "alerts" else f"--{name.replace('_', '-')}"
    assert re.search(rf"(?m)^\| `{name}` \| `{flag}`.*\| `{variable}`", page)
    if name in PENDING:
        assert name not in flags()
        return
    assert any(flag in option.opts and variable in str(option.help) for option in flags()[name])
    assert variable in {option.envvar for option in flags()[name]}


@pytest.mark.parametrize("name", Settings.__struct_fields__)
def test_a_variable_is_shown_as_the_origin(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variable is found, with the value that a command would have."""
    samples = {
        "algorithm": ("OCSVM", "OCSVM"),
        "format": ("json", "json"),
        "min_score": ("20", 20.0),
        "adapt": ("no", False),
        "max_line": ("2048", 2048),
        "alert_on": ("notice", "notice"),
        "budget": ("3", 3.0),
        "alerts": ("a b", ["a", "b"]),
        "metrics": ("[::1]:1", "[::1]:1"),
    }
    text, value = samples.get(name, ("/x", "/x"))
    monkeypatch.setenv(f"ANOMALY_{name.upper()}", text)
    found = {setting.name: setting for setting in provenance({}, None)}
    assert list(found) == list(Settings.__struct_fields__)
    assert found[name][1:] == (value, "environment", f"ANOMALY_{name.upper()}")
    assert {setting.origin for setting in found.values() if setting.name != name} == {"default"}


def test_the_file_is_shown_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the file says has its line, what a variable wins over has the variable."""
    file = tmp_path / "anomaly.toml"
    file.write_text('# log = "/a"\n\nlog = "/b"\n"format" = "json"\nbudget = 2\n')
    monkeypatch.setenv("ANOMALY_BUDGET", "3")
    found = {setting.name: setting for setting in provenance(options_file.settings(file), file)}
    assert found["log"][1:] == ("/b", "file", f"{file}:3")
    assert found["format"][1:] == ("json", "file", f"{file}:4")
    assert found["budget"][1:] == (3.0, "environment", "ANOMALY_BUDGET")
    assert found["olddir"][1:] == (None, "default", None)


def test_a_variable_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As any command would refuse it."""
    monkeypatch.setenv("ANOMALY_MIN_SCORE", "high")
    with pytest.raises(ConfigError, match=r"^ANOMALY_MIN_SCORE does not fit: .*'high' is not a valid float"):
        provenance({}, None)


def test_a_file_that_is_gone_has_no_lines(tmp_path: Path) -> None:
    """Settings of a file that was taken away meanwhile are shown without a line."""
    gone = tmp_path / "gone"
    found = {setting.name: setting for setting in provenance({"log": "/b"}, gone)}
    assert found["log"].where == str(gone)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('log = "x"', 1),
        ('# log = "y"\nlog="x"', 2),
        ('alerts = ["""\nlog = 1\n"""]\n  log = "x"', 4),
        ("alerts = [\n  'log = 1',\n]\n'log' = 'x'", 4),
        ('olddir = "log = 1"', None),
        ("", None),
    ],
)
def test_lines_of_keys(text: str, line: int | None) -> None:
    """A key is found where it is set, not where a text looks like it."""
    assert line_of(text, "log") == line


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("webhook:https://hooks.slack.example/services/T0/B0/XYZ", "webhook:https://hooks.slack.example/***"),
        ("https://me:hunter2@x.example:8443", "https://***@x.example:8443"),
        ("https://x.example?key=hunter2", "https://x.example/***"),
        ("https://[::1]:1/a", "https://[::1]:1/***"),
        ("https://x:port/hunter2", "https://***"),
        ("https://hooks.example/T0,hunter2/x", "https://hooks.example/***"),
        ("https://hooks.example/T0;hunter2", "https://hooks.example/***"),
        ("https://hooks.example/T0 hunter2#token_file=/x", "https://hooks.example/***"),
        ("HTTPS://hooks.example,hunter2/x", "HTTPS://***"),
        ("https:/me:hunter2@x/y", "https:/***@x/y"),
        ("webhook:x;token=hunter2", "webhook:x;token=***"),
        ("webhook:x;token_file=/etc/anomaly/secret/hook", "webhook:x;token_file=hook"),
        ("webhook:x,api-key=hunter2,retries=3", "webhook:x,api-key=***,retries=3"),
        ("file:/var/log/alerts.ndjson", "file:/var/log/alerts.ndjson"),
        ("syslog:/dev/log", "syslog:/dev/log"),
    ],
)
def test_secrets_are_hidden(address: str, shown: str) -> None:
    """Logins, paths and queries of web addresses, and values of options that are secrets, are not shown."""
    assert hidden(address) == shown
    assert hidden((address,)) == [shown]


@given(st.text())
def test_any_text_may_be_shown(text: str) -> None:
    """Hiding never fails, and whatever comes after a login does not uncover it."""
    assert isinstance(hidden(text), str)
    assert "hunter2" not in hidden(f"https://me:hunter2@x/{text}") or "hunter2" in text


@given(st.lists(st.text(max_size=200), max_size=3))
def test_a_sheet_is_80_columns_wide(alerts: list[str]) -> None:
    """Whatever the values are, no line is wider, and nothing in it moves a terminal."""
    found = provenance({}, None)
    number = [setting.name for setting in found].index("alerts")
    found[number] = found[number]._replace(value=alerts, origin="file", where="/etc/" + "x" * 200 + ":7")
    for line in sheet(found):
        assert line.isprintable()
        assert columns(line) <= 80
