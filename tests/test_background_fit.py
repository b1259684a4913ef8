from __future__ import annotations

import numpy as np
import pytest

from anomaly.background import Background
from anomaly.background_fit import learn_background
from anomaly.calibration_fit import fit_tail
from anomaly.corpus import Corpus
from anomaly.osquery import Action
from anomaly.population import Population

TIME = 1_793_000_000
COMMON = ("ls", "cat", "grep", "make", "vi", "top", "ps", "du")


def act(number: int, word: str) -> Action:
    """Make an action, a minute after the one before; some words come with a second column."""
    columns = {"name": word} if word in COMMON[1:] else {"name": word, "state": "S"}
    return Action(TIME + 60 * number, "ws1", "", "processes", "added", columns)


def corpus_of(*words: str) -> Corpus:
    """Make a corpus of a user who says these words."""
    corpus = Corpus()
    for number, word in enumerate(words):
        corpus.append(number, act(number, word))
    return corpus


def drawn(seed: int, *own: str, count: int = 400, share: float = 0.1) -> Corpus:
    """Make a corpus of a user who says common words, and own ones now and then."""
    draw = np.random.default_rng(seed)
    usual = 1.0 / np.arange(1, len(COMMON) + 1)
    words = draw.choice(COMMON, count, p=usual / usual.sum()).tolist()
    for place in np.flatnonzero(draw.random(count) < share).tolist():
        if own:
            words[place] = own[place % len(own)]
    return corpus_of(*words)


def score(background: Background, word: str) -> float:
    """Return the score of an action."""
    return background.judge(background.tokenizer.encode(act(0, word)))[0]


def test_is_what_everybody_does() -> None:
    """Its probabilities are those of all users together, by the vocabulary of all."""
    population = Population({"a": drawn(1), "b": drawn(2), "c": drawn(3, "mine")})
    background = learn_background(population)
    assert background.users == 3
    assert background.tokenizer is population.tokenizer
    assert background.expected.tolist() == population.without().tolist()


def test_users_are_left_out_in_turn() -> None:
    """How rare a surprise is, is told by users whose own counts are left out of what they are judged by."""
    words = {"a": ["ls", "cat"] * 20, "b": ["ls"] * 30 + ["top"] * 10, "c": ["cat", "cat", "vi"] * 15}
    population = Population({user: corpus_of(*said) for user, said in words.items()})
    bits: list[float] = []
    for user, said in words.items():
        share, stranger = population.without(user), population.as_stranger(user)
        bits += [-sum(np.log2(share[token]) for token in stranger.tokens(n).ids) for n in range(len(said))]
    rarity, expected = learn_background(population).rarity, fit_tail(np.array(bits), 0.5)
    assert [rarity.score(figure) for figure in bits] == pytest.approx([expected.score(figure) for figure in bits])
    assert expected.score(max(bits)) > 1.0


def test_own_words_of_those_left_out_are_not_rare() -> None:
    """Where everybody has words of their own, a new user's new word is nothing special; else it is."""
    alike = learn_background(Population({user: drawn(n) for n, user in enumerate("abcdef")}))
    mixed = learn_background(
        Population({user: drawn(n, f"{user}1", f"{user}2", share=0.3) for n, user in enumerate("abcdef")})
    )
    assert score(mixed, "never-seen") < 15.0
    assert score(alike, "never-seen") > 25.0
    assert score(alike, "ls") < 5.0


@pytest.mark.parametrize("share", [0.02, 0.2])
def test_a_new_user_scores_as_users_do(share: float) -> None:
    """Of a user whom it has not seen about one action in ten scores 10, and hardly one in 100 scores 20."""
    users = {user: drawn(n, *(f"{user}{k}" for k in range(5)), share=share) for n, user in enumerate("abcdefgh")}
    background = learn_background(Population(users))
    fresh = [action for _, action in drawn(99, *(f"z{k}" for k in range(5)), share=share, count=3000).actions()]
    scores = np.array([background.judge(background.tokenizer.encode(action))[0] for action in fresh])
    assert (scores >= 10.0).mean() < 0.2
    assert (scores >= 20.0).mean() < 0.03
    assert ((scores >= 0.0) & (scores <= 100.0)).all()


def test_small_differences_are_not_rare() -> None:
    """Where all do one and the same thing, it is not rare, and only something else is."""
    background = learn_background(Population({user: corpus_of(*["ls"] * 100) for user in "abc"}))
    assert score(background, "ls") < 1.0
    assert score(background, "never-seen") > 20.0


def test_the_same_users_give_the_same_file() -> None:
    """The same log gives the same bytes, and they can be read back."""
    one, two = (learn_background(Population({"a": drawn(1, "mine"), "b": drawn(2)})).to_bytes() for _ in range(2))
    assert one == two
    assert Background.from_bytes(one, "").to_bytes() == one


def test_a_flood_does_not_make_itself_usual() -> None:
    """How rare surprises are is told by what is admitted: one user's flood is not what users do."""
    flood = corpus_of(*COMMON * 40, *["spam"] * 5000)
    calm = learn_background(Population({"a": drawn(1), "b": drawn(2), "c": drawn(3)}))
    flooded = learn_background(Population({"a": drawn(1), "b": drawn(2), "c": flood}))
    assert score(calm, "never-seen") > 20.0
    assert score(flooded, "never-seen") > 10.0
