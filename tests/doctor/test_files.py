"""Names in directories of others."""

from __future__ import annotations

from pathlib import Path

from anomaly.doctor.files import ENTRIES, existing, names


def test_names_are_bounded(tmp_path: Path) -> None:
    """Of a directory with very many files only some are looked at; of none, none."""
    assert names(tmp_path / "none") == []
    for number in range(ENTRIES + 5):
        (tmp_path / str(number)).touch()
    assert len(names(tmp_path)) == ENTRIES


def test_the_nearest_that_is_there(tmp_path: Path) -> None:
    """A path that is still to be made is looked at where it will be."""
    assert existing(tmp_path / "a/b/c") == tmp_path
    assert existing(tmp_path) == tmp_path
