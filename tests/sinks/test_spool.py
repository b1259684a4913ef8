from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anomaly.errors import StateLocked, StateRefused
from anomaly.sinks import spool as module
from anomaly.sinks.spool import Entry, Spool


def entries(number: int, size: int = 0, first: int = 0) -> list[Entry]:
    """Make entries, each with a key of its own."""
    return [Entry(str(place), "x" * size) for place in range(first, first + number)]


def drain(spool: Spool, most: int = 10**6) -> list[str]:
    """Take entries out, and give their keys."""
    keys: list[str] = []
    while len(keys) < most and (entry := spool.head()) is not None:
        keys.append(entry.key)
        spool.done()
    return keys


def test_in_order(tmp_path: Path) -> None:
    """Entries come out in their order, with what they were, however they went in."""
    with closing(Spool(tmp_path / "spool")) as spool:
        assert spool.append([Entry("a", 'body "é"'), Entry("b", "")]) == 0
        assert spool.append([Entry("c", "\n")]) == 0
        assert spool.waiting == 3
        assert spool.head() == Entry("a", 'body "é"')
        assert spool.head() == Entry("a", 'body "é"')
        assert drain(spool) == ["a", "b", "c"]
        assert (spool.head(), spool.waiting) == (None, 0)
        spool.append([Entry("d", "")])
        assert drain(spool) == ["d"]
    assert sorted(os.listdir(tmp_path / "spool")) == ["cursor", "lock"]


@pytest.mark.parametrize("done", [0, 1, 2, 5, 7])
def test_survives_a_restart(done: int, tmp_path: Path) -> None:
    """The next run goes on where this one stopped, within a segment too, and new entries come behind."""
    with closing(Spool(tmp_path)) as spool:
        spool.append(entries(2))
        spool.append(entries(5, first=2))
        drain(spool, done)
    with closing(Spool(tmp_path)) as spool:
        assert spool.waiting == 7 - done
        spool.append(entries(1, first=7))
        assert drain(spool) == [str(number) for number in range(done, 8)]


def test_a_crash_before_the_segment_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment of which all is done is not handed on again."""
    with closing(Spool(tmp_path)) as spool:
        spool.append(entries(2))
        monkeypatch.setattr(os, "unlink", lambda *_, **__: None)
        drain(spool)
        monkeypatch.undo()
    assert any(name.endswith(".seg") for name in os.listdir(tmp_path))
    with closing(Spool(tmp_path)) as spool:
        assert spool.waiting == 0
        spool.append(entries(1, first=2))
        assert drain(spool) == ["2"]


def test_a_half_written_segment_is_none(tmp_path: Path) -> None:
    """What was being written when the process was killed is not there, and in nobody's way."""
    Spool(tmp_path).close()
    (tmp_path / ".new").write_bytes(b'{"key":"a","bo')
    with closing(Spool(tmp_path)) as spool:
        assert spool.head() is None
        spool.append(entries(1))
        assert drain(spool) == ["0"]


def test_is_bounded(tmp_path: Path) -> None:
    """What would take more room than there is is refused: the last ones. Room that is given back is used."""
    with closing(Spool(tmp_path, room=1000)) as spool:
        assert spool.append(entries(10, size=100)) == 2
        assert spool.append(entries(1, size=100, first=10)) == 1
        assert drain(spool) == [str(number) for number in range(8)]
        assert spool.append(entries(1, size=100, first=11)) == 0
        assert drain(spool) == ["11"]


def test_segments_are_small(tmp_path: Path) -> None:
    """A burst is cut into segments, so that neither memory nor the disk holds it whole until its end."""
    with closing(Spool(tmp_path)) as spool:
        spool.append(entries(50, size=100_000))
        names = [name for name in os.listdir(tmp_path) if name.endswith(".seg")]
        assert len(names) == 5
        assert all((tmp_path / name).stat().st_size <= module.SEGMENT for name in names)
        assert drain(spool) == [str(number) for number in range(50)]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written is an error, and leaves nothing behind; what waits already comes out all the same."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with closing(Spool(tmp_path)) as spool:
        spool.append(entries(2))
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device"):
            spool.append(entries(1, first=2))
        monkeypatch.undo()
        assert not (tmp_path / ".new").exists()
        assert drain(spool) == ["0", "1"]


