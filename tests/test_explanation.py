"""The reasons of a score: each kind in a situation made for it."""

from __future__ import annotations

import random
from math import log2
from typing import Any

import numpy as np
import pytest

from anomaly.cohort import no_others
from anomaly.corpus import Corpus
from anomaly.detectors.counts import Counts
from anomaly.detectors.detector import Detector
from anomaly.detectors.interface import Algorithm
from anomaly.detectors.lstm import MIX, Lstm
from anomaly.detectors.network import Network
from anomaly.detectors.profile import LEVELS
from anomaly.detectors.rarity import RANKS, Rarity
from anomaly.explanation import MAX_REASONS, MAX_TEXT, RARE, explain, spoken, unusual_hour
from anomaly.osquery import Action
from anomaly.records import Reason, ReasonKind
from anomaly.tokenizer import Tokenizer

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


def detector_of(network: Lstm | None = None) -> Detector:
    """Return a detector of which only the network has a say in reasons."""
    return Detector(Algorithm.BOTH, no_others(), Rarity(np.zeros((LEVELS, RANKS))), None, network)


def lstm_of(tokenizer: Tokenizer, **arrays: np.ndarray[Any, np.dtype[np.float32]]) -> Lstm:
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
    starts = np.array([*(head.start for head in tokenizer.heads), size], dtype=np.int32)
    own, prior = np.zeros(size), np.zeros(size)
    for head in tokenizer.heads:
        own[head.start : head.stop] = [token.count for token in head.tokens]
        prior[head.start : head.stop] = 1.0 / (head.stop - head.start)
    return Lstm(
        Network(**learned, starts=starts),
        counts=Counts(own, prior, starts),
        rarity=np.array([[[0.0, 5.0, 1.0], [1.0, 0.1, 0.0]]] * kinds),
        hidden=np.zeros(UNITS, np.float32),
        cell=np.zeros(UNITS, np.float32),
        recent=np.zeros(0),
        window=np.zeros((0, 1), np.int32),
    )


def token_of(tokenizer: Tokenizer, command: str) -> int:
    """Give the token of a command."""
    return tokenizer.encode(action(command=command)).ids[1]


def expecting(tokenizer: Tokenizer, *commands: str) -> Detector:
    """Make a detector whose network always expects these commands, the first one most."""
    bias = np.zeros(tokenizer.size, np.float32)
    bias[tokenizer.heads[0].start + 1] = 12.0
    for rank, command in enumerate(commands):
        bias[token_of(tokenizer, command)] = 12.0 - rank
    return detector_of(lstm_of(tokenizer, output_bias=bias))


def reasons_of(
    tokenizer: Tokenizer, detector: Detector, *actions: Action, window: bool = False
) -> tuple[Reason, ...]:
    """Give the reasons of the last of some actions: the same one after another and all at once."""
    state = detector.start()
    reasons: tuple[Reason, ...] = ()
    for one in actions:
        tokens = tokenizer.encode(one)
        details = detector.judge(state, [tokens], [True]).details
        reasons = explain(tokenizer, detector, details, 0, one, tokens, window=window)
    batch = [tokenizer.encode(one) for one in actions]
    details = detector.judge(detector.start(), batch, [True] * len(batch)).details
    assert explain(tokenizer, detector, details, len(batch) - 1, actions[-1], batch[-1], window=window) == reasons
    return reasons


WITHOUT, WITH = False, True
each = pytest.mark.parametrize("network", [WITHOUT, WITH], ids=["counts alone", "with a network"])


def either(tokenizer: Tokenizer, network: bool) -> Detector:  # noqa: FBT001 - a parameter of tests
    """Return a detector without a network, or with one that expects ls."""
    return expecting(tokenizer, "ls") if network else detector_of()


