from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from backports import zstd

from anomaly.sources import archive
from anomaly.sources.archive import chain, locate, survey
from anomaly.sources.interface import Position


def make(folder: Path, *names: str) -> Path:
    """Make files whose first lines are their names; returns the path of the log X."""
    for name in names:
        data = name.encode() + b"\n"
        if name.endswith(".gz"):
            data = gzip.compress(data)
        elif name.endswith(".zst"):
            data = zstd.compress(data)
        (folder / name).write_bytes(data)
    return folder / "X"


def names(log: Path) -> list[str]:
    """Return the names of the chain."""
    return [path.name for path in chain(log)]


def test_archives_come_oldest_first_and_then_the_log(tmp_path: Path) -> None:
    """A higher number is older, whatever the suffix and however many digits."""
    log = make(tmp_path, "X", "X.1", "X.2.gz", "X.3.zst", "X.10.zst", "X.9")
    assert names(log) == ["X.10.zst", "X.9", "X.3.zst", "X.2.gz", "X.1", "X"]


def test_dates_ascend(tmp_path: Path) -> None:
    """Logrotate's dateext, with and without the seconds, is in the order of time."""
    log = make(tmp_path, "X-20261102.gz", "X-20261101", "X-20261101-1761955200.zst", "X-2026110203", "X")
    assert names(log) == [
        "X-20261101",
        "X-20261101-1761955200.zst",
        "X-20261102.gz",
        "X-2026110203",
        "X",
    ]


def test_other_siblings_are_not_archives(tmp_path: Path) -> None:
    """Backups, swap files, other logs and directories are left alone."""
    log = make(tmp_path, "X", "X.bak", "X.swp", "X.1.bak", "Xy.1", "aX.1", "X-2026", "X.gz", "X.1~", "X.٣")
    (tmp_path / "X.5").mkdir()
    os.mkfifo(tmp_path / "X.6")
    assert names(log) == ["X"]


def test_a_chain_may_be_incomplete(tmp_path: Path) -> None:
    """Archives without a log, a log without archives, neither, and no directory are all chains."""
    assert chain(tmp_path / "X") == []
    assert chain(tmp_path / "none" / "X") == []
    assert names(make(tmp_path, "X.1")) == ["X.1"]


def test_a_compressed_log_is_alone(tmp_path: Path) -> None:
    """A compressed file given by name is a log on its own."""
    make(tmp_path, "X.gz", "X.gz.1", "X.1")
    assert names(tmp_path / "X.gz") == ["X.gz"]


def test_an_archive_being_compressed_is_listed_once(tmp_path: Path) -> None:
    """While X.2 becomes X.2.gz both exist; the plain one is whole."""
    log = make(tmp_path, "X", "X.2")
    (tmp_path / "X.2.gz").write_bytes(b"")
    assert names(log) == ["X.2", "X"]
    (tmp_path / "X.2.gz").write_bytes(gzip.compress(b"X.2\n"))
    assert names(log) == ["X.2", "X"]


def test_the_same_content_under_two_numbers_is_listed_once(tmp_path: Path) -> None:
    """Osquery compresses X.1 to X.2.zst and keeps X.1 until the log is renamed over it."""
    log = make(tmp_path, "X", "X.1")
    (tmp_path / "X.2.zst").write_bytes(zstd.compress(b"X.1\n"))
    assert names(log) == ["X.1", "X"]


def test_a_log_being_copied_is_listed_once(tmp_path: Path) -> None:
    """Before copytruncate truncates, X.1 is the beginning of X."""
    log = make(tmp_path, "X.1")
    log.write_bytes(b"X.1\nmore\n")
    assert names(log) == ["X"]


def test_a_new_log_that_begins_like_an_archive_stays(tmp_path: Path) -> None:
    """A shorter log is no copy of the archive before it."""
    log = make(tmp_path, "X")
    (tmp_path / "X.1").write_bytes(b"X\nmore\n")
    assert names(log) == ["X.1", "X"]


def test_files_that_differ_after_the_first_line_differ(tmp_path: Path) -> None:
    """Two archives that both begin with a blank line are both read."""
    log = make(tmp_path, "X")
    (tmp_path / "X.2").write_bytes(b"\none\n")
    (tmp_path / "X.1").write_bytes(b"\ntwo\n")
    assert names(log) == ["X.2", "X.1", "X"]


def test_a_rotation_during_the_look_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are those of one moment, even when they are renamed while they are opened."""
    log = make(tmp_path, "X", "X.1")
    examine = archive._examine
    calls: list[Path] = []

    def rotate_once(path: Path, status: os.stat_result) -> archive.Member | None:
        if not calls:
            (tmp_path / "X.1").rename(tmp_path / "X.2")
            log.rename(tmp_path / "X.1")
            log.write_bytes(b"new\n")
        calls.append(path)
        return examine(path, status)

    monkeypatch.setattr(archive, "_examine", rotate_once)
    assert names(log) == ["X.2", "X.1", "X"]


def test_a_position_is_found_by_fingerprint(tmp_path: Path) -> None:
    """A file that was renamed and compressed is still the same file."""
    log = make(tmp_path, "X", "X.1")
    old = survey(log)[1]
    log.unlink()
    (tmp_path / "X.7.zst").write_bytes(zstd.compress(b"X\n"))
    assert locate(survey(log), Position(old.fingerprint, 1, old.device, old.inode)) == 0
    assert locate(survey(log), Position("0" * 16, 1, old.device, old.inode)) is None


def test_device_and_inode_decide_among_equals(tmp_path: Path) -> None:
    """Two files with one first line are told apart by their inode, else the older one counts."""
    log = make(tmp_path, "X")
    (tmp_path / "X.2").write_bytes(b"X\nmore, and longer\n")
    older, newer = survey(log)
    assert older.fingerprint == newer.fingerprint
    assert locate([older, newer], Position(newer.fingerprint, 0, newer.device, newer.inode)) == 1
    assert locate([older, newer], Position(newer.fingerprint, 0, 0, 0)) == 0


def test_a_position_in_a_file_without_a_line_is_found_by_inode(tmp_path: Path) -> None:
    """An empty fingerprint equals no other one."""
    log = make(tmp_path, "X.1")
    log.touch()
    archived, live = survey(log)
    assert locate([archived, live], Position("", 0, live.device, live.inode)) == 1
    assert locate([archived, live], Position()) is None
