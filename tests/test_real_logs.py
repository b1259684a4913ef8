"""The main job on logs that real machines wrote, through the commands; skipped where they are not at hand."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from anomaly.alerts import QUIET
from anomaly.cli import main
from anomaly.records import ALARM

SHARED = Path(__file__).parents[2] / "shared" / "data"
THESIS = SHARED / "thesis" / "user1.log.gz"
REAL = sorted((SHARED / "osquery-real").glob("*.log"))

pytestmark = pytest.mark.skipif(not THESIS.exists(), reason="the published logs are not beside this checkout")


def run(*words: object) -> Result:
    """Run ``anomaly`` and make sure that it ends well."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module", params=["OCSVM", "LSTM"])
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model of 44,769 actions that one real user did in June 2017."""
    folder = tmp_path_factory.mktemp("thesis") / str(request.param)
    result = run("train", "-l", THESIS, "--user", "user1", "-a", request.param, "--models", folder)
    assert "from 44,769 actions, 2017-06-10 to 2017-06-11" in result.stderr
    return folder


def predict(log: Path, models: Path, state: Path, *who: str) -> list[dict[str, object]]:
    """Score a whole log."""
    words = ("--no-follow", "--from", "start", "--format", "json", "-l", log, "--models", models, "--state", state)
    return [json.loads(line) for line in run("predict", *who, *words).stdout.splitlines()]


def test_predict_log_it_was_learned_from_hardly_alarms(models: Path, tmp_path: Path) -> None:
    """Every action has a score; few of the user's own windows alarm, in few bursts: one in 2,000 actions."""
    records = predict(THESIS, models, tmp_path, "--user", "user1")
    assert len(records) == 44_769
    risks = [float(str(record["risk"])) for record in records]
    assert sum(risk >= 30 for risk in risks) / len(risks) < 0.03
    alarms = [number for number, risk in enumerate(risks) if risk >= ALARM]
    assert sum(later - before > QUIET for before, later in pairwise([-1_000, *alarms])) <= 44_769 / 2_000


@pytest.mark.parametrize("log", REAL, ids=lambda path: path.stem)
def test_other_real_logs_are_scored(log: Path, models: Path, tmp_path: Path) -> None:
    """Every action of another machine's log gives a record; a log that names nobody is claimed by --user."""
    records = predict(log, models, tmp_path / "all", "--all-users")
    assert len(records) == len(log.read_bytes().splitlines())
    assert all(record["score"] is None for record in records)
    mine = predict(log, models, tmp_path / "one", "--user", "user1")
    if "thesis" in log.name:
        assert len(mine) > 5000
        assert all(record["user"] == "user1" and record["score"] is not None for record in mine)
    else:
        assert mine == []
