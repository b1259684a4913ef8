from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from anomaly.calibration_fit import fit_tail
from anomaly.corpus import Corpus
from anomaly.detectors import lstm_fit, lstm_trainer
from anomaly.detectors.interface import WINDOW
from anomaly.detectors.lstm import MIX, Lstm
from anomaly.detectors.lstm_fit import LEAST_BITS, LstmLearner
from anomaly.detectors.lstm_layout import Layout
from anomaly.detectors.lstm_trainer import Trainer
from anomaly.osquery import Action
from anomaly.tokenizer import Tokenizer
from anomaly.tokens import Encoded
from tests.detectors.networks import judge_one

Made = tuple[Tokenizer, Encoded]


def make(count: int, commands: int = 6, seed: int = 2) -> Made:
    """Return actions that go round, some of them with a new command."""
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
    """Return 400 actions."""
    return make(400)


def fit(made: Made, seed: int = 0, epochs: int | None = 1, learner: LstmLearner | None = None) -> Lstm:
    """Return a model that learned from all actions."""
    learner = learner or LstmLearner(seed)
    learner.epochs = epochs
    count = len(made[1].ids)
    return learner.fit(*made, [range(count)], range(count - WINDOW, count))


@pytest.fixture(scope="module")
def lstm(made: Made) -> Lstm:
    """Return a model trained on them for one epoch."""
    return fit(made)


def equal(one: Lstm, two: Lstm) -> bool:
    """Return whether two models are the same, bit for bit."""
    return all(array.tobytes() == two.arrays()[name].tobytes() for name, array in one.arrays().items())


def test_fit_same_seed_gives_the_same_model(made: Made, lstm: Lstm) -> None:
    """The same seed and actions give the same model, bit for bit; another seed gives another."""
    assert equal(lstm, fit(made))
    assert not equal(lstm, fit(made, seed=1))


def test_fit_does_not_depend_on_earlier_users(made: Made, lstm: Lstm) -> None:
    """A model is the same whether or not its learner fitted other users before."""
    learner = LstmLearner(0)
    fit(make(300, commands=9), learner=learner)
    assert equal(lstm, fit(made, learner=learner))
    assert len(learner._trainers) == 1


def test_fit_lowers_the_surprise(made: Made) -> None:
    """After some epochs the next action is less surprising than by the counts alone."""
    trained, (_, encoded) = fit(made, epochs=80), made
    state = trained.start()
    found = np.mean([judge_one(trained, state, encoded.tokens(number)).surprise for number in range(400)])
    ids = encoded.ids[encoded.ids > 0]
    plain = -np.log2(trained.counts.probabilities()[ids]).sum() / 400
    assert found < 0.6 * plain


def test_fit_exports_the_network_of_keras(made: Made) -> None:
    """The exported network gives each token the probability that the trained Keras layers give it."""
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


def test_fit_without_a_network_uses_the_counts_alone(made: Made) -> None:
    """Without a network the probabilities are those of the counts, and nothing is trained."""
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
def test_fit_cache_decides_whether_counts_adapt(made: Made, *, network: bool, cache: bool) -> None:
    """The counts of a model adapt only if its learner was asked for that."""
    learner = LstmLearner(0, network=network, cache=cache)
    learner.epochs = 1
    lstm = learner.fit(*made, [range(400)], range(300, 400))
    for detector in (lstm, learner.with_rarities(lstm, made[1], np.ones(400))):
        state = detector.start()
        detector.learn(state, made[1].batch(range(100)), 1.0)
        assert (detector.learned(state)["own"] != detector.counts.own).any() == cache


