"""Files that people name, read within bounds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anomaly.bounded import Unread, read


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    """A file of exactly the limit is read; one of a byte more is not."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1024)
    assert read(path, 1024) == b"x" * 1024
    assert read(path, 1023) == Unread("it is larger than 0 KiB")


def test_a_link_is_followed_unless_told_otherwise(tmp_path: Path) -> None:
    """Configuration may be a link; state may not."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read(tmp_path / "link", 10) == b"x"
    assert isinstance(read(tmp_path / "link", 10, follow=False), Unread)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """Whatever is refused is closed."""
    os.mkfifo(tmp_path / "pipe")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        assert read(tmp_path, 10) == Unread("it is no regular file")
        assert read(tmp_path / "pipe", 10) == Unread("it is no regular file")
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_not_there_and_what_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are told apart, since their remedies differ; a name that cannot be one is no crash."""
    assert read(tmp_path / "none", 10) == Unread("there is no such file", missing=True)
    assert read(Path("\0"), 10) == Unread("it cannot be opened: embedded null byte")

    def forbidden(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("anomaly.bounded.os.open", forbidden)
    assert read(tmp_path / "none", 10) == Unread("it may not be read", forbidden=True)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/proc/self/fd"])
def test_a_device_is_not_read(device: str) -> None:
    """It has no end, or it answers for something else."""
    assert read(Path(device), 10) == Unread("it is no regular file")
