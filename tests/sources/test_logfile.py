from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
from io import BytesIO
from pathlib import Path

import pytest
from backports import zstd

from anomaly.errors import LogMissing, LogUnreadable
from anomaly.sources.interface import MAX_LINE
from anomaly.sources.logfile import LogFile, fingerprint, open_log

LINES = b"".join(b'{"n":%d,"pad":"%s"}\n' % (n, os.urandom(20).hex().encode()) for n in range(20_000))


def content(file: LogFile) -> bytes:
    """Read the rest of a file."""
    result = b""
    while chunk := file.read():
        result += chunk
    return result


def write(path: Path, data: bytes) -> Path:
    """Write a file as its suffix says: zstd in several frames, as osquery and ``zstd`` append them."""
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        half = len(data) // 2
        data = zstd.compress(data[:half]) + zstd.compress(data[half:])
    elif path.suffix == ".bz2":
        data = bz2.compress(data)
    elif path.suffix == ".xz":
        data = lzma.compress(data)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["X", "X.1", "X.2.gz", "X.2.zst", "X.2.bz2", "X.2.xz"])
def test_a_file_reads_the_same_however_it_is_stored(tmp_path: Path, name: str) -> None:
    """Plain, gzip and zstd give the same bytes, the same offsets and the same fingerprint."""
    path = write(tmp_path / name, LINES)
    with open_log(path) as file:
        assert content(file) == LINES
        assert file.offset == len(LINES)
        assert not file.failed
        assert not file.rewritten()
    assert fingerprint(path) == hashlib.sha256(LINES.split(b"\n")[0]).hexdigest()[:16]
    with open_log(path) as file:
        file.skip(100_001)
        assert content(file) == LINES[100_001:]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_cut_archive_gives_what_is_there(tmp_path: Path, suffix: str) -> None:
    """What could be read of a cut archive is kept; it does not raise."""
    path = write(tmp_path / f"X.2{suffix}", LINES)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with open_log(path) as file:
        data = content(file)
        assert LINES.startswith(data)
        assert len(data) > len(LINES) // 3
        assert file.failed


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".bz2", ".xz"])
@pytest.mark.parametrize("data", [b"no such format", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"])
def test_a_corrupt_archive_is_an_empty_one(tmp_path: Path, suffix: str, data: bytes) -> None:
    """An archive that is none has no lines and no fingerprint."""
    path = tmp_path / f"X.2{suffix}"
    path.write_bytes(data)
    with open_log(path) as file:
        assert file.fingerprint == ""
        assert content(file) == b""
        assert file.failed


def test_the_fingerprint_waits_for_a_whole_line(tmp_path: Path) -> None:
    """A file has no identity until its first line is complete, and then keeps it."""
    path = tmp_path / "X"
    path.write_bytes(b"fir")
    with open_log(path) as file, path.open("ab") as writer:
        assert file.fingerprint == ""
        writer.write(b"st\n")
        writer.flush()
        assert file.fingerprint == fingerprint(BytesIO(b"first\nsecond\n"))


def test_a_huge_first_line_counts_up_to_the_limit() -> None:
    """A first line of any length gives a file an identity, and no more than MAX_LINE bytes are hashed."""
    huge = fingerprint(BytesIO(b"x" * MAX_LINE))
    assert huge
    assert fingerprint(BytesIO(b"x" * (MAX_LINE + 5) + b"\n")) == huge


def test_an_empty_first_line_is_a_line() -> None:
    """A file that begins with a newline differs from an empty file."""
    assert fingerprint(BytesIO(b"\n")) != fingerprint(BytesIO(b"")) == ""


@pytest.mark.parametrize("after", [b"", b"anew\n", b"anew, and longer than it was before\n"])
def test_truncation_shows_even_when_the_file_has_grown_again(tmp_path: Path, after: bytes) -> None:
    """The head is compared, not the size alone."""
    path = tmp_path / "X"
    path.write_bytes(b"one\ntwo\n")
    with open_log(path) as file:
        content(file)
        assert not file.rewritten()
        path.write_bytes(after)
        assert file.rewritten()
        file.rewind()
        assert content(file) == after
        assert not file.rewritten()


def test_skipping_all_stops_before_an_unfinished_line(tmp_path: Path) -> None:
    """The line that is being written at the end is still to come."""
    path = tmp_path / "X"
    path.write_bytes(b"one\ntw")
    with open_log(path) as file:
        file.skip_all()
        assert file.offset == 4


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    """The message names the file and says what to do."""
    for path in (tmp_path / "X", tmp_path / "no" / "X"):
        with pytest.raises(LogMissing, match=r"X does not exist; give the path"):
            open_log(path)


def test_what_is_not_a_regular_file_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    """A FIFO, a directory and a device are no logs."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path, Path("/dev/null")):
        with pytest.raises(LogUnreadable, match="is not a regular file"):
            open_log(path)


def test_no_permission_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The advice gives a group access; it is not to run this as root."""
    (tmp_path / "osquery").mkdir()
    (tmp_path / "osquery" / "X").touch()

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(LogUnreadable) as caught:
        open_log(tmp_path / "osquery" / "X")
    for part in ("sudo chgrp -R adm", "sudo chmod 2750", "sudo usermod -aG adm", "docs/osquery.md"):
        assert part in str(caught.value)
    with pytest.raises(LogUnreadable) as caught:  # anywhere else only the file: the directory may be /etc
        open_log(tmp_path / "X")
    assert f"sudo chgrp adm {tmp_path / 'X'} && sudo chmod g+r {tmp_path / 'X'}" in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_unreadable(tmp_path: Path) -> None:
    """The same, with a real file."""
    path = tmp_path / "X"
    path.touch(mode=0o000)
    with pytest.raises(LogUnreadable, match="may not be read"):
        open_log(path)


def test_a_path_that_cannot_be_is_unreadable() -> None:
    """A NUL in a path is an error of ours, not a ValueError."""
    with pytest.raises(LogUnreadable, match="cannot be read"):
        open_log(Path("a\0b"))