def test_fit_finds_the_epochs_once_per_user(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first held-out part decides the epochs of a user's models, until the next user."""
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
def test_fit_long_log_has_fewer_epochs(
    made: Made, monkeypatch: pytest.MonkeyPatch, enough: int, epochs: int
) -> None:
    """Epochs times actions is at most ENOUGH, within the bounds of the epochs."""
    monkeypatch.setattr(lstm_fit, "MAX_EPOCHS", 5)
    monkeypatch.setattr(lstm_fit, "MIN_EPOCHS", 3)
    monkeypatch.setattr(lstm_fit, "ENOUGH", enough)
    learner = LstmLearner(0)
    learner.fit(*made, [range(100), range(200, 400)], range(300, 400))
    assert learner.epochs == epochs


def test_fit_keeps_the_best_epoch(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a held-out part the network is that of the best epoch, not of the last."""
    monkeypatch.setattr(lstm_fit, "MAX_EPOCHS", 3)
    losses = iter((2.0, 1.0, 3.0))
    monkeypatch.setattr(Trainer, "_evaluate", lambda *_: next(losses))
    learner = LstmLearner(0)
    best = learner.fit(*made, [range(300)], range(200, 300), range(300, 400))
    assert learner.epochs == 2
    again = LstmLearner(0)
    again.epochs = 2
    assert equal(best, again.fit(*made, [range(300)], range(200, 300)))


def test_fit_stops_after_epochs_without_gain(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training ends after PATIENCE epochs without a better one."""
    monkeypatch.setattr(lstm_trainer, "PATIENCE", 2)
    monkeypatch.setattr(Trainer, "_evaluate", lambda *_: 1.0)
    learner, seen = LstmLearner(0), list[float]()
    learner.fit(*made, [range(300)], range(200, 300), range(300, 400), report=seen.append)
    assert len(seen) == 3
    assert learner.epochs == 1


def test_fit_state_is_after_the_window(made: Made, lstm: Lstm) -> None:
    """A model starts in the state after the actions of its window."""
    _, encoded = made
    state = Lstm.from_arrays(
        lstm.arrays() | {n: np.zeros(lstm_trainer.UNITS, np.float32) for n in ("hidden", "cell")}
    ).start()
    lstm.network.advance(state, encoded.batch(range(300, 400)), [True] * 100)
    assert state.hidden.tolist() == lstm.hidden.tolist()
    assert state.cell.tolist() == lstm.cell.tolist()


def test_streams_hold_every_action_once() -> None:
    """Every action is in exactly one stream, in order, and the rest is padding."""
    for count in (1, 2, 15, 16, 17, 400):
        ids = np.arange(1, count + 1, dtype=np.int32)[:, None]
        streams = lstm_trainer._streams(ids)
        assert streams.shape[0] == lstm_trainer.STREAMS
        assert streams.shape[1] >= 2
        assert streams[streams > 0].tolist() == list(range(1, count + 1))


def test_evaluate_is_the_mean_surprise_of_the_model(made: Made) -> None:
    """The loss of held-out actions is their mean surprise by the exported model, in nats."""
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


def test_with_rarities_fits_each_kind(made: Made, lstm: Lstm) -> None:
    """A frequent kind has its own distribution, other kinds that of all, and the window follows from them."""
    tokenizer, encoded = made
    kinds = encoded.ids[:, 0] - 1
    bits = np.where(kinds == kinds[0], 2.0, 20.0) + np.random.default_rng(1).random(400)
    after = LstmLearner(0).with_rarities(lstm, encoded, bits)
    assert len(after.rarity) == len(tokenizer.heads[0].tokens)
    own = after._rarity[kinds[0]]
    assert own.score(20.0) > 30
    assert after._rarity[kinds[1]].score(20.0) < 5
    assert after.rarity[0].tolist() == fit_tail(bits, LEAST_BITS).to_array().tolist()
    rare = [after._rarity[kind].score(figure) for kind, figure in zip(kinds, bits, strict=True)]
    assert after.recent.tolist() == rare[-WINDOW:]
    assert after.start().rarity() == pytest.approx(np.mean(rare[-WINDOW:]))
    unchanged = {"rarity": lstm.rarity, "recent": lstm.recent}
    assert equal(Lstm.from_arrays(after.arrays() | unchanged), lstm)


def test_with_rarities_ignores_actions_without_figure(made: Made, lstm: Lstm) -> None:
    """Actions without an out-of-fold figure do not enter the distributions, and have rarity 0 in the window."""
    _, encoded = made
    bits = np.random.default_rng(1).random(400) * 9
    known = np.arange(400) % 3 > 0
    after = LstmLearner(0).with_rarities(lstm, encoded, np.where(known, bits, np.nan))
    half = LstmLearner(0).with_rarities(lstm, encoded.chosen(known), bits[known])
    assert after.rarity.tolist() == half.rarity.tolist()
    kinds = encoded.ids[:, 0] - 1
    rare = [after._rarity[kind].score(figure) for kind, figure in zip(kinds, bits, strict=True)]
    assert after.recent.tolist() == np.where(known, rare, 0.0)[-WINDOW:].tolist()
    assert np.isfinite(after.rarity).all()


def test_with_rarities_short_log_has_a_short_window() -> None:
    """The window of a user with fewer actions than WINDOW has a rarity for each of them."""
    tokenizer, encoded = make(60)
    learner = LstmLearner(0, network=False)
    lstm = learner.fit(tokenizer, encoded, [range(60)], range(60))
    after = learner.with_rarities(lstm, encoded, np.arange(60.0))
    assert after.recent.shape == (60,)
    assert len(after.start().entries) == 60


@pytest.mark.parametrize("padding", [lambda made: made[1].ids.shape[1] + 3, lambda _: 8])
def test_fit_padding_changes_nothing(made: Made, lstm: Lstm, padding: Callable[[Made], int]) -> None:
    """Actions that are padded to a greater width give the same model, bit for bit."""
    tokenizer, encoded = made
    more = ((0, 0), (0, padding(made) - encoded.ids.shape[1]))
    ids, marks = np.pad(encoded.ids, more), np.pad(encoded.marks, more)
    again = fit((tokenizer, Encoded(ids, marks, encoded.features)))
    assert again.window.shape[1] == padding(made)
    assert equal(lstm, Lstm.from_arrays(again.arrays() | {"window": lstm.window}))
