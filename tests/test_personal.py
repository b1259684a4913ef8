"""One user's tokenizer out of everybody's: the tokens are everyone's, and what is counted is the user's."""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomaly.corpus import Corpus
from anomaly.detectors.counts_fit import first_tokens, occurrences
from anomaly.osquery import Action
from anomaly.personal import personal
from anomaly.tokenizer import Tokenizer
from anomaly.vocabulary import Head

VALUES = st.sampled_from(
    ("ls", "git status", "git diff", "git log -p", "/srv/a", "/srv/b", "/srv/c/d", "10.0.0.1", "10.0.0.2", "", "7")
)
ACTIONS = st.builds(
    Action,
    time=st.just(5),
    host=st.just("ws1"),
    user=st.just("alice"),
    query=st.sampled_from(("shell_history", "processes", "open_sockets")),
    verb=st.sampled_from(("added", "removed")),
    columns=st.dictionaries(st.sampled_from(("command", "path", "name", "mode")), VALUES, max_size=4),
)
LOGS = st.lists(ACTIONS, max_size=30)
CHANCE = st.randoms(use_true_random=False)


class Log(NamedTuple):
    """What alice and others did, and the vocabulary of all of them."""

    everyone: Tokenizer
    alice: Corpus

    def tokenizer(self, keep: NDArray[np.bool_] | None = None) -> Tokenizer:
        """Give alice's, by her actions that are kept."""
        return personal(self.everyone, self.alice, self.alice.rows(), keep)


def action(query: str = "shell_history", **columns: str) -> Action:
    """Make an action."""
    return Action(time=5, host="ws1", user="alice", query=query, verb="added", columns=columns)


def corpus_of(actions: list[Action]) -> Corpus:
    """Make a corpus of actions."""
    corpus = Corpus()
    for order, one in enumerate(actions):
        corpus.append(order, one)
    return corpus


def log_of(alice: list[Action], others: list[Action]) -> Log:
    """Fit the vocabulary of everyone."""
    merged = corpus_of([*alice, *others])
    return Log(Tokenizer.fit(merged, merged.rows(), salt=9), corpus_of(alice))


def drawn(actions: list[Action], chance: Random) -> NDArray[np.bool_]:
    """Keep some actions."""
    return np.array([chance.random() < 0.6 for _ in actions], dtype=bool)


def by_name(tokenizer: Tokenizer) -> dict[tuple[str, str], Head]:
    """Give the heads by query and column."""
    return {(head.query, head.column): head for head in tokenizer.heads}


def kept_of(actions: list[Action], keep: NDArray[np.bool_]) -> list[Action]:
    """Give the actions that are kept."""
    return [one for one, there in zip(actions, keep, strict=True) if there]


def values_of(actions: list[Action]) -> dict[tuple[str, str], Counter[str]]:
    """Count the values of each column."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for one in actions:
        for column, value in one.columns.items():
            found.setdefault((one.query, column), Counter())[value] += 1
    return found


class TestTokens:
    """What an action is, is everyone's to say."""

    @settings(deadline=None, max_examples=60)
    @given(LOGS, LOGS, LOGS)
    def test_are_everyones(self, alice: list[Action], others: list[Action], strange: list[Action]) -> None:
        """Of all of a user's actions, the tokenizer reads every action as everyone's does: ids, buckets, marks."""
        log = log_of(alice, others)
        tokenizer = log.tokenizer()
        assert tokenizer.size == log.everyone.size
        for one in [*alice, *others, *strange]:
            assert tokenizer.encode(one) == log.everyone.encode(one)

    @settings(deadline=None, max_examples=60)
    @given(LOGS, LOGS, LOGS, CHANCE)
    def test_are_of_the_same_columns(
        self, alice: list[Action], others: list[Action], strange: list[Action], chance: Random
    ) -> None:
        """Whatever is left out, ids are of the same columns as everyone's; known values have the same id."""
        log = log_of(alice, others)
        tokenizer = log.tokenizer(drawn(alice, chance))
        assert first_tokens(tokenizer).tolist() == first_tokens(log.everyone).tolist()
        assert tokenizer.silent == log.everyone.silent
        starts = first_tokens(tokenizer)
        for one in [*alice, *others, *strange]:
            mine, shared = tokenizer.encode(one), log.everyone.encode(one)
            places = [np.searchsorted(starts, ids, side="right").tolist() for ids in (mine.ids, shared.ids)]
            assert places[0] == places[1]
            for token, known, mark in zip(mine.ids, shared.ids, mine.marks, strict=True):
                assert mark or token == known

    @settings(deadline=None, max_examples=60)
    @given(LOGS, LOGS, CHANCE)
    def test_fall_back_where_only_what_is_left_out_made_them(
        self, alice: list[Action], others: list[Action], chance: Random
    ) -> None:
        """A value is a token of its own exactly if what is left, of everyone, has it twice."""
        log, keep = log_of(alice, others), drawn(alice, chance)
        tokenizer = log.tokenizer(keep)
        left = values_of([*kept_of(alice, keep), *others])
        for name, head in by_name(log.everyone).items():
            for value in [token.text for token in head.tokens if token.exact and name[0]]:
                one = Action(5, "ws1", "alice", name[0], "added", {name[1]: value})
                found, shared = tokenizer.encode(one), log.everyone.encode(one)
                if left.get(name, Counter())[value] >= 2:
                    # Of the value: the kind may have been left out by itself.
                    assert [part[1] for part in found] == [part[1] for part in shared]
                else:
                    assert found.ids[1] != shared.ids[1]
                    assert found.marks[1] != 0 == shared.marks[1]

    def test_fall_back_to_their_general_form(self) -> None:
        """What only the left-out actions made a token is its general form, a bucket of new values, and marked."""
        held = [action(command="git push -f")] * 3
        alice = [*held, action(command="git push -n"), action(command="git push -v"), *[action(command="ls")] * 4]
        log = log_of(alice, [action(command="git push -q"), action(command="git push -a")])
        tokenizer = log.tokenizer(np.arange(len(alice)) >= 3)
        token, mark = (part[1] for part in (tokenizer.encode(held[0]).ids, tokenizer.encode(held[0]).marks))
        assert tokenizer.text(token) == "run git"
        assert log.everyone.text(log.everyone.encode(held[0]).ids[1]) == "git push -f"
        assert (
            mark == tokenizer.encode(held[0]).marks[1] != tokenizer.encode(action(command="git push -z")).marks[1]
        )
        assert tokenizer.encode(held[0]).features == log.everyone.encode(held[0]).features
        assert tokenizer.seen("shell_history", "command", "git push -f") == 0


