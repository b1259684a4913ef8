"""No link among the logs leads Spark anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anomaly.errors import LogMissing, LogUnreadable
from anomaly.fleet.links import Watch, directory_link


def test_links_to_directories_are_found(tmp_path: Path) -> None:
    """At any depth, also one that leads to where it is; two of those would never end."""
    (tmp_path / "host" / "deep").mkdir(parents=True)
    Watch(tmp_path)
    (tmp_path / "host" / "deep" / "a").symlink_to(".")
    with pytest.raises(LogUnreadable, match=r"deep/a is a link to a directory, .* rm .*/host/deep/a$"):
        Watch(tmp_path)


def test_what_spark_passes_over_is_passed_over(tmp_path: Path) -> None:
    """Hidden names, links to files and to nothing stop no query, nor does a directory that may not be read."""
    (tmp_path / ".hidden").symlink_to("/")
    (tmp_path / "_hidden").symlink_to("/")
    (tmp_path / "a.log").touch()
    (tmp_path / "b.log").symlink_to("a.log")
    (tmp_path / "nothing").symlink_to("gone")
    (tmp_path / "itself").symlink_to("itself")
    (tmp_path / "closed").mkdir(mode=0)
    assert directory_link(tmp_path) is None
    assert directory_link(tmp_path / "gone") is None


def test_the_directory_itself_may_be_a_link(tmp_path: Path) -> None:
    """Who names it knows where it leads."""
    (tmp_path / "real").mkdir()
    (tmp_path / "in").symlink_to("real")
    Watch(tmp_path / "in")


def test_it_is_looked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From time to time, and not each time that it could be."""
    watch = Watch(tmp_path)
    (tmp_path / "a").symlink_to(".")
    watch.look()
    monkeypatch.setattr("anomaly.fleet.links.time.monotonic", lambda: 1e9)
    with pytest.raises(LogUnreadable, match="is a link"):
        watch.look()
    Watch(None).look()


def test_without_a_directory_there_are_no_logs(tmp_path: Path) -> None:
    """What is not there, is no directory or may not be read is said before Spark does."""
    with pytest.raises(LogMissing, match=r"gone is not there\. Make it, or name another directory with --from\.$"):
        Watch(tmp_path / "gone")
    with pytest.raises(LogMissing, match="is not there"):
        Watch(Path("nul\0"))
    (tmp_path / "file").touch()
    with pytest.raises(LogUnreadable, match="file cannot be read as a directory of logs: Not a directory"):
        Watch(tmp_path / "file")
    if os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0)
        with pytest.raises(LogUnreadable, match="Permission denied"):
            Watch(tmp_path / "closed")
