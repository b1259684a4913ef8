from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from anomaly.corpus import Corpus
from anomaly.detectors import lstm_fit, lstm_trainer
from anomaly.detectors.counts_fit import expectation, first_tokens, occurrences
from anomaly.detectors.interface import WINDOW, OutOfFold
from anomaly.detectors.lstm import MIX, Lstm
from anomaly.detectors.lstm_fit import LstmLearner
from anomaly.detectors.lstm_layout import Layout
from anomaly.detectors.lstm_trainer import Trainer
from anomaly.osquery import Action
from anomaly.tokenizer import Tokenizer
from anomaly.tokens import Encoded
from tests.conftest import judge_one

Made = tuple[Tokenizer, Encoded]


def make(count: int, commands: int = 6, seed: int = 2) -> Made:
    """Tokenise actions that go round, and now and then bring something new."""
    draw = random.Random(seed)  # noqa: S311 - sample data
    corpus = Corpus()
    for number in range(count):
        new = draw.random() < 0.05
        command = f"new{number}" if new else f"c{number % commands}"
        corpus.append(number, Action(number, "h", "u", ("q", "r")[number % 2], "added", {"command": command}))
    tokenizer = Tokenizer.fit(corpus, corpus.rows(), salt=1)
    return tokenizer, tokenizer.encode_all(corpus, corpus.rows())


@pytest.fixture(scope="module")
def made() -> Made:
    """Give 400 actions."""
    return make(400)


def fit(made: Made, seed: int = 0, epochs: int | None = 1, learner: LstmLearner | None = None) -> Lstm:
    """Train on everything."""
    learner = learner or LstmLearner(seed)
    learner.epochs = epochs
    count = len(made[1].ids)
    return learner.fit(*made, [range(count)], range(count - WINDOW, count))


@pytest.fixture(scope="module")
def lstm(made: Made) -> Lstm:
    """Give a network that has learned from them once."""
    return fit(made)


def background(made: Made) -> NDArray[np.float64]:
    """Make other users, who do everything the other way round."""
    tokenizer, _ = made
    return expectation(occurrences(tokenizer).max() - occurrences(tokenizer), first_tokens(tokenizer))


def equal(one: Lstm, two: Lstm) -> bool:
    """Say whether two networks are the same, bit for bit."""
    return all(array.tobytes() == two.arrays()[name].tobytes() for name, array in one.arrays().items())


def test_a_seed_is_a_network(made: Made, lstm: Lstm) -> None:
    """The same seed and actions give the same network, bit for bit; another seed gives another."""
    assert equal(lstm, fit(made))
    assert not equal(lstm, fit(made, seed=1))


def test_a_learner_remembers_no_user(made: Made, lstm: Lstm) -> None:
    """A network is the same whether its learner has taught others before or not."""
    learner = LstmLearner(0)
    fit(make(300, commands=9), learner=learner)
    assert equal(lstm, fit(made, learner=learner))
    assert len(learner._trainers) == 1


def test_training_learns(made: Made) -> None:
    """After some epochs the user's next action is less of a surprise than by its counts alone."""
    trained, (_, encoded) = fit(made, epochs=80), made
    state = trained.start()
    found = np.mean([judge_one(trained, state, encoded.tokens(number)).surprise for number in range(400)])
    ids = encoded.ids[encoded.ids > 0]
    plain = -np.log2(trained.counts.probabilities()[ids]).sum() / 400
    assert found < 0.6 * plain


