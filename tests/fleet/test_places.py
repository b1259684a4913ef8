"""Directories that Spark writes are for their owner alone, or refused."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from anomaly.errors import StateError, StateRefused
from anomaly.fleet.places import HadoopPlace, LocalPlace, check_private, is_mounted, local_folder, place

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_what_is_missing_is_made_for_its_owner(tmp_path: Path) -> None:
    """Whatever the umask, and also what is above it."""
    check_private(tmp_path / "a" / "b", "--checkpoint")
    LocalPlace(tmp_path / "c" / "d").write("x", b"1")
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b", "c", "c/d", "c/d/x")]
    assert modes == [0o700, 0o700, 0o700, 0o700, 0o600]


@pytest.mark.parametrize("name", [".", "state", "state/0", "state/0/1.delta"])
def test_what_others_may_write_is_refused(tmp_path: Path, name: str) -> None:
    """The directory and all that is in it, however deep, with the command that mends it."""
    (tmp_path / "state" / "0").mkdir(parents=True)
    (tmp_path / "state" / "0" / "1.delta").touch()
    check_private(tmp_path, "--checkpoint")
    (tmp_path / name).chmod(0o777)
    words = f"^{tmp_path / name} is not to be trusted: .* chmod -R go-w {tmp_path}$"
    with pytest.raises(StateRefused, match=words):
        check_private(tmp_path, "--checkpoint")


@pytest.mark.parametrize("target", ["folder", "file", "nothing"])
def test_links_are_refused(tmp_path: Path, target: str) -> None:
    """In a checkpoint, and in its place; wherever they lead."""
    inside = tmp_path / "inside"
    (inside / "folder").mkdir(parents=True, mode=0o700)
    (inside / "file").touch()
    (inside / "link").symlink_to(target)
    with pytest.raises(StateRefused, match=r"link is a symbolic link, .* give another --checkpoint\."):
        check_private(inside, "--checkpoint")
    (tmp_path / "other").symlink_to(inside)
    with pytest.raises(StateRefused, match="name the real place"):
        check_private(tmp_path / "other", "--checkpoint")


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    """A file where a directory should be is an error with what to do."""
    (tmp_path / "file").touch()
    for where in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StateError, match=r"cannot be used: .* name another directory\."):
            check_private(where, "--checkpoint")
        with pytest.raises(StateError, match="cannot be used"):
            LocalPlace(where)


def test_files_of_a_local_place(tmp_path: Path) -> None:
    """What was written is read; a link is not, nor what others may write."""
    here = LocalPlace(tmp_path)
    assert (here.read("x"), here.holds("x")) == (None, False)
    here.write("x", b"1")
    assert (here.read("x"), here.holds("x")) == (b"1", True)
    assert os.listdir(tmp_path) == ["x"]
    (tmp_path / "y").symlink_to("x")
    assert here.holds("y")
    with pytest.raises(StateRefused, match="y is not to be trusted"):
        here.read("y")
    (tmp_path / "x").chmod(0o666)
    with pytest.raises(StateRefused, match="others than root and you may write it"):
        here.read("x")


def test_files_through_hadoop(spark: SparkSession, tmp_path: Path) -> None:
    """The same where only Hadoop can."""
    there = HadoopPlace(str(tmp_path), spark)
    assert (there.read("x"), there.holds("x")) == (None, False)
    there.write("x", b"1")
    assert (there.read("x"), there.holds("x")) == (b"1", True)
    (tmp_path / "folder").mkdir()
    assert there.holds("folder")
    with pytest.raises(StateError, match="cannot be read"):
        there.read("folder")
    with pytest.raises(StateError, match="nosuch"):
        HadoopPlace("nosuch://bucket/x", spark)


def test_where_an_address_is(spark: SparkSession, tmp_path: Path) -> None:
    """A path and a file: address are this machine's; another file system's are not, nor a server's."""
    assert local_folder(f"{tmp_path}/a/../b/", spark) == tmp_path / "b"
    assert local_folder(f"file:{tmp_path}", spark) == local_folder(f"file://{tmp_path}", spark) == tmp_path
    assert local_folder("s3a://bucket/x", spark) is None
    connected = cast("SparkSession", SimpleNamespace())
    assert local_folder(str(tmp_path), connected) is None
    assert place("s3a://bucket/x", connected) is None
    assert is_mounted(f"file:{tmp_path}", connected)
    assert not is_mounted(str(tmp_path), connected)
    assert isinstance(place(str(tmp_path), spark), LocalPlace)
