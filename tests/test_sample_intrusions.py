"""How well the simulated intrusions in data/ are found, through the commands."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from anomaly.cli import main
from anomaly.evaluation import auc, blocks

DATA = Path(__file__).parents[1] / "data"
USERS = ("alice", "bob", "carol")
LAST_DAYS = "2026-10-16"
"""The last three of the fourteen normal days begin here."""


class Record(NamedTuple):
    """What a test needs of a line of JSON."""

    user: str
    score: float
    risk: float
    foreign: bool


def command(*words: object) -> str:
    """Run ``anomaly`` and return its output."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.stdout


def train(algorithm: str, models: Path, *more: str) -> None:
    """Learn the three users from the normal log."""
    for user in USERS:
        command(
            "train",
            "--user",
            user,
            "-a",
            algorithm,
            "-l",
            DATA / "osqueryd.results.log.gz",
            "--models",
            models,
            *more,
        )


def predict(log: str, models: Path, state: Path) -> list[Record]:
    """Score a log from its start, and read off what was said of the three users."""
    words = ("--all-users", "--no-follow", "--from", "start", "--format", "json")
    out = command("predict", *words, "-l", DATA / log, "--models", models, "--state", state)
    labels = DATA / log.replace(".results.log.gz", ".labels.csv")
    foreign = set()
    if labels.exists():
        with labels.open(newline="") as file:
            foreign = {int(row["line"]) for row in csv.DictReader(file)}
    records = map(json.loads, out.splitlines())
    # Each line of these logs is one action, so that records are counted as the labels count lines.
    return [
        Record(r["user"], r["score"], r["risk"], number in foreign)
        for number, r in enumerate(records, 1)
        if r["user"] in USERS and r["score"] is not None
    ]


@pytest.fixture(scope="module", params=["OCSVM", "LSTM"])
def algorithm(request: pytest.FixtureRequest) -> str:
    """Each algorithm in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def models(algorithm: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of the whole two weeks."""
    folder = tmp_path_factory.mktemp(algorithm) / "models"
    train(algorithm, folder)
    return folder


@pytest.mark.parametrize(("intrusion", "victim"), [("masquerade", "alice"), ("attack", "carol")])
def test_the_stranger_stands_out(intrusion: str, victim: str, models: Path, tmp_path: Path) -> None:
    """AUC of ``risk`` over blocks of 100 actions is .95 or more: the stranger's against everybody's own.

    A block is the stranger's where at least half of its actions are, and own where none is.
    """
    records = predict(f"{intrusion}.results.log.gz", models, tmp_path)
    own, foreign = [], []
    for user in USERS:
        mine = [record for record in records if record.user == user]
        for block in blocks([record.risk for record in mine], [record.foreign for record in mine]):
            if block.share >= 0.5:
                assert user == victim
                foreign.append(block.risk)
            elif not block.share:
                own.append(block.risk)
    assert len(foreign) >= 3
    assert len(own) >= 40
    assert auc(own, foreign) >= 0.95


def test_the_users_own_last_days_are_quiet(algorithm: str, tmp_path: Path) -> None:
    """Learned without them, a user's own last days are at the 1-in-1,000 score less than 3 times in 1,000."""
    models = tmp_path / "models"
    train(algorithm, models, "--until", LAST_DAYS)
    begin = datetime.fromisoformat(LAST_DAYS).replace(tzinfo=UTC)
    words = ("--all-users", "--no-follow", "--from", "start", "--format", "json")
    out = command(
        "predict", *words, "-l", DATA / "osqueryd.results.log.gz", "--models", models, "--state", tmp_path / "s"
    )
    last = [r for r in map(json.loads, out.splitlines()) if r["score"] is not None and r["user"] in USERS]
    last = [r for r in last if datetime.fromisoformat(r["time"]) >= begin]
    assert len(last) >= 3000
    for figure in ("score", "risk"):
        assert sum(r[figure] >= 30 for r in last) / len(last) < 0.003
