"""Reading logs once, into one corpus per user."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from anomaly.corpus import Corpus
from anomaly.features.normalise import MAX_FIELDS
from anomaly.harvest import BATCH, MIN_ACTIONS, Harvest, Period, harvest
from anomaly.identity import Identities, keys
from anomaly.osquery import Parser
from anomaly.sources.interface import Line, Position, Source


class Lines(Source):
    """A source of lines in memory."""

    def __init__(self, lines: Iterable[bytes], file: str = "9f2c", **counters: int) -> None:
        self.lines = list(lines)
        self.file = file
        self.counters = Counter(counters)
        self.place = 0

    def read(self, limit: int, timeout: float) -> list[Line]:  # noqa: ARG002 - there is nothing to wait for
        """Return the next lines."""
        batch = [Line(data, self.file, 0) for data in self.lines[self.place :][:limit]]
        self.place += len(batch)
        return batch

    @property
    def position(self) -> Position:
        """How many lines were read."""
        return Position(self.file, self.place)

    @property
    def ended(self) -> bool:
        """Whether all lines were read."""
        return self.place >= len(self.lines)

    def close(self) -> None:
        """Release nothing."""


def row(host: str = "ws1", time: int = 5, **columns: str) -> bytes:
    """Write a result line."""
    return json.dumps(
        {
            "name": "q",
            "hostIdentifier": host,
            "unixTime": time,
            "counter": 3,
            "columns": columns,
            "action": "added",
        }
    ).encode()


def read(*sources: Source, user: str | None = None, period: Period | None = None) -> Harvest:
    """Harvest sources on a machine that knows no user."""
    parser = Parser(Identities(hostname="elsewhere", lookup=lambda _: None))
    return harvest(sources, parser, user=user, period=period or Period())


def names_in(corpus: Corpus) -> list[str]:
    """Give the values of the column ``name``, in the order of the corpus."""
    return [action.columns["name"] for _, action in corpus.actions()]


class TestNames:
    """Numbers become names, and names tell hosts apart where they must."""

    def test_a_number_becomes_the_name_the_log_shows_later(self) -> None:
        """Rows that only know a uid go to the name it turns out to have, in the order of the log."""
        log = [
            row(uid="1000", name="1"),
            row(username="alice", name="2"),
            row(uid="1000", name="3"),
            row(uid="1000", username="alice", name="4"),
            row(uid="1000", name="5"),
        ]
        found = read(Lines(log)).users
        assert {user: names_in(corpus) for user, corpus in found.items()} == {"alice": ["1", "2", "3", "4", "5"]}

    @pytest.mark.parametrize("place", [0, 1, 2, None])
    def test_numbered_rows_are_normalised_by_the_name_shown_later(self, place: int | None) -> None:
        """What a row says of the user's own home and name does not depend on when the log shows the name."""
        log = [
            row(uid="1000", auid="1000", euid="0", name=f"cp /home/alice/{n} /home/bob/alice") for n in range(3)
        ]
        if place is not None:
            log.insert(place, row(uid="1000", username="alice", name="x"))
        kept = names_in(next(iter(read(Lines(log)).users.values())))
        own = [f"cp ~/{n} ~other/{{user}}" if place is not None else f"cp ~/{n} ~/alice" for n in range(3)]
        assert [name for name in kept if name != "x"] == own

    @pytest.mark.parametrize("width", [3, 24, 60, 2000])
    def test_numbered_rows_keep_what_named_rows_keep(self, width: int) -> None:
        """However many columns a row has, it is kept as it would be if the name were known from the beginning."""
        columns: dict[str, Any] = {f"c{n:04}": str(n) for n in range(width)} | {
            "uid": "1000",
            "auid": "1000",
            "gid": "0",
        }
        late = [row(**columns), row(uid="1000", username="alice")]
        early = [row(uid="1000", username="alice"), row(**columns)]
        one, two = (read(Lines(log)).users["alice"] for log in (late, early))
        kept = [sorted(action.columns.items()) for _, action in one.actions()]
        assert kept == [sorted(action.columns.items()) for _, action in two.actions()][::-1]
        assert len(kept[0]) == min(width + 1, MAX_FIELDS)

    def test_a_number_without_a_name_stays_one(self) -> None:
        """What the log never names is called by its number."""
        assert list(read(Lines([row(uid="1001"), row(uid="1000", username="alice")])).users) == [
            "alice",
            "uid:1001",
        ]

    def test_a_stray_line_of_another_host_renames_nobody(self) -> None:
        """Where only one host has enough of a user to learn from, the user keeps the plain name there."""
        log = [row("ws1", username="alice", name=str(number)) for number in range(MIN_ACTIONS)]
        found = read(
            Lines([*log, row("evil", username="alice", name="x"), row("evil", username="zed", name="y")])
        ).users
        assert {user: len(corpus) for user, corpus in found.items()} == {
            "alice": MIN_ACTIONS,
            "alice@evil": 1,
            "zed": 1,
        }

    def test_a_name_with_enough_on_two_hosts_is_two_users(self) -> None:
        """Where two hosts have enough of a name to learn from, each is named by its host."""
        log = [row(f"ws{number % 2}", username="alice", name="x") for number in range(2 * MIN_ACTIONS)]
        assert list(read(Lines(log)).users) == ["alice@ws0", "alice@ws1"]

    def test_mixed_hosts_tell_users_apart(self) -> None:
        """One name on two hosts is two users, as is one number; where there is more of it, it stays plain."""
        log = [
            row("ws1", uid="1000", name="1"),
            row("ws2", uid="1000", name="2"),
            row("ws1", uid="1000", username="alice", name="3"),
            row("ws2", uid="1000", username="bob", name="4"),
            row("ws2", username="alice", name="5"),
            row("ws2", name="6"),
        ]
        found = read(Lines(log)).users
        assert {user: names_in(corpus) for user, corpus in found.items()} == {
            "alice": ["1", "3"],
            "alice@ws2": ["5"],
            "bob": ["2", "4"],
            "host:ws2": ["6"],
        }

    def test_one_host_is_not_told(self) -> None:
        """Where one host reports, its name is no part of the user's."""
        assert list(read(Lines([row("ws1", username="alice"), row("ws1")])).users) == ["alice", "host:ws1"]

    @pytest.mark.parametrize(
        ("columns", "named"), [({}, False), ({"username": "alice"}, True), ({"uid": "1000"}, True)]
    )
    def test_named_says_whether_any_row_names_its_user(self, columns: dict[str, str], *, named: bool) -> None:
        """One row with a name or a number is enough, even if it is not kept."""
        log = [row(), row(time=99, **columns), row()]
        assert read(Lines(log)).named is named
        assert read(Lines(log), user="carol", period=Period(until=50)).named is named


