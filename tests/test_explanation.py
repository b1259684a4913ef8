"""The reasons of a score: each kind in a situation made for it."""

from __future__ import annotations

import random
from math import log2

import numpy as np
import pytest

from anomaly.corpus import Corpus
from anomaly.detectors.both import Both
from anomaly.detectors.counts_fit import count, first_tokens
from anomaly.detectors.interface import WINDOW, Detector, State
from anomaly.detectors.lstm import MIX, Lstm
from anomaly.detectors.network import Network
from anomaly.detectors.ocsvm import OneClassSvm, packed
from anomaly.explanation import MAX_REASONS, MAX_TEXT, explain, spoken, unusual_hour
from anomaly.osquery import Action
from anomaly.records import Reason, ReasonKind
from anomaly.tokenizer import Tokenizer
from anomaly.tokens import BUCKETS

UNITS = 4
NINE_TO_FIVE = [0] * 9 + [500] * 7 + [900] + [0] * 7
DAY = 1_699_920_000
"""A midnight, UTC."""


def action(query: str = "shell_history", **columns: str) -> Action:
    """Make an action of alice's."""
    return Action(time=5, host="ws1", user="alice", query=query, verb="added", columns=columns)


HISTORY = [action(command=c) for c in ["ls"] * 600 + ["git"] * 300 + ["vim"] * 100 + ["sudo reboot"] * 3]
random.Random(1).shuffle(HISTORY)  # noqa: S311 - or else each command would be new in its half


