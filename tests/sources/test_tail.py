from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st
from watchdog.observers import Observer

from anomaly.errors import LogMissing, LogUnreadable
from anomaly.sources import reader, tail
from anomaly.sources.interface import Line, Position
from anomaly.sources.logfile import fingerprint, open_log
from anomaly.sources.tail import LogSource

Start = Position | Literal["start", "end"]
DEADLINE = 10.0


@pytest.fixture(autouse=True)
def _no_leaked_thread() -> Iterator[None]:
    """Fail a test that leaves a thread behind."""
    before = threading.enumerate()
    yield
    assert threading.enumerate() == before


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give the path of a log that is not there yet."""
    return tmp_path / "X"


def append(path: Path, *lines: str) -> None:
    """Append as osquery does: open, write, close, for each line."""
    for line in lines:
        with path.open("a") as file:
            file.write(line + "\n")


def read_all(path: Path, start: Start = "start", limit: int = 100) -> tuple[list[str], Position]:
    """Read a log to its end, without following."""
    lines = []
    with LogSource(path, start=start, follow=False) as source:
        while not source.ended:
            lines += [line.data.decode() for line in source.read(limit, 0)]
        return lines, source.position


def take(source: LogSource, count: int) -> list[str]:
    """Read until ``count`` lines have come, or fail; then see that no more come."""
    lines: list[str] = []
    deadline = time.monotonic() + DEADLINE
    while len(lines) < count and time.monotonic() < deadline:
        lines += [line.data.decode() for line in source.read(100, 0.05)]
    return lines + [line.data.decode() for line in source.read(100, 0)]


def rotate(log: Path, pack: Callable[[bytes], bytes] = gzip.compress) -> None:
    """Rename the log to X.1, X.1 to X.2.gz and the rest one up, as osquery and logrotate do."""
    numbers = [int(path.suffixes[-2 if path.suffix == ".gz" else -1][1:]) for path in log.parent.glob("X.*")]
    for number in sorted(numbers, reverse=True):
        if number > 1:
            (log.parent / f"X.{number}.gz").rename(log.parent / f"X.{number + 1}.gz")
        else:
            plain = log.parent / "X.1"
            (log.parent / "X.2.gz").write_bytes(pack(plain.read_bytes()))
            plain.unlink()
    log.rename(log.parent / "X.1")


# Reading to the end.


def test_lines_carry_their_file_and_offset(log: Path) -> None:
    """A line is named by the fingerprint of its file and the byte it starts at; blank lines are lines."""
    log.write_bytes(b"one\n\nthree\n")
    with LogSource(log, start="start", follow=False) as source:
        name = fingerprint(log)
        assert source.read(100, 0) == [Line(b"one", name, 0), Line(b"", name, 4), Line(b"three", name, 5)]
        status, before = log.stat(), hashlib.blake2b(b"one\n\nthree\n", digest_size=8).hexdigest()
        assert source.position == Position(name, 11, status.st_dev, status.st_ino, before, known=())
        assert source.read(100, 0) == []
        assert source.ended


def test_the_chain_is_one_stream(log: Path) -> None:
    """Archives of every kind are read before the log, oldest first."""
    (log.parent / "X.3.zst").write_bytes(zstd.compress(b"a\n") + zstd.compress(b"b\n"))
    (log.parent / "X.2.gz").write_bytes(gzip.compress(b"c\n"))
    (log.parent / "X.1").write_bytes(b"d\n")
    (log.parent / "X-20200101").write_bytes(b"0\n")
    append(log, "e")
    assert read_all(log)[0] == ["0", "a", "b", "c", "d", "e"]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_every_position_continues_exactly(log: Path, limit: int) -> None:
    """From any position, also within a batch, the rest follows: no line twice, none missing."""
    (log.parent / "X.2.gz").write_bytes(gzip.compress(b"a\nb\nc\n"))
    (log.parent / "X.1").write_bytes(b"d\ne\n")
    append(log, "f", "g")
    seen: list[str] = []
    position: Start = "start"
    while True:
        with LogSource(log, start=position, follow=False) as source:
            lines = source.read(limit, 0)
            position = source.position
        if not lines:
            break
        seen += [line.data.decode() for line in lines]
    assert seen == list("abcdefg")


def test_a_position_in_another_log_begins_at_the_start(log: Path) -> None:
    """A log other than the one trained on is read whole."""
    append(log.parent / "X.1", "a")
    append(log, "b")
    assert read_all(log, Position("0" * 16, 5, 1, 1))[0] == ["a", "b"]
    assert read_all(log, Position())[0] == ["a", "b"]


def test_the_end_is_where_the_log_ends_now(log: Path) -> None:
    """``end`` gives what is appended from now on, and a line half written now is among it."""
    append(log.parent / "X.1", "old")
    log.write_bytes(b"old\nha")
    with LogSource(log, start="end", follow=True) as source:
        position = source.position
        append(log, "lf", "new")
        assert take(source, 2) == ["half", "new"]
    assert read_all(log, position)[0] == ["half", "new"]
    assert read_all(log, "end")[0] == []


def test_the_end_of_an_absent_log_is_its_beginning(log: Path) -> None:
    """What comes into a log that did not exist has been appended since; its archives were there before."""
    append(log.parent / "X.1", "old")
    with LogSource(log, start="end", follow=True) as source:
        assert source.read(10, 0) == []
        append(log, "new")
        assert take(source, 1) == ["new"]
    (log.parent / "X.1").unlink()
    log.unlink()
    with LogSource(log, start="end", follow=True) as source:
        append(log, "newer")
        assert take(source, 1) == ["newer"]


def test_an_unfinished_last_line_counts_if_it_is_whole(log: Path) -> None:
    """The live log's last line without a newline is returned if it is JSON, else it is left for later."""
    log.write_bytes(b'one\n{"a":1}')
    lines, position = read_all(log)
    assert lines == ["one", '{"a":1}']
    append(log, "", "two")
    assert read_all(log, position)[0] == ["", "two"]

    log.write_bytes(b'one\n{"a":')
    lines, position = read_all(log)
    assert lines == ["one"]
    append(log, "2}")
    assert read_all(log, position)[0] == ['{"a":2}']


