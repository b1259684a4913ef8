"""Tests of files written in one step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from anomaly.atomic import replace


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    """Give a directory, opened."""
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("lasting", [True, False])
def test_the_content_is_replaced_for_the_owner_alone(tmp_path: Path, folder: int, lasting: bool) -> None:  # noqa: FBT001
    """The new content stands under the name, private, and nothing is left beside it."""
    for data in (b"old", b"new"):
        replace(folder, "x", data, temporary=".x", lasting=lasting)
    assert (tmp_path / "x").read_bytes() == b"new"
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["x"]


def test_what_was_left_or_put_under_the_temporary_name_goes(tmp_path: Path, folder: int) -> None:
    """A link under the temporary name is taken away and not followed."""
    (tmp_path / "aim").write_bytes(b"mine")
    (tmp_path / ".x").symlink_to(tmp_path / "aim")
    replace(folder, "x", b"new", temporary=".x", lasting=False)
    assert (tmp_path / "aim").read_bytes() == b"mine"
    assert not (tmp_path / "x").is_symlink()


def test_it_waits_for_the_disk_where_that_is_asked(folder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has to last is forced to the disk before it is renamed."""
    order: list[str] = []
    rename = os.replace
    monkeypatch.setattr(os, "fsync", lambda _: order.append("fsync"))

    def noted(one: str, other: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        order.append("replace")
        rename(one, other, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "replace", noted)
    replace(folder, "x", b"1", temporary=".x", lasting=True)
    replace(folder, "x", b"2", temporary=".x", lasting=False)
    assert order == ["fsync", "replace", "replace"]


def test_a_failure_leaves_the_old(tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written is an OSError, and the old content stays, alone."""
    replace(folder, "x", b"old", temporary=".x", lasting=True)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace(folder, "x", b"new", temporary=".x", lasting=True)
    assert (tmp_path / "x").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]
