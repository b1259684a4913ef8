"""What the version before alerts wrote is gone on from: its model, its checkpoint, and what it had learned."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from anomaly.cli import main
from anomaly.sources.checkpoint import checkpoint_name

WRITTEN = Path(__file__).parent / "upgrade" / "before-alerts.tar.gz"
"""By commit 58c6251: alice's model of 900 simulated actions (BOTH), the state after 1,100, a log of 1,300, and
what that version made of the last 200."""


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


def test_scores_go_on_as_if_nothing_had_happened(before: Path) -> None:
    """The next 200 actions have the scores that the version before gave them, from where it stopped."""
    places = ["-l", before / "osqueryd.results.log", "--models", before / "models", "--state", before / "state"]
    words = ["predict", "--user", "alice", *map(str, places), "--no-follow", "--format", "json"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    expected = json.loads((before / "expected.json").read_text())
    assert len(found) == len(expected) == 200
    for record, figures in zip(found, expected, strict=True):
        assert [record["score"], record["risk"], record["surprise"]] == pytest.approx(figures, abs=2e-4)
    assert "is learned anew" not in result.stderr
