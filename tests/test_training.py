from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from anomaly.corpus import Corpus
from anomaly.detectors.interface import WINDOW, Algorithm, Arrays, Detector, Evidence, Learner, State
from anomaly.detectors.lstm import Lstm
from anomaly.detectors.ocsvm import OneClassSvm
from anomaly.errors import TooLittleData
from anomaly.harvest import Harvest
from anomaly.identity import Identities
from anomaly.model import UserModel
from anomaly.osquery import Action
from anomaly.sources.interface import Position
from anomaly.store import Store
from anomaly.tokenizer import Encoded, Tokenizer, Tokens
from anomaly.training import check_enough, claim, learner, out_of_fold, train


def act(number: int, command: str, *, baseline: bool = False, time: int | None = None) -> Action:
    """Make an action, a minute after the one before."""
    at = 1_793_000_000 + 60 * number if time is None else time
    return Action(at, "ws1", "alice", "shell_history", "added", {"command": command}, baseline)


def corpus_of(*actions: Action) -> Corpus:
    """Gather actions."""
    corpus = Corpus()
    for number, action in enumerate(actions):
        corpus.append(number, action)
    return corpus


def usual(count: int = 600) -> list[Action]:
    """Make actions that go round."""
    return [act(number, f"c{number % 7}") for number in range(count)]


def harvested(**users: Corpus) -> Harvest:
    """Make what reading a log would give."""
    named = any(not name.startswith("host:") for name in users)
    return Harvest(users, named, (Position("f1e2", 9, 8, 7),), Counter(), 1)


def learned(*actions: Action) -> UserModel:
    """Learn alice from actions."""
    corpus = corpus_of(*actions)
    teacher = learner(Algorithm.OCSVM, 0)
    return train("alice", corpus, teacher, Algorithm.OCSVM, harvested(alice=corpus), Identities(hostname=""))


