"""The file that is recorded into."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anomaly.errors import AnomalyError, ConfigError, StateLocked
from anomaly.recording import output
from anomaly.recording.lines import line
from anomaly.recording.output import Recording
from anomaly.recording.rows import row

OSQUERYS = (
    b'{"name":"pack_x","hostIdentifier":"ws1","columns":{},"decorations":{"host_uuid":"1"},"action":"added"}\n'
)


def one(number: int, host: str = "ws1") -> bytes:
    """Make a line."""
    return line(host, "processes", 1_793_585_624, number, "added", row(name="sh"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where to record."""
    return tmp_path / "recorded.results.log"


@pytest.fixture
def recording(path: Path) -> Iterator[Recording]:
    """Open a recording."""
    found = Recording(path, "ws1")
    yield found
    found.close()


def test_a_recording_is_for_its_owner(recording: Recording, path: Path) -> None:
    """Nobody else may read what people do; it is appended to, a batch with one write."""
    recording.write([one(1), one(2)])
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == one(1) + one(2)


def test_a_recording_goes_on(path: Path) -> None:
    """One that this program has begun on this machine is continued, after a newline where a line was cut."""
    path.write_bytes(one(1) + one(2)[:50])
    recording = Recording(path, "ws1")
    recording.write([one(3)])
    recording.close()
    assert path.read_bytes() == one(1) + one(2)[:50] + b"\n" + one(3)


@pytest.mark.parametrize(
    "content",
    [OSQUERYS, one(1) + OSQUERYS, OSQUERYS + one(1), one(1, "ws2"), b"text\n", b"x", b"\n", OSQUERYS * 2000],
    ids=["osquery", "osquery after", "osquery before", "other host", "text", "no line", "empty line", "long"],
)
def test_another_log_is_not_written_to(path: Path, content: bytes) -> None:
    """osquery's, another machine's or anybody's file stays as it is, unless one insists."""
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"may be osquery's own log.*--force"):
        Recording(path, "ws1")
    assert path.read_bytes() == content
    Recording(path, "ws1", force=True).close()


def test_osquerys_directory_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not under another name for it either, and not even an empty file is left."""
    osquery = tmp_path / "osquery"
    osquery.mkdir()
    (tmp_path / "link").symlink_to(osquery)
    monkeypatch.setattr(output, "OSQUERY", osquery)
    (tmp_path / "leads in").symlink_to(osquery / "x.log")
    for place in (osquery / "x.log", tmp_path / "link" / "x.log", tmp_path / "leads in"):
        with pytest.raises(ConfigError, match="osquery's own directory"):
            Recording(place, "ws1")
    assert list(osquery.iterdir()) == []
    Recording(osquery / "x.log", "ws1", force=True).close()


@pytest.mark.parametrize("kind", ["directory", "link", "circle", "fifo", "foreign", "missing"])
def test_what_is_no_file_of_ours_is_refused(path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with a sentence that says what it is."""
    expected: type[AnomalyError] = ConfigError
    if kind == "directory":
        path.mkdir()
        words = "is a directory. Name a file: anomaly record -l FILE"
    elif kind == "link":
        path.symlink_to(path.parent / "elsewhere")
        words = "is a symbolic link"
    elif kind == "circle":
        path.symlink_to(path)
        words = "is a symbolic link"
    elif kind == "fifo":
        os.mkfifo(path)
        words = "is no regular file"
    elif kind == "foreign":
        path.touch()
        monkeypatch.setattr("anomaly.recording.output.os.geteuid", lambda: os.getuid() + 1)
        words = "belongs to somebody else"
    else:
        path /= "x"
        words, expected = "cannot be written: No such file or directory", AnomalyError
    with pytest.raises(expected, match=words):
        Recording(path, "ws1")


def test_two_do_not_record_into_one_file(recording: Recording, path: Path) -> None:
    """The second says so, and leaves the file alone."""
    with pytest.raises(StateLocked, match="another process records into it"):
        Recording(path, "ws1")
    recording.write([one(1)])
    assert path.read_bytes() == one(1)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Give the disk room for some bytes."""
    real, room = os.write, 0

    def write(descriptor: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real(descriptor, data[:room])
        room -= written
        return written

    def make(size: int) -> None:
        nonlocal room
        room = size

    monkeypatch.setattr("anomaly.recording.output.os.write", write)
    return make


def test_a_full_disk_tears_no_line(recording: Recording, path: Path, disk: Callable[[int], None]) -> None:
    """What does not fit waits, and goes on where it stopped once there is room."""
    disk(40)
    with pytest.raises(OSError, match="No space left"):
        recording.write([one(1)])
    with pytest.raises(OSError, match="No space left"):
        recording.write([one(2)])
    assert (path.read_bytes(), recording.waiting) == (one(1)[:40], 2 * len(one(1)) - 40)
    disk(10_000)
    recording.write([one(3)])
    assert path.read_bytes() == one(1) + one(2) + one(3)
    assert (recording.waiting, recording.lost) == (0, 0)


def test_what_waits_is_bounded(
    recording: Recording, path: Path, disk: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound the newest lines are lost, and counted."""
    monkeypatch.setattr(output, "MOST_WAITING", 2 * len(one(1)))
    disk(0)
    for number in range(1, 5):
        with pytest.raises(OSError, match="No space left"):
            recording.write([one(number)])
    disk(10_000)
    recording.write([])
    assert path.read_bytes() == one(1) + one(2)
    assert recording.lost == 2


def test_a_rotated_file_is_left_behind(recording: Recording, path: Path) -> None:
    """After a rename the recording goes on under its name, for its owner alone."""
    recording.write([one(1)])
    assert not recording.is_moved()
    old = path.rename(path.with_suffix(".1"))
    assert recording.is_moved()
    recording.reopen()
    recording.write([one(2)])
    assert (old.read_bytes(), path.read_bytes()) == (one(1), one(2))
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_rest_of_a_line_does_not_begin_a_file(
    recording: Recording, path: Path, disk: Callable[[int], None]
) -> None:
    """A line that a full disk has cut stays with its old file, and is lost and counted."""
    disk(40)
    with pytest.raises(OSError, match="No space left"):
        recording.write([one(1), one(2)])
    path.unlink()
    recording.reopen()
    disk(10_000)
    recording.write([one(3)])
    assert path.read_bytes() == one(2) + one(3)
    assert (recording.lost, recording.waiting) == (1, 0)


def test_where_the_new_file_is_refused_the_old_one_stays(recording: Recording, path: Path) -> None:
    """Nothing is lost for somebody who puts a link in the way."""
    old = path.rename(path.with_suffix(".1"))
    path.symlink_to("/dev/null")
    with pytest.raises(ConfigError, match="symbolic link"):
        recording.reopen()
    recording.write([one(1)])
    assert old.read_bytes() == one(1)
