"""Files held open while they wait: given away when they are deleted, and closed when they are not needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from anomaly.sources import held
from anomaly.sources.archive import survey
from anomaly.sources.held import Held


@pytest.fixture
def waiting() -> Iterator[Held]:
    """Give an empty one, closed by the test's end."""
    made = Held()
    yield made
    made.close()


def hold(waiting: Held, log: Path, content: bytes) -> os.stat_result:
    """Make the log anew, and hold it."""
    log.unlink(missing_ok=True)
    log.write_bytes(content)
    status = log.stat()
    waiting.hold(log, status.st_dev, status.st_ino)
    return status


def test_what_was_deleted_comes_in_order(waiting: Held, tmp_path: Path) -> None:
    """The oldest first, and none that is still there or was empty."""
    log = tmp_path / "X"
    for content in (b"one\n", b"", b"two\n", b"three\n"):
        hold(waiting, log, content)
    found = []
    while (file := waiting.next_deleted(survey(log))) is not None:
        with file:
            found.append(file.read())
    assert found == [b"one\n", b"two\n"]
    assert waiting


def test_what_lies_there_compressed_is_not_given_away(waiting: Held, tmp_path: Path) -> None:
    """The archive will be read; the file would be read twice."""
    log = tmp_path / "X"
    hold(waiting, log, b"one\n")
    (tmp_path / "X.1").write_bytes(b"one\n")
    log.unlink()
    assert waiting.next_deleted(survey(log)) is None
    assert not waiting


def test_a_file_is_held_once(waiting: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is seen; and there is an end to how many are."""
    monkeypatch.setattr(held, "MOST", 2)
    log = tmp_path / "X"
    status = hold(waiting, log, b"one\n")
    waiting.hold(log, status.st_dev, status.st_ino)
    for content in (b"two\n", b"three\n"):
        hold(waiting, log, content)
    assert len(waiting._files) == 2


def test_what_is_read_by_its_name_is_released(waiting: Held, tmp_path: Path) -> None:
    """With all that came before it."""
    log = tmp_path / "X"
    places = [hold(waiting, log, content) for content in (b"one\n", b"two\n", b"three\n")]
    waiting.release(places[1].st_dev, places[1].st_ino)
    assert len(waiting._files) == 1
    waiting.release(0, 0)
    assert len(waiting._files) == 1
