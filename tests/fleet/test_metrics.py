from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("pyspark", reason="without the extra: pip install '.[fleet]'")

from anomaly.fleet.metrics import batch_row


def test_a_batch_is_told_as_one_row() -> None:
    """A batch's row says what was scored, what was skipped and why, and how fast that was; nothing is None."""
    observed: dict[str, dict[str, Any]] = {
        "parsed": {"actions": 50, "not_json": 2, "empty": None, "files": ["missing_file file:/in/a"]},
        "scored": {"actions": 50, "shown": 3, "late": None, "refusals": ["bob: cut"]},
    }
    row = batch_row(4, "2026-11-02T02:13:44.000Z", 2000, observed, 9)
    assert row == {
        "batch": 4,
        "time": "2026-11-02T02:13:44.000Z",
        "seconds": 2.0,
        "rate": 25.0,
        "actions": 50,
        "shown": 3,
        "late": 0,
        "skipped": {"not_json": 2},
        "files": ["missing_file file:/in/a"],
        "refusals": ["bob: cut"],
        "state": 9,
    }


def test_a_batch_without_figures_is_told_too() -> None:
    """A batch that counted nothing and took no time is a row as well."""
    assert batch_row(0, "", 0, {}, 0)["rate"] == 0.0
