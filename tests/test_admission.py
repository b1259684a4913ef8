from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter, deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomaly.admission import MOST, Admission, Keys, admitted, keys_of
from anomaly.corpus import Corpus
from anomaly.detectors.interface import WINDOW
from anomaly.osquery import Action
from anomaly.tokenizer import Tokenizer
from anomaly.tokens import Tokens

TIME = 1_793_000_000
NOTHING = Tokens((1,), (1,), (0,))


def act(time: int, query: str = "shell_history", *, baseline: bool = False, **columns: str) -> Action:
    """Make an action."""
    return Action(time, "ws1", "alice", query, "added", columns, baseline)


def corpus_of(actions: list[Action]) -> Corpus:
    """Gather actions."""
    corpus = Corpus()
    for number, action in enumerate(actions):
        corpus.append(number, action)
    return corpus


TOKENIZER = Tokenizer.fit(_KNOWN := corpus_of([act(TIME, a="x")] * 3), _KNOWN.rows())


def judged(actions: list[Action], silent: set[tuple[str, str]] | None = None) -> NDArray[np.bool_]:
    """Say which actions of a corpus are admitted."""
    corpus = corpus_of(actions)
    return admitted(corpus, corpus.rows(), silent or set())


@st.composite
def streams(draw: st.DrawFn) -> list[Keys]:
    """Make floods and trickles of a few runs and a few sayings."""
    blocks = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(1, 120)), max_size=12))
    found: list[Keys] = []
    for run, same, count in blocks:
        new = draw(st.booleans())  # a run that says something else each time
        found += [(run, 1000 + len(found) + number if new else same) for number in range(count)]
    return found


@st.composite
def rounds(draw: st.DrawFn) -> list[Keys]:
    """Make a few actions that come round and round, so that what goes is often what comes; then others."""
    found: list[Keys] = []
    pairs = st.tuples(st.integers(0, 3), st.integers(0, 4))
    for _ in range(draw(st.integers(1, 3))):
        one = draw(st.sampled_from([2, 4, 5, 7, 10]).flatmap(lambda n: st.lists(pairs, min_size=n, max_size=n)))
        found += one * draw(st.integers(1, 60))
    return found


class TestAdmission:
    """What is in a user's window."""

    @given(streams())
    def test_nothing_has_more_than_its_places(self, stream: list[Keys]) -> None:
        """No run that is known and no saying ever holds more than MOST of the window's last WINDOW places."""
        admission = Admission()
        expected: deque[Keys] = deque(maxlen=WINDOW)
        for keys in stream:
            if admission.admit(keys):
                expected.append(keys)
            assert admission.window == expected
            runs, same = (Counter(column) for column in zip(*expected, strict=True))
            assert max((n for run, n in runs.items() if run), default=0) <= MOST
            assert max(same.values()) <= MOST

    @given(streams() | rounds())
    def test_the_counts_are_those_of_the_window(self, stream: list[Keys]) -> None:
        """After any action it knows of each run and saying how many the window holds, and of no other."""
        admission = Admission()
        for keys in stream:
            admission.admit(keys)
            runs, same = (Counter(column) for column in zip(*admission.window, strict=True))
            assert admission._runs == runs
            assert admission._same == same
        again = Admission(admission.window)
        assert (again._runs, again._same) == (admission._runs, admission._same)

    @given(streams())
    def test_who_has_room_comes_in(self, stream: list[Keys]) -> None:
        """An action is kept out only where the window holds MOST of its run or of its saying."""
        admission = Admission()
        for run, same in stream:
            held = list(admission.window)
            full = [run > 0 and sum(r == run for r, _ in held) >= MOST, sum(s == same for _, s in held) >= MOST]
            assert admission.admit((run, same)) is not any(full)

    @given(streams(), st.data())
    def test_chunks_do_not_matter(self, stream: list[Keys], data: st.DataObject) -> None:
        """Rebuilt from its window at any places it gives the answers of one that was never put away."""
        cuts = data.draw(st.sets(st.integers(0, len(stream)), max_size=20))
        whole, part = Admission(), Admission()
        for place, keys in enumerate(stream):
            if place in cuts:
                part = Admission(list(part.window))
            assert part.admit(keys) is whole.admit(keys)
        assert part.window == whole.window

    @pytest.mark.parametrize("before", [0, 30, 100, 250])
    def test_a_flood_of_equal_lines(self, before: int) -> None:
        """Ten thousand equal lines take MOST places, and leave the rest of the window as it was."""
        admission = Admission()
        usual = [(number + 1, number + 1) for number in range(before)]
        assert all(admission.admit(keys) for keys in usual)
        came = sum(admission.admit((10_000 + number, 0)) for number in range(10_000))
        assert came == MOST
        assert list(admission.window)[:-MOST] == usual[-(WINDOW - MOST) :]

    def test_a_place_that_is_left_is_free_again(self) -> None:
        """What has gone out of the window no longer counts: a loop comes back in as others come between."""
        admission = Admission()
        came = [admission.admit((number + 1, number % 2 * number)) for number in range(2000)]
        assert sum(came[1900::2]) >= MOST - 2
        assert all(came[1901::2])
        assert sum(same == 0 for _, same in admission.window) >= MOST - 1