def fitted(actions: list[Action]) -> Tokenizer:
    """Fit a tokenizer to actions."""
    corpus = Corpus()
    for order, one in enumerate(actions):
        corpus.append(order, one)
    return Tokenizer.fit(corpus, corpus.rows())


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Fit to a history of mostly ls."""
    return fitted(HISTORY)


def lstm_of(tokenizer: Tokenizer, **arrays: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Lstm:
    """Make a network of zeros for a vocabulary, but for some arrays; it starts from silence."""
    size, kinds = tokenizer.size, len(tokenizer.heads[0].tokens)
    shapes = {
        "kernel": (size, 4 * UNITS),
        "recurrent": (UNITS, 4 * UNITS),
        "bias": (4 * UNITS,),
        "output": (size, UNITS),
        "output_bias": (size,),
    }
    learned = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()} | arrays
    return Lstm(
        Network(**learned, starts=first_tokens(tokenizer)),
        counts=count(tokenizer),
        rarity=np.array([[[0.0, 5.0, 1.0], [1.0, 0.1, 0.0]]] * kinds),
        hidden=np.zeros(UNITS, np.float32),
        cell=np.zeros(UNITS, np.float32),
        recent=np.zeros(0),
        window=np.zeros((0, 1), np.int32),
    )


def token_of(tokenizer: Tokenizer, command: str) -> int:
    """Give the token of a command."""
    return tokenizer.encode(action(command=command)).ids[1]


def expecting(tokenizer: Tokenizer, *commands: str) -> Lstm:
    """Make a network that always expects these commands, the first one most."""
    bias = np.zeros(tokenizer.size, np.float32)
    for rank, command in enumerate(commands):
        bias[token_of(tokenizer, command)] = 12.0 - rank
    return lstm_of(tokenizer, output_bias=bias)


def svm_of(tokenizer: Tokenizer, *habits: Action) -> OneClassSvm:
    """Make a window model whose support vector is a bag of habits, and whose window is full of the first one."""
    support = np.zeros((1, BUCKETS), np.uint8)
    for habit in habits:
        support[0, list(tokenizer.encode(habit).buckets)] = 1
    window = [tokenizer.encode(habits[0]).buckets] * WINDOW
    return OneClassSvm(support, np.ones(1), 0.5, np.array(window, np.int16), packed(support))


def reasons_of(
    tokenizer: Tokenizer, detector: Detector, *actions: Action, window: bool = False
) -> tuple[Reason, ...]:
    """Give the reasons of the last of some actions: the same one after another and all at once."""
    state: State = detector.start()
    reasons: tuple[Reason, ...] = ()
    for one in actions:
        tokens = tokenizer.encode(one)
        details = detector.judge(state, [tokens], [True]).details
        reasons = explain(tokenizer, detector, details, 0, one, tokens, window=window)
    batch = [tokenizer.encode(one) for one in actions]
    details = detector.judge(detector.start(), batch, [True] * len(batch)).details
    assert explain(tokenizer, detector, details, len(batch) - 1, actions[-1], batch[-1], window=window) == reasons
    return reasons


class TestSurprises:
    """The reasons of the sequence model."""

    def test_new_value(self, tokenizer: Tokenizer) -> None:
        """A value that training never saw is new; what the user does there most was expected."""
        (reason,) = reasons_of(tokenizer, expecting(tokenizer, "vim"), action(command="nmap"))
        assert reason.kind is ReasonKind.NEW_VALUE
        assert (reason.field, reason.value) == ("command", "nmap")
        assert (reason.seen, reason.of) == (0, 1003)
        assert reason.expected == ("ls", "git", "vim")

    def test_rare_value(self, tokenizer: Tokenizer) -> None:
        """A value of less than one action in 100 is rare, and was seen so often."""
        (reason,) = reasons_of(tokenizer, expecting(tokenizer, "vim"), action(command="sudo reboot"))
        assert reason.kind is ReasonKind.RARE_VALUE
        assert (reason.seen, reason.of) == (3, 1003)
        assert reason.expected == ("ls", "git", "vim")

    def test_unexpected_next(self, tokenizer: Tokenizer) -> None:
        """A usual value at an unusual moment is unexpected; what the network would rather have seen is told."""
        lstm = expecting(tokenizer, "git", "ls", "sudo reboot")
        (reason,) = reasons_of(tokenizer, lstm, action(command="vim"))
        assert reason.kind is ReasonKind.UNEXPECTED_NEXT
        assert (reason.seen, reason.of) == (100, 1003)
        assert reason.expected == ("git", "ls", "sudo reboot")
        share = lstm.counts.judge(lstm.counts.start(), token_of(tokenizer, "vim"), 0).probability
        assert share == pytest.approx(0.1, abs=0.01)
        assert reason.bits == pytest.approx(-log2(MIX * share), abs=0.01)

    def test_expected_is_what_was_expected_before(self, tokenizer: Tokenizer) -> None:
        """What was expected is read off the state before the action, not the one that the action led to."""
        vim, git = token_of(tokenizer, "vim"), token_of(tokenizer, "git")
        kernel = np.zeros((tokenizer.size, 4 * UNITS), np.float32)
        kernel[vim] = 9.0  # after vim the hidden state is far from zero
        output = np.zeros((tokenizer.size, UNITS), np.float32)
        output[git] = 9.0  # and git is what comes then
        bias = np.zeros(tokenizer.size, np.float32)
        bias[token_of(tokenizer, "ls")] = 9.0
        lstm = lstm_of(tokenizer, kernel=kernel, output=output, output_bias=bias)
        assert reasons_of(tokenizer, lstm, action(command="vim"))[0].expected[0] == "ls"
        assert reasons_of(tokenizer, lstm, action(command="vim"), action(command="vim"))[0].expected[0] == "git"

    def test_what_was_expected_needs_no_reason(self, tokenizer: Tokenizer) -> None:
        """An action that costs few bits has no reasons."""
        assert reasons_of(tokenizer, expecting(tokenizer, "ls"), action(command="ls")) == ()

    def test_an_unseen_kind_is_new(self, tokenizer: Tokenizer) -> None:
        """A query that training never saw is a new kind of action."""
        bias = np.zeros(tokenizer.size, np.float32)
        bias[2] = 12.0
        one = action("kernel_modules", name="x")
        reason, *_ = reasons_of(tokenizer, lstm_of(tokenizer, output_bias=bias), one)
        assert reason.kind is ReasonKind.NEW_VALUE
        assert (reason.field, reason.value) == ("action", "kernel_modules added")
        assert (reason.seen, reason.of) == (0, 1003)
        assert reason.expected == ("shell_history added",)

    def test_at_most_three_the_most_surprising_first(self) -> None:
        """Of six surprising columns the three that cost the most bits are told."""
        columns = [f"c{n}" for n in range(6)]
        tokenizer = fitted([action(**dict.fromkeys(columns, "usual"))] * 200)
        bias = np.zeros(tokenizer.size, np.float32)
        for rank, head in enumerate(tokenizer.heads[1:]):
            bias[head.start + 1] = 3.0 + rank / 10
        one = action(**dict.fromkeys(columns, "new"))
        reasons = reasons_of(tokenizer, lstm_of(tokenizer, output_bias=bias), one)
        assert [reason.field for reason in reasons] == ["c5", "c4", "c3"]
        assert len(reasons) == MAX_REASONS

    def test_columns_never_seen_are_passed_over(self, tokenizer: Tokenizer) -> None:
        """A column that the network does not know does not shift what the others are told of."""
        one = Action(5, "ws1", "alice", "shell_history", "added", {"odd": "x", "command": "nmap", "odder": "y"})
        (reason,) = reasons_of(tokenizer, expecting(tokenizer, "ls"), one)
        assert (reason.field, reason.value) == ("command", "nmap")


class TestStrangers:
    """The reasons of the window model."""

    def test_new_value(self, tokenizer: Tokenizer) -> None:
        """A value that training never saw, in a window unlike any, is new."""
        (reason,) = reasons_of(tokenizer, svm_of(tokenizer, action(command="ls")), action(command="nmap"))
        assert (reason.kind, reason.value, reason.seen, reason.of) == (ReasonKind.NEW_VALUE, "nmap", 0, 1003)
        assert reason.expected == ("ls", "git", "vim")

    def test_rare_value(self, tokenizer: Tokenizer) -> None:
        """A value of less than one action in 100 is rare."""
        svm = svm_of(tokenizer, action(command="ls"))
        (reason,) = reasons_of(tokenizer, svm, action(command="sudo reboot"))
        assert (reason.kind, reason.value, reason.seen) == (ReasonKind.RARE_VALUE, "sudo reboot", 3)

    def test_a_column_never_seen_is_new(self, tokenizer: Tokenizer) -> None:
        """A column that training never saw has no count and nothing expected."""
        one = action(command="ls", odd="x")
        (reason,) = reasons_of(tokenizer, svm_of(tokenizer, action(command="ls")), one)
        assert (reason.kind, reason.field, reason.value) == (ReasonKind.NEW_VALUE, "odd", "x")
        assert (reason.seen, reason.of, reason.expected) == (0, 0, ())

    def test_unusual_mix(self, tokenizer: Tokenizer) -> None:
        """Where each value is usual, the strangest of them in this mix is told, and the habits that it lacks."""
        svm = svm_of(tokenizer, action(command="ls"), action(command="git"))
        (reason,) = reasons_of(tokenizer, svm, action(command="vim"))
        assert reasons_of(tokenizer, svm, action(command="vim"), window=True) == (reason,)
        assert (reason.kind, reason.field, reason.value) == (ReasonKind.UNUSUAL_MIX, "command", "vim")
        assert (reason.seen, reason.of) == (100, 1003)
        assert len(reason.expected) == 1
        assert "git" in reason.expected[0]

    def test_what_is_missing_is_told_once(self) -> None:
        """Two queries that have the same value in a column of the same name are one habit to a reader."""
        pairs = [action(query, path=path) for query in ("one", "two") for path in ("vim", "git", "ssh", "top")]
        tokenizer = fitted(pairs * 50)
        svm = svm_of(tokenizer, action("three", path="x"), *pairs)
        (*_, reason) = reasons_of(tokenizer, svm, action("one", path="top"), window=True)
        assert reason.kind is ReasonKind.UNUSUAL_MIX
        assert len(set(reason.expected)) == len(reason.expected) == MAX_REASONS

    @pytest.mark.parametrize("window", [False, True])
    def test_at_most_three(self, tokenizer: Tokenizer, *, window: bool) -> None:
        """However many columns are new, three reasons are told, and of them one of the window that asks for it."""
        one = action(**{f"odd{n}": "x" for n in range(9)})
        reasons = reasons_of(tokenizer, svm_of(tokenizer, action(command="ls")), one, window=window)
        assert len(reasons) == MAX_REASONS
        assert [reason.kind is ReasonKind.UNUSUAL_MIX for reason in reasons] == [False, False, window]


class TestBoth:
    """The reasons of both views together."""

    def test_the_sequence_speaks_of_an_action(self, tokenizer: Tokenizer) -> None:
        """While the window asks for nothing, the reasons are the sequence model's, if it has any."""
        lstm, svm = expecting(tokenizer, "git", "ls"), svm_of(tokenizer, action(command="ls"))
        for command in ("vim", "nmap", "sudo reboot"):
            one = action(command=command)
            assert reasons_of(tokenizer, Both(lstm, svm), one) == reasons_of(tokenizer, lstm, one)
        one = action(command="git")
        (reason,) = reasons_of(tokenizer, Both(lstm, svm), one)
        assert reason == reasons_of(tokenizer, svm, one)[-1]
        assert reason.kind is ReasonKind.UNUSUAL_MIX

    def test_the_window_speaks_of_the_mix(self, tokenizer: Tokenizer) -> None:
        """A window that asks for it adds one reason at the end: what is strangest to it, and what it lacks."""
        lstm = expecting(tokenizer, "git", "ls")
        svm = svm_of(tokenizer, action(command="ls"), action(command="git"))
        first, mix = reasons_of(tokenizer, Both(lstm, svm), action(command="vim"), window=True)
        assert first.kind is ReasonKind.UNEXPECTED_NEXT
        assert mix == reasons_of(tokenizer, svm, action(command="vim"), window=True)[-1]
        assert (mix.kind, mix.value) == (ReasonKind.UNUSUAL_MIX, "vim")

    def test_a_usual_action_in_an_odd_window(self, tokenizer: Tokenizer) -> None:
        """Where the action is what was expected, the mix of the window is the one reason."""
        lstm, svm = expecting(tokenizer, "vim"), svm_of(tokenizer, action(command="ls"))
        found = reasons_of(tokenizer, Both(lstm, svm), action(command="vim"), window=True)
        assert [reason.kind for reason in found] == [ReasonKind.UNUSUAL_MIX]

    @pytest.mark.parametrize("window", [False, True])
    def test_at_most_three(self, *, window: bool) -> None:
        """Of many surprising columns three are told, or two and the mix."""
        columns = [f"c{number}" for number in range(6)]
        tokenizer = fitted([action(**dict.fromkeys(columns, "usual"))] * 200)
        usual, odd = (action(**dict.fromkeys(columns, value)) for value in ("usual", "new"))
        bias = np.zeros(tokenizer.size, np.float32)
        bias[[head.start + 1 for head in tokenizer.heads[1:]]] = 5.0
        both = Both(lstm_of(tokenizer, output_bias=bias), svm_of(tokenizer, usual))
        kinds = [reason.kind for reason in reasons_of(tokenizer, both, odd, window=window)]
        last = ReasonKind.UNUSUAL_MIX if window else ReasonKind.NEW_VALUE
        assert kinds == [ReasonKind.NEW_VALUE, ReasonKind.NEW_VALUE, last]