def test_scores_are_those_of_keras(made: Made) -> None:
    """What the exported network gives each token is what the Keras layers that were trained give it."""
    tokenizer, encoded = made
    learner = LstmLearner(3)
    lstm = fit(made, epochs=2, learner=learner)
    state = Lstm.from_arrays(
        lstm.arrays() | {n: np.zeros(lstm_trainer.UNITS, np.float32) for n in ("hidden", "cell")}
    ).start()
    (trainer,) = learner._trainers.values()
    ids = encoded.ids[:200]
    places = Layout.of(tokenizer, ids.shape[1]).places
    entered = np.where((ids > 0)[..., None], trainer.embed(places[ids]).numpy(), 0.0).sum(axis=1)[None]
    logits = trainer.out(trainer.lstm(entered.astype(np.float32))[0]).numpy()[0].astype(np.float64)[:, places]
    counted = lstm.counts.probabilities()
    judge_one(lstm, state, encoded.tokens(0))
    for number in range(1, 200):
        tokens = encoded.tokens(number)
        evidence, network = judge_one(lstm, state, tokens), state.entries[-1].network
        for token, given, share in zip(tokens.ids, network, evidence.shares, strict=True):
            head = next(head for head in tokenizer.heads if head.start <= token < head.stop)
            powers = np.exp(logits[number - 1, head.start : head.stop])
            expected = powers[token - head.start] / powers.sum()
            assert given == pytest.approx(expected, abs=1e-5)
            assert share == pytest.approx((1 - MIX) * expected + MIX * counted[token], abs=1e-5)


def test_counts_without_a_network(made: Made) -> None:
    """Without a network the surprise is that of the counts, and nothing is trained."""
    learner, seen = LstmLearner(0, network=False), list[float]()
    lstm = learner.fit(*made, [range(400)], range(300, 400), report=seen.append)
    assert seen == [1.0]
    assert not learner._trainers
    assert learner.epochs is None
    state, (_, encoded) = lstm.start(), made
    for number in range(50):
        tokens = encoded.tokens(number)
        expected = lstm.counts.probabilities()[list(tokens.ids)]
        assert judge_one(lstm, state, tokens).shares == pytest.approx(expected.tolist())


@pytest.mark.parametrize("network", [True, False])
@pytest.mark.parametrize("cache", [True, False])
def test_what_is_left_out_stays_out(made: Made, *, network: bool, cache: bool) -> None:
    """A learner that was asked for counts that stand still, or that go on counting, makes such detectors."""
    learner = LstmLearner(0, network=network, cache=cache)
    learner.epochs = 1
    lstm = learner.fit(*made, [range(400)], range(300, 400))
    finished, _ = learner.finish(lstm, made[1], out_of_fold(np.ones(400)))
    for detector in (lstm, finished, learner.adopt(lstm, finished, [0] * len(lstm.rarity))):
        state = detector.start()
        detector.learn(state, [made[1].tokens(n) for n in range(100)], 1.0)
        assert (detector.learned(state)["own"] != detector.counts.own).any() == cache