class TestOneUser:
    """Only what is asked for is held."""

    def test_the_nameless_and_the_numeric_are_kept(self) -> None:
        """Others by name are left out; a host and a number may turn out to be the user."""
        log = [row(username="alice"), row(username="bob"), row(uid="1001"), row()]
        assert list(read(Lines(log), user="alice").users) == ["alice", "host:ws1", "uid:1001"]

    def test_may_be_asked_for_with_the_host(self) -> None:
        """``alice@ws1`` is alice of that host alone."""
        log = [row("ws1", username="alice", name="1"), row("ws2", username="alice", name="2")]
        found = read(Lines(log), user="alice@ws1").users
        assert [names_in(corpus) for corpus in found.values()] == [["1"]]
        assert set(found) <= set(keys("ws1", "alice"))

    def test_nobody_else_is_mistaken(self) -> None:
        """A user whose name begins alike is another."""
        assert read(Lines([row(username="alice2"), row(username="al")]), user="alice").users == {}


class TestPeriod:
    """Part of the log."""

    @pytest.mark.parametrize(
        ("period", "kept"),
        [
            (Period(), ["10", "20", "30"]),
            (Period(since=20), ["20", "30"]),
            (Period(until=20), ["10"]),
            (Period(since=11, until=30), ["20"]),
            (Period(since=31), []),
        ],
    )
    def test_begins_with_since_and_ends_before_until(self, period: Period, kept: list[str]) -> None:
        """``since`` is in it and ``until`` is not."""
        log = [row(time=time, username="alice", name=str(time)) for time in (10, 20, 30)]
        assert [
            name for corpus in read(Lines(log), period=period).users.values() for name in names_in(corpus)
        ] == kept

    def test_a_row_without_a_time_lies_in_every_period(self) -> None:
        """What does not say when it was is not lost."""
        assert Period(since=10, until=11).holds(0)

    def test_numbers_are_learned_outside_of_it(self) -> None:
        """A row outside of the period still tells what a number is called."""
        log = [row(time=10, uid="1000"), row(time=99, uid="1000", username="alice")]
        assert list(read(Lines(log), period=Period(until=50)).users) == ["alice"]


class TestAccount:
    """What was read, and what was not."""

    def test_lines_without_an_action_are_counted_by_reason(self) -> None:
        """Each reason has its count, lines that were too long among them, and rotations not."""
        log = [b"", row(), b"nonsense", b"\0\0", b"severity=0 location=a.cpp:1 message=x"]
        found = read(Lines(log, too_long=2, rotations=5))
        assert found.skipped == Counter({"empty": 2, "too_long": 2, "not_json": 1, "status": 1})
        assert found.lines == 5

    def test_sources_are_read_one_after_the_other(self) -> None:
        """The order of actions goes on from one log to the next, and each log has its end."""
        first = Lines([row(uid="1000", name="1"), row(username="alice", name="2")], "aaaa")
        second = Lines([row(uid="1000", username="alice", name="3")], "bbbb")
        found = read(first, second)
        assert names_in(found.users["alice"]) == ["1", "2", "3"]
        assert [order for order, _ in found.users["alice"].actions()] == [1, 2, 3]
        assert found.ends == (Position("aaaa", 2), Position("bbbb", 1))

    def test_the_bytes_read_are_told(self) -> None:
        """After each batch its bytes are told, newlines included."""
        log = [row()] * (BATCH + 1)
        told: list[int] = []
        harvest([Lines(log)], Parser(Identities(lookup=lambda _: None)), read=told.append)
        assert told == [BATCH * (len(log[0]) + 1), len(log[0]) + 1]

    def test_no_source_is_no_harvest(self) -> None:
        """Nothing read is nothing found."""
        assert read() == Harvest({}, named=False, ends=(), skipped=Counter(), lines=0)
