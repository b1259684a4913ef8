"""Where the page is put."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anomaly.errors import AnomalyError, ConfigError
from anomaly.report.writing import check, write


def test_only_the_owner_may_read_it_and_nothing_else_is_left(tmp_path: Path) -> None:
    """The mode is 0600 whatever the umask, and also where a page with another mode was there."""
    page = tmp_path / "a.html"
    page.write_text("old")
    page.chmod(0o644)
    before = os.umask(0)
    try:
        write(page, b"new")
    finally:
        os.umask(before)
    assert page.read_bytes() == b"new"
    assert page.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["a.html"]


def test_what_is_no_place_for_a_page_is_refused(tmp_path: Path) -> None:
    """The log itself, a directory, a link, a device and a missing directory: each says what to do."""
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "target.html").write_text("theirs")
    (tmp_path / "link.html").symlink_to("target.html")
    (tmp_path / "nowhere.html").symlink_to("missing.html")
    os.mkfifo(tmp_path / "pipe.html")
    expected = {
        "results.log": "would be overwritten by an HTML page; give a name that ends in .html.",
        "folder.html": "is no regular file; give another name with --out.",
        "pipe.html": "is no regular file; give another name with --out.",
        "link.html": "is a symbolic link, and the page is not written through it; give another name.",
        "nowhere.html": "is a symbolic link, and the page is not written through it; give another name.",
    }
    for name, words in expected.items():
        with pytest.raises(ConfigError) as told:
            write(tmp_path / name, b"page")
        assert str(told.value) == f"{tmp_path / name} {words}"
    with pytest.raises(ConfigError, match=r"There is no directory .*no\. Make it with: mkdir -p "):
        check(tmp_path / "no" / "a.html")
    assert (tmp_path / "target.html").read_text() == "theirs"


def test_somebody_elses_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that belongs to another user is not replaced."""
    page = tmp_path / "a.html"
    page.write_text("theirs")
    monkeypatch.setattr("anomaly.report.writing.os.geteuid", lambda: page.stat().st_uid + 1)
    with pytest.raises(ConfigError, match="belongs to somebody else"):
        write(page, b"mine")
    assert page.read_text() == "theirs"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_page_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Where the disk is full the old page stays, and no half of a new one."""
    page = tmp_path / "a.html"
    page.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"anomaly.report.writing.os.{step}", full)
    with pytest.raises(AnomalyError) as told:
        write(page, b"new")
    assert told.value.exit_code == 1
    words = "cannot be written: No space left on device. Make room, or name another place."
    assert str(told.value) == f"{page} {words}"
    assert page.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.html"]


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    """A NUL or 300 characters in the name are said, not thrown."""
    for name in ("a\0.html", "x" * 300 + ".html"):
        with pytest.raises(ConfigError, match="cannot be written"):
            check(tmp_path / name)
