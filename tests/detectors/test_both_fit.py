"""Learning both views: what each learner makes alone, from the same actions."""

from __future__ import annotations

import random

import numpy as np
import pytest
from numpy.typing import NDArray

from anomaly.corpus import Corpus
from anomaly.detectors import lstm_fit
from anomaly.detectors.both import Both, part
from anomaly.detectors.both_fit import BothLearner
from anomaly.detectors.counts_fit import expectation, first_tokens, occurrences
from anomaly.detectors.interface import WINDOW, Arrays, OutOfFold
from anomaly.detectors.lstm_fit import LstmLearner
from anomaly.detectors.lstm_trainer import Trainer
from anomaly.detectors.ocsvm_fit import OcsvmLearner
from anomaly.osquery import Action
from anomaly.tokenizer import Tokenizer
from anomaly.tokens import Encoded

Made = tuple[Tokenizer, Encoded]
COUNT = 400
LEARN, BEFORE, HELD_OUT = [range(250)], range(150, 250), range(250, COUNT)


@pytest.fixture(scope="module")
def made() -> Made:
    """Give actions that go round, and now and then bring something new."""
    draw = random.Random(3)  # noqa: S311 - sample data
    corpus = Corpus()
    for number in range(COUNT):
        command = f"new{number}" if draw.random() < 0.05 else f"c{number % 7}"
        corpus.append(number, Action(number, "h", "u", ("q", "r")[number % 2], "added", {"command": command}))
    tokenizer = Tokenizer.fit(corpus, corpus.rows(), salt=1)
    return tokenizer, tokenizer.encode_all(corpus, corpus.rows())


def learner(*, network: bool = False, cache: bool = True) -> BothLearner:
    """Make a learner of both views; without a network it takes no time."""
    return BothLearner(LstmLearner(0, network=network, cache=cache), OcsvmLearner())


def content(arrays: Arrays) -> dict[str, bytes]:
    """Give arrays as bytes."""
    return {name: array.tobytes() for name, array in arrays.items()}


def out_of_fold(made: Made, detector: Both) -> OutOfFold:
    """Make out-of-fold evidence of two folds, with as many views as the detector has."""
    width = len(detector.as_trained(detector.start()))
    views = np.tile(np.arange(float(width)), (COUNT, 1))
    views[: WINDOW - 1] = views[200 : 200 + WINDOW - 1] = np.nan
    bits = np.random.default_rng(1).random(len(made[1].ids)) * 9
    return OutOfFold(bits, views, (range(200), range(200, COUNT)))


def background(made: Made) -> NDArray[np.float64]:
    """Make other users, who do everything equally often."""
    return expectation(np.ones(len(occurrences(made[0]))), first_tokens(made[0]))


def test_it_fits_what_each_learner_fits(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both views are those that their learners make of the same actions, against the same others."""
    monkeypatch.setattr(lstm_fit, "MAX_EPOCHS", 1)
    seen: list[float] = []
    others = background(made)
    both = learner(network=True).fit(*made, LEARN, BEFORE, HELD_OUT, others, seen.append)
    lstm = LstmLearner(0).fit(*made, LEARN, BEFORE, HELD_OUT, others)
    svm = OcsvmLearner().fit(*made, LEARN, BEFORE)
    assert content(part(both.arrays(), "sequence.")) == content(lstm.arrays())
    assert content(part(both.arrays(), "window.")) == content(svm.arrays())
    assert seen == [1.0]  # the window view is a moment's work: what is told is how far the network is
    assert both.sequence.counts.others


def test_it_knows_the_epochs_of_the_network(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """The epochs that were best are the network's, for one user, and are forgotten before the next."""
    monkeypatch.setattr(lstm_fit, "MAX_EPOCHS", 3)
    losses = iter((2.0, 1.0, 3.0))
    monkeypatch.setattr(Trainer, "_evaluate", lambda *_: next(losses))
    teacher = learner(network=True)
    assert teacher.epochs is None
    teacher.fit(*made, LEARN, BEFORE, HELD_OUT)
    assert teacher.epochs == teacher.sequence.epochs == 2
    teacher.fit(*made, LEARN, BEFORE, HELD_OUT)  # asks for no further losses
    assert teacher.epochs == 2
    teacher.begin()
    assert teacher.epochs is None
    assert teacher.sequence.epochs is None


def test_it_takes_for_the_same_what_its_learners_do(made: Made) -> None:
    """Differences that may be due to the fit are, view by view, the learners'; an action's is the sequence's."""
    teacher = learner()
    both = teacher.fit(*made, LEARN, BEFORE)
    assert teacher.least_views == LstmLearner.least_views + OcsvmLearner.least_views
    assert len(teacher.least_views) == len(both.as_trained(both.start()))
    assert teacher.least_action == LstmLearner.least_action
    assert teacher.folds == LstmLearner.folds


@pytest.mark.parametrize("alone", [True, False])
def test_finish_is_for_the_sequence(made: Made, *, alone: bool) -> None:
    """The sequence learns its rarities and, alone, gives its windows' view; the window view stays as it is."""
    teacher = learner()
    both = teacher.fit(*made, LEARN, BEFORE, others=None if alone else background(made))
    before = out_of_fold(made, both)
    finished, evidence = teacher.finish(both, made[1], before)
    lstm, expected = teacher.sequence.finish(both.sequence, made[1], before)
    assert content(finished.sequence.arrays()) == content(lstm.arrays()) != content(both.sequence.arrays())
    assert finished.window is both.window
    assert np.array_equal(evidence.views, expected.views, equal_nan=True)
    assert np.array_equal(evidence.views[:, 0], before.views[:, 0], equal_nan=True) != alone
    assert np.array_equal(evidence.views[:, 1:], before.views[:, 1:], equal_nan=True)
    assert evidence.action.tolist() == before.action.tolist()


def test_a_fold_adopts_the_rarities(made: Made) -> None:
    """A fold's sequence takes its rarities from the finished one, by kind; nothing else of it changes."""
    teacher = learner()
    both, fold = (teacher.fit(*made, [learn], BEFORE) for learn in (range(250), range(200)))
    finished, _ = teacher.finish(both, made[1], out_of_fold(made, both))
    adopted = teacher.adopt(fold, finished, [0, 2, 1])
    assert adopted.sequence.rarity.tolist() == finished.sequence.rarity[[0, 2, 1]].tolist()
    assert adopted.window is fold.window
    unchanged = {name for name, data in content(fold.arrays()).items() if data == content(adopted.arrays())[name]}
    assert set(fold.arrays()) - unchanged == {"sequence.rarity"}


@pytest.mark.parametrize("cache", [True, False])
def test_what_is_left_out_stays_out(made: Made, *, cache: bool) -> None:
    """Without a cache the counts stand still, and the windows are learned all the same."""
    both = learner(cache=cache).fit(*made, LEARN, BEFORE)
    state = both.start()
    both.learn(state, [made[1].tokens(number) for number in range(100)], 1.0)
    assert (both.learned(state)["sequence.own"] != both.sequence.counts.own).any() == cache
    assert len(both.learned(state)["window.pool"]) == len(both.window.pool) + 1