class TestHostileValues:
    """Whoever writes the log chooses what is shown."""

    @pytest.mark.parametrize("detector", ["lstm", "svm", "both"])
    def test_are_cut(self, detector: str) -> None:
        """Values, queries and what was expected instead are shown up to MAX_TEXT characters."""
        tokenizer = fitted([action(command="l" * 5000)] * 200)
        lstm, svm = expecting(tokenizer, "l" * 5000), svm_of(tokenizer, action(command="l" * 5000))
        made: Detector = {"lstm": lstm, "svm": svm, "both": Both(lstm, svm)}[detector]
        found = [
            *reasons_of(tokenizer, made, action(command="n" * 100_000), window=True),
            *reasons_of(tokenizer, made, action("q" * 100_000, command="ls"), window=True),
        ]
        assert {len(reason.value) for reason in found} >= {MAX_TEXT}
        shown = [text for reason in found for text in (reason.value, *reason.expected)]
        assert max(map(len, shown)) == MAX_TEXT

    def test_a_column_is_cut(self) -> None:
        """The name of a column is the log's to choose, too."""
        tokenizer = fitted(HISTORY)
        one = action(command="ls", **{"c" * 100_000: "x"})
        (reason,) = reasons_of(tokenizer, svm_of(tokenizer, action(command="ls")), one)
        assert len(reason.field) <= MAX_TEXT