class TestCounts:
    """The reasons that the tokenizer's counts give, with a network and without."""

    @each
    def test_explain_value_never_seen_is_new(self, tokenizer: Tokenizer, network: bool) -> None:  # noqa: FBT001
        """A value that training never saw is new; what the user does there most was expected."""
        (reason,) = reasons_of(tokenizer, either(tokenizer, network), action(command="nmap"))
        assert reason.kind is ReasonKind.NEW_VALUE
        assert (reason.field, reason.value) == ("command", "nmap")
        assert (reason.seen, reason.of) == (0, 1003)
        assert reason.expected == ("ls", "git", "vim")
        head = next(head for head in tokenizer.heads if head.column == "command")
        assert reason.bits == pytest.approx(-log2(max(head.unseen, 2.0**-16)), abs=0.01)

    @each
    def test_explain_value_below_a_hundredth_is_rare(self, tokenizer: Tokenizer, network: bool) -> None:  # noqa: FBT001
        """A value of less than one action in 100 is rare, was seen so often, and is worth what its share says."""
        (reason,) = reasons_of(tokenizer, either(tokenizer, network), action(command="sudo reboot"))
        assert reason.kind is ReasonKind.RARE_VALUE
        assert (reason.seen, reason.of) == (3, 1003)
        assert reason.seen < RARE * reason.of
        assert reason.expected == ("ls", "git", "vim")
        assert reason.bits == pytest.approx(-log2(3 / 1003), abs=0.01)

    @each
    def test_explain_kind_never_seen_is_new(self, tokenizer: Tokenizer, network: bool) -> None:  # noqa: FBT001
        """A query that training never saw is a new kind of action, and each of its columns is new."""
        reasons = reasons_of(tokenizer, either(tokenizer, network), action("kernel_modules", name="x"))
        assert {(reason.kind, reason.field, reason.value) for reason in reasons} == {
            (ReasonKind.NEW_VALUE, "action", "kernel_modules added"),
            (ReasonKind.NEW_VALUE, "name", "x"),
        }
        (kind,) = (reason for reason in reasons if reason.field == "action")
        assert (kind.seen, kind.of, kind.expected) == (0, 1003, ("shell_history added",))

    def test_explain_column_never_seen_is_new(self, tokenizer: Tokenizer) -> None:
        """A column that training never saw has no count and nothing expected."""
        (reason,) = reasons_of(tokenizer, detector_of(), action(command="ls", odd="x"))
        assert (reason.kind, reason.field, reason.value) == (ReasonKind.NEW_VALUE, "odd", "x")
        assert (reason.seen, reason.of, reason.expected, reason.bits) == (0, 0, (), 16.0)

    def test_explain_usual_action_gives_the_mix(self, tokenizer: Tokenizer) -> None:
        """Where each value is usual, the rarest of them is told as part of the mix, and what is usual there."""
        (reason,) = reasons_of(tokenizer, detector_of(), action(command="vim"))
        assert reasons_of(tokenizer, detector_of(), action(command="vim"), window=True) == (reason,)
        assert (reason.kind, reason.field, reason.value) == (ReasonKind.UNUSUAL_MIX, "command", "vim")
        assert (reason.seen, reason.of) == (100, 1003)
        assert reason.expected == ("ls", "git", "vim")
        assert reason.bits == pytest.approx(-log2(100 / 1003), abs=0.01)

    def test_explain_many_rare_columns_gives_the_three_rarest(self) -> None:
        """Of six rare values the three of most bits are told, the most surprising first."""
        rows = [
            action(**{f"c{n}": "odd" if row % 1000 <= n else "usual" for n in range(6)}) for row in range(2000)
        ]
        random.Random(2).shuffle(rows)  # noqa: S311 - sample data
        tokenizer = fitted(rows)
        one = action(**{f"c{n}": "odd" for n in range(6)})
        reasons = reasons_of(tokenizer, detector_of(), one)
        assert [(reason.field, reason.seen) for reason in reasons] == [("c0", 2), ("c1", 4), ("c2", 6)]
        assert len(reasons) == MAX_REASONS

    @pytest.mark.parametrize("window", [False, True])
    @each
    def test_explain_window_adds_its_mix_as_the_last_of_three(
        self,
        tokenizer: Tokenizer,
        network: bool,  # noqa: FBT001 - a parameter
        *,
        window: bool,
    ) -> None:
        """However many columns are new, three reasons are told; if the window asks for it, the last is its mix."""
        one = action(**{f"odd{n}": "x" for n in range(9)})
        reasons = reasons_of(tokenizer, either(tokenizer, network), one, window=window)
        assert len(reasons) == MAX_REASONS
        assert [reason.kind is ReasonKind.UNUSUAL_MIX for reason in reasons] == [False, False, window]

    def test_explain_value_with_a_home_shows_what_the_row_says(self) -> None:
        """A home directory is counted as anybody's own and shown as the row has it: that can be suppressed."""
        tokenizer = fitted([action(path="/home/alice/run.sh", command="ls")] * 200)
        rare = action(path="/home/alice/other.sh", command="ls")
        (reason,) = reasons_of(tokenizer, detector_of(), rare)
        assert (reason.kind, reason.value) == (ReasonKind.NEW_VALUE, "/home/alice/other.sh")
        elsewhere = Action(
            5, "ws2", "bob", "shell_history", "added", {"path": "/home/bob/run.sh", "command": "ls"}
        )
        assert [entry.seen for entry in spoken(tokenizer, elsewhere)] == [200, 200, 200]


