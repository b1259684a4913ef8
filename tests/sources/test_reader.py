"""A file that is being read, and rotated ones that are kept open for what comes late."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from anomaly.sources.chain import Chain
from anomaly.sources.interface import Line
from anomaly.sources.logfile import open_log
from anomaly.sources.reader import Behind, Reader


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give a file of a line and a half."""
    path = tmp_path / "X"
    path.write_bytes(b'first\n{"a": 1}')
    return path


def opened(log: Path) -> Reader:
    """Read it from its beginning."""
    return Reader(open_log(log), 100, Counter())


def test_a_line_without_its_end_is_taken_when_nothing_more_comes(log: Path) -> None:
    """It is returned once, and the place is behind it."""
    reader = opened(log)
    assert [line.data for line in reader.feed(reader.file.read())] == [b"first"]
    assert reader.whole
    assert [line.data for line in reader.finish()] == [b'{"a": 1}']
    assert reader.finish() == []
    assert not reader.whole
    reader.close()
    assert reader.place.offset == 14


def test_the_oldest_files_are_let_go(log: Path) -> None:
    """More files than can be kept are closed after what is in them was read, whatever time they have."""
    chain, given = Chain(log, Counter(), None), list[Line]()
    behind = Behind(chain, follow=True)
    assert not behind
    while not behind.full:
        behind.leave(opened(log))
    kept = len(chain.behind)
    while behind.full:
        behind.read(lambda _, lines: given.extend(lines))
    assert len(behind.places) == len(chain.behind) == kept - 1
    assert [line.data for line in given[-2:]] == [b"first", b'{"a": 1}']
    behind.close()
    assert not behind
