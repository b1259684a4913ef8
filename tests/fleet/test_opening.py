from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from anomaly.errors import LogMissing, LogUnreadable, StateError
from anomaly.fleet import opening
from anomaly.fleet.opening import open_log
from anomaly.fleet.reading import Known, keys_by, read_file
from anomaly.fleet.remote import RemoteFiles
from anomaly.osquery import Parser


@pytest.mark.parametrize("name", ["a.log", "a %41#?b.log", "ü\n.log"])
@pytest.mark.parametrize("slashes", ["", "//"])
def test_a_file_is_opened_by_the_address_that_spark_gives(tmp_path: Path, name: str, slashes: str) -> None:
    """Nothing in a name is an escape."""
    (tmp_path / name).write_bytes(b"x\n")
    with open_log(f"file:{slashes}{tmp_path}/{name}") as file:
        assert file.read() == b"x\n"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("gone", LogMissing),
        ("file/below", LogMissing),
        ("nul\0", LogMissing),
        ("dangling", LogMissing),
        ("pipe", LogUnreadable),
        ("folder", LogUnreadable),
        ("loop", LogUnreadable),
        ("x" * 300, LogUnreadable),
    ],
)
def test_what_is_no_file_is_passed_over(tmp_path: Path, name: str, error: type[Exception]) -> None:
    """Another try would not help, so it is not an error of the batch; nobody waits for a pipe's writer."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(error):
        open_log(f"file:{tmp_path}/{name}")


@pytest.mark.parametrize("name", ["link.log", "linked/a.log", "in/../../secret", "/secret", "in/pipe"])
def test_no_link_leads_out_of_the_logs(tmp_path: Path, name: str) -> None:
    """Below the directory of logs no link is followed, wherever it leads; the directory itself may be one."""
    root = tmp_path / "root"
    (root / "in" / "deep").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"x\n")
    (root / "in" / "deep" / "a.log").write_bytes(b"x\n")
    (root / "link.log").symlink_to("in/deep/a.log")
    (root / "linked").symlink_to("in/deep")
    os.mkfifo(root / "in" / "pipe")
    (tmp_path / "logs").symlink_to("root")
    with open_log(f"file:{tmp_path}/logs/in/deep/a.log", f"{tmp_path}/logs") as file:
        assert file.read() == b"x\n"
    with open_log(f"file:{tmp_path}/secret", "/") as file:
        assert file.read() == b"x\n"
    address = f"file:{tmp_path}{name}" if name.startswith("/") else f"file:{root}/{name}"
    with pytest.raises(LogUnreadable):
        open_log(address, str(root))
    for gone in ("gone", "in/gone/a.log", "in/deep/a.log/b"):
        with pytest.raises(LogMissing):
            open_log(f"file:{root}/{gone}", str(root))


def test_trouble_that_passes_ends_the_batch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What may be otherwise at the next try is an error: nothing is passed over for it."""

    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("anomaly.fleet.opening.os.open", fail)
    with pytest.raises(StateError, match="cannot be opened: Input/output error"):
        open_log(f"file:{tmp_path}/a")


class Failing:
    """A stream of a store that breaks off."""

    def __init__(self, content: bytes) -> None:
        self.content, self.closed = content, False

    def read(self, size: int) -> bytes:
        """Return what there is, and fail then."""
        if not self.content:
            raise OSError("connection lost")
        found, self.content = self.content[:size], self.content[size:]
        return found

    def close(self) -> None:
        """Close it."""
        self.closed = True


class Place:
    """A store."""

    def __init__(self, stream: Failing) -> None:
        self.stream = stream

    def open(self, name: str) -> Failing:
        """Return a file."""
        if name != "in/a.log.gz":
            raise FileNotFoundError(name)
        return self.stream


def test_a_lost_connection_is_no_broken_archive(monkeypatch: pytest.MonkeyPatch, lines: list[bytes]) -> None:
    """An archive that does not come to its end for the network's sake is read again, as a whole."""
    stream = Failing(gzip.compress(b"\n".join(lines))[:-100])
    monkeypatch.setattr(opening, "_store", lambda place: {"s3a://bucket": Place(stream)}[place])
    file = open_log("s3a://bucket/in/a.log.gz")
    with pytest.raises(StateError, match=r"s3a://bucket/in/a\.log\.gz cannot be read: connection lost"), file:
        list(read_file(file, "s3a://bucket/in/a.log.gz", 1, Parser(Known(())), keys_by("local", [])))
    assert stream.closed
    with pytest.raises(LogMissing, match="s3a://bucket/in/b is gone"):
        open_log("s3a://bucket/in/b")


def test_a_store_is_asked_by_pyarrow(tmp_path: Path) -> None:
    """Where Spark's address is another than a mounted directory's, pyarrow opens it."""
    (tmp_path / "a.log").write_bytes(b"x\n")
    with RemoteFiles(f"file://{tmp_path}").open("a.log") as stream:
        assert stream.read(10) == b"x\n"
