"""A line is osquery's, and tells that it is not osquery's."""

from __future__ import annotations

import json
import time

import pytest

from anomaly.identity import Identities
from anomaly.osquery import Action, Parser
from anomaly.recording.lines import is_recorded, line
from anomaly.recording.rows import row

MOMENT = 1_793_585_624


def one(**columns: str | int) -> bytes:
    """Write a line."""
    return line("ws1", "processes", MOMENT, 3, "added", row(**columns))


def test_the_keys_are_those_of_osquery_in_its_order() -> None:
    """What the filesystem logger writes, with numbers as it has them and every column a string."""
    found = json.loads(one(name="sh", uid=1000))
    assert list(found) == [
        *("name", "hostIdentifier", "calendarTime", "unixTime", "epoch", "counter", "numerics", "decorations"),
        *("columns", "action"),
    ]
    assert found["calendarTime"] == "Mon Nov  2 02:13:44 2026 UTC"
    assert time.strptime(found["calendarTime"], "%a %b %d %H:%M:%S %Y UTC")
    assert found["columns"] == {"name": "sh", "uid": "1000"}
    assert (found["unixTime"], found["epoch"], found["counter"], found["numerics"]) == (MOMENT, 0, 3, False)


def test_it_is_compact_and_one_line() -> None:
    """Like osquery's: no spaces, text as UTF-8, one newline at its end."""
    found = one(name="é\n")
    assert b'"columns":{"name":"\xc3\xa9\\\\x0A"}' in found
    assert found.count(b"\n") == 1
    assert found.endswith(b"}\n")


@pytest.mark.parametrize(("counter", "baseline"), [(0, True), (1, False)])
def test_the_parser_reads_it(counter: int, *, baseline: bool) -> None:
    """The reader that knows osquery makes an action of it, with user, host and baseline."""
    text = line("ws1", "processes", MOMENT, counter, "removed", row(name="sh", uid=1000, username="alice"))
    columns = {"name": "sh", "uid": "1000", "username": "alice"}
    assert Parser(Identities(hostname="")).parse(text.rstrip(b"\n")) == [
        Action(MOMENT, "ws1", "alice", "processes", "removed", columns, baseline)
    ]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"x",
        b"[]",
        b"1",
        b"[" * 100_000,
        b'{"hostIdentifier":"ws1"}',
        b'{"hostIdentifier":"ws1","decorations":[]}',
        b'{"hostIdentifier":"ws1","decorations":{"host_uuid":"1"}}',
        b'{"hostIdentifier":"ws2","decorations":{"recorder":"anomaly record"}}',
    ],
)
def test_other_lines_are_not_taken_for_ours(text: bytes) -> None:
    """Osquery's lines, other machines' and anything else are told from a recording."""
    assert not is_recorded(text, "ws1")
    assert is_recorded(one(name="sh"), "ws1")