class Nothing(State):
    """A state of nothing."""

    def to_json(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


class Spy(Detector):
    """Scores an action by the token of its column, and a window by how many actions it has seen."""

    algorithm: ClassVar[Algorithm] = Algorithm.OCSVM

    def __init__(self) -> None:
        self.count = 0

    def start(self) -> State:
        """Begin."""
        self.count = 0
        return Nothing()

    def resume(self, saved: Mapping[str, Any]) -> State:
        """Go on."""
        del saved
        return Nothing()

    def score(self, state: Any, tokens: Tokens) -> Evidence:  # noqa: ANN401 - as the interface has it
        """Count."""
        del state
        self.count += 1
        return Evidence(0.0, float(tokens.buckets[1]), float(self.count), ())

    def arrays(self) -> Arrays:
        """Return nothing."""
        return {}


class SpyLearner(Learner):
    """Remembers what it was given to learn from."""

    folds: ClassVar[int] = 4

    def __init__(self) -> None:
        self.calls: list[tuple[Tokenizer, list[range], range, range | None]] = []

    def fit(
        self,
        tokenizer: Tokenizer,
        encoded: Encoded,
        learn: list[range],
        window: range,
        held_out: range | None = None,
        report: Callable[[float], None] = lambda _: None,
    ) -> Detector:
        """Take note."""
        del encoded, report
        self.calls.append((tokenizer, learn, window, held_out))
        return Spy()


@pytest.mark.parametrize(("count", "missing"), [(0, 500), (1, 499), (499, 1)])
def test_too_little_data(count: int, missing: int) -> None:
    """Below 500 actions nothing is learned, and what is missing is counted."""
    with pytest.raises(TooLittleData, match=f"has {count} actions .* {missing} are missing"):
        check_enough("alice", corpus_of(*usual(count)))
    with pytest.raises(TooLittleData):
        learned(*usual(count))
    check_enough("alice", corpus_of(*usual(500)))


def test_claims() -> None:
    """A user's actions are those by that name; all of a log's only where it names nobody, in the log's order."""
    alice, bob = corpus_of(*usual(3)), corpus_of(*usual(2))
    assert claim(harvested(alice=alice, bob=bob), "alice") is alice
    assert claim(harvested(alice=alice), "bob") is None
    one, two = Corpus(), Corpus()
    for number, action in enumerate(usual(6)):
        (one, two)[number % 2].append(number, action)
    whole = claim(harvested(**{"host:a": one, "host:b": two}), "alice")
    assert whole is not None
    assert [action.columns["command"] for _, action in whole.actions()] == [f"c{n}" for n in range(6)]
    assert claim(harvested(**{"host:a": one}), "host:b") is None
    assert claim(harvested(), "alice") is None


def test_out_of_fold_evidence_is_out_of_fold() -> None:
    """Each action is scored once, by a tokenizer and a detector that saw neither it nor anything of its part."""
    actions = [act(number, f"only{number // 2}") for number in range(800)]
    corpus = corpus_of(*actions)
    spy = SpyLearner()
    evidence = out_of_fold(corpus, corpus.rows(), spy, 4, salt=0)
    assert evidence.folds == (range(200), range(200, 400), range(400, 600), range(600, 800))
    assert [held for *_, held in spy.calls] == list(reversed(evidence.folds))
    for tokenizer, learn, window, held in spy.calls:
        assert held is not None
        seen = sorted(number for part in learn for number in part)
        assert seen == [number for number in range(800) if number not in held]
        assert list(window) == list(range(max(held.start - WINDOW, 0), held.start))
        for number in range(0, 800, 2):
            text = f"only{number // 2}"
            assert tokenizer.seen("shell_history", "command", text) == (0 if number in held else 2)
    assert len(evidence.action) == 800
    assert len(evidence.window) == 4 * (200 - WINDOW + 1)
    assert evidence.window.min() == WINDOW


def test_evidence_is_in_the_order_of_the_actions() -> None:
    """Parts are learned last first, and their evidence is put together first to last."""
    corpus = corpus_of(*usual(640))
    evidence = out_of_fold(corpus, corpus.rows(), SpyLearner(), 4, salt=0)
    tokenizer = Tokenizer.fit(corpus, corpus.rows())
    assert evidence.action.tolist() == tokenizer.encode_all(corpus, corpus.rows()).buckets[:, 1].tolist()


def test_baseline_rows_are_in_the_vocabulary_and_not_in_the_sequences() -> None:
    """What ran when osquery was first asked is known, and no part of how the user goes on."""
    inventory = [act(0, "installed", baseline=True)] * 40
    model = learned(*usual(300), *inventory, *usual(300), *inventory)
    assert (model.card.actions, model.card.baseline) == (680, 80)
    assert model.tokenizer.seen("shell_history", "command", "installed") == 80
    detector = model.detector
    assert isinstance(detector, OneClassSvm)
    (bucket,) = {model.tokenizer.encode(action).buckets[1] for action in inventory}
    assert not detector.support[:, bucket].any()
    assert bucket not in detector.window
    expected = [model.tokenizer.encode(action).buckets for action in usual(300)[-WINDOW:]]
    assert [tuple(row) for row in detector.window.tolist()] == expected


def test_the_card_is_the_logs() -> None:
    """The card says when, how much and from what was learned, all by the log; rows without a time date nothing."""
    baseline = act(0, "installed", baseline=True, time=5)
    actions = [*usual(600), act(0, "c1", time=0), baseline]
    model = learned(*actions)
    card = model.card
    assert (card.user, card.hosts, card.algorithm) == ("alice", ("ws1",), Algorithm.OCSVM)
    assert (card.first, card.last) == (1_793_000_000, 1_793_000_000 + 60 * 599)
    assert (card.days, sum(card.hours)) == (len({a.time // 86_400 for a in usual()}), 600)
    assert card.fingerprint == corpus_of(*actions).fingerprint()
    assert card.ends == (Position("f1e2", 9),)
    assert card.libraries["scikit-learn"] != "unknown"
    assert "tensorflow" not in card.libraries


def test_a_log_without_times() -> None:
    """A log that never says the time is learned like any other, and dated nothing."""
    model = learned(*(act(0, f"c{number % 7}", time=0) for number in range(600)))
    assert (model.card.first, model.card.last, model.card.days) == (0, 0, 0)


def test_the_salt_comes_from_the_actions() -> None:
    """Who has not seen the actions cannot choose names that share a bucket: other actions, other hashes."""
    one, two = learned(*usual(600)), learned(*usual(601))
    assert one.tokenizer.salt == int(one.card.fingerprint[:8], 16)
    assert one.tokenizer.salt != two.tokenizer.salt


def test_calibration_fits_the_actions_to_come(
    trained_models: dict[Algorithm, UserModel], actions: list[Action]
) -> None:
    """Ten points are one action in ten: of the user's own actions no more than some pass 10, and few pass 20."""
    for model in trained_models.values():
        state = model.detector.start()
        own = [action for action in actions if action.user == "alice" and not action.baseline]
        scores = np.array(
            [
                model.calibration.action.score(model.detector.score(state, model.tokenizer.encode(action)).action)
                for action in own
            ]
        )
        assert (scores >= 10).mean() < 0.2
        assert (scores >= 20).mean() < 0.05


def test_one_learner_teaches_many(log: Path, ocsvm_models: Path, lstm_models: Path) -> None:
    """A learner remembers nothing of the user before: epochs are each user's own, and folds the learner's."""
    del log
    for models in (ocsvm_models, lstm_models):
        for user in ("alice", "bob"):
            stored = Store(models).load(user)
            assert stored is not None
            card = stored.model.card
            if card.algorithm is Algorithm.LSTM:
                assert isinstance(stored.model.detector, Lstm)
                assert card.epochs in (1, 2)
                assert card.folds == 4
            else:
                assert card.epochs is None
                assert card.folds == 8


@pytest.fixture
def trained_models(ocsvm_models: Path, lstm_models: Path) -> dict[Algorithm, UserModel]:
    """Give alice's model by each algorithm."""
    found = {}
    for models in (ocsvm_models, lstm_models):
        stored = Store(models).load("alice")
        assert stored is not None
        found[stored.model.card.algorithm] = stored.model
    return found
