"""The commands that say how well detection does and how far it has moved, as a person meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from anomaly import cli, enrolment, options, records

WORDS = ("ls", "git status", "make", "vim a.c", "cd src")


def run(*words: object) -> Result:
    """Run ``anomaly`` with some words."""
    return CliRunner().invoke(cli.main, [str(word) for word in words])


def write(path: Path, user: str, begin: int, count: int) -> Path:
    """Write a log of one user's commands, a minute apart."""
    rows = [
        {
            "name": "pack_user_behavior_shell_history",
            "hostIdentifier": "ws1",
            "unixTime": 1_790_000_000 + 60 * number,
            "counter": 1 + number,
            "columns": {"command": WORDS[number * number % 5], "username": user},
            "action": "added",
        }
        for number in range(begin, begin + count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with ``models`` of alice and ``later.log``, 500 actions that she did later."""
    folder = tmp_path_factory.mktemp("place")
    log = write(folder / "log", "alice", 0, 700)
    write(folder / "later.log", "alice", 700, 500)
    trained = run("train", "--user", "alice", "-a", "ocsvm", "-l", log, "--models", folder / "models")
    assert trained.exit_code == 0, trained.output
    return folder


def test_the_words_of_the_options_are_the_programs() -> None:
    """What ``--help`` lists without loading the rooms is what the rooms have."""
    assert options.ALARM == records.ALARM
    assert options.PARTS == enrolment.PARTS


def test_evaluate_prints_a_sheet_or_a_row(place: Path) -> None:
    """For people a column a model, within 80 columns; for programs a line of JSON."""
    words = ("evaluate", "--user", "alice", "--own", place / "later.log", "--models", place / "models")
    found = run(*words)
    assert found.exit_code == 0, found.output
    lines = found.stdout.splitlines()
    assert lines[0].split() == ["figure", "OCSVM", "1"]
    assert max(map(len, lines)) <= 80
    assert json.loads(run(*words, "--format", "json").stdout)["own_blocks"] == 5


def test_evaluate_says_what_it_needs(place: Path) -> None:
    """Without a log to judge by it is a matter of the command line."""
    found = run("evaluate", "--user", "alice", "--models", place / "models")
    assert found.exit_code == 2
    assert found.stderr == "Error: Name what to judge by: --own LOG, --other LOG, or both.\n"


def test_what_was_learned_is_shown_and_taken_away(place: Path) -> None:
    """``drift`` tells what ``predict`` learned, ``rollback --learned`` undoes it, and the next run says so."""
    words = ("--models", place / "models")
    predict = ("predict", "--user", "alice", "-l", place / "later.log", *words, "--state", place / "state")
    assert run("models", "drift", *words).stderr == "Nothing has been learned since training.\n"
    assert run(*predict, "--no-follow").exit_code == 0
    (row,) = [json.loads(line) for line in run("models", "drift", *words, "--format", "json").stdout.splitlines()]
    assert (row["user"], row["version"], row["state"]) == ("alice", 1, "ready")
    assert row["learned"] + row["refused"] + row["capped"] > 0
    back = run("models", "rollback", "--user", "alice", "--learned", *words)
    told = "alice: model 1 is as it was trained; a running anomaly notices within seconds.\n"
    assert (back.exit_code, back.stderr) == (0, told)
    again = run("models", "rollback", "--user", "alice", "--learned", *words)
    assert again.stderr == "alice: nothing has been learned since training.\n"
    with (place / "later.log").open("a") as file:
        file.write((place / "later.log").read_text().splitlines()[0] + "\n")
    assert (
        "What was learned of 'alice' since training is gone; it is learned anew."
        in run(*predict, "--no-follow").stderr
    )


def test_without_adaptation_nothing_is_learned(place: Path, tmp_path: Path) -> None:
    """``--no-adapt`` leaves no file beside the model."""
    models = tmp_path / "models"
    trained = run("train", "--user", "alice", "-a", "ocsvm", "-l", place / "log", "--models", models)
    assert trained.exit_code == 0
    words = ("-l", place / "later.log", "--models", models, "--state", tmp_path / "state", "--no-follow")
    assert run("predict", "--user", "alice", *words, "--no-adapt").exit_code == 0
    assert [path.name for path in models.rglob("*.learned")] == []


def test_drift_and_rollback_of_nobody(place: Path) -> None:
    """A user without a model is met with what there is; two ways back at once are refused."""
    words = ("--models", place / "models")
    assert run("models", "drift", "--user", "alcie", *words).stderr == (
        f"Error: There is no model of 'alcie' in {place / 'models'}. Did you mean 'alice'?\n"
    )
    found = run("models", "rollback", "--user", "alice", "--to", "1", "--learned", *words)
    assert found.exit_code == 2
    assert "Give either --to or --learned." in found.stderr
