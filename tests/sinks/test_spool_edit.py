"""Alerts of one user are found in spools and taken out, and the others are delivered as if nothing had been."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from anomaly.errors import StateLocked
from anomaly.records import Alert
from anomaly.sinks.formats import FORMATS, encoder
from anomaly.sinks.spool import Entry, Spool
from anomaly.sinks.spool_edit import find, held, is_of, spools, take_out

Alerts = Callable[[int], list[Alert]]


def of(alert: Alert, user: str, host: str = "ws1") -> Alert:
    """Give the alert as one of somebody else."""
    columns = {"username": user, "command": "nmap -sS"}
    action = msgspec.structs.replace(alert.worst.action, user=user, host=host, columns=columns)
    worst = msgspec.structs.replace(alert.worst, action=action)
    return msgspec.structs.replace(alert, user=user, host=host, worst=worst)


def entry(alert: Alert, form: str = "json") -> Entry:
    """Give an alert as a webhook's spool has it."""
    return Entry(alert.id, encoder(form)(alert).decode().rstrip("\n"))


@pytest.fixture
def spool(alert: Alert, tmp_path: Path) -> Path:
    """Give a spool: alice's and bob's alerts by turns, one delivered, two refused, three waiting."""
    where = tmp_path / "spool" / "log" / "0123"
    with closing(Spool(where)) as made:
        made.append([entry(of(alert, user)) for user in ("alice", "bob", "alice", "bob", "alice", "bob")])
        assert made.head()
        made.done()
        made.bury("HTTP 403")
        made.bury("HTTP 403")
        made.append([entry(of(alert, "alice"))])
    return where


def waiting(spool: Path) -> list[str]:
    """Deliver all, and tell whose they were."""
    users = []
    with closing(Spool(spool)) as opened:
        assert opened.damaged == 0
        while (head := opened.head()) is not None:
            users.append(json.loads(head.body)["user"])
            opened.done()
        assert opened.damaged == 0
    return users


@pytest.mark.parametrize("form", FORMATS)
def test_whose_it_is_in_every_format(form: str, alert: Alert) -> None:
    """By the name, or by the name on a host; a name that only begins alike, or stands in a command, is not it."""
    line = msgspec.json.encode(entry(of(alert, "al", "db"), form))
    refused = b'{"refused":"HTTP 403","entry":%b}' % line
    for written in (line, refused):
        assert is_of(written, "al")
        assert is_of(written, "al@db")
        assert not any(is_of(written, other) for other in ("alice", "a", "al@ws1", "nmap", "db", "None"))


def test_what_cannot_be_read_goes_if_it_names_the_user() -> None:
    """A torn entry, and one of another shape, are erased rather than kept."""
    for line in (
        b'{"key":"x","body":"{\\"user\\":\\"alice',
        b"[]alice",
        b'{"key":"alice"}',
        b'{"body":3,"x":"alice"}',
    ):
        assert is_of(line, "alice")
        assert not is_of(line, "bob")
    assert not is_of(b'{"key":"x","body":"[]"}', "alice")


def test_the_user_is_taken_out_and_the_others_are_delivered(spool: Path) -> None:
    """What waits and what was refused goes; of others nothing is lost, and nothing comes twice."""
    found = find(spool, "alice")
    assert [(path.name, count) for path, count in found] == [
        ("00000000000000000001.seg", 3),
        ("00000000000000000002.seg", 1),
        ("refused.ndjson", 1),
    ]
    with held(spool):
        for path, _ in found:
            take_out(path, "alice")
    assert find(spool, "alice") == []
    assert not any(b"alice" in path.read_bytes() for path in spool.iterdir())
    assert sorted(path.name for path in spool.iterdir() if path.suffix == ".seg") == ["00000000000000000001.seg"]
    assert waiting(spool) == ["bob", "bob"]


def test_a_crash_before_the_segment_is_written_repeats(spool: Path) -> None:
    """If only the cursor was set back, all of the segment is delivered again, and none is lost."""
    (spool / "cursor").write_bytes(b"%020d %010d" % (1, 0))
    take_out(spool / "00000000000000000001.seg", "alice")
    assert waiting(spool) == ["bob", "bob", "bob", "alice"]


def test_what_comes_later_is_delivered(spool: Path, alert: Alert) -> None:
    """After everything has gone, new entries are not taken for old ones that are done."""
    for user in ("alice", "bob"):
        for path, _ in find(spool, user):
            take_out(path, user)
    with closing(Spool(spool)) as opened:
        assert opened.waiting == 0
        opened.append([entry(of(alert, "carol"))])
    assert waiting(spool) == ["carol"]


def test_spools_are_held(spool: Path) -> None:
    """They are found by their locks, and while one is delivered from nobody else holds it."""
    root = spool.parents[1]
    assert spools(root) == [spool]
    assert spools(root / "none") == []
    with closing(Spool(spool)), pytest.raises(StateLocked), held(spool):
        raise AssertionError


def test_a_link_is_not_followed(spool: Path) -> None:
    """A file that is no file of ours is named, and nothing is read through it."""
    (spool / "refused.ndjson").unlink()
    (spool / "refused.ndjson").symlink_to(spool / "cursor")
    with pytest.raises(ValueError, match=r"refused\.ndjson cannot be searched: it cannot be opened"):
        find(spool, "alice")
