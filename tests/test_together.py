from __future__ import annotations

import numpy as np
import pytest

from anomaly import cohort_fit, together
from anomaly.detectors.interface import WINDOW
from anomaly.detectors.profile import LENGTHS, VIEWS
from anomaly.osquery import Action
from anomaly.population import Population
from anomaly.together import FEWEST, Together
from tests.synthetic import BEGIN, USERS, actions_of, corpora_of, corpus_of

COUNT = 500


@pytest.fixture(scope="module")
def population() -> Population:
    """Give eight synthetic users."""
    return Population(corpora_of(COUNT))


@pytest.fixture(scope="module")
def fitted(population: Population) -> Together:
    """Give what they have in common."""
    found = Together.fit(population, 0)
    assert found is not None
    return found


def test_fit_fewer_than_the_fewest_users_is_none() -> None:
    """Seven users are learned each alone."""
    assert len(USERS) == FEWEST
    assert Together.fit(Population(corpora_of(COUNT, USERS[:-1])), 0) is None


def test_fit_user_with_too_few_actions_is_passed_over(fitted: Together) -> None:
    """A user without two windows is not of the cohort; the others are learned together."""
    few = corpora_of(2 * WINDOW - 1, ("zoe",))
    found = Together.fit(Population(corpora_of(COUNT) | few), 0)
    assert found is not None
    assert found.cohort.users == fitted.cohort.users == USERS
    assert found.shared("zoe") is None
    assert found.shared("ann") is not None


def test_fit_user_with_too_few_actions_does_not_count() -> None:
    """Seven users and one without two windows are too few."""
    few = corpora_of(2 * WINDOW - 1, ("zoe",))
    assert Together.fit(Population(corpora_of(COUNT, USERS[:-1]) | few), 0) is None


def test_fit_what_is_not_admitted_does_not_count() -> None:
    """Of a row that is repeated half a window is admitted: such users are too few, however many there are."""
    same = [Action(BEGIN + 60 * n, "ws1", "", "shell_history", "added", {"command": "ls"}) for n in range(900)]
    assert Together.fit(Population({user: corpus_of(same) for user in USERS}), 0) is None


def test_fit_alike_users_is_none(population: Population, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users whom nothing tells apart are learned each alone."""
    views = np.ones((40, len(LENGTHS), VIEWS + 1))
    monkeypatch.setattr(cohort_fit, "_labelled", lambda *_: (views, np.arange(40) % 2 == 0))
    assert Together.fit(population, 0) is None


def test_fit_same_users_and_seed_give_the_same(population: Population, fitted: Together) -> None:
    """Weights, thresholds, risk, salt and every user's profile are the same, bit for bit."""
    again = Together.fit(Population(corpora_of(COUNT)), 0)
    assert again is not None
    one, two = again.shared("emil"), fitted.shared("emil")
    assert one is not None
    assert two is not None
    assert (one.salt, one.silent, one.others) == (two.salt, two.silent, two.others)
    for mine, theirs in (
        (one.profile.arrays(), two.profile.arrays()),
        (one.fit.fusion.arrays(), two.fit.fusion.arrays()),
    ):
        assert {name: array.tobytes() for name, array in mine.items()} == {
            name: array.tobytes() for name, array in theirs.items()
        }
    assert one.fit.risk.to_array().tobytes() == two.fit.risk.to_array().tobytes()
    assert population.tokenizer.salt == one.salt


def test_shared_others_are_all_but_the_user(population: Population, fitted: Together) -> None:
    """A user's others are everyone else of the cohort: what the user alone does has no count among them."""
    shared = fitted.shared("cem")
    assert shared is not None
    assert shared.others == len(USERS) - 1
    assert shared.fit is fitted.fitted
    features = population.tokenizer.features
    own = {one for features_of in features(population.corpora["cem"]) for one in features_of}
    theirs = {
        one
        for user in USERS
        if user != "cem"
        for features_of in features(population.corpora[user])
        for one in features_of
    }
    counts = dict(zip(shared.profile.keys.tolist(), shared.profile.others.counts.tolist(), strict=True))
    assert own - theirs
    assert all(counts[one] == 0.0 for one in own - theirs)
    assert all(counts[one] > 0.0 for one in own & theirs)


def test_fit_learns_the_last_actions_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more actions than ``MOST_ACTIONS`` as many of each user are taken: the last ones."""
    monkeypatch.setattr(together, "MOST_ACTIONS", 8 * 420)
    population = Population({user: corpus_of(actions_of(user, 450)) for user in USERS})
    found = Together.fit(population, 0)
    assert found is not None
    features = population.tokenizer.features(population.corpora["dora"])
    assert found.cohort.histories["dora"] == features[30:]
