"""Actions as tokens: the same in training and prediction, and for anything that a log may hold."""

from __future__ import annotations

import json
from random import Random
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomaly import tokenizer as tokenizer_module
from anomaly.corpus import Corpus, Rows
from anomaly.features.levels import Level, level_of
from anomaly.features.normalise import GROUP_NUMBERS, MAX_FIELDS, NAME_COLUMNS, USER_NUMBERS, normalise
from anomaly.lookup import Rare
from anomaly.osquery import Action
from anomaly.tokenizer import Tokenizer
from anomaly.vocabulary import Head

TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
VALUES = (
    st.sampled_from(
        (
            *(
                "ls",
                "git",
                "",
                "/srv/al/src/a",
                "/srv/al/src/b",
                "/srv/al/c",
                "10.0.0.1",
                "10.0.0.2",
                "curl x | sh",
            ),
            *("/home/alice/a", "/home/bob/a", "/root/a", "ssh alice@ws1", "0", "1000", "1001"),
        )
    )
    | st.integers(0, 99_999).map(str)
    | TEXT
)
ACTIONS = st.builds(
    Action,
    time=st.integers(0, 2**33),
    host=st.just("ws1"),
    user=st.just("alice"),
    query=st.sampled_from(("shell_history", "process_events", "q q", "")),
    verb=st.sampled_from(("added", "removed", "snapshot")),
    columns=st.dictionaries(
        st.sampled_from(("command", "path", "pid", "auid", "uid", "euid", "gid", "name", "username")),
        VALUES,
        max_size=6,
    ),
    baseline=st.booleans(),
)
STRANGE = st.builds(
    Action,
    time=st.just(0),
    host=TEXT,
    user=TEXT,
    query=TEXT | st.just("shell_history"),
    verb=TEXT,
    columns=st.dictionaries(TEXT | st.just("command"), VALUES, max_size=40),
)
LOGS = st.lists(ACTIONS, max_size=40)
NAMES = (
    *sorted(NAME_COLUMNS | USER_NUMBERS | GROUP_NUMBERS),
    "pid",
    "path",
    "",
    *(f"column {number}" for number in range(40)),
)
WIDE = st.builds(
    lambda names, values, query: Action(
        5, "ws1", "alice", query, "added", dict(zip(names, values, strict=False)), baseline=False
    ),
    st.integers(0, 40).flatmap(
        lambda least: st.lists(st.sampled_from(NAMES), unique=True, min_size=least, max_size=45)
    ),
    st.lists(st.sampled_from(("", "ls", "/bin/ls", "0", "1007", "/home/bob/x")), min_size=45, max_size=45),
    st.sampled_from(("process_events", "shell_history")),
)
"""Rows of up to 45 columns: more than MAX_FIELDS, those that say who acts among them."""


def action(query: str = "shell_history", **columns: str) -> Action:
    """Make an action of alice's."""
    return Action(time=5, host="ws1", user="alice", query=query, verb="added", columns=columns)


def corpus_of(actions: list[Action]) -> Corpus:
    """Make a corpus of actions."""
    corpus = Corpus()
    for order, one in enumerate(actions):
        corpus.append(order, one)
    return corpus


def fitted(actions: list[Action], keep: NDArray[np.bool_] | None = None, salt: int = 0) -> Tokenizer:
    """Fit a tokenizer to actions."""
    corpus = corpus_of(actions)
    return Tokenizer.fit(corpus, corpus.rows(), keep, salt)


def saved(tokenizer: Tokenizer) -> tuple[str, dict[str, bytes]]:
    """Give what a tokenizer saves as text and bytes."""
    state, arrays = tokenizer.to_state()
    return json.dumps(state), {name: array.tobytes() for name, array in arrays.items()}


def loaded(tokenizer: Tokenizer) -> Tokenizer:
    """Save a tokenizer as JSON text and read it back."""
    state, arrays = tokenizer.to_state()
    return Tokenizer.from_state(json.loads(json.dumps(state)), arrays)


def head_of(tokenizer: Tokenizer, query: str, column: str) -> Head:
    """Give the vocabulary of a column."""
    return next(head for head in tokenizer.heads if (head.query, head.column) == (query, column))


def form_of(tokenizer: Tokenizer, query: str, **columns: str) -> str:
    """Give what the token of an action's only column stands for."""
    _, token = tokenizer.encode(action(query, **columns)).ids
    return tokenizer.text(token)