class TestUnusualHour:
    """The hour explains a score and is no part of it."""

    def test_says_when_the_user_is_active(self) -> None:
        """An hour without a single action is unusual; the busiest hours were expected."""
        reason = unusual_hour(DAY + 2 * 3600 + 59, NINE_TO_FIVE, days=7)
        assert reason is not None
        assert (reason.kind, reason.field, reason.value) == (ReasonKind.UNUSUAL_HOUR, "time", "02:00 UTC")
        assert reason.expected == ("16:00 UTC", "09:00 UTC", "10:00 UTC")
        assert (reason.seen, reason.of) == (0, 4400)
        assert reason.bits == pytest.approx(-log2(0.5 / 4412), abs=0.01)

    def test_a_rare_hour_counts_what_was_seen(self) -> None:
        """An hour with few actions is unusual, too, and says how few."""
        hours = [3, *NINE_TO_FIVE[1:]]
        reason = unusual_hour(DAY, hours, days=30)
        assert reason is not None
        assert (reason.value, reason.seen, reason.of) == ("00:00 UTC", 3, 4403)

    @pytest.mark.parametrize(
        ("time", "hours", "days"),
        [
            (DAY + 9 * 3600, NINE_TO_FIVE, 30),  # a usual hour
            (DAY + 2 * 3600, NINE_TO_FIVE, 6),  # too few days
            (0, NINE_TO_FIVE, 30),  # no time
            (DAY + 2 * 3600, [0] * 24, 30),  # nothing seen
            (DAY + 2 * 3600, [0] * 9 + [20] * 8 + [0] * 7, 30),  # too little seen
        ],
    )
    def test_is_not_told_without_evidence(self, time: int, hours: list[int], days: int) -> None:
        """A usual hour, few days, few actions or an action without a time give no reason."""
        assert unusual_hour(time, hours, days) is None