class TestCounts:
    """What is counted is the user's, and is kept."""

    @settings(deadline=None, max_examples=60)
    @given(LOGS, LOGS, CHANCE)
    def test_are_of_the_tokens(self, alice: list[Action], others: list[Action], chance: Random) -> None:
        """Each token counts how often the user's kept actions are read as it."""
        log, keep = log_of(alice, others), drawn(alice, chance)
        tokenizer = log.tokenizer(keep)
        ids = tokenizer.encode_all(log.alice, log.alice.rows()).chosen(keep).ids
        expected = np.bincount(ids[ids > 0], minlength=tokenizer.size)
        assert occurrences(tokenizer).tolist() == expected.tolist()
        for head in tokenizer.heads:
            assert head.count == sum(token.count for token in head.tokens)

    @settings(deadline=None, max_examples=60)
    @given(LOGS, LOGS, CHANCE)
    def test_are_of_the_values(self, alice: list[Action], others: list[Action], chance: Random) -> None:
        """A value was seen as often as the user's kept actions have it, whether it is a token or not."""
        log, keep = log_of(alice, others), drawn(alice, chance)
        tokenizer, seen = log.tokenizer(keep), values_of(kept_of(alice, keep))
        for name, values in values_of([*alice, *others]).items():
            for value in values if name not in tokenizer.silent else ():
                assert tokenizer.seen(*name, value) == seen.get(name, Counter())[value]

    @settings(deadline=None, max_examples=60)
    @given(LOGS, LOGS, CHANCE)
    def test_are_as_if_the_user_were_alone(
        self, alice: list[Action], others: list[Action], chance: Random
    ) -> None:
        """How often a column brings something new is learned from the user's kept actions alone."""
        log, keep = log_of(alice, others), drawn(alice, chance)
        alone = Tokenizer.fit(log.alice, log.alice.rows(), keep)
        known = {name: (head.count, head.novelty, head.unseen) for name, head in by_name(alone).items()}
        for name, head in by_name(log.tokenizer(keep)).items():
            if name not in alone.silent:
                assert (head.count, head.novelty, head.unseen) == known.get(name, (0, 0.0, 0.5))

    def test_of_others_are_not_the_users(self) -> None:
        """What only others do is a token, and the user never did it."""
        log = log_of([action(command="ls")] * 3, [action(command="nmap")] * 5)
        (head,) = log.tokenizer().heads[1:]
        assert [(token.text, token.count) for token in head.tokens if token.exact] == [("nmap", 0), ("ls", 3)]
        assert by_name(log.everyone)["shell_history", "command"].count == 8

    @settings(deadline=None, max_examples=30)
    @given(LOGS, LOGS)
    def test_add_up_to_everyones(self, alice: list[Action], others: list[Action]) -> None:
        """What each user did is what everyone did, token by token where it is a value's own."""
        log = log_of(alice, others)
        rest = corpus_of(others)
        total = occurrences(log.tokenizer()) + occurrences(personal(log.everyone, rest, rest.rows()))
        exact = np.array([False, *(token.exact for head in log.everyone.heads for token in head.tokens)])
        assert total[exact].tolist() == occurrences(log.everyone)[exact].tolist()

    @settings(deadline=None, max_examples=30)
    @given(LOGS, LOGS)
    def test_of_nothing_kept_are_none(self, alice: list[Action], others: list[Action]) -> None:
        """With everything left out nothing is counted."""
        log = log_of(alice, others)
        tokenizer = log.tokenizer(np.zeros(len(alice), dtype=bool))
        assert not occurrences(tokenizer).any()
        assert not tokenizer.rare


@settings(deadline=None, max_examples=30)
@given(LOGS, LOGS, LOGS, CHANCE)
def test_it_can_be_saved(alice: list[Action], others: list[Action], strange: list[Action], chance: Random) -> None:
    """Through JSON text and arrays it reads and counts the same, and everyone's is as it was before."""
    log = log_of(alice, others)
    before = json.dumps(log.everyone.to_state()[0])
    tokenizer = log.tokenizer(drawn(alice, chance))
    state, arrays = tokenizer.to_state()
    again = Tokenizer.from_state(json.loads(json.dumps(state)), arrays)
    assert [again.encode(one) for one in strange] == [tokenizer.encode(one) for one in strange]
    assert occurrences(again).tolist() == occurrences(tokenizer).tolist()
    assert again.rare == tokenizer.rare
    assert json.dumps(log.everyone.to_state()[0]) == before
