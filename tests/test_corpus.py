"""A user's actions, held as numbers."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.corpus import Corpus
from anomaly.features.normalise import MAX_FIELDS, NAME_COLUMNS, normalise
from anomaly.osquery import Action

ACTIONS = st.lists(
    st.builds(
        Action,
        time=st.integers(0, 2**33),
        host=st.just("ws1"),
        user=st.just(""),
        query=st.sampled_from(("crontab", "processes", "")),
        verb=st.sampled_from(("added", "removed")),
        columns=st.dictionaries(
            st.sampled_from(("c", "b", "a", "auid", "uid", "euid", "gid")),
            st.sampled_from(("", "x", "\udc80", "0", "1000", "/home/alice/x")),
            max_size=4,
        ),
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


def normalised(actions: list[Action]) -> list[Action]:
    """Return actions as a corpus keeps them."""
    return [msgspec.structs.replace(one, columns=normalise(one)) for one in actions]


@given(ACTIONS)
def test_actions_are_those_appended_normalised(actions: list[Action]) -> None:
    """The actions come out in their order, with their numbers, without what says whose account it is."""
    corpus = corpus_of(*actions)
    assert list(corpus.actions()) == list(enumerate(normalised(actions)))
    assert len(corpus) == len(actions)


@given(ACTIONS)
def test_distinct_rows_share_a_key_if_they_are_equal(actions: list[Action]) -> None:
    """Rows are equal if their keys are, and a row's columns are made from its key, ordered by name."""
    rows = list(corpus_of(*actions).distinct_rows())
    kept = [(one.query, one.verb, one.columns) for one in normalised(actions)]
    assert [(query, verb, columns()) for _, query, verb, columns in rows] == kept
    for one, kept_one in zip(rows, kept, strict=True):
        assert list(one[3]()) == sorted(kept_one[2])
        for other, kept_other in zip(rows, kept, strict=True):
            assert (one[0] == other[0]) is (kept_one == kept_other)


@given(ACTIONS)
def test_rows_hold_the_actions_as_arrays(actions: list[Action]) -> None:
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
        for number, one in enumerate(normalised(actions))
        for column, value in one.columns.items()
    ]


def test_append_keeps_a_value_once() -> None:
    """What comes a thousand times takes the room of one value, however long."""
    corpus = corpus_of(*(action(path="/x" * 500) for _ in range(1000)))
    assert corpus.values == [{"/x" * 500: 0}]


def test_rows_do_not_change_with_the_corpus() -> None:
    """What is appended later is not in the rows that were taken before."""
    corpus = corpus_of(action(name="ls"))
    rows = corpus.rows()
    corpus.append(1, action(name="git"))
    assert rows.time.tolist() == [5]
    assert rows.value.tolist() == [0]


class TestAppend:
    """What is kept of an action."""

    def test_append_leaves_identity_out(self) -> None:
        """Who acted is no part of what they did; as whom they acted is."""
        corpus = corpus_of(action(username="alice", user="alice", auid="1000", uid="0", path="/home/alice/x"))
        ((_, kept),) = corpus.actions()
        assert kept.columns == {"path": "~/x", "uid": "root"}
        assert kept.user == ""

    def test_append_of_another_account_keeps_the_same(self) -> None:
        """What two users do in the same way on two hosts has one fingerprint."""
        rows = [
            Action(
                5, host, user, "q", "added", {"username": user, "auid": uid, "uid": uid, "cwd": f"/home/{user}"}
            )
            for user, host, uid in (("alice", "ws1", "1000"), ("bob", "ws2", "1873"))
        ]
        assert corpus_of(rows[0]).fingerprint() == corpus_of(rows[1]).fingerprint()

    def test_append_keeps_so_many_columns(self) -> None:
        """The first MAX_FIELDS columns by name are kept, not counting those left out."""
        columns = {**{f"c{n:04}": "x" for n in reversed(range(1000))}, **dict.fromkeys(NAME_COLUMNS, "alice")}
        corpus = corpus_of(Action(5, "ws1", "alice", "processes", "added", columns))
        assert list(corpus.fields) == [("processes", f"c{n:04}") for n in range(MAX_FIELDS)]
        assert len(corpus.rows().field) == MAX_FIELDS