class TestNetwork:
    """The reasons that the network gives besides."""

    def test_explain_usual_value_at_an_unusual_moment_is_unexpected(self, tokenizer: Tokenizer) -> None:
        """A usual value at an unusual moment is unexpected; what the network would rather have seen is told."""
        detector = expecting(tokenizer, "git", "ls", "sudo reboot")
        (reason,) = reasons_of(tokenizer, detector, action(command="vim"))
        assert reason.kind is ReasonKind.UNEXPECTED_NEXT
        assert (reason.seen, reason.of) == (100, 1003)
        assert reason.expected == ("git", "ls", "sudo reboot")
        assert detector.sequence is not None
        counts = detector.sequence.counts
        (share,) = counts.judge(counts.start(), (token_of(tokenizer, "vim"),), (0,))
        assert share == pytest.approx(0.1, abs=0.01)
        assert reason.bits == pytest.approx(-log2(MIX * share), abs=0.01)

    def test_explain_expected_is_what_was_expected_before(self, tokenizer: Tokenizer) -> None:
        """What was expected is read off the state before the action, not the one that the action led to."""
        vim, git = token_of(tokenizer, "vim"), token_of(tokenizer, "git")
        kernel = np.zeros((tokenizer.size, 4 * UNITS), np.float32)
        kernel[vim] = 9.0  # after vim the hidden state is far from zero
        output = np.zeros((tokenizer.size, UNITS), np.float32)
        output[git] = 9.0  # and git is what comes then
        bias = np.zeros(tokenizer.size, np.float32)
        bias[token_of(tokenizer, "ls")] = 9.0
        detector = detector_of(lstm_of(tokenizer, kernel=kernel, output=output, output_bias=bias))
        first = reasons_of(tokenizer, detector, action(command="vim"))
        second = reasons_of(tokenizer, detector, action(command="vim"), action(command="vim"))
        assert (first[0].expected[0], second[0].expected[0]) == ("ls", "git")

    def test_explain_expected_action_gives_the_mix(self, tokenizer: Tokenizer) -> None:
        """Of an action that costs few bits nothing is unexpected: what is left is the mix of the window."""
        for window in (False, True):
            (reason,) = reasons_of(tokenizer, expecting(tokenizer, "vim"), action(command="vim"), window=window)
            assert (reason.kind, reason.value) == (ReasonKind.UNUSUAL_MIX, "vim")

    def test_explain_value_is_told_once(self, tokenizer: Tokenizer) -> None:
        """What is new or rare is not told again as unexpected, whatever the network makes of it."""
        for command in ("nmap", "sudo reboot"):
            (reason,) = reasons_of(tokenizer, expecting(tokenizer, "ls"), action(command=command))
            assert reason == reasons_of(tokenizer, detector_of(), action(command=command))[0]

    def test_explain_columns_never_seen_shift_nothing(self, tokenizer: Tokenizer) -> None:
        """A column that the network does not know does not shift what the others are told of."""
        detector = expecting(tokenizer, "git", "ls")
        one = Action(5, "ws1", "alice", "shell_history", "added", {"odd": "x", "command": "vim", "another": "y"})
        *new, reason = reasons_of(tokenizer, detector, one)
        assert [other.field for other in new] == ["another", "odd"]
        assert (reason.kind, reason.field, reason.value) == (ReasonKind.UNEXPECTED_NEXT, "command", "vim")
        assert reason.expected[:2] == ("git", "ls")

    def test_explain_window_adds_its_mix(self, tokenizer: Tokenizer) -> None:
        """A window that asks for it adds one reason at the end."""
        detector = expecting(tokenizer, "git", "ls")
        first, mix = reasons_of(tokenizer, detector, action(command="vim"), window=True)
        assert first.kind is ReasonKind.UNEXPECTED_NEXT
        assert mix == reasons_of(tokenizer, detector_of(), action(command="vim"), window=True)[-1]
        assert (mix.kind, mix.value) == (ReasonKind.UNUSUAL_MIX, "vim")

    def test_explain_without_details_gives_what_the_counts_say(self, tokenizer: Tokenizer) -> None:
        """Details that are no network's say nothing of what was expected."""
        one = action(command="vim")
        tokens = tokenizer.encode(one)
        for details in (None, (), "odd"):
            (reason,) = explain(tokenizer, expecting(tokenizer, "git"), details, 0, one, tokens, window=False)
            assert reason.kind is ReasonKind.UNUSUAL_MIX


