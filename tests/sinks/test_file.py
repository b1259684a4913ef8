from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from anomaly.errors import ConfigError
from anomaly.records import Alert
from anomaly.sinks.file import FileSink
from anomaly.sinks.formats import FORMATS, encoder

Alerts = Callable[[int], list[Alert]]


def ids(path: Path) -> list[str]:
    """Give the ids of the whole alerts in a file."""
    return [json.loads(line)["id"] for line in path.read_bytes().splitlines() if line.endswith(b"}")]


@contextmanager
def mask(value: int) -> Iterator[None]:
    """Set the umask for a while."""
    old = os.umask(value)
    try:
        yield
    finally:
        os.umask(old)


@pytest.mark.parametrize("name", FORMATS)
def test_appends(name: str, alerts: Alerts, tmp_path: Path) -> None:
    """What is there stays; each format follows it."""
    path = tmp_path / "alerts"
    path.write_bytes(b"before\n")
    encode = encoder(name, lambda: 0.0)
    with closing(FileSink(path, encode)) as sink:
        sink.write(alerts(2))
        sink.write(alerts(1))
    assert path.read_bytes() == b"before\n" + b"".join(map(encode, [*alerts(2), *alerts(1)]))


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_is_made_for_its_group(umask: int, tmp_path: Path) -> None:
    """A new file has mode 0640, whatever the umask."""
    with mask(umask):
        FileSink(tmp_path / "alerts", encoder("json")).close()
    assert stat.S_IMODE((tmp_path / "alerts").stat().st_mode) == 0o640


def test_goes_on_after_rotation(alerts: Alerts, tmp_path: Path) -> None:
    """Until told otherwise it writes to the file it has; then to the one that has the name."""
    path, old = tmp_path / "alerts", tmp_path / "alerts.1"
    first, second, third = alerts(3)
    with closing(FileSink(path, encoder("json"))) as sink:
        sink.write([first])
        path.rename(old)
        sink.write([second])
        sink.reopen()
        sink.write([third])
    assert (ids(old), ids(path)) == (["9f2c:0", "9f2c:1"], ["9f2c:2"])


def test_keeps_the_old_file_where_there_is_no_new_one(alerts: Alerts, tmp_path: Path) -> None:
    """If the name cannot be opened anew, that is said, and nothing is lost."""
    path, old = tmp_path / "alerts", tmp_path / "old"
    with closing(FileSink(path, encoder("json"))) as sink:
        path.rename(old)
        path.mkdir()
        with pytest.raises(OSError, match="Is a directory"):
            sink.reopen()
        sink.write(alerts(1))
    assert ids(old) == ["9f2c:0"]


def test_links_of_ones_own_are_followed(alerts: Alerts, tmp_path: Path) -> None:
    """A link that we made leads where we wanted."""
    (tmp_path / "target").touch(0o600)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with closing(FileSink(tmp_path / "link", encoder("json"))) as sink:
        sink.write(alerts(1))
    assert ids(tmp_path / "target") == ["9f2c:0"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a link that is somebody else's")
def test_links_of_others_are_not(tmp_path: Path) -> None:
    """A link that somebody else laid there is refused, and its target not touched."""
    (tmp_path / "target").touch(0o600)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.lchown(tmp_path / "link", 65534, 65534)
    with pytest.raises(ConfigError, match=r"Alerts cannot be written to .*symbolic links"):
        FileSink(tmp_path / "link", encoder("json"))


def test_what_others_may_write_is_refused(tmp_path: Path) -> None:
    """A file that everybody may write is no place for alerts."""
    path = tmp_path / "alerts"
    path.touch()
    path.chmod(0o666)
    with pytest.raises(ConfigError, match=r"everybody may write it\. If what is in it is yours, run: chown"):
        FileSink(path, encoder("json"))


def test_only_files(tmp_path: Path) -> None:
    """A pipe is refused at once: opening it must not wait for a reader. So is a folder that is not there."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="it is no regular file"):
        FileSink(tmp_path / "pipe", encoder("json"))
    with pytest.raises(ConfigError, match=r"Alerts cannot be written to .*No such file or directory"):
        FileSink(tmp_path / "none" / "alerts", encoder("json"))


def test_a_full_disk(alerts: Alerts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What did not fit is told with how many are lost; what comes next stands on a line of its own."""
    path, room, write = tmp_path / "alerts", [1500], os.write

    def full(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(descriptor, data[: room[0]])
        room[0] -= written
        return written

    with closing(FileSink(path, encoder("json"))) as sink:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left on device; 2 alerts are lost"):
            sink.write(alerts(3))
        with pytest.raises(OSError, match="No space left on device; 1 alert is lost"):
            sink.write(alerts(1))
        assert sink.health().lost == 3
        room[0] = 1 << 20
        sink.write(alerts(5)[3:])
    assert ids(path) == ["9f2c:0", "9f2c:3", "9f2c:4"]


def test_a_line_cut_before_we_came(alerts: Alerts, tmp_path: Path) -> None:
    """A file that ends within a line, after a crash, is gone on in the next."""
    path = tmp_path / "alerts"
    path.write_bytes(b'{"id": "cut')
    with closing(FileSink(path, encoder("json"))) as sink:
        sink.write(alerts(1))
    assert path.read_bytes().startswith(b'{"id": "cut\n{')
    assert ids(path) == ["9f2c:0"]
