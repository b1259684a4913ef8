"""Replaying what was logged gives the table."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from anomaly.recording.differential import Changes, Differential, Growing
from anomaly.recording.rows import Row, row

ROWS = st.lists(st.sampled_from([row(name=name) for name in "abcd"]), max_size=6)


@given(st.lists(ROWS, min_size=1, max_size=8))
def test_replaying_the_changes_gives_the_last_table(tables: list[list[Row]]) -> None:
    """Added and removed rows, laid onto nothing, give each table in turn, however often a row occurs."""
    differential = Differential()
    held: Counter[Row] = Counter()
    for table in tables:
        for verb, each in differential.update(table).rows():
            held[each] += 1 if verb == "added" else -1
            assert held[each] >= 0
        assert +held == Counter(table)


@given(st.lists(ROWS, min_size=1, max_size=8))
def test_only_runs_with_changes_are_counted(tables: list[list[Row]]) -> None:
    """The first run has counter 0, and each later run that found a change the next number."""
    differential = Differential()
    found = [differential.update(table) for table in tables]
    assert found[0].counter == 0
    for before, now in pairwise(found):
        assert now.counter - before.counter == bool(now.added or now.removed)


def test_removed_rows_come_first_and_sorted() -> None:
    """The order is osquery's: removed by value, then added as the table has them."""
    differential = Differential()
    differential.update([row(name="c"), row(name="a"), row(name="a")])
    changes = differential.update([row(name="z"), row(name="b")])
    assert [(verb, dict(each)["name"]) for verb, each in changes.rows()] == [
        ("removed", "a"),
        ("removed", "a"),
        ("removed", "c"),
        ("added", "z"),
        ("added", "b"),
    ]


def test_an_empty_first_run_is_the_baseline() -> None:
    """What comes into a table that was empty at first is an action."""
    differential = Differential()
    assert differential.update([]) == Changes(0, (), ())
    assert differential.update([row(name="a")]).counter == 1


def test_events_have_no_baseline_and_histories_have() -> None:
    """A source of events begins with counter 1, one that begins with an inventory with 0."""
    one = [row(name="a")]
    events, history, empty = Growing(1), Growing(0), Growing(0)
    assert [events.update(rows).counter for rows in ([], one, [], one)] == [0, 1, 1, 2]
    assert [history.update(rows).counter for rows in (one, [], one)] == [0, 0, 1]
    assert [empty.update(rows).counter for rows in ([], one)] == [0, 1]