class TestHostileValues:
    """Whoever writes the log chooses what is shown."""

    @each
    def test_explain_long_values_are_cut(self, network: bool) -> None:  # noqa: FBT001 - a parameter
        """Values, queries and what was expected instead are shown up to MAX_TEXT characters."""
        tokenizer = fitted([action(command="l" * 5000)] * 200)
        detector = expecting(tokenizer, "l" * 5000) if network else detector_of()
        found = [
            *reasons_of(tokenizer, detector, action(command="n" * 100_000), window=True),
            *reasons_of(tokenizer, detector, action("q" * 100_000, command="ls"), window=True),
        ]
        assert {len(reason.value) for reason in found} >= {MAX_TEXT}
        shown = [text for reason in found for text in (reason.value, *reason.expected)]
        assert max(map(len, shown)) == MAX_TEXT

    def test_explain_long_columns_are_cut(self, tokenizer: Tokenizer) -> None:
        """The name of a column is the log's to choose, too."""
        one = action(command="ls", **{"c" * 100_000: "x"})
        (reason,) = reasons_of(tokenizer, detector_of(), one)
        assert len(reason.field) == MAX_TEXT


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
    """There is one entry for each thing that an action says, and one with a vocabulary for each id."""
    tokenizer = fitted(HISTORY)
    one = Action(5, "ws1", "alice", "shell_history", "added", {"odd": "x", "command": "git", "username": "alice"})
    entries = spoken(tokenizer, one)
    tokens = tokenizer.encode(one)
    assert sorted((entry.column, entry.value, entry.seen) for entry in entries) == [
        ("action", "shell_history added", 1003),
        ("command", "git", 300),
        ("odd", "x", 0),
    ]
    heads = [entry.head for entry in entries if entry.head is not None]
    assert all(head.start <= token < head.stop for token, head in zip(tokens.ids, heads, strict=True))
