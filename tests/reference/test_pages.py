"""The pages in docs/ are what the commands say today."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from anomaly.reference.pages import AGAIN, pages

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["cli.md", "anomaly.1"])
def test_the_pages_are_up_to_date(name: str) -> None:
    """A command that changes changes its page in the same commit."""
    assert (DOCS / name).read_text("utf-8") == pages()[name], f"docs/{name} is out of date; write it anew: {AGAIN}"


def test_the_command_writes_every_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that the failure above names."""
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr("anomaly.config.checkout", lambda: tmp_path)
    runpy.run_module(AGAIN.removeprefix("python -m "), run_name="__main__")
    assert {path.name: path.read_text("utf-8") for path in (tmp_path / "docs").iterdir()} == pages()