class TestOneTokenizer:
    """Training and prediction see the same tokens and features."""

    @settings(deadline=None, max_examples=60)
    @given(LOGS, st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
    def test_encode_all_of_a_corpus_equals_encode_of_its_actions(
        self, actions: list[Action], salt: int, chance: Random
    ) -> None:
        """All at once or one by one, each action is the same tokens, also those that were held out of the fit."""
        corpus = corpus_of(actions)
        keep = np.array([chance.random() < 0.6 for _ in actions], dtype=bool)
        tokenizer = Tokenizer.fit(corpus, corpus.rows(), keep, salt)
        encoded = tokenizer.encode_all(corpus, corpus.rows())
        one_by_one = loaded(tokenizer)  # has no value resolved yet
        assert [encoded.tokens(n) for n in range(len(actions))] == [one_by_one.encode(one) for one in actions]
        assert list(encoded.features) == [one_by_one.encode(one).features for one in actions]
        assert tokenizer.features(corpus) == encoded.features

    @settings(deadline=None, max_examples=40)
    @given(st.lists(WIDE, min_size=1, max_size=8), st.lists(WIDE, max_size=8), st.integers(0, 2**32 - 1))
    def test_encode_all_of_wide_rows_equals_encode_of_their_actions(
        self, known: list[Action], unknown: list[Action], salt: int
    ) -> None:
        """So are rows of more columns than are looked at, of silent, identity and unseen ones, in any order."""
        numbers = [action("process_events", pid=str(1000 + 7 * n), path="/bin/ls") for n in range(120)]
        actions = [*numbers, *known, *unknown]
        corpus = corpus_of(actions)
        keep = np.arange(len(actions)) < len(numbers) + len(known)
        tokenizer = Tokenizer.fit(corpus, corpus.rows(), keep, salt)
        assert ("process_events", "pid") in tokenizer.silent
        encoded = tokenizer.encode_all(corpus, corpus.rows())
        one_by_one = loaded(tokenizer)
        for number, one in enumerate(actions):
            assert encoded.tokens(number) == one_by_one.encode(one)
            spoken = list(normalise(one).items())
            assert len(spoken) <= MAX_FIELDS
            heard = [item for item in spoken if (one.query, item[0]) not in tokenizer.silent]
            assert [(column, value) for column, value, _ in one_by_one.columns(one)] == heard
            values = [level_of(feature) for feature in encoded.features[number]].count(Level.VALUE)
            assert values == len(heard)

    @settings(deadline=None, max_examples=40)
    @given(LOGS, st.data())
    def test_batch_equals_its_actions(self, actions: list[Action], data: st.DataObject) -> None:
        """Consecutive actions are, all at once, the same tokens as each by itself."""
        corpus = corpus_of(actions)
        encoded = fitted(actions).encode_all(corpus, corpus.rows())
        begin, end = sorted(data.draw(st.tuples(*[st.integers(0, len(actions))] * 2)))
        assert encoded.batch(range(begin, end)) == [encoded.tokens(number) for number in range(begin, end)]

    @settings(deadline=None, max_examples=60)
    @given(LOGS, LOGS)
    def test_from_state_gives_what_to_state_saved(self, actions: list[Action], others: list[Action]) -> None:
        """Through JSON text and arrays, a tokenizer is the same and saves the same; so does one fitted again."""
        tokenizer = fitted(actions)
        again = loaded(tokenizer)
        for one in actions + others:
            assert again.encode(one) == tokenizer.encode(one)
            for column, value in one.columns.items():
                assert again.seen(one.query, column, value) == tokenizer.seen(one.query, column, value)
        assert saved(again) == saved(tokenizer) == saved(fitted(actions))

    @settings(deadline=None, max_examples=60)
    @given(LOGS, STRANGE | ACTIONS)
    def test_encode_strange_action_gives_tokens_of_the_vocabulary(
        self, actions: list[Action], strange: Action
    ) -> None:
        """Any query with any columns is tokens of the vocabulary, one a column at most, and features."""
        tokenizer = fitted(actions)
        ids, features, marks = tokenizer.encode(strange)
        assert all(1 <= token < tokenizer.size for token in ids)
        assert all(0 <= feature < 2**64 for feature in features)
        assert [level_of(feature) for feature in features].count(Level.KIND) == 1
        described = tokenizer.columns(strange)
        heads = [tokenizer.heads[0], *(head for _, _, head in described if head is not None)]
        assert len(ids) == len(heads) == len(marks)
        assert all(0 <= mark < 2**32 for mark in marks)
        assert all(head.start <= token < head.stop for token, head in zip(ids, heads, strict=True))

    @settings(deadline=None, max_examples=40)
    @given(LOGS)
    def test_ids_have_no_gap(self, actions: list[Action]) -> None:
        """Ids run from 1 to size - 1 without a gap, head after head, and each stands for something."""
        tokenizer = fitted(actions)
        spans = [range(head.start, head.stop) for head in tokenizer.heads]
        assert [token for span in spans for token in span] == list(range(1, tokenizer.size))
        assert all(tokenizer.text(token) for token in range(1, tokenizer.size))

    @settings(deadline=None, max_examples=40)
    @given(LOGS, st.data())
    def test_chosen_gives_those_actions(self, actions: list[Action], data: st.DataObject) -> None:
        """Some of the actions, in any order, are the same tokens as among all."""
        corpus = corpus_of(actions)
        encoded = fitted(actions).encode_all(corpus, corpus.rows())
        numbers = data.draw(st.lists(st.integers(0, len(actions) - 1)) if actions else st.just([]))
        chosen = encoded.chosen(np.array(numbers, dtype=np.intp))
        assert [chosen.tokens(n) for n in range(len(numbers))] == [encoded.tokens(n) for n in numbers]
        assert chosen.features == [encoded.features[n] for n in numbers]
        assert encoded.chosen(slice(1, 3)).marks.tolist() == encoded.marks[1:3].tolist()
        mask = np.arange(len(actions)) % 2 == 0
        assert encoded.chosen(mask).features == list(encoded.features[::2])

    @pytest.mark.parametrize("gap", [True, False])
    def test_from_state_refuses_a_gap(self, *, gap: bool) -> None:
        """A vocabulary whose heads do not follow each other, or that has none, is no vocabulary."""
        state, arrays = fitted([action(name="ls"), action(name="ls")]).to_state()
        state["heads"][1]["start"] += 1
        with pytest.raises(ValueError, match="gaps"):
            Tokenizer.from_state(state if gap else {**state, "heads": []}, arrays)

    @pytest.mark.parametrize("column", sorted(NAME_COLUMNS))
    def test_from_state_refuses_a_column_of_names(self, column: str) -> None:
        """A vocabulary of who acts is refused."""
        state, arrays = fitted([action(name="ls"), action(name="ls")]).to_state()
        state["heads"][1]["column"] = column
        with pytest.raises(ValueError, match="who acts"):
            Tokenizer.from_state(state, arrays)

    @pytest.mark.parametrize("salt", [-1, 1 << 64])
    def test_from_state_refuses_a_salt_out_of_range(self, salt: int) -> None:
        """A salt is a number of 64 bits at most."""
        state, arrays = fitted([action(name="ls")]).to_state()
        with pytest.raises(ValueError, match="64 bits"):
            Tokenizer.from_state({**state, "salt": salt}, arrays)


class TestIdentity:
    """Nothing that a tokenizer gives says whose account it is."""

    def test_encode_of_another_user_gives_the_same_tokens(self) -> None:
        """What two users do in the same way on two machines is the same tokens, in training and prediction."""

        def rows(user: str, host: str, uid: str) -> list[Action]:
            columns = [
                {"auid": uid, "uid": uid, "cwd": f"/home/{user}/src", "cmdline": f"ssh {user}@{host}"},
                {"auid": uid, "uid": "0", "cwd": "/root", "cmdline": f"cat /home/{user}/x"},
            ]
            return [Action(5, host, user, "process_events", "added", {**c, "username": user}) for c in columns]

        one, other = rows("alice", "ws1", "1000") * 3, rows("bob", "web.lan", "1873204982") * 3
        assert saved(fitted(one)) == saved(fitted(other))
        tokenizer = fitted(one)
        assert [tokenizer.encode(a) for a in one] == [tokenizer.encode(a) for a in other]

    def test_encode_of_the_same_row_depends_on_who_acts(self) -> None:
        """The same row is another one of another user, also if it is remembered."""
        tokenizer = fitted([action(cwd="/home/alice")] * 3)
        rows = [
            Action(5, "ws1", user, "shell_history", "added", {"cwd": "/home/alice"}) for user in ("alice", "bob")
        ]
        first = [tokenizer.encode(one) for one in rows]
        assert [tokenizer.encode(one) for one in rows] == first
        assert first[0] != first[1]

    def test_encode_tells_whose_number_it_is_by_auid(self) -> None:
        """A column of names says nothing itself, but it decides whether a number is the user's own."""
        tokenizer = fitted([action("process_events", auid="1000", uid="1000", name="ls")] * 3)
        own, another = (tokenizer.encode(action("process_events", auid=a, uid="1000")) for a in ("1000", "1001"))
        assert own == tokenizer.encode(action("process_events", auid="1001", uid="1001"))
        assert own != another


class TestFallingBack:
    """A value that was never seen is still like others."""

    def test_encode_unseen_value_takes_the_most_specific_form_known(self) -> None:
        """A new file in a known directory is that directory, one beside it the directory above, else unknown."""
        names = ("src/a", "src/b", "doc/a", "mus/a")
        tokenizer = fitted([action("files", path=f"/srv/al/{name}") for name in names])
        assert form_of(tokenizer, "files", path="/srv/al/src/new") == "in /srv/al/src/"
        assert form_of(tokenizer, "files", path="/srv/al/new/new") == "in /srv/al/"
        assert form_of(tokenizer, "files", path="/etc/shadow") == "(unknown)"

    def test_fit_value_seen_twice_is_a_token_of_its_own(self) -> None:
        """A value seen twice is itself; one seen once is not."""
        tokenizer = fitted([action(command="make all"), action(command="make all"), action(command="make x")])
        assert form_of(tokenizer, "shell_history", command="make all") == "make all"
        assert form_of(tokenizer, "shell_history", command="make x") != "make x"

    def test_seen_gives_the_counts_of_training(self) -> None:
        """A value's count is exact whether it became a token or not, and 0 for what was never seen."""
        tokenizer = fitted([action(command=command) for command in ("ls", "ls", "ls", "make x", "make y")])
        counts = [tokenizer.seen("shell_history", "command", value) for value in ("ls", "make x", "make y", "nc")]
        assert counts == [3, 1, 1, 0]
        assert tokenizer.seen("shell_history", "path", "ls") == 0
        assert tokenizer.seen("crontab", "command", "ls") == 0
        tokenizer.encode(action(command="make new"))
        assert tokenizer.seen("shell_history", "command", "make new") == 0  # looking does not count

    def test_encode_value_written_as_a_form_is_unknown(self) -> None:
        """A value that is written as a general form is not that form's token."""
        tokenizer = fitted([action("files", path="/srv/a"), action("files", path="/srv/b")])
        assert form_of(tokenizer, "files", path="/srv/c") == "in /srv/"
        assert form_of(tokenizer, "files", path="in /srv/") == "(unknown)"
        assert tokenizer.seen("files", "path", "in /srv/") == 0

    def test_encode_unknown_query_is_the_unknown_kind(self) -> None:
        """A query that training never saw is the unknown kind, and its columns are only features."""
        tokenizer = fitted([action(command="ls"), action(command="ls")])
        ids, features, marks = tokenizer.encode(action("kernel_modules", name="rootkit", size="4096"))
        assert ids == (tokenizer.heads[0].start,)
        assert [level_of(f) for f in features] == [Level.SHAPE, Level.ROW, Level.VALUE, Level.VALUE, Level.KIND]
        assert marks[0] != 0
        assert (marks[0],) != tokenizer.encode(action("crontab")).marks
        assert [head for _, _, head in tokenizer.columns(action("kernel_modules", name="x"))] == [None]

    def test_encode_new_values_have_features_of_their_own(self) -> None:
        """However many new values come, those that fall back to one form have different features."""
        tokenizer = fitted([action("files", path="/srv/a"), action("files", path="/srv/b")])
        found = [tokenizer.encode(action("files", path=f"/srv/x{n}z")) for n in range(2000)]
        assert len({tokens.ids for tokens in found}) == 1
        assert len({tokens.features for tokens in found}) == 2000

    def test_encode_remembers_unseen_values_up_to_a_limit(self) -> None:
        """Unseen values are remembered up to a limit, and are the same beyond it; what is known stays so."""
        tokenizer = fitted([action("files", path=f"/srv/{name}") for name in "abbb"])
        first = [tokenizer.encode(action("files", path=f"/srv/x{n}z")) for n in range(6000)]
        assert first == [tokenizer.encode(action("files", path=f"/srv/x{n}z")) for n in range(6000)]
        assert len(tokenizer._columns["files"]["path"].table) < 5000
        assert [tokenizer.seen("files", "path", f"/srv/{name}") for name in ("a", "b", "x1z")] == [1, 3, 0]

    def test_encode_remembers_known_values_beyond_the_limit(self) -> None:
        """However many values never seen came first, one that is a token of its own is resolved once."""
        tokenizer = fitted([action("files", path=f"/srv/{name}") for name in "abbb"])
        for number in range(6000):
            tokenizer.encode(action("files", path=f"/srv/x{number}z"))
        assert tokenizer.encode(action("files", path="/srv/b")) == tokenizer.encode(action("files", path="/srv/b"))
        assert "/srv/b" in tokenizer._columns["files"]["path"].table

    def test_encode_with_another_salt_has_other_features(self) -> None:
        """Features depend on the salt; the ids do not."""
        actions = [action(command=f"c{n % 8}") for n in range(80)]
        one, other = (fitted(actions, salt=salt) for salt in (1, 2))
        for a in actions:
            assert one.encode(a).ids == other.encode(a).ids
            assert not set(one.encode(a).features) & set(other.encode(a).features)


class TestMarks:
    """A value that is no token of its own is told from the others that fall back to the same."""

    @settings(deadline=None, max_examples=60)
    @given(LOGS, STRANGE | ACTIONS)
    def test_marks_are_of_what_is_no_token(self, actions: list[Action], strange: Action) -> None:
        """Kinds and values that are tokens of their own have no mark, and all others have one."""
        tokenizer = fitted(actions)
        tokens = tokenizer.encode(strange)
        exact = [False, *(token.exact for head in tokenizer.heads for token in head.tokens)]
        assert [mark == 0 for mark in tokens.marks] == [exact[token] for token in tokens.ids]

    def test_marks_tell_values_apart(self) -> None:
        """The same value has the same mark, of its column; another value, column or salt has another."""
        actions = [action("files", path=f"/srv/{n}", link=f"/srv/{n}") for n in range(4)]
        tokenizer = fitted(actions)
        one, same, other = (tokenizer.encode(action("files", path=p, link=p)) for p in ("/x", "/x", "/y"))
        assert one == same
        assert one.ids == other.ids
        assert len({*one.marks[1:], *other.marks[1:]}) == 4
        assert fitted(actions, salt=1).encode(action("files", path="/x", link="/x")).marks[1:] != one.marks[1:]


class TestSilentColumns:
    """Columns whose values name nothing are recognised from the data."""

    @pytest.fixture
    def tokenizer(self) -> Tokenizer:
        """Fit to processes with ever new numbers and times, and users that come back."""
        return fitted(
            [
                action(
                    "process_events",
                    pid=str(1000 + 7 * n),
                    time=str(1_700_000_000 + 31 * n),
                    handle=hex(0xFFFF0000 + 16 * n),
                    auid="1000",
                    uid=str((0, 1000, 1001)[n % 3]),
                    path=f"/usr/bin/tool-{n}",
                )
                for n in range(300)
            ]
        )

    def test_fit_finds_silent_columns(self, tokenizer: Tokenizer) -> None:
        """Process numbers, times and addresses in memory are silent; a uid and ever new paths are not."""
        assert tokenizer.silent == {("process_events", column) for column in ("pid", "time", "handle")}

    def test_encode_silent_column_says_nothing(self, tokenizer: Tokenizer) -> None:
        """Its values change no token and no feature, and it is not described."""
        one = tokenizer.encode(action("process_events", uid="0", pid="1", time="2"))
        assert one == tokenizer.encode(action("process_events", uid="0", pid="77777", time="3"))
        bare = tokenizer.encode(action("process_events", uid="0"))
        assert (one.ids, one.marks) == (bare.ids, bare.marks)  # that the columns are there is a feature
        assert [column for column, _, _ in tokenizer.columns(action("process_events", uid="0", pid="1"))] == [
            "uid"
        ]

    def test_encode_silent_column_of_another_query_has_a_feature(self, tokenizer: Tokenizer) -> None:
        """A column of the same name speaks where its query was never seen."""
        features = tokenizer.encode(action("listening_ports", pid="1")).features
        assert Level.VALUE in map(level_of, features)


class TestHeads:
    """What is known of one column."""

    def test_fit_novelty_is_what_the_later_half_brings(self) -> None:
        """Of the later half, the share that comes for the first time, and the share not yet a token."""
        values = ["a", "a", "a", "b", "a", "b", "c", "c"]  # in the earlier half, b was seen once: no token yet
        head = head_of(fitted([action(name=value) for value in values]), "shell_history", "name")
        assert head.count == 8
        assert head.novelty == pytest.approx(1 / 4)
        assert head.unseen == pytest.approx((3 + 0.5) / (4 + 1))

    def test_fit_learns_only_what_is_kept(self) -> None:
        """Values and kinds of held-out actions leave no trace."""
        actions = [*[action(name="ls")] * 4, *[action("crontab", name="evil")] * 4, *[action(name="held")] * 4]
        tokenizer = fitted(actions, np.array([True] * 4 + [False] * 8))
        assert [(head.query, head.column, head.count) for head in tokenizer.heads] == [
            ("", "action", 4),
            ("shell_history", "name", 4),
        ]
        assert tokenizer.seen("shell_history", "name", "held") == 0
        assert not tokenizer.rare

    def test_fit_counts_add_up(self) -> None:
        """The counts of a column's exact tokens and of its values seen once are its actions."""
        values = ["ls"] * 5 + ["git"] * 3 + ["x1", "zz"]
        head = head_of(fitted([action(name=value) for value in values]), "shell_history", "name")
        exact = [(token.text, token.count) for token in head.tokens if token.exact]
        assert exact == [("ls", 5), ("git", 3)]
        assert sum(count for _, count in exact) + 2 == head.count


def test_fit_no_action_gives_one_token() -> None:
    """No action is a vocabulary of one token, and no row."""
    corpus = Corpus()
    rows: Rows = corpus.rows()
    tokenizer = Tokenizer.fit(corpus, rows)
    assert tokenizer.size == 2
    assert tokenizer.encode_all(corpus, rows).ids.shape == (0, 1)


@given(st.dictionaries(st.integers(0, 2**32 - 1), st.integers(1, 2**32 - 1)), st.integers(0, 2**33))
def test_rare_equals_a_dictionary(counts: dict[int, int], other: int) -> None:
    """Two arrays say what a dictionary would, and refuse what is out of order or does not pair up."""
    hashes = np.array(sorted(counts), dtype=np.uint32)
    values = np.array([counts[key] for key in hashes.tolist()], dtype=np.uint32)
    rare = Rare(hashes, values)
    assert rare == counts
    assert [rare.get(key, 0) for key in (other, *counts)] == [counts.get(key, 0) for key in (other, *counts)]
    for wrong in ((hashes, np.append(values, values[:1] * 0 + 1)), (hashes[::-1], values)):
        if len(wrong[0]) > 1:
            with pytest.raises(ValueError, match="rare values"):
                Rare(*wrong)
    with pytest.raises(ValueError, match="of other types"):
        Rare(hashes.astype(np.int64), values)


@settings(deadline=None, max_examples=40)
@given(LOGS, st.lists(STRANGE | WIDE, max_size=20), st.integers(1, 6))
def test_encode_remembered_action_equals_a_new_one(known: list[Action], strange: list[Action], room: int) -> None:
    """Actions that come again, in any order and with any others between, are the tokens that they were anew."""
    tokenizer = fitted(known)
    with patch.object(tokenizer_module, "_ACTIONS", room), patch.object(tokenizer_module, "_SHAPES", room):
        for one in [*known, *strange, *reversed(strange), *known]:
            assert tokenizer.encode(one) == tokenizer._encode(one.query, one.verb, normalise(one))
            assert sum(len(shape.known) for shape in tokenizer._shapes.values()) <= room
            assert len(tokenizer._shapes) <= room


def test_encode_does_not_remember_long_values() -> None:
    """The log chooses how long its values and its columns' names are, and not how much is remembered of them."""
    tokenizer = fitted([action(command="ls")] * 3)
    tokenizer.encode(action(command="x" * 10_000))
    tokenizer.encode(action(**{"y" * 10_000: "1"}))
    assert not any(shape.known for shape in tokenizer._shapes.values())
    assert all(max(map(len, key)) < 10_000 for key in tokenizer._shapes)
