from __future__ import annotations

import os
import time
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

import pytest

from anomaly.errors import LogUnreadable
from anomaly.sources.interface import Line, Position
from anomaly.sources.stdin import StdinSource


@pytest.fixture
def pipe() -> Iterator[tuple[BinaryIO, int]]:
    """Give a stream to read and a descriptor to write; the test closes the latter."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream:
        yield stream, writer


def test_lines_come_as_they_are_written(pipe: tuple[BinaryIO, int]) -> None:
    """A line is returned when it is whole, and the stream ends when its writer does."""
    stream, writer = pipe
    with StdinSource(stream) as source:
        os.write(writer, b"one\ntw")
        assert source.read(10, 1) == [Line(b"one", "stdin", 0)]
        assert source.position == Position("stdin", 4)
        os.write(writer, b"o\nlast")
        assert source.read(10, 1) == [Line(b"two", "stdin", 4)]
        os.close(writer)
        assert not source.ended
        assert source.read(10, 1) == [Line(b"last", "stdin", 8)]
        assert source.ended
        assert source.position == Position("stdin", 12)
        assert source.read(10, 1) == []


def test_nothing_to_read_takes_the_timeout(pipe: tuple[BinaryIO, int]) -> None:
    """An idle pipe does not hold the reader longer than asked, and is not its end."""
    stream, writer = pipe
    with StdinSource(stream) as source:
        before = time.monotonic()
        assert source.read(10, 0.05) == []
        assert 0.04 < time.monotonic() - before < 1
        assert not source.ended
    os.close(writer)


def test_a_limit_keeps_the_rest_for_later() -> None:
    """The position stands before the lines that were not returned yet."""
    with StdinSource(BytesIO(b"a\nb\nc\n")) as source:
        assert [line.data for line in source.read(2, 0)] == [b"a", b"b"]
        assert source.position == Position("stdin", 4)
        assert [line.data for line in source.read(2, 0)] == [b"c"]
        assert source.read(2, 0) == []
        assert source.ended


def test_a_long_line_is_skipped() -> None:
    """The rule for long lines is the log's."""
    with StdinSource(BytesIO(b"x" * 100 + b"\nshort\n"), max_line=10) as source:
        assert source.read(10, 0) == [Line(b"short", "stdin", 101)]
        assert source.counters == {"too_long": 1}


def test_what_cannot_be_read_is_said(tmp_path: os.PathLike[str]) -> None:
    """A directory as standard input is an error with advice."""
    folder = os.open(tmp_path, os.O_RDONLY)
    stream = BytesIO()
    stream.fileno = lambda: folder  # type: ignore[method-assign]
    with StdinSource(stream) as source, pytest.raises(LogUnreadable, match="standard input cannot be read"):
        source.read(1, 0.1)
    os.close(folder)


def test_reading_after_close_is_an_error() -> None:
    """A closed source says so."""
    source = StdinSource(BytesIO(b"a\n"))
    source.close()
    with pytest.raises(ValueError, match="closed"):
        source.read(1, 0)
