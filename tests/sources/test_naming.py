"""Names of archives: which are a log's, and which is older."""

from __future__ import annotations

from pathlib import Path

import pytest

from anomaly.sources.naming import archives


def found(folder: Path, *names: str, log: str = "X.log", olddir: Path | None = None) -> list[str]:
    """Make files and return which are archives, in order, as paths within the folder."""
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    return [str(path.relative_to(folder)) for path in archives(folder / log, olddir)]


@pytest.mark.parametrize(
    "names",
    [
        ("X.log.10.zst", "X.log.9.gz", "X.log.2.xz", "X.log.1"),
        ("X.log-20261031", "X.log-20261101-1761955200.gz", "X.log-20261101-1761958800.bz2", "X.log-20261102"),
        ("X.log-20261101-9", "X.log-20261101-10", "X.log-20261101-100"),
        ("X.log-2026-10-31", "X.log-2026-11-01-09-30", "X.log-2026-11-01-10-05"),
        ("X.log.20261031", "X.log.20261101"),
        ("X.log-2026110109", "X.log-2026110110", "X.log-20261102T101500", "X.log-20261102_111500"),
        ("X.2.log.gz", "X.1.log"),
        ("X-20261031.log", "X-20261101.log.zst"),
        ("X.log-1761955200", "X.log-1761958800"),
    ],
)
def test_names_come_oldest_first(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Numbers descend and dates ascend, in each of the forms that osquery, logrotate and newsyslog write."""
    assert found(tmp_path, *sorted(names, reverse=True), "X.log") == list(names)


def test_what_is_no_archive_is_left_alone(tmp_path: Path) -> None:
    """Backups, other logs and half-made names are none."""
    others = ("X.log.bak", "X.log~", "X.log.1.tmp", "X.log.gz", "XX.log.1", "Y.log.1", "X.logs.1", "X.log.1.1")
    assert found(tmp_path, "X.log", *others) == []


def test_a_directory_of_archives_belongs_to_the_chain(tmp_path: Path) -> None:
    """What lies in olddir is sorted among what lies beside the log."""
    names = ("old/X.log.3.gz", "X.log.2", "old/X.log.1", "old/Y.log.1")
    assert found(tmp_path, *names, olddir=tmp_path / "old") == ["old/X.log.3.gz", "X.log.2", "old/X.log.1"]
    assert found(tmp_path, olddir=tmp_path / "none") == ["X.log.2"]


def test_a_link_has_predecessors(tmp_path: Path) -> None:
    """Files named like its target, but for the numbers, were probably its targets."""
    (tmp_path / "X.log").symlink_to("X.log.gen10")
    names = ("X.log.gen2.gz", "X.log.gen9", "X.log.gen10", "X.log.gens", "X.log.gen1a")
    assert found(tmp_path, *names) == ["X.log.gen2.gz", "X.log.gen9", "X.log.gen10"]


def test_a_link_to_one_of_many_logs_has_none(tmp_path: Path) -> None:
    """``current`` may point to one host's log among those of others."""
    (tmp_path / "current").symlink_to("host2.log")
    assert found(tmp_path, "host1.log", "host2.log", log="current") == []