def test_spoken_is_what_the_tokens_stand_for() -> None:
    """There is one entry a bucket, and one with a vocabulary an id."""
    tokenizer = fitted(HISTORY)
    one = Action(5, "ws1", "alice", "shell_history", "added", {"odd": "x", "command": "git", "username": "alice"})
    entries = spoken(tokenizer, one)
    tokens = tokenizer.encode(one)
    assert [(entry.column, entry.value, entry.seen) for entry in entries] == [
        ("action", "shell_history added", 1003),
        ("odd", "x", 0),
        ("command", "git", 300),
    ]
    assert len(entries) == len(tokens.buckets)
    heads = [entry.head for entry in entries if entry.head is not None]
    assert all(head.start <= token < head.stop for token, head in zip(tokens.ids, heads, strict=True))


def test_another_detector_is_refused() -> None:
    """Details that are not the detector's are a mistake in the program."""
    tokenizer = fitted(HISTORY)
    lstm, svm = lstm_of(tokenizer), svm_of(tokenizer, action(command="ls"))
    one = action(command="ls")
    tokens = tokenizer.encode(one)
    foreseen = lstm.judge(lstm.start(), [tokens], [True]).details
    around = svm.judge(svm.start(), [tokens], [True]).details
    for detector, details in (
        (lstm, around),
        (Both(lstm, svm), around),
        (svm, foreseen),
        (svm, (foreseen, around)),
    ):
        with pytest.raises(TypeError, match=type(detector).__name__):
            explain(tokenizer, detector, details, 0, one, tokens, window=False)
