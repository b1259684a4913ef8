"""What shells complete, and what they must not."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete

from anomaly import cli, option_types
from anomaly.completion import users
from anomaly.store_layout import encode_user
from tests.test_cli import commands

HOSTILE = (
    *(
        "$(reboot)",
        "`id`",
        "a b",
        "a\nb",
        "a;id",
        "a'b",
        'a"b',
        "a\\b",
        "--all-users",
        "~root",
        "\x1b[31m",
        "a\u202eb",
    ),
    *("", "..", "../x", "a*", "{a,b}", "a&b", "a|b", "a>b", "#a", "!1", "a,b", "=a", "\ud800", "a\u3000b"),
)
PLAIN = ("alice", "alice@ws1", "bob.smith", "uid:1000", "host:web-1", "www-data", "zoë", "_apt", "_x+y")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a directory in which all kinds of users have models."""
    for name in (*HOSTILE, *PLAIN):
        (tmp_path / encode_user(name)).mkdir()
    (tmp_path / "x").touch()
    (tmp_path / "%zz").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "alice")
    return tmp_path


def complete(*words: str, begin: str = "") -> list[str]:
    """Return what bash would offer after some words."""
    found = BashComplete(cli.main, {}, "anomaly", "_ANOMALY_COMPLETE").get_completions(list(words), begin)
    return [item.value for item in found]


def option(path: tuple[str, ...]) -> click.Parameter | None:
    """Return a command's ``--user``."""
    command: click.Command = cli.main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return next((param for param in command.params if "--user" in param.opts), None)


@pytest.mark.parametrize("path", [path for path in commands() if option(path)], ids=" ".join)
def test_every_user_is_completed(path: tuple[str, ...]) -> None:
    """An option ``--user`` is of the type that completes users."""
    found = option(path)
    assert found is not None
    assert isinstance(found.type, option_types.UserName), "give it type=option_types.UserName()"


def test_only_plain_words_are_offered(models: Path) -> None:
    """A name that a shell would run, split or show otherwise than it is must not come into a line unasked."""
    assert set(users(models)) == set(PLAIN)
    assert users(models) == sorted(PLAIN)


def test_the_directory_of_the_line_is_looked_into(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else that of the environment, and nothing where there is none."""
    assert complete("train", "--models", str(models), "--user", begin="al") == ["alice", "alice@ws1"]
    monkeypatch.setenv("ANOMALY_MODELS", str(models))
    assert complete("models", "show", "--user", begin="bob") == ["bob.smith"]
    monkeypatch.setenv("ANOMALY_MODELS", str(models / "nothing"))
    assert complete("predict", "--user") == []


def test_the_directory_of_the_configuration_is_looked_into(models: Path, tmp_path: Path) -> None:
    """A file that does not fit, or is not there, offers nobody and says nothing."""
    file = tmp_path / "anomaly.toml"
    file.write_text(f'models = "{models}"\n')
    assert complete("-c", str(file), "train", "--user", begin="zo") == ["zoë"]
    file.write_text("nonsense = 1\n")
    assert "zoë" not in complete("-c", str(file), "train", "--user", begin="zo")


def test_a_file_in_the_way_offers_nobody(models: Path) -> None:
    """A directory that is none is no error while somebody types."""
    assert users(models / "x") == []
    assert users(Path("\0")) == []


def test_what_is_offered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand names are more than anybody reads."""
    monkeypatch.setattr("anomaly.completion._MOST", 2)
    for name in "cab":
        (tmp_path / name).mkdir()
    assert users(tmp_path) == ["a", "b"]


def test_commands_and_choices_are_completed() -> None:
    """As click does it."""
    assert "train" in complete(begin="tr")
    assert complete("train", "--without", begin="ba") == ["background"]
