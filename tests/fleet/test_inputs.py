"""Files are put in the order in which a reader reads a log and its archives."""

from __future__ import annotations

from pathlib import Path

import pytest

from anomaly.fleet.inputs import LOGS, ends, ranks
from anomaly.sources.tail import LogSource

LOG = "osqueryd.results.log"


@pytest.mark.parametrize(
    "names",
    [
        [f"{LOG}.10.zst", f"{LOG}.9.zst", f"{LOG}.1", LOG],
        [f"{LOG}-20261101.gz", f"{LOG}-20261102", LOG],
        ["results-20261101.log", "results-20261102.log", "results-20261103.log"],
        ["part-00000.json", "part-00001.json", "part-00010.json.gz"],
        ["s-1-2026-11-26-10-05-33-0a1b.gz", "s-1-2026-11-26-10-06-33-00ff.gz"],
    ],
)
def test_the_oldest_archive_is_first(names: list[str]) -> None:
    """By number or by date; names that say nothing of it, by name."""
    for order in (names, names[::-1]):
        found = ranks([f"file:/d/{name}" for name in order])
        assert list(found.files) == [f"file:/d/{name}" for name in names]
    assert found.newest[-1] == f"file:/d/{names[-1]}"


def test_directories_are_apart() -> None:
    """Each has logs of its own, and what is being compressed is read once."""
    found = ranks(["b/r.log", "a/r.log", "a/r.log.1", "a/r.log.1.gz", "a/s.log"])
    assert list(found.files) == ["a/r.log.1", "a/r.log", "a/s.log", "b/r.log"]
    assert found.newest == ("a/r.log", "a/s.log", "b/r.log")


@pytest.mark.parametrize("end", [b"\n", b"", b'\n{"na', b"\n{}"])
def test_a_log_ends_where_a_reader_ends(lines: list[bytes], tmp_path: Path, end: bytes) -> None:
    """What a card says of it is the same, with a last line that is not finished too."""
    log = tmp_path / "a b.log"
    log.write_bytes(b"\n".join(lines) + end)
    with LogSource(log, start="start", follow=False) as source:
        while not source.ended:
            source.read(1000, 1.0)
        expected = source.position
    (found,) = ends([f"file:{log}".replace(" ", "%20")])
    assert (found.file, found.offset, found.before) == (expected.file, expected.offset, expected.before)


def test_nobody_goes_on_from_many_logs_or_from_elsewhere(tmp_path: Path) -> None:
    """Then cards say nothing of where they ended."""
    log = tmp_path / "r.log"
    log.write_bytes(b"x\n")
    assert ends([f"file:{log}"] * (LOGS + 1)) == ()
    assert ends([f"file:{log}", "s3a://bucket/r.log"]) == ()
