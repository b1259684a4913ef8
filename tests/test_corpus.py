"""A user's actions, held as numbers."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.corpus import IDENTITY_COLUMNS, MAX_FIELDS, Corpus, informative
from anomaly.osquery import Action

ACTIONS = st.lists(
    st.builds(
        Action,
        time=st.integers(0, 2**33),
        host=st.just("ws1"),
        user=st.just(""),
        query=st.sampled_from(("crontab", "processes", "")),
        verb=st.sampled_from(("added", "removed")),
        columns=st.dictionaries(st.sampled_from("abc"), st.sampled_from(("", "x", "y", "\udc80")), max_size=3),
        baseline=st.booleans(),
    ),
    max_size=20,
)


def action(query: str = "processes", time: int = 5, **columns: str) -> Action:
    """Make an action of alice's."""
    return Action(time=time, host="ws1", user="alice", query=query, verb="added", columns=columns)


def corpus_of(*actions: Action) -> Corpus:
    """Make a corpus of actions, numbered from 0."""
    corpus = Corpus()
    for order, one in enumerate(actions):
        corpus.append(order, one)
    return corpus


@given(ACTIONS)
def test_keeps_what_it_was_given(actions: list[Action]) -> None:
    """The actions come out as they went in, with their numbers."""
    corpus = corpus_of(*actions)
    assert list(corpus.actions()) == list(enumerate(actions))
    assert len(corpus) == len(actions)


@given(ACTIONS)
def test_rows_are_the_actions_as_arrays(actions: list[Action]) -> None:
    """The arrays tell of each action its time and kind, and of each pair its field and value."""
    corpus = corpus_of(*actions)
    rows = corpus.rows()
    kinds, fields = list(corpus.kinds), list(corpus.fields)
    assert rows.time.tolist() == [one.time for one in actions]
    assert rows.baseline.tolist() == [one.baseline for one in actions]
    assert [kinds[kind] for kind in rows.kind] == [(one.query, one.verb) for one in actions]
    assert (np.diff(rows.action) >= 0).all()
    pairs = [
        (int(number), *fields[field], list(corpus.values[field])[value])
        for number, field, value in zip(rows.action, rows.field, rows.value, strict=True)
    ]
    assert pairs == [
        (number, one.query, column, value)
        for number, one in enumerate(actions)
        for column, value in one.columns.items()
    ]


def test_a_value_is_kept_once() -> None:
    """What comes a thousand times takes the room of one value, however long."""
    corpus = corpus_of(*(action(path="/x" * 500) for _ in range(1000)))
    assert corpus.values == [{"/x" * 500: 0}]


def test_rows_do_not_follow_the_corpus() -> None:
    """What is appended later is not in the rows that were taken before."""
    corpus = corpus_of(action(name="ls"))
    rows = corpus.rows()
    corpus.append(1, action(name="git"))
    assert rows.time.tolist() == [5]
    assert rows.value.tolist() == [0]


class TestInformative:
    """Which columns are looked at."""

    def test_identity_is_left_out(self) -> None:
        """Who acted is no part of what they did, and the user's number may be."""
        columns = {"username": "alice", "name": "ls", "user": "alice", "auid": "1000", "uid": "0"}
        assert informative(columns) == [("name", "ls"), ("uid", "0")]

    def test_so_many_are_looked_at(self) -> None:
        """The first MAX_FIELDS columns are looked at, not counting those left out."""
        columns = {**dict.fromkeys(sorted(IDENTITY_COLUMNS), "alice"), **{f"c{n}": "x" for n in range(1000)}}
        assert informative(columns) == [(f"c{n}", "x") for n in range(MAX_FIELDS)]
        corpus = corpus_of(Action(5, "ws1", "alice", "processes", "added", columns))
        assert len(corpus.fields) == len(corpus.rows().field) == MAX_FIELDS


class TestMerge:
    """Several corpora that turn out to be one user's."""

    @settings(deadline=None)
    @given(ACTIONS, st.randoms(use_true_random=False))
    def test_gives_what_one_corpus_would_have_been(self, actions: list[Action], chance: Random) -> None:
        """However the log's actions were spread, merging puts them in the log's order, to the same fingerprint."""
        parts = [Corpus(), Corpus(), Corpus()]
        for order, one in enumerate(actions):
            chance.choice(parts).append(order, one)
        merged = Corpus.merge(parts)
        assert list(merged.actions()) == list(enumerate(actions))
        assert merged.fingerprint() == corpus_of(*actions).fingerprint()

    def test_keeps_the_hosts(self) -> None:
        """A merged corpus comes from all the hosts of its parts."""
        other = Corpus()
        other.append(1, Action(time=1, host="ws2", user="alice", query="q", verb="added", columns={}))
        assert Corpus.merge([corpus_of(action()), other]).hosts == {"ws1", "ws2"}


class TestFingerprint:
    """The hash of everything that was learned from."""

    def test_is_the_same_for_the_same_actions(self) -> None:
        """The number of an action in the log is no part of it, nor is who acted."""
        one, other = corpus_of(action(name="ls")), Corpus()
        other.append(
            77,
            Action(time=5, host="ws1", user="uid:1000", query="processes", verb="added", columns={"name": "ls"}),
        )
        assert one.fingerprint() == other.fingerprint()

    @pytest.mark.parametrize(
        "other",
        [
            [action(name="ls"), action(name="git")],
            [action(name="git"), action(name="ls"), action(name="ls")],
            [action(name="ls"), action(name="git"), action(name="git")],
            [action(name="ls"), action(name="git"), action(name="ls", time=6)],
            [action(name="ls"), action(name="git"), action(path="ls")],
            [action(name="ls"), action(name="git"), action("crontab", name="ls")],
            [action(name="ls"), action(name="gi"), action(name="ls")],
            [
                action(name="ls"),
                action(name="git"),
                Action(time=5, host="", user="", query="processes", verb="removed", columns={"name": "ls"}),
            ],
            [
                action(name="ls"),
                action(name="git"),
                Action(5, "", "", "processes", "added", {"name": "ls"}, baseline=True),
            ],
        ],
    )
    def test_changes_with_the_content(self, other: list[Action]) -> None:
        """An action more, less, later, in another order, of another kind or with another value changes it."""
        corpus = corpus_of(action(name="ls"), action(name="git"), action(name="ls"))
        assert corpus.fingerprint() != corpus_of(*other).fingerprint()

    def test_does_not_run_values_together(self) -> None:
        """Where one value ends and the next begins is part of it."""
        found = [corpus_of(action(a=a), action(a=b)).fingerprint() for a, b in (("x', 'y", "z"), ("x", "y', 'z"))]
        assert all(one != other for one, other in pairwise(found))


def test_merging_may_take_only_the_last_actions() -> None:
    """With ``most``, each corpus gives its last actions, and they are merged in the order of the log."""
    first, second = Corpus(), Corpus()
    for order in range(10):
        action = Action(order, "h", "u", "q", "added", {"name": str(order)})
        (first if order % 2 else second).append(order, action)
    merged = Corpus.merge([first, second], most=2)
    assert [action.columns["name"] for _, action in merged.actions()] == ["6", "7", "8", "9"]
