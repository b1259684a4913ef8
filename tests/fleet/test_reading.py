from __future__ import annotations

import bz2
import gzip
import tracemalloc
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.fleet import reading
from anomaly.fleet.parcel import Entry, Parcel, in_order, unpack
from anomaly.fleet.reading import MODEL, STRANGER, STRANGERS, Known, Row, keys_by, read_file
from anomaly.osquery import Action, Parser
from anomaly.sources.tail import LogSource

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Event

ALL = keys_by("local", ["alice", "bob@ws2"])


def read(content: bytes, name: str = "file:/in/a.log") -> list[Row]:
    """Read a file."""
    return list(read_file(BytesIO(content), name, 1, Parser(Known(())), ALL))


def parcels(rows: list[Row]) -> list[Parcel]:
    """Return what actions came."""
    return [unpack(row.parcel) for row in rows if row.parcel is not None]


def test_events_are_called_as_they_are_locally(lines: list[bytes], tmp_path: Path) -> None:
    """An event has the id that the log's reader gives it, also out of an archive."""
    content = b"\n".join(lines[:50])
    log = tmp_path / "a.log"
    log.write_bytes(content)
    with LogSource(log, start="start", follow=False) as source:
        expected = set()
        while not source.ended:
            expected |= {f"{line.file}:{line.offset}" for line in source.read(100, timeout=0)}
    packed = {".gz": gzip.compress(content), ".bz2": bz2.compress(content), "": content}
    for suffix, data in packed.items():
        found = in_order(parcels(read(data, f"file:/in/a.log{suffix}")))
        assert {event for _, event, _ in found} == expected


def test_time_does_not_go_back_in_a_stream(event: Event) -> None:
    """A line that is dated before its predecessors stays behind them."""
    log = b"\n".join(event(time=time, command=str(time)) for time in (100, 50, 0, 120))
    ((parcel,),) = [parcels(read(log))]
    assert [entry.when for entry in parcel.entries] == [100, 100, 100, 120]
    assert [entry.action.time for entry in parcel.entries] == [100, 50, 0, 120]


def test_one_users_clock_is_not_anothers(event: Event) -> None:
    """Who is dated a year ahead ages nobody else in the stream; what has no time is of its predecessor's."""
    given = (("alice", 10**9), ("bob", 100), ("alice", 200), ("bob", 0), ("bob", 300), ("bob", 50))
    log = b"\n".join(event(user, time=time, command=str(time)) for user, time in given)
    times = {p.entries[0].action.user: [entry.when for entry in p.entries] for p in parcels(read(log))}
    assert times == {"alice": [10**9, 10**9], "bob": [100, 200, 300, 300]}


def test_what_cannot_be_read_is_counted(event: Event) -> None:
    """Each line that is no result, a line without end and a broken archive are counted by their reasons."""
    log = event() + b"\nno JSON\n\nseverity=0 location=a\n" + b"x" * (1 << 20) + b"x\n" + event()
    counts = {row.reason: row.number for row in read(log) if row.reason}
    assert counts == {"not_json": 1, "empty": 1, "status": 1, "too_long": 1}
    cut = gzip.compress(b"\n".join(event(command=str(number)) for number in range(1000)))[:-40]
    rows = read(cut, "file:/a.gz")
    assert {row.reason: row.number for row in rows if row.reason}[reading.BROKEN_ARCHIVE] == 1
    assert set(reading.REASONS) >= {row.reason for row in rows if row.reason}


@given(st.binary(max_size=300), st.sampled_from(["a", "a.gz", "a.zst", "a.bz2", "a.xz"]))
def test_no_file_does_harm(content: bytes, name: str) -> None:
    """Any bytes under any name are read to their end."""
    for row in read(content, name):
        assert row.number > 0


def test_many_actions_are_handed_on_by_pieces(event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more actions are held than may be, and none is lost."""
    monkeypatch.setattr(reading, "MOST", 10)
    log = b"\n".join(event(("alice", "bob")[number % 2], command=str(number)) for number in range(95))
    rows = read(log)
    assert sum(row.number for row in rows) == 95
    assert max(row.number for row in rows) <= 10


def test_many_bytes_are_handed_on_by_pieces(event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more bytes are held than may be, in lines that are long and in a line of many rows."""
    monkeypatch.setattr(reading, "ROOM", 10_000)
    long = [event(command=str(number) + "x" * 4000) for number in range(10)]
    batch = b'{"name":"q","hostIdentifier":"h","diffResults":{"added":[%b],"removed":[]}}'
    rows = read(
        b"\n".join([*long, batch % b",".join([b'{"username":"alice","command":"%b"}' % (b"x" * 900)] * 50)])
    )
    assert sum(row.number for row in rows) == 60
    assert max(len(row.parcel or b"") for row in rows) < 20_000


def test_a_file_is_not_read_ahead(event: Event) -> None:
    """What was read is handed on before the rest is: a file may be larger than the memory."""
    file = BytesIO(b"".join([event() + b"\n"] * 30_000))
    first = next(iter(read_file(file, "file:/in/a.log", 1, Parser(Known(())), ALL)))
    assert first.number == reading.MOST
    assert file.tell() < len(file.getvalue()) / 2


def test_an_archive_of_nothing_takes_no_memory() -> None:
    """What unpacks to a thousand times its size is one line that is too long, and none of it is held."""
    packed = gzip.compress(bytes(100 << 20), 1)
    tracemalloc.start()
    try:
        rows = read(packed, "file:/in/a.log.gz")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [(row.reason, row.number) for row in rows] == [("too_long", 1)]
    assert peak < 16 << 20


@pytest.mark.parametrize(
    ("kind", "host", "user", "key"),
    [
        ("local", "ws1", "alice", "alice"),
        ("local", "ws2", "bob", "bob@ws2"),
        ("local", "ws1", "bob", None),
        ("host", "ws1", "alice", None),
        ("host", "ws2", "bob", "bob@ws2"),
        ("host", "ws1", "host:ws1", "host:ws1"),
        ("user", "ws2", "bob", None),
        ("user", "ws2", "alice", "alice"),
    ],
)
def test_whose_model_judges(kind: str, host: str, user: str, key: str | None) -> None:
    """The more specific model is asked first, unless one kind alone is wanted; who has none shares a few keys."""
    found = keys_by(kind, ["alice", "bob@ws2", "host:ws1"])(host, user)
    assert found == f"{MODEL}{key}" if key else found.startswith(STRANGER)


def test_strangers_are_no_danger() -> None:
    """However many names a log has, strangers take a few keys, also with half characters in them."""
    assert {len({ALL(f"h\ud800{n}", "x") for n in range(5000)})} == {STRANGERS}


def test_a_line_names_nobody_for_another() -> None:
    """A number that is not known from training stays a number: what names it may be in another file."""
    parser = Parser(Known([{"web": {"7": "carol"}}]))
    line = b'{"name":"pack_p_processes","action":"added","hostIdentifier":"web","columns":{%b}}'
    users = []
    for columns in (b'"uid":"1000","username":"alice"', b'"uid":"1000"', b'"uid":"7"'):
        parsed = parser.parse(line % columns)
        assert isinstance(parsed, list)
        users += [action.user for action in parsed]
    assert users == ["alice", "uid:1000", "carol"]


def test_order_is_by_the_stream() -> None:
    """The ids of a line's further actions have a number."""
    rows = in_order([Parcel(0, "s", "f", [Entry(1, 5, 2, Action(1, "", "", "", "", {}))])])
    assert rows[0][1] == "f:5:2"
