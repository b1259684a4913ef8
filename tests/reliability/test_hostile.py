"""Lines that nobody should write: each costs at most one counter, and the next one is scored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Event
    from tests.reliability.conftest import Lines, Place, Start

DEEP = 100_000

NOTHING_TO_READ: dict[str, list[bytes]] = {
    "too_long": [b"x" * (1 << 20) + b"y", b'{"big":"' + b"A" * (3 << 19) + b'"}'],
    "empty": [b"", b"\r", b"\0" * 64, b" \t "],
    "not_json": [
        b"not json at all",
        b"\xff\xfe\xc3\x28",
        b"\x1b]0;pwned\x07\x1b[2J",
        b"<14>Nov 26 host app: hello",
    ],
    "too_deep": [b'{"a":' * DEEP, b'{"columns":{"a":' + b"[" * DEEP + b"]" * DEEP + b'},"action":"added"}'],
}
NO_RESULT: dict[str, list[bytes]] = {
    "not_a_result": [b'{"a": 1}', b"7", b'{"name":"x","unixTime":1}'],
    "truncated": [b'{"name":"pack_user_behavior_shell_history","columns":{"command":"l'],
    "bad_record": [
        b'{"name":"x","columns":{"a":"b"},"action":"exploded"}',
        b'{"name":"x","columns":7,"action":"added"}',
    ],
    "no_rows": [b'{"name":"x","diffResults":{"removed":[],"added":[]}}'],
}


@pytest.mark.parametrize("lines_of", [NOTHING_TO_READ, NO_RESULT], ids=["nothing to read", "no result"])
def test_a_line_that_reports_nothing_costs_one_counter(
    lines_of: dict[str, list[bytes]], place: Place, start: Start, actions_of: Lines
) -> None:
    """After each line that cannot be read the next is scored; how many there were, and why, is in the summary."""
    good = iter(actions_of(*(f"make {number}" for number in range(40))))
    place.append(next(good))
    daemon = start()
    daemon.until_records(1)
    total = 0
    for lines in lines_of.values():
        for line in lines:
            total += 1
            place.append(line, next(good))
            daemon.until_records(1 + total)
    assert daemon.stop() == 0
    assert [record["columns"]["command"] for record in daemon.records] == [f"make {n}" for n in range(total + 1)]
    summary = " ".join(daemon.said.split())  # it may be of several lines
    assert f"{total} lines skipped: " in summary
    for reason, lines in lines_of.items():
        assert f"{reason} {len(lines)}" in summary
    assert "Traceback" not in daemon.said


def test_a_flood_of_bad_lines_does_not_flood_the_journal(place: Place, start: Start, actions_of: Lines) -> None:
    """While it follows, what is skipped is said at most once a minute, however much comes."""
    good = iter(actions_of(*["ls"] * 40))
    daemon = start()
    for number in range(30):
        place.append(*[b"not json at all"] * 10, b"x" * (1 << 20) + b"y", next(good))
        daemon.until_records(number + 1)
    assert len(daemon.said.splitlines()) <= 4  # that it waits for the log, and of either kind
    assert daemon.stop() == 0
    assert "330 lines skipped: not_json 300, too_long 30" in " ".join(daemon.said.split())


STRANGE = {
    "glued": b"%s%s",
    "after a cut one": b'{"name":"pack_user_behavior_shell_history","columns":{"comm%s',
    "after a prefix": b"<14>Nov 26 10:00:00 ws1 osqueryd: %s",
    "with a carriage return": b"%s\r",
}


@pytest.mark.parametrize("kind", STRANGE)
def test_a_record_in_a_broken_line_is_found(kind: str, place: Place, start: Start, actions_of: Lines) -> None:
    """Records that are glued to something are scored each, under ids that differ, and so is the next line."""
    hidden = actions_of("git diff", "pytest -q")[: STRANGE[kind].count(b"%s")]
    place.append(STRANGE[kind] % tuple(hidden), *actions_of("make test"))
    daemon = start("--no-follow")
    assert daemon.end() == 0
    records = daemon.records
    expected = ["git diff", "pytest -q"][: len(hidden)]
    assert [record["columns"]["command"] for record in records] == [*expected, "make test"]
    assert len(set(daemon.ids)) == len(daemon.ids)
    assert None not in [record["score"] for record in records]


LS = b'"command": "ls"'
TIME = b'"unixTime": 1796000000'
VALUES: list[tuple[bytes, bytes]] = [
    (b'"counter": 7', b'"counter": NaN'),
    (b'"counter": 7', b'"counter": -Infinity'),
    (b'"counter": 7', b'"counter": ' + b"9" * 5000),
    (TIME, b'"unixTime": NaN'),
    (TIME, b'"unixTime": ' + b"9" * 5000),
    (TIME, b'"unixTime": -1e400'),
    (TIME, b'"unixTime": {"a": [1]}'),
    (b'"ws1"', b'"\\ud800"'),
    (b'"ws1"', b'"' + b"h" * 100_000 + b'"'),
    (LS, b'"command": "ls \\udfff\\ud800"'),
    (LS, b'"command": "ls \xff\xfe\xc3\x28"'),
    (LS, b'"command": "ls \x1b]0;pwned\x07\x1b[2J"'),
    (LS, b'"command": "ls \\u001b[2J\\u009b\\u202e\\u2028\\u007f"'),
    (LS, b'"command": "ls \0"'),
    (LS, b'"command": ' + b"[" * 500 + b"]" * 500),
    (LS, b'"command": "' + b"x" * 1_000_000 + b'"'),
    (LS, b'"command": "ls", "' + b"k" * 100_000 + b'": "v"'),
    (LS, b", ".join(b'"c%d": "v"' % n for n in range(20_000))),
]


def test_a_hostile_value_is_scored_like_any_other(place: Place, start: Start, event: Event) -> None:
    """A result with a value that no osquery should write is one ASCII record, scored, and so is the next line."""
    line = event(time=1_796_000_000, command="ls")
    for number, (old, new) in enumerate(VALUES):
        assert old in line
        place.append(line.replace(old, new), event(time=1_796_000_060, command=f"make {number}"))
    daemon = start("--no-follow")
    assert daemon.end() == 0
    assert "Traceback" not in daemon.said
    found = daemon.out.read_bytes().splitlines()
    assert len(found) == 2 * len(VALUES)
    for number, (_, new) in enumerate(VALUES):
        hostile, good = found[2 * number : 2 * number + 2]
        assert all(32 <= byte < 127 for byte in hostile), new[:40]
        assert json.loads(hostile)["score"] is not None, new[:40]
        assert json.loads(good)["columns"]["command"] == f"make {number}"


def test_hostile_values_are_escaped_in_text(place: Place, start: Start, event: Event) -> None:
    """What is written for people holds no control character of the log's but the ends of its own lines."""
    hostile = "nc \x1b]0;pwned\x07\x1b[2J\x9b\u202e\u2028[/red] \r\n"
    place.append(*(event(f"user{hostile}", command=f"{hostile}{n}", cwd=hostile) for n in range(5)))
    place.append(*(event(command=f"{hostile}{n}", cwd=f"{n}{hostile}") for n in range(20)))
    daemon = start("--no-follow", "--format", "text")
    assert daemon.end() == 0
    shown = daemon.out.read_bytes().decode("utf-8")
    assert "pwned" in shown
    assert not [
        character for character in shown + daemon.said if character != "\n" and not character.isprintable()
    ]
