"""Files that people review: believed only where they are ours, and replaced whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anomaly import ledger
from anomaly.errors import StateError, StateRefused


def test_what_is_replaced_is_read(tmp_path: Path) -> None:
    """A file is missing, or whole; its signature tells one content from another."""
    path = tmp_path / "a.toml"
    assert ledger.read(path) == b""
    assert ledger.signature(path) is None
    seen = set()
    for content in (b"a = 1\n", b"a = 2\n"):
        with ledger.held(path):
            ledger.replace(path, content)
        assert ledger.read(path) == content
        seen.add(ledger.signature(path))
    assert len(seen) == 2
    assert {one.name for one in tmp_path.iterdir()} == {"a.toml", "a.toml.lock"}


def test_what_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is such a file read, nor made: the old one stands."""
    path = tmp_path / "a.toml"
    ledger.replace(path, b"x" * 100)
    with pytest.raises(StateRefused, match=r"larger than it can be \(99 bytes\)"):
        ledger.read(path, 99)
    monkeypatch.setattr(ledger, "MAX_BYTES", 100)
    with pytest.raises(StateError, match="would become larger than it can be"):
        ledger.replace(path, b"y" * 101)
    assert ledger.read(path) == b"x" * 100


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """What is no regular file is refused before anything is read from it."""
    path = tmp_path / "a.toml"
    os.mkfifo(path)
    with pytest.raises(StateRefused, match="not a regular file"):
        ledger.read(path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link may be turned by whoever made it, to a file that is ours too."""
    (tmp_path / "real").write_text("")
    path = tmp_path / "a.toml"
    path.symlink_to(tmp_path / "real")
    with pytest.raises(StateRefused, match="symbolic link"):
        ledger.read(path)


def test_a_directory_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    """The directory is named."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="file"), ledger.held(tmp_path / "file" / "a.toml"):
        pass
    with pytest.raises(StateError, match="cannot be used: No such file or directory"):
        ledger.replace(tmp_path / "none" / "a.toml", b"")
