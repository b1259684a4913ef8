from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from anomaly.corpus import Corpus
from anomaly.detectors.interface import Algorithm
from anomaly.errors import TooLittleData
from anomaly.harvest import Harvest
from anomaly.model import Card
from anomaly.osquery import Action
from anomaly.sources.interface import Position
from anomaly.training import card_of, check_enough, claim, enough


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


def card(*actions: Action, algorithm: Algorithm = Algorithm.OCSVM, user: str = "alice", **how: Any) -> Card:  # noqa: ANN401
    """Make the card of a model of these actions."""
    corpus = corpus_of(*actions)
    given: dict[str, Any] = {"seed": 0, "others": 0, "without": (), "epochs": None, **how}
    return card_of(user, algorithm, corpus, corpus.rows(), harvested(**{user: corpus}), {"ws1": {}}, **given)


@pytest.mark.parametrize(("count", "missing"), [(0, 500), (1, 499), (499, 1)])
def test_check_enough_too_few_actions_are_counted(count: int, missing: int) -> None:
    """Below 500 actions nothing is learned, and what is missing is counted."""
    with pytest.raises(TooLittleData, match=f"has {count} actions .* {missing} are missing"):
        check_enough("alice", corpus_of(*usual(count)))
    assert enough(corpus_of(*usual(count))) == missing
    assert enough(corpus_of(*usual(count), *[act(0, "b", baseline=True)] * 100)) == missing
    check_enough("alice", corpus_of(*usual(500)))
    assert enough(corpus_of(*usual(500))) is None


def test_claim_takes_a_nameless_log_whole() -> None:
    """A user's actions are those by that name; all of a log's only if it names nobody, in the log's order."""
    alice, bob = corpus_of(*usual(3)), corpus_of(*usual(2))
    assert claim(harvested(alice=alice, bob=bob), "alice") is alice
    assert claim(harvested(alice=alice, bob=bob), "alice@ws1") is alice
    assert claim(harvested(alice=alice), "bob") is None
    one, two = Corpus(), Corpus()
    for number, action in enumerate(usual(6)):
        (one, two)[number % 2].append(number, action)
    whole = claim(harvested(**{"host:a": one, "host:b": two}), "alice")
    assert whole is not None
    assert [action.columns["command"] for _, action in whole.actions()] == [f"c{n}" for n in range(6)]
    assert claim(harvested(**{"host:a": one}), "host:b") is None
    assert claim(harvested(), "alice") is None


def test_card_of_is_dated_by_the_log() -> None:
    """The card says when, how much and from what was learned, all by the log; rows without a time date nothing."""
    actions = [*usual(600), act(0, "c1", time=0), act(0, "installed", baseline=True, time=5)]
    found = card(*actions)
    assert (found.user, found.hosts, found.algorithm) == ("alice", ("ws1",), Algorithm.OCSVM)
    assert (found.actions, found.baseline) == (602, 1)
    assert (found.first, found.last) == (1_793_000_000, 1_793_000_000 + 60 * 599)
    assert (found.days, sum(found.hours)) == (len({a.time // 86_400 for a in usual()}), 600)
    assert found.fingerprint == corpus_of(*actions).fingerprint()
    assert found.ends == (Position("f1e2", 9),)
    assert found.identities == {"ws1": {}}


def test_card_of_log_without_times_is_dated_nothing() -> None:
    """A log that never says the time has neither a first day nor a last."""
    found = card(*(act(0, f"c{number % 7}", time=0) for number in range(600)))
    assert (found.first, found.last, found.days) == (0, 0, 0)


def test_card_of_says_how_the_model_was_made() -> None:
    """The card holds the seed, what was left out, the epochs, and how many others there were."""
    found = card(*usual(), seed=7, without=["lstm", "filter"], epochs=3, others=2)
    assert (found.seed, found.without, found.epochs, found.others) == (7, ("lstm", "filter"), 3, 2)


@pytest.mark.parametrize(("algorithm", "network"), [(a, a is not Algorithm.OCSVM) for a in Algorithm])
def test_card_of_names_the_libraries(algorithm: Algorithm, *, network: bool) -> None:
    """The libraries that learned the model are on its card, with their versions."""
    libraries = card(*usual(), algorithm=algorithm).libraries
    assert ("keras" in libraries) is network
    assert all(libraries[name] != "unknown" for name in ("anomaly", "scikit-learn", "numpy", "scipy"))


@pytest.mark.parametrize(("user", "claims"), [("alice", False), ("host:ws1", False)])
def test_card_of_user_who_is_in_the_log_claims_nothing(user: str, *, claims: bool) -> None:
    """Only a user who was given all of a log that names nobody claims its rows."""
    assert card(*usual(), user=user).claims_host is claims
    corpus = corpus_of(*usual())
    nameless = harvested(**{"host:ws1": corpus})
    how: dict[str, Any] = {"seed": 0, "others": 0, "without": (), "epochs": None}
    assert card_of("alice", Algorithm.OCSVM, corpus, corpus.rows(), nameless, {}, **how).claims_host
