from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from anomaly.corpus import Corpus
from anomaly.detectors import lstm_fit
from anomaly.detectors.interface import WINDOW, OutOfFold
from anomaly.detectors.lstm import Lstm
from anomaly.detectors.lstm_fit import LstmLearner, frequencies
from anomaly.osquery import Action
from anomaly.tokenizer import Encoded, Tokenizer

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


def equal(one: Lstm, two: Lstm) -> bool:
    """Say whether two networks are the same, bit for bit."""
    return all(array.tobytes() == two.arrays()[name].tobytes() for name, array in one.arrays().items())


def test_a_seed_is_a_network(made: Made) -> None:
    """The same seed and actions give the same network, bit for bit; another seed gives another."""
    one = fit(made)
    assert equal(one, fit(made))
    assert not equal(one, fit(made, seed=1))


def test_a_learner_remembers_no_user(made: Made) -> None:
    """A network is the same whether its learner has taught others before or not."""
    learner = LstmLearner(0)
    fit(make(300, commands=9), learner=learner)
    assert equal(fit(made), fit(made, learner=learner))
    assert len(learner._trainers) == 1


def test_training_learns(made: Made) -> None:
    """After some epochs the user's next action is less of a surprise than by its frequency alone."""
    trained, (_, encoded) = fit(made, epochs=80), made
    state = trained.start()
    found = np.mean([trained.score(state, encoded.tokens(number)).surprise for number in range(400)])
    ids = encoded.ids[encoded.ids > 0]
    plain = -np.log2(trained.frequency[ids]).sum() / 400
    assert found < 0.6 * plain


def test_early_stopping_finds_the_epochs_once(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first held-out part says for how many epochs to train; what follows keeps to it, until the next user."""
    monkeypatch.setattr(lstm_fit, "MAX_EPOCHS", 3)
    learner = LstmLearner(0)
    seen: list[float] = []
    learner.fit(*made, [range(300)], range(200, 300), range(300, 400), seen.append)
    assert seen == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert learner.epochs in (1, 2, 3)
    learner.epochs = 1
    seen.clear()
    learner.fit(*made, [range(300)], range(200, 300), range(300, 400), seen.append)
    assert seen == [1.0]
    learner.begin()
    assert learner.epochs is None


def test_the_best_epoch_is_kept(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a held-out part the network is that of its best epoch, not of the last."""
    monkeypatch.setattr(lstm_fit, "MAX_EPOCHS", 3)
    losses = iter((2.0, 1.0, 3.0))
    monkeypatch.setattr(lstm_fit.Trainer, "_evaluate", lambda *_: next(losses))
    learner = LstmLearner(0)
    best = learner.fit(*made, [range(300)], range(200, 300), range(300, 400))
    assert learner.epochs == 2
    again = LstmLearner(0)
    again.epochs = 2
    assert equal(best, again.fit(*made, [range(300)], range(200, 300)))


def test_it_stops_when_nothing_gets_better(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some epochs without a better one, training ends."""
    monkeypatch.setattr(lstm_fit, "PATIENCE", 2)
    monkeypatch.setattr(lstm_fit.Trainer, "_evaluate", lambda *_: 1.0)
    learner, seen = LstmLearner(0), list[float]()
    learner.fit(*made, [range(300)], range(200, 300), range(300, 400), seen.append)
    assert len(seen) == 3
    assert learner.epochs == 1


def test_the_state_is_after_the_window(made: Made) -> None:
    """A network is handed over in the state that the window's actions left it in."""
    lstm, (_, encoded) = fit(made), made
    state = Lstm.from_arrays(
        lstm.arrays() | {n: np.zeros(lstm_fit.UNITS, np.float32) for n in ("hidden", "cell")}
    ).start()
    for number in range(300, 400):
        lstm.advance(state, encoded.tokens(number))
    assert state.hidden.tolist() == lstm.hidden.tolist()
    assert state.cell.tolist() == lstm.cell.tolist()


def test_frequencies_are_probabilities(made: Made) -> None:
    """Each column's frequencies add up to one, none is 0, and what is new has its share."""
    tokenizer, _ = made
    found = frequencies(tokenizer)
    assert found[0] == 0.0
    for head in tokenizer.heads:
        part = found[head.start : head.stop]
        assert part.sum() == pytest.approx(1.0)
        assert (part > 0).all()
        exact = np.array([token.exact for token in head.tokens])
        assert part[~exact].sum() == pytest.approx(head.unseen if exact.any() else 1.0)


def test_streams_lose_no_action() -> None:
    """Every action stands in exactly one stream, in order, and the rest is padding."""
    for count in (1, 2, 15, 16, 17, 400):
        ids = np.arange(1, count + 1, dtype=np.int32)[:, None]
        streams = lstm_fit._streams(ids)
        assert streams.shape[0] == lstm_fit.STREAMS
        assert streams.shape[1] >= 2
        assert streams[streams > 0].tolist() == list(range(1, count + 1))


def test_finish_learns_each_kinds_rarity(made: Made) -> None:
    """Kinds that occur often have a distribution of their own, and the windows' evidence follows from them."""
    lstm, (tokenizer, encoded) = fit(made), made
    kinds = encoded.ids[:, 0] - 1
    bits = np.where(kinds == kinds[0], 2.0, 20.0) + np.random.default_rng(1).random(400)
    before = OutOfFold(bits, np.zeros(1), (range(200), range(200, 400)))
    after, evidence = LstmLearner(0).finish(lstm, encoded, before)
    assert isinstance(after, Lstm)
    assert len(after.rarity) == len(tokenizer.heads[0].tokens)
    own = after._rarity[kinds[0]]
    assert own.score(20.0) > 30
    assert after._rarity[kinds[1]].score(20.0) < 5
    assert after._rarity[0].score(20.0) < own.score(20.0)
    assert evidence.action.tolist() == bits.tolist()
    assert len(evidence.window) == 2 * (200 - WINDOW + 1)
    rare = [after._rarity[kind].score(figure) for kind, figure in zip(kinds, bits, strict=True)]
    assert after.recent.tolist() == pytest.approx(rare[-WINDOW:])
    assert evidence.window[0] == pytest.approx(np.mean(rare[:WINDOW]))
    assert evidence.window[-1] == pytest.approx(np.mean(rare[-WINDOW:]))


@pytest.mark.parametrize("padding", [lambda made: made[1].ids.shape[1] + 3, lambda _: 8])
def test_padding_changes_nothing(made: Made, padding: Callable[[Made], int]) -> None:
    """Padding actions to a wider form is no token: the network is the same, bit for bit."""
    tokenizer, encoded = made
    more = padding(made) - encoded.ids.shape[1]
    wide = Encoded(
        np.pad(encoded.ids, ((0, 0), (0, more))), np.pad(encoded.buckets, ((0, 0), (0, more)), constant_values=-1)
    )
    assert equal(fit(made), fit((tokenizer, wide)))