@pytest.mark.parametrize("data", [b"[" * 100_000, b'"\xff"', b"1" * 5000])
def test_an_odd_unfinished_line_is_left(log: Path, data: bytes) -> None:
    """No last line, however odd, stops the reader."""
    log.write_bytes(b"one\n" + data)
    assert read_all(log)[0] == ["one"]


def test_an_archive_gives_its_last_line_in_any_case(log: Path) -> None:
    """Nothing more comes into an archive: the parser judges what stands there."""
    (log.parent / "X.2.gz").write_bytes(gzip.compress(b"a\nb"))
    (log.parent / "X.1").write_bytes(b"c\nd")
    lines, position = read_all(log)
    assert lines == ["a", "b", "c", "d"]
    append(log, "e")
    assert read_all(log, position)[0] == ["e"]


def test_a_compressed_log_is_read_alone_and_never_followed(log: Path) -> None:
    """A compressed file given by name ends, even when it is to be followed."""
    path = log.parent / "user1.log.gz"
    path.write_bytes(gzip.compress(b"a\nb\n"))
    (log.parent / "user1.log.gz.1").write_bytes(b"no\n")
    with LogSource(path, start="start", follow=True) as source:
        assert [line.data for line in source.read(100, 0)] == [b"a", b"b"]
        source.read(100, 0)
        assert source.ended


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_a_cut_archive_is_read_as_far_as_it_goes(log: Path, pack: Callable[[bytes], bytes]) -> None:
    """What can be read is kept, the rest is one count, and the next file follows."""
    whole = pack(os.urandom(100_000).hex().encode() + b"\n")
    suffix = ".gz" if pack is gzip.compress else ".zst"
    (log.parent / f"X.1{suffix}").write_bytes(pack(b"a\nb\n") + whole[: len(whole) // 2])
    append(log, "c")
    with LogSource(log, start="start", follow=False) as source:
        lines = [line.data.decode() for _ in range(9) for line in source.read(100, 0)]
        assert lines[:2] == ["a", "b"]
        assert lines[-1] == "c"
        assert source.counters["archive_errors"] == 1


def test_a_broken_archive_is_counted_once_while_the_log_is_absent(log: Path) -> None:
    """Waiting behind a broken archive costs one count, not one at each look."""
    (log.parent / "X.1.gz").write_bytes(gzip.compress(b"a\n" + os.urandom(50_000).hex().encode())[:20_000])
    with LogSource(log, start="start", follow=True) as source:
        assert source.read(1, 0)[0].data == b"a"
        for _ in range(3):
            source.read(10, 0)
        append(log, "b")
        assert b"b" in [line.data for _ in range(3) for line in source.read(100, 0.05)]
        assert source.counters["archive_errors"] == 1
        assert source.counters["read_errors"] == 0


def test_a_long_line_is_skipped_and_counted(log: Path) -> None:
    """One counter, and a position that has passed it."""
    append(log, "a", "x" * 1000, "b", "y" * 1000)
    with LogSource(log, start="start", follow=False, max_line=100) as source:
        assert [line.data for line in source.read(100, 0)] == [b"a", b"b"]
        assert source.read(100, 0) == []
        assert source.counters["too_long"] == 2
        assert source.position.offset == log.stat().st_size


def test_a_missing_log_is_missing(log: Path) -> None:
    """A log that is only read must exist, or one of its archives."""
    starts: list[Start] = ["start", "end", Position()]
    for start in starts:
        with pytest.raises(LogMissing):
            LogSource(log, start=start, follow=False)
    append(log.parent / "X.1", "a")
    assert read_all(log)[0] == ["a"]


@pytest.mark.parametrize("follow", [True, False])
def test_what_is_not_a_file_is_refused_at_the_start(log: Path, *, follow: bool) -> None:
    """A FIFO does not hang, and a directory is no log."""
    os.mkfifo(log)
    with pytest.raises(LogUnreadable):
        LogSource(log, start="start", follow=follow)
    with pytest.raises(LogUnreadable):
        LogSource(log.parent, start="start", follow=follow)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_log_is_refused_at_the_start(log: Path) -> None:
    """No permission at the start is an error with advice."""
    log.touch(mode=0o000)
    with pytest.raises(LogUnreadable, match="usermod"):
        LogSource(log, start="start", follow=True)


def test_reading_after_close_is_an_error(log: Path) -> None:
    """A closed source says so."""
    append(log, "a")
    source = LogSource(log, start="start", follow=True)
    source.close()
    source.close()
    with pytest.raises(ValueError, match="closed"):
        source.read(1, 0)


# Following.


def test_appended_lines_come_quickly(log: Path) -> None:
    """An append ends the wait, and an unfinished line waits for its newline."""
    append(log, "a")
    with LogSource(log, start="start", follow=True) as source:
        assert take(source, 1) == ["a"]
        with log.open("a") as file:
            file.write("b")
        assert source.read(10, 0.05) == []
        assert not source.ended
        writer = threading.Timer(0.05, append, [log, ""])
        writer.start()
        before = time.monotonic()
        assert [line.data for line in source.read(10, DEADLINE)] == [b"b"]
        assert time.monotonic() - before < DEADLINE / 2
        writer.join()


def test_a_log_and_its_directory_may_be_absent(log: Path) -> None:
    """Both are waited for, and may disappear and come back."""
    path = log.parent / "osquery" / "X"
    with LogSource(path, start="start", follow=True) as source:
        assert source.read(10, 0.01) == []
        path.parent.mkdir()
        assert source.read(10, 0.01) == []
        append(path, "a")
        assert take(source, 1) == ["a"]
        shutil.rmtree(path.parent)
        assert source.read(10, 0.01) == []
        path.parent.mkdir()
        append(path, "b")
        assert take(source, 1) == ["b"]


@pytest.mark.parametrize("create", ["at once", "late"])
def test_rename_rotation(log: Path, create: str) -> None:
    """The renamed file is read to its end, then the new one, whether it is created at once or later."""
    append(log, "a")
    with LogSource(log, start="start", follow=True) as source:
        assert take(source, 1) == ["a"]
        append(log, "b")
        rotate(log)
        if create == "at once":
            log.touch()
        append(log.parent / "X.1", "c")
        if create == "late":
            assert take(source, 2) == ["b", "c"]
            append(log, "d")
            assert take(source, 1) == ["d"]
        else:
            append(log, "d")
            assert take(source, 3) == ["b", "c", "d"]
        assert source.counters["rotations"] == 1


def test_two_rotations_between_two_looks(log: Path) -> None:
    """A file that came and went while nobody looked is read from the chain, also when it is compressed."""
    append(log, "a")
    with LogSource(log, start="start", follow=True) as source:
        assert take(source, 1) == ["a"]
        for line in ("b", "c", "d"):
            rotate(log)
            append(log, line)
        assert take(source, 3) == ["b", "c", "d"]
        assert source.counters["rotations"] == 3


def test_a_late_line_of_a_rotated_file_is_read(log: Path) -> None:
    """A writer that had opened the log before it was renamed loses nothing; the position does not go back."""
    append(log, "a")
    with log.open("a") as slow, LogSource(log, start="start", follow=True) as source:
        assert take(source, 1) == ["a"]
        rotate(log)
        append(log, "b")
        assert take(source, 1) == ["b"]
        position = source.position
        slow.write("late\n")
        slow.flush()
        assert take(source, 1) == ["late"]
        assert (source.position.file, source.position.offset) == (position.file, position.offset)
        append(log, "c")
        assert take(source, 1) == ["c"]


@pytest.mark.parametrize("follow", [True, False])
def test_a_late_line_of_a_rotated_file_is_read_after_a_restart(log: Path, *, follow: bool) -> None:
    """What came late while nobody read is read once, whether the restart was before it or after."""
    append(log, "a")
    with log.open("a") as slow:
        with LogSource(log, start="start", follow=True) as source:
            assert take(source, 1) == ["a"]
            rotate(log)
            append(log, "b")
            assert take(source, 1) == ["b"]
            position = source.position
        slow.write("late\n")
    with LogSource(log, start=position, follow=follow) as source:
        assert take(source, 1) == ["late"]
        after = source.position
    with LogSource(log, start=after, follow=follow) as source:
        assert take(source, 0) == []


def test_a_line_that_is_finished_after_the_rename_stays_whole(log: Path) -> None:
    """The new file waits for a line that is half written in the old one."""
    append(log, "a")
    with log.open("a") as slow, LogSource(log, start="start", follow=True) as source:
        assert take(source, 1) == ["a"]
        slow.write("ha")
        slow.flush()
        rotate(log)
        append(log, "b")
        assert source.read(10, 0.05) == []
        slow.write("lf\n")
        slow.flush()
        assert take(source, 2) == ["half", "b"]


def test_a_line_that_is_never_finished_does_not_stop_the_log(
    log: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When its time is up the half line is returned as it is, and the rotated files are closed."""
    for room in (tail, reader):
        monkeypatch.setattr(room, "GRACE", 0.05)
    log.write_bytes(b"a\nha")
    with LogSource(log, start="start", follow=True) as source:
        assert take(source, 1) == ["a"]
        rotate(log)
        append(log, "b")
        assert take(source, 2) == ["ha", "b"]
        deadline = time.monotonic() + DEADLINE
        while source._behind and time.monotonic() < deadline:
            source.read(10, 0.02)
        assert not source._behind


@pytest.mark.parametrize("after", ["new", "new, and longer than what was there before", "a"])
def test_a_log_that_is_copied_and_truncated(log: Path, after: str) -> None:
    """What was written before the truncation is read from the copy, then the log from its start."""
    append(log, "first", "a")
    with LogSource(log, start="start", follow=True) as source:
        assert take(source, 2) == ["first", "a"]
        append(log, "b")
        shutil.copy(log, log.parent / "X.1")
        log.write_bytes(b"")
        append(log, after, "c")
        assert take(source, 3) == ["b", after, "c"]
        assert (source.counters["copies"], source.counters["truncations"]) == (1, 0)
        assert source.counters["rotations"] == 0
        assert source.position.file == fingerprint(log)


def test_a_truncated_log_starts_again(log: Path) -> None:
    """Without a copy the log is read from its start, as another file."""
    append(log, "first", "a")
    with LogSource(log, start="start", follow=True) as source:
        assert take(source, 2) == ["first", "a"]
        log.write_bytes(b"")
        assert source.read(10, 0.01) == []
        append(log, "b")
        assert take(source, 1) == ["b"]
        assert source.counters["truncations"] == 1
        assert source.position.file == fingerprint(log)


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_log_that_is_deleted_and_made_anew(log: Path, first: str) -> None:
    """The deleted file is read to its end, then the new one, even if it begins with the same line."""
    append(log, "a")
    with LogSource(log, start="start", follow=True) as source:
        assert take(source, 1) == ["a"]
        append(log, "last")
        log.unlink()
        append(log, first)
        assert take(source, 2) == ["last", first]
        assert source.counters["rotations"] == 1


def test_a_deleted_log_does_not_bring_its_archives_back(log: Path) -> None:
    """Archives that were there before are not read again; those made since are."""
    append(log.parent / "X.1", "old")
    append(log, "a")
    with LogSource(log, start="start", follow=True) as source:
        assert take(source, 2) == ["old", "a"]
        log.unlink()
        rename = log.parent / "X.1"
        rename.rename(log.parent / "X.2")
        append(rename, "between")
        append(log, "b")
        assert take(source, 2) == ["between", "b"]


def test_a_log_that_is_deleted_while_it_waits_to_be_read(log: Path) -> None:
    """Who falls behind loses nothing of the files that are deleted meanwhile, and reads none of them twice."""
    append(log, "a", "b")
    with LogSource(log, start="start", follow=True) as source:
        seen = [line.data.decode() for line in source.read(1, 0)]
        for line in ("c", "d", "e"):
            log.unlink()
            append(log, line)
            assert source._reader is not None
            source._chain.has_newer(source._reader.file)
        rotate(log)
        append(log, "f")
        assert seen + take(source, 5) == ["a", "b", "c", "d", "e", "f"]


def test_a_held_file_that_was_compressed_is_read_once(log: Path) -> None:
    """A deleted file may be there all the same, as an archive."""
    append(log, "a", "b")
    with LogSource(log, start="start", follow=True) as source:
        seen = [line.data.decode() for line in source.read(1, 0)]
        for line in ("c", "d", "e"):
            rotate(log)
            append(log, line)
            assert source._reader is not None
            source._chain.has_newer(source._reader.file)
        assert seen + take(source, 4) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("torn", ["{", '{"name":"pack_user_behavior_processes","hostId', "\n"])
@pytest.mark.parametrize("restart", [True, False])
def test_a_torn_file_does_not_hide_what_begins_alike(log: Path, torn: str, *, restart: bool) -> None:
    """A file that holds less than a record is no reason to think that others have been read."""
    log.write_text(torn)
    source = LogSource(log, start="start", follow=True)
    source.read(10, 0)
    log.rename(log.parent / "X.1")
    body = torn if torn.endswith("\n") else ""
    log.write_text(f"{body}{torn.strip()}a\n")
    take(source, 0)
    position = source.position
    if restart:
        source.close()
    for number, line in enumerate("bcd"):
        append(log, torn.strip() + line)
        log.rename(log.parent / f"X-20261101-{number}")
        log.write_text(body)
    if restart:
        source = LogSource(log, start=position, follow=True)
    seen = "".join(take(source, 6 if body else 3))
    source.close()
    assert seen.replace(torn.strip(), "") in {"abcd", "bcd"}
    assert "bcd" in seen.replace(torn.strip(), "")


def test_unfinished_lines_of_rotated_files_have_names_of_their_own(log: Path) -> None:
    """A file that holds nothing but one unfinished line is named by it."""
    for line in ("one", "two"):
        log.write_text(line)
        log.rename(log.parent / f"X-20261101-{line}" if line == "x" else log.parent / f"X.{'21'[line == 'two']}")
    log.touch()
    with LogSource(log, start="start", follow=False) as source:
        found = []
        while not source.ended:
            found += source.read(10, 0)
    assert [line.data for line in found] == [b"one", b"two"]
    assert len({line.file for line in found} | {""}) == 3


def test_a_log_that_is_gone_is_reported(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is deleted and not made anew is counted once, and again if it happens again."""
    monkeypatch.setattr("anomaly.sources.chain.ABSENT", 0.0)
    append(log, "a")
    with LogSource(log, start="start", follow=True) as source:
        assert take(source, 1) == ["a"]
        assert source.counters["absences"] == 0
        for time_gone in (1, 2):
            log.unlink()
            take(source, 0)
            take(source, 0)
            assert source.counters["absences"] == time_gone
            append(log, f"back {time_gone}")
            assert take(source, 1) == [f"back {time_gone}"]


def test_an_archive_that_the_log_begins_like_is_not_read_in_the_log(log: Path) -> None:
    """A restart soon after a rotation does not take the new log for the rest of the old one."""
    append(log, "header")
    with LogSource(log, start="start", follow=True) as source:
        assert take(source, 1) == ["header"]
        log.rename(log.parent / "X.1")
        append(log, "header", "a", "b")
        assert "".join(take(source, 3)).endswith("ab")
        position = source.position
    with LogSource(log, start=position, follow=True) as source:
        assert take(source, 0) == []
        append(log, "c")
        assert take(source, 1) == ["c"]


def test_a_link_that_is_turned(log: Path) -> None:
    """A log that is a symbolic link is followed to its next target."""
    append(log.parent / "first", "a")
    log.symlink_to("first")
    with LogSource(log, start="start", follow=True) as source:
        assert take(source, 1) == ["a"]
        append(log.parent / "first", "b")
        append(log.parent / "second", "c")
        link = log.parent / "link"
        link.symlink_to("second")
        link.rename(log)
        assert take(source, 2) == ["b", "c"]


def test_an_archive_that_is_compressed_meanwhile_is_not_read_twice(log: Path) -> None:
    """A file is known by what it is, not by its name, while reading and across a restart."""
    append(log, "a", "b")
    with LogSource(log, start="start", follow=True) as source:
        assert [line.data for line in source.read(1, 0)] == [b"a"]
        position = source.position
        rotate(log)
        append(log, "c")
        rotate(log)
        append(log, "d")
        assert take(source, 3) == ["b", "c", "d"]
    assert sorted(path.name for path in log.parent.iterdir()) == ["X", "X.1", "X.2.gz"]
    assert read_all(log, position)[0] == ["b", "c", "d"]


def test_everything_written_while_down_is_read(log: Path) -> None:
    """A restart after several rotations goes on where it stopped."""
    append(log, "a", "b")
    with LogSource(log, start="start", follow=True) as source:
        source.read(1, 0)
        position = source.position
    for line in ("c", "d", "e"):
        rotate(log)
        append(log, line)
    with LogSource(log, start=position, follow=True) as source:
        assert take(source, 4) == ["b", "c", "d", "e"]


def test_an_unfinished_line_is_scored_once_across_a_restart(log: Path) -> None:
    """A restart in the middle of a line begins before it."""
    log.write_bytes(b"a\nha")
    with LogSource(log, start="start", follow=True) as source:
        assert take(source, 1) == ["a"]
        position = source.position
    append(log, "lf")
    with LogSource(log, start=position, follow=True) as source:
        assert take(source, 1) == ["half"]


def test_a_log_truncated_while_down_is_read_from_its_start(log: Path) -> None:
    """The same first line, and fewer bytes than were read: the file was cut."""
    append(log, "a", "b")
    position = read_all(log)[1]
    log.write_bytes(b"a\n")
    with LogSource(log, start=position, follow=False) as source:
        assert [line.data for line in source.read(10, 0)] == [b"a"]
        assert source.counters["truncations"] == 1


def test_a_log_that_becomes_unreadable_is_waited_for(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost permission is counted while following, and reading goes on when it is back."""
    append(log, "a")
    with LogSource(log, start="start", follow=True) as source:
        assert take(source, 1) == ["a"]
        rotate(log)
        append(log, "b")

        def refuse(path: Path) -> object:
            if path == log:
                raise LogUnreadable(f"{path} may not be read")
            return open_log(path)

        with monkeypatch.context() as patch:
            patch.setattr("anomaly.sources.chain.open_log", refuse)
            assert source.read(10, 0.01) == []
            assert source.counters["read_errors"] > 0
        assert take(source, 1) == ["b"]


def test_a_directory_in_place_of_the_log_is_waited_out(log: Path) -> None:
    """Something else at the log's path is not read and does not stop the reader."""
    append(log, "a")
    with LogSource(log, start="start", follow=True) as source:
        assert take(source, 1) == ["a"]
        rotate(log)
        log.mkdir()
        assert source.read(10, 0.01) == []
        log.rmdir()
        append(log, "b")
        assert take(source, 1) == ["b"]


def test_following_works_without_inotify(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch is a hint: when it cannot start, polling finds everything."""

    def refuse(_: object) -> None:
        raise OSError("inotify instance limit reached")

    monkeypatch.setattr(Observer, "start", refuse)
    append(log, "a")
    with LogSource(log, start="start", follow=True) as source:
        assert take(source, 1) == ["a"]
        assert source.read(10, 0.01) == []
        append(log, "b")
        assert [line.data for line in source.read(10, DEADLINE)] == [b"b"]
        rotate(log)
        append(log, "c")
        assert [line.data for line in source.read(10, DEADLINE)] == [b"c"]
        assert source.counters["watch_errors"] == 1


steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 12)),
        st.tuples(st.just("read"), st.integers(1, 5)),
        st.tuples(st.sampled_from(["rotate", "restart", "drain"]), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_lines_come_once_each_and_in_order(actions: list[tuple[str, int]]) -> None:
    """Whatever the chunking, the rotations by rename and the restarts."""
    pending, written, seen = "", 0, []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "X"
        log.touch()
        source = LogSource(log, start="start", follow=True)
        for action, amount in [*actions, ("finish", 0)]:
            if action == "write":
                while len(pending) < amount:
                    written += 1
                    pending += f"{written:04}\n"
                with log.open("a") as file:
                    file.write(pending[:amount])
                pending = pending[amount:]
            elif action == "rotate":
                with log.open("a") as file:
                    file.write(pending)
                pending = ""
                rotate(log)
                log.touch()
            elif action == "restart":
                position = source.position
                source.close()
                source = LogSource(log, start=position, follow=True)
            elif action == "finish":
                with log.open("a") as file:
                    file.write(pending)
            if action in {"read", "drain", "finish"}:
                while lines := source.read(amount or 100, 0):
                    seen += [int(line.data) for line in lines]
                    if action == "read":
                        break
        source.close()
    assert seen == list(range(1, written + 1))