class TestMerge:
    """Several corpora that turn out to be one user's."""

    @settings(deadline=None)
    @given(ACTIONS, st.randoms(use_true_random=False))
    def test_merge_gives_what_one_corpus_would_have_been(self, actions: list[Action], chance: Random) -> None:
        """However the log's actions were spread, merging puts them in the log's order, to the same fingerprint."""
        parts = [Corpus(), Corpus(), Corpus()]
        for order, one in enumerate(actions):
            chance.choice(parts).append(order, one)
        merged = Corpus.merge(parts)
        assert list(merged.actions()) == list(enumerate(normalised(actions)))
        assert merged.fingerprint() == corpus_of(*actions).fingerprint()

    def test_merge_keeps_root_visible(self) -> None:
        """A merged corpus still shows that somebody acted as root."""
        sudo = action(auid="1000", uid="0", euid="0", gid="0")
        ((_, kept),) = Corpus.merge([corpus_of(sudo)]).actions()
        assert kept.columns == {"euid": "root", "gid": "root", "uid": "root"}

    @settings(deadline=None)
    @given(ACTIONS, st.integers(0, 60))
    def test_merge_normalises_a_raw_corpus_as_the_user(self, actions: list[Action], width: int) -> None:
        """Actions kept before the user's name was known become what they would have been with it."""
        raw = Corpus(raw=True)
        wide = {f"{chr(97 + number % 26)}{number}": "/home/alice" for number in range(width)}
        actions = [msgspec.structs.replace(one, columns=wide | one.columns) for one in actions]
        for order, one in enumerate(actions):
            raw.append(order, msgspec.structs.replace(one, user="uid:1000"))
        expected = corpus_of(*(msgspec.structs.replace(one, user="alice") for one in actions))
        merged = Corpus.merge([raw], user="alice")
        assert list(merged.actions()) == list(expected.actions())
        assert merged.fingerprint() == expected.fingerprint()

    def test_merge_keeps_the_hosts(self) -> None:
        """A merged corpus comes from all the hosts of its parts."""
        other = Corpus()
        other.append(1, Action(time=1, host="ws2", user="alice", query="q", verb="added", columns={}))
        assert Corpus.merge([corpus_of(action()), other]).hosts == {"ws1", "ws2"}


class TestFingerprint:
    """The hash of everything that was learned from."""

    def test_fingerprint_of_the_same_actions_is_the_same(self) -> None:
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
    def test_fingerprint_changes_with_the_content(self, other: list[Action]) -> None:
        """An action more, less, later, in another order, of another kind or with another value changes it."""
        corpus = corpus_of(action(name="ls"), action(name="git"), action(name="ls"))
        assert corpus.fingerprint() != corpus_of(*other).fingerprint()

    def test_fingerprint_does_not_run_values_together(self) -> None:
        """Where one value ends and the next begins is part of it."""
        found = [corpus_of(action(a=a), action(a=b)).fingerprint() for a, b in (("x', 'y", "z"), ("x", "y', 'z"))]
        assert all(one != other for one, other in pairwise(found))


def test_merge_with_most_takes_only_the_last_actions() -> None:
    """With ``most``, each corpus gives its last actions, and they are merged in the order of the log."""
    first, second = Corpus(), Corpus()
    for order in range(10):
        action = Action(order, "h", "u", "q", "added", {"name": str(order)})
        (first if order % 2 else second).append(order, action)
    merged = Corpus.merge([first, second], most=2)
    assert [action.columns["name"] for _, action in merged.actions()] == ["6", "7", "8", "9"]
