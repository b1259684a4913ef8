"""The picture of an evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from anomaly.assessment import Outcome
from anomaly.detectors.interface import Algorithm
from anomaly.errors import ConfigError
from anomaly.evaluation import Block, figures
from anomaly.plot import write_plot


def outcome(*blocks: Block) -> Outcome:
    """Make an outcome."""
    return Outcome(Algorithm.BOTH, 1, figures(blocks, 25.0), blocks, 1, 1, 10.0)


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    """It holds plotly itself and loads nothing from elsewhere; a hostile name stays text."""
    path = tmp_path / "plot.html"
    found = outcome(Block(3.0, 0.0), Block(40.0, 1.0))
    write_plot(path, "alice</script><script>alert(1)</script>", [found], 25.0)
    page = path.read_text("utf-8")
    assert "AUC 1.000" in page
    assert "<script>alert(1)" not in page
    assert 'src="http' not in page


def test_one_kind_alone_is_drawn_too(tmp_path: Path) -> None:
    """Without blocks of somebody else there is no curve, and the own blocks are drawn."""
    path = tmp_path / "plot.html"
    write_plot(path, "alice", [outcome(Block(3.0, 0.0))], 25.0)
    assert "BOTH, own" in path.read_text("utf-8")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The error names the place; what is no page of ours, such as the log itself, is not overwritten."""
    log = tmp_path / "victim.log"
    log.write_text("precious")
    with pytest.raises(ConfigError, match=r"ends in \.html"):
        write_plot(log, "alice", [outcome(Block(3.0, 0.0))], 25.0)
    assert log.read_text() == "precious"
    with pytest.raises(ConfigError, match="cannot be written"):
        write_plot(tmp_path / "missing" / "plot.html", "alice", [outcome(Block(3.0, 0.0))], 25.0)
