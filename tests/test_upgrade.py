"""Files of an earlier version: its model is refused, and its checkpoint is gone on from."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from anomaly.cli import main
from anomaly.errors import ModelRefused
from anomaly.sources.checkpoint import checkpoint_name

WRITTEN = Path(__file__).parent / "upgrade" / "before-alerts.tar.gz"
"""By commit 58c6251: alice's model of 900 simulated actions (BOTH), the state after 1,100, and a log of 1,300."""


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """Unpack it; names that hold where the log was say where it is now."""
    with tarfile.open(WRITTEN) as archive:
        archive.extractall(tmp_path, filter="data")
    (checkpoint,) = (tmp_path / "state").glob("*.json")
    name = checkpoint_name(tmp_path / "osqueryd.results.log", "user alice")
    for path in [checkpoint, *(tmp_path / "models" / "alice").glob(f"*{checkpoint.stem}*")]:
        path.rename(path.with_name(path.name.replace(checkpoint.stem, name)))
    return tmp_path


def run(before: Path, *words: str) -> Result:
    """Run ``anomaly`` on the old log and models."""
    places = ["-l", before / "osqueryd.results.log", "--models", before / "models"]
    return CliRunner().invoke(main, [words[0], "--user", "alice", *words[1:], *map(str, places)])


def predict(before: Path) -> Result:
    """Score the old log from the old checkpoint."""
    return run(before, "predict", "--no-follow", "--format", "json", "--state", str(before / "state"))


def test_old_model_is_refused_with_the_command_that_makes_a_new_one(before: Path) -> None:
    """The reason is named, and what to type; neither the model nor the checkpoint is touched."""
    files = {path: path.read_bytes() for path in before.rglob("*") if path.is_file()}
    result = predict(before)
    assert result.exit_code == ModelRefused.exit_code
    path, models = before / "models" / "alice" / "1.safetensors", before / "models"
    assert result.stderr == (
        f"Error: Model {path} is refused: its schema is 2, this program reads 3."
        f" Make a new one with: anomaly train --user alice --models {models} -l LOG\n"
    )
    assert {path: path.read_bytes() for path in files} == files


def test_old_checkpoint_after_training_again_gives_its_place_in_the_log(before: Path) -> None:
    """With a new model the log is read on from where the earlier version stopped: 200 actions are left."""
    trained = run(before, "train", "-a", "OCSVM")
    assert trained.exit_code == 0, trained.output
    result = predict(before)
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(found) == 200
    assert all(one["model"] == {"algorithm": "OCSVM", "version": 2, "state": "ready"} for one in found)
    assert predict(before).stdout == ""