def test_early_stopping_finds_the_epochs_once(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first held-out part says for how many epochs to train; what follows keeps to it, until the next user."""
    monkeypatch.setattr(lstm_fit, "MAX_EPOCHS", 3)
    learner = LstmLearner(0)
    seen: list[float] = []
    learner.fit(*made, [range(300)], range(200, 300), range(300, 400), report=seen.append)
    assert seen == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert learner.epochs in (1, 2, 3)
    learner.epochs = 1
    seen.clear()
    learner.fit(*made, [range(300)], range(200, 300), range(300, 400), report=seen.append)
    assert seen == [1.0]
    learner.begin()
    assert learner.epochs is None


@pytest.mark.parametrize(("enough", "epochs"), [(10_000, 5), (600, 3), (300 * 4 + 299, 4)])
def test_a_long_log_has_fewer_epochs(
    made: Made, monkeypatch: pytest.MonkeyPatch, enough: int, epochs: int
) -> None:
    """Epochs are as many as show enough actions, within bounds."""
    monkeypatch.setattr(lstm_fit, "MAX_EPOCHS", 5)
    monkeypatch.setattr(lstm_fit, "MIN_EPOCHS", 3)
    monkeypatch.setattr(lstm_fit, "ENOUGH", enough)
    learner = LstmLearner(0)
    learner.fit(*made, [range(100), range(200, 400)], range(300, 400))
    assert learner.epochs == epochs


def test_the_best_epoch_is_kept(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a held-out part the network is that of its best epoch, not of the last."""
    monkeypatch.setattr(lstm_fit, "MAX_EPOCHS", 3)
    losses = iter((2.0, 1.0, 3.0))
    monkeypatch.setattr(Trainer, "_evaluate", lambda *_: next(losses))
    learner = LstmLearner(0)
    best = learner.fit(*made, [range(300)], range(200, 300), range(300, 400))
    assert learner.epochs == 2
    again = LstmLearner(0)
    again.epochs = 2
    assert equal(best, again.fit(*made, [range(300)], range(200, 300)))


def test_it_stops_when_nothing_gets_better(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some epochs without a better one, training ends."""
    monkeypatch.setattr(lstm_trainer, "PATIENCE", 2)
    monkeypatch.setattr(Trainer, "_evaluate", lambda *_: 1.0)
    learner, seen = LstmLearner(0), list[float]()
    learner.fit(*made, [range(300)], range(200, 300), range(300, 400), report=seen.append)
    assert len(seen) == 3
    assert learner.epochs == 1


def test_the_state_is_after_the_window(made: Made, lstm: Lstm) -> None:
    """A network is handed over in the state that the window's actions left it in."""
    _, encoded = made
    state = Lstm.from_arrays(
        lstm.arrays() | {n: np.zeros(lstm_trainer.UNITS, np.float32) for n in ("hidden", "cell")}
    ).start()
    lstm.network.advance(state, encoded.batch(range(300, 400)), [True] * 100)
    assert state.hidden.tolist() == lstm.hidden.tolist()
    assert state.cell.tolist() == lstm.cell.tolist()


def test_streams_lose_no_action() -> None:
    """Every action stands in exactly one stream, in order, and the rest is padding."""
    for count in (1, 2, 15, 16, 17, 400):
        ids = np.arange(1, count + 1, dtype=np.int32)[:, None]
        streams = lstm_trainer._streams(ids)
        assert streams.shape[0] == lstm_trainer.STREAMS
        assert streams.shape[1] >= 2
        assert streams[streams > 0].tolist() == list(range(1, count + 1))


def test_what_is_trained_is_what_is_scored(made: Made) -> None:
    """The loss of held-out actions is the mean surprise, in nats, that the exported network finds in them."""
    tokenizer, encoded = made
    learner = LstmLearner(3)
    lstm = fit(made, epochs=2, learner=learner)
    (trainer,) = learner._trainers.values()
    layout = Layout.of(tokenizer, encoded.ids.shape[1])
    known = trainer._known(layout, lstm.counts.probabilities())
    # Streams of two actions: the second is judged after the first.
    ids = encoded.ids[: 2 * lstm_trainer.STREAMS]
    still = {n: np.zeros(lstm_trainer.UNITS, np.float32) for n in ("hidden", "cell")}
    surprise = 0.0
    for begin in range(0, len(ids), 2):
        state = Lstm.from_arrays(lstm.arrays() | still).start()
        pair = [encoded.tokens(begin), encoded.tokens(begin + 1)]
        surprise += float(lstm.judge(state, pair, [True, True]).surprise[1])
    assert trainer._evaluate(layout.place(ids), known) * len(ids) == pytest.approx(surprise * np.log(2), rel=1e-4)


def out_of_fold(bits: NDArray[np.float64], width: int = 1) -> OutOfFold:
    """Make evidence of two folds, whose views are as training leaves them before they are finished."""
    views = np.full((len(bits), width), 7.0)
    views[: WINDOW - 1] = views[200 : 200 + WINDOW - 1] = np.nan
    return OutOfFold(bits, views, (range(200), range(200, len(bits))))


def test_finish_learns_each_kinds_rarity(made: Made, lstm: Lstm) -> None:
    """Kinds that occur often have a distribution of their own, and the windows' evidence follows from them."""
    tokenizer, encoded = made
    kinds = encoded.ids[:, 0] - 1
    bits = np.where(kinds == kinds[0], 2.0, 20.0) + np.random.default_rng(1).random(400)
    before = out_of_fold(bits, 2)
    after, evidence = LstmLearner(0).finish(lstm, encoded, before)
    assert len(after.rarity) == len(tokenizer.heads[0].tokens)
    own = after._rarity[kinds[0]]
    assert own.score(20.0) > 30
    assert after._rarity[kinds[1]].score(20.0) < 5
    assert after._rarity[0].score(20.0) < own.score(20.0)
    assert evidence.action.tolist() == bits.tolist()
    rare = [after._rarity[kind].score(figure) for kind, figure in zip(kinds, bits, strict=True)]
    assert after.recent.tolist() == pytest.approx(rare[-WINDOW:])
    assert after.start().rarity() == pytest.approx(np.mean(rare[-WINDOW:]))
    for action in range(400):
        if action % 200 < WINDOW - 1:
            assert np.isnan(evidence.views[action]).all()
        else:
            mean = np.mean(rare[action - WINDOW + 1 : action + 1])
            assert evidence.views[action].tolist() == [pytest.approx(mean), 7.0]
    assert before.views[150, 0] == 7.0


def test_finish_hears_one_fold(made: Made, lstm: Lstm) -> None:
    """Actions that no fold has judged are left out of the rarities, and have none themselves."""
    bits = np.random.default_rng(1).random(400) + 3.0
    silent = np.where(np.arange(400) < 200, np.nan, bits)
    _, encoded = made
    after, evidence = LstmLearner(0).finish(lstm, encoded, out_of_fold(silent)._replace(folds=(range(200, 400),)))
    assert np.isfinite(after.rarity).all()
    assert np.isfinite(after.recent).all()
    assert np.isfinite(evidence.views[200 + WINDOW - 1 :]).all()
    assert np.isnan(evidence.action[:200]).all()


def test_finish_leaves_what_others_say(made: Made) -> None:
    """Where the user is measured against others, the windows' views do not depend on the rarities."""
    lstm = LstmLearner(0, network=False).fit(*made, [range(400)], range(300, 400), others=background(made))
    before = out_of_fold(np.random.default_rng(1).random(400), 2)
    after, evidence = LstmLearner(0).finish(lstm, made[1], before)
    assert np.array_equal(evidence.views, before.views, equal_nan=True)
    assert after.counts.others
    assert after.counts.prior.tolist() == background(made).tolist()
    assert not np.array_equal(after.rarity, lstm.rarity)


def test_a_fold_adopts_the_rarities(made: Made, lstm: Lstm) -> None:
    """A fold's network takes each kind's rarity from where the finished one has that kind, and nothing else."""
    _, encoded = made
    finished, _ = LstmLearner(0).finish(lstm, encoded, out_of_fold(np.random.default_rng(1).random(400) * 9))
    fold = LstmLearner(0, network=False).fit(*made, [range(200)], range(100, 200))
    adopted = LstmLearner(0).adopt(fold, finished, [0, 2, 1])
    assert adopted.rarity.tolist() == [finished.rarity[place].tolist() for place in (0, 2, 1)]
    assert equal(Lstm.from_arrays(adopted.arrays() | {"rarity": fold.rarity}), fold)


@pytest.mark.parametrize("padding", [lambda made: made[1].ids.shape[1] + 3, lambda _: 8])
def test_padding_changes_nothing(made: Made, lstm: Lstm, padding: Callable[[Made], int]) -> None:
    """Padding actions to a wider form is no token: the network is the same, bit for bit."""
    tokenizer, encoded = made
    more = ((0, 0), (0, padding(made) - encoded.ids.shape[1]))
    ids, marks = np.pad(encoded.ids, more), np.pad(encoded.marks, more)
    wide = Encoded(ids, np.pad(encoded.buckets, more, constant_values=-1), marks)
    again = fit((tokenizer, wide))
    assert again.window.shape[1] == padding(made)
    assert equal(lstm, Lstm.from_arrays(again.arrays() | {"window": lstm.window}))
