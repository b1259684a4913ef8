from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from anomaly.sources.interface import Line
from anomaly.sources.lines import LineSplitter

LIMIT = 6
blobs = st.lists(st.sampled_from([b"\n", b"a", b"bc", b"\r", b"\x00", b"\xff", b"long line"])).map(b"".join)


def expected(data: bytes) -> tuple[list[Line], Line | None, int]:
    """Cut the whole at once: lines, the unfinished line, and how many were too long."""
    *lines, rest = data.split(b"\n")
    kept, offset, too_long = [], 0, 0
    for line in lines:
        if len(line) > LIMIT:
            too_long += 1
        else:
            kept.append(Line(line, "f", offset))
        offset += len(line) + 1
    last = Line(rest, "f", offset) if 0 < len(rest) <= LIMIT else None
    return kept, last, too_long + (len(rest) > LIMIT)


@given(blobs, st.lists(st.integers(0, 60)))
def test_any_chunking_gives_the_same_lines(data: bytes, cuts: list[int]) -> None:
    """However the bytes arrive, lines, offsets and the count of skipped lines are the same."""
    counters = Counter[str]()
    splitter = LineSplitter(LIMIT, counters=counters)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    lines = []
    for start, end in pairwise(edges):
        lines += splitter.feed(data[start:end], "f")
        assert len(splitter.peek()) <= LIMIT
    wanted, last, too_long = expected(data)
    assert lines == wanted
    assert all(isinstance(line, Line) for line in lines)
    assert splitter.offset == data.rfind(b"\n") + 1
    assert splitter.finish("f") == last
    assert counters["too_long"] == too_long
    assert splitter.offset == len(data)


def test_a_line_of_exactly_the_limit_is_returned() -> None:
    """``max_line`` bytes are a line; one more is too long."""
    counters = Counter[str]()
    splitter = LineSplitter(3, counters=counters)
    assert splitter.feed(b"abc\nabcd\n", "f") == [Line(b"abc", "f", 0)]
    assert counters == {"too_long": 1}


def test_an_endless_line_is_counted_once_and_not_held() -> None:
    """A line that never ends costs one counter and no memory, and the next line is found."""
    counters = Counter[str]()
    splitter = LineSplitter(10, counters=counters)
    for _ in range(1000):
        assert splitter.feed(b"x" * 100, "f") == []
    assert splitter.peek() == b""
    assert splitter.pending
    assert splitter.feed(b"x\nnext\n", "f") == [Line(b"next", "f", 100_002)]
    assert counters == {"too_long": 1}


def test_offsets_count_from_where_the_first_chunk_starts() -> None:
    """A splitter that starts within a file gives the offsets of the file."""
    splitter = LineSplitter(counters=Counter(), offset=50)
    assert splitter.feed(b"a\nb\n", "f") == [Line(b"a", "f", 50), Line(b"b", "f", 52)]