class TestKeys:
    """What makes two actions the same."""

    def test_a_run_is_one_query_at_one_time(self) -> None:
        """Rows of one query and moment share a run; another moment, and another query, is another run."""
        runs = [
            keys_of(action, NOTHING)[0]
            for action in (act(TIME, a="1"), act(TIME, a="2"), act(TIME + 1), act(TIME, "processes"))
        ]
        assert runs[0] == runs[1]
        assert len(set(runs)) == 3
        assert all(runs)

    def test_without_a_time_there_is_no_run(self) -> None:
        """Rows that do not say their time are of no run."""
        assert keys_of(act(0), NOTHING)[0] == 0

    def test_unseen_values_are_told_apart(self) -> None:
        """Values that fall back to one token are different sayings, by their hashes."""
        actions = [act(TIME, a=value) for value in ("y", "z", "y")]
        one, two, again = (keys_of(action, TOKENIZER.encode(action))[1] for action in actions)
        assert one == again != two

    @given(st.integers(), st.text(), st.text(), st.text())
    def test_any_action_has_keys(self, time: int, query: str, column: str, value: str) -> None:
        """Whatever an action holds, its keys are whole numbers of 64 bits, and the same a second time."""
        action = Action(time, "", "alice", query + "\ud800", "added", {column: value})
        run, same = keys_of(action, TOKENIZER.encode(action))
        assert (run, same) == keys_of(action, TOKENIZER.encode(action))
        assert 0 <= run < 1 << 33
        assert -1 << 63 <= same < 1 << 63
        assert bool(run) is bool(time)

    def test_the_process_does_not_matter(self) -> None:
        """Keys that a checkpoint brings to another process are those that it would give, whatever its hashes."""
        code = (
            "from anomaly.admission import keys_of\n"
            "from anomaly.osquery import Action\n"
            "from anomaly.tokens import Tokens\n"
            "action = Action(5, 'ws1', 'alice', 'shell_history', 'added', {'command': 'ls'})\n"
            "print(keys_of(action, Tokens((1, 7), (3, 900), (0, 4_000_000_000))))"
        )
        printed = {
            subprocess.check_output([sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed})
            for seed in ("0", "1", "2")
        }
        assert len(printed) == 1


@st.composite
def logs(draw: st.DrawFn) -> list[Action]:
    """Make logs of floods: few times, few values, process numbers, baseline rows."""
    found: list[Action] = []
    for _ in range(draw(st.integers(1, 8))):
        query, verb = draw(st.sampled_from([("p x", "added"), ("p x", "removed"), ("shell_history", "added")]))
        time, step = draw(st.sampled_from([0, TIME, TIME + 1])), draw(st.sampled_from([0, 60]))
        name, path = draw(st.sampled_from(["ls", "git", ""])), draw(st.booleans())
        baseline = draw(st.booleans() if step else st.just(value=False))
        for number in range(draw(st.integers(1, 130))):
            columns = {"name": name, "username": "alice", "pid": str(len(found) * 7919 % 100_003)}
            columns |= {"path": f"/tmp/{name}/{number % 60}"} if path else {}  # noqa: S108 - a value of a log
            now = time + step * number if time else 0
            found.append(Action(now, "ws1", "alice", query, verb, columns, baseline))
    return found


class TestCorpus:
    """Which actions of a log are learned from."""

    @settings(max_examples=60, deadline=None)
    @given(logs())
    def test_learning_and_running_admit_the_same(self, actions: list[Action]) -> None:
        """The actions of a corpus are admitted as they would be one by one, where their values are known."""
        corpus = corpus_of(actions * 2)  # twice: all values are known
        rows = corpus.rows()
        tokenizer = Tokenizer.fit(corpus, rows, salt=3)
        admission = Admission()
        expected = [
            not action.baseline and admission.admit(keys_of(action, tokenizer.encode(action)))
            for action in actions * 2
        ]
        assert admitted(corpus, rows, tokenizer.silent).tolist() == expected

    def test_baseline_rows(self) -> None:
        """State that osquery met when it was first asked is not admitted, and takes no place of what follows."""
        actions = [act(TIME, name="ls", baseline=True)] * 200 + [act(TIME, name="ls")] * 200
        found = judged(actions)
        assert not found[:200].any()
        assert found[200:].tolist() == [True] * MOST + [False] * (200 - MOST)

    def test_without_a_time_only_what_is_said_counts(self) -> None:
        """Rows without a time are limited where they repeat themselves, and nowhere else."""
        assert judged([act(0, name=f"n{number}") for number in range(500)]).all()
        assert judged([act(TIME, name=f"n{number}") for number in range(500)]).sum() == MOST
        assert judged([act(0, name="ls")] * 500).sum() == MOST

    def test_a_loop_with_process_numbers_is_one_loop(self) -> None:
        """Columns whose values name nothing make no difference: else every line of a loop would be new."""
        loop = [act(TIME + number, "processes", name="sh", pid=str(number)) for number in range(500)]
        assert judged(loop).all()
        assert judged(loop, {("processes", "pid")}).sum() == MOST

    def test_actions_that_say_nothing(self) -> None:
        """Actions without a column that counts are told apart by their kinds alone, and none are no trouble."""
        bare = [act(TIME + number, ("one", "two")[number % 2], username="alice") for number in range(400)]
        assert judged(bare).sum() == 2 * MOST
        assert judged([]).shape == (0,)

    def test_a_flood_leaves_the_rest(self) -> None:
        """A flood within usual behaviour keeps out nothing but itself."""
        usual = [act(TIME + 60 * number, name=f"n{number % 9}") for number in range(300)]
        flood = [act(TIME + 60 * 150 + number % 60, name="spam") for number in range(10_000)]
        found = judged([*usual[:150], *flood, *usual[150:]])
        assert found[:150].all()
        assert found[150:-150].sum() == MOST
        assert found[-150:].all()