def test_refused_ones_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a receiver would not have is put aside with the reason, as far as there is room, and the next comes."""
    with closing(Spool(tmp_path)) as spool:
        spool.append(entries(3))
        assert spool.head() is not None
        assert spool.bury("HTTP 400")
        monkeypatch.setattr(module, "DEAD_ROOM", 10)
        assert spool.head() == Entry("1", "")
        assert not spool.bury("HTTP 400")
        assert drain(spool) == ["2"]
    kept = [json.loads(line) for line in (tmp_path / "refused.ndjson").read_bytes().splitlines()]
    assert kept == [{"refused": "HTTP 400", "entry": {"key": "0", "body": ""}}]


def test_one_process_alone(tmp_path: Path) -> None:
    """A second holder of the same spool is told so."""
    with closing(Spool(tmp_path)), pytest.raises(StateLocked, match="Another process delivers the alerts in"):
        Spool(tmp_path)


def test_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Directory and files can be read by nobody else; a directory that others may write is refused."""
    with closing(Spool(tmp_path / "a" / "b")) as spool:
        spool.append(entries(1))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a").rglob("*")}
    assert modes.pop("b") == 0o700
    assert set(modes.values()) == {0o600}
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(StateRefused, match="everybody may write it"):
        Spool(tmp_path / "open")
    (tmp_path / "file").touch()
    with pytest.raises(StateRefused, match="cannot be used for alerts that wait: "):
        Spool(tmp_path / "file")


@pytest.mark.parametrize("name", [module.CURSOR, module.LOCK])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path.parent / "no")])
def test_something_else_in_the_place_of_its_files(name: str, make: Callable[[Path], None], tmp_path: Path) -> None:
    """What stands where a file of a spool should be is refused by its path, with what to do."""
    make(tmp_path / name)
    with pytest.raises(StateRefused, match=rf"^{re.escape(str(tmp_path / name))} .*ove it away\.$"):
        Spool(tmp_path)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _scramble(path: Path) -> None:
    path.write_bytes(b"\xff\x00{}\n" + path.read_bytes())


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize("harm", [_cut, _scramble, _link, Path.unlink])
def test_a_damaged_segment(harm: Callable[[Path], None], tmp_path: Path) -> None:
    """Lines that are no entries are left out and counted; nothing behind them waits for that."""
    with closing(Spool(tmp_path)) as spool:
        spool.append(entries(1))
        spool.append(entries(1, first=1))
    harm(tmp_path / f"{1:020}.seg")
    with closing(Spool(tmp_path)) as spool:
        assert drain(spool)[-1] == "1"
        assert spool.damaged == (harm in {_cut, _scramble})


def test_a_segment_that_is_taken_away_meanwhile(tmp_path: Path) -> None:
    """Files that somebody deletes while they wait are counted, and do not stop what comes behind."""
    with closing(Spool(tmp_path)) as spool:
        for number in range(3):
            spool.append(entries(1, first=number))
        (tmp_path / f"{2:020}.seg").unlink()
        assert drain(spool) == ["0", "2"]
        assert spool.damaged == 1


@pytest.mark.parametrize(
    "cursor",
    [b"", b"x", b"\xff" * 100, b"0" * 20 + b" 5", f"{1:020} 000000000x".encode(), f"{1:020} 0000000099".encode()],
)
def test_a_damaged_cursor(cursor: bytes, tmp_path: Path) -> None:
    """A cursor that says nothing sensible costs repetition or nothing, never an error."""
    with closing(Spool(tmp_path)) as spool:
        spool.append(entries(2))
        spool.append(entries(1, first=2))
    (tmp_path / "cursor").write_bytes(cursor)
    with closing(Spool(tmp_path)) as spool:
        assert drain(spool) in (["0", "1", "2"], ["2"])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(st.integers(0, 4) | st.just("take") | st.just("restart"), max_size=20))
def test_any_order_of_things(tmp_path_factory: pytest.TempPathFactory, steps: list[int | str]) -> None:
    """However appending, taking out and restarting follow each other, each entry comes out once, in order."""
    place, sent, came = tmp_path_factory.mktemp("spool"), 0, list[str]()
    spool = Spool(place)
    for step in steps:
        if step == "restart":
            spool.close()
            spool = Spool(place)
        elif step == "take":
            came += drain(spool, 1)
        else:
            assert isinstance(step, int)
            spool.append(entries(step, first=sent))
            sent += step
        assert spool.waiting == sent - len(came)
    came += drain(spool)
    spool.close()
    assert came == [str(number) for number in range(sent)]
