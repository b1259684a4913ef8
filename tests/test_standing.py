"""Where a user stands: what is carried from one action to the next, what is learned, how the model is called."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from anomaly.adaptation import DAYS, DRIFTED, REMEMBERED, Progress
from anomaly.detectors.interface import WINDOW, Arrays
from anomaly.learned import Learned, Origin
from anomaly.osquery import Action
from anomaly.scoring import Scorer
from anomaly.standing import Standing, identity
from anomaly.store import Store, Stored

if TYPE_CHECKING:
    from tests.conftest import Trained

Later = Callable[[int, int], list[Action]]


def of(models: Path, user: str = "alice") -> Stored:
    """Load a user's model."""
    stored = Store(models).load(user)
    assert stored is not None
    return stored


def arrays(standing: Standing) -> Arrays:
    """Return what was learned."""
    return standing.stored.model.detector.learned(standing.state)


def same(one: Arrays, other: Arrays) -> bool:
    """Compare arrays to the last bit."""
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def lived(
    models: Path, actions: list[Action], *, adapt: bool = True, say: Callable[[str], None] = lambda _: None
) -> Standing:
    """Return where alice stands after her actions."""
    scorer = Scorer(Store(models).load, only="alice", adapt=adapt, say=say)
    for action in actions:
        scorer.score("1", action)
    return scorer._users["alice"]


def test_it_starts_where_training_ended(trained: Trained) -> None:
    """At first there is no risk yet, an empty filter, nothing learned, and the model is ready."""
    stored = of(trained.models)
    standing = Standing(stored, None, adapt=True)
    assert standing.state.to_json() == stored.model.detector.start().to_json()
    assert (standing.risk, len(standing.filter.odds), len(standing.admission.window)) == (None, 0, 0)
    assert same(arrays(standing), stored.model.detector.learned(stored.model.detector.start()))
    assert msgspec.structs.astuple(standing.reference) == (trained.algorithm.value, 1, "ready")
    assert standing.adaptation is not None
    assert standing.adaptation.progress == Progress()
    assert (standing.kept, standing.kept_generation) == (None, 0)


def test_it_comes_back_from_json(trained: Trained, later: Later) -> None:
    """What it is made from again is what it gave, as JSON, together with what was learned."""
    first = lived(trained.models, later(1350, 4))
    assert first.adaptation is not None
    saved = json.loads(json.dumps(first.to_json()))
    learned = Learned(Origin("alice", "", 1, "", ""), first.adaptation.progress, arrays(first))
    second = Standing(first.stored, saved, adapt=True, learned=Learned.from_bytes(learned.to_bytes()))
    assert json.loads(json.dumps(second.to_json())) == saved
    assert same(arrays(second), arrays(first))
    assert second.adaptation is not None
    assert second.adaptation.progress == first.adaptation.progress
    assert second.adaptation.progress.learned == 1200


def test_it_belongs_to_one_model(models: Path) -> None:
    """It is told by the algorithm, the version, and the fingerprint of what was learned from."""
    alice, bob = (Standing(of(models, user), None, adapt=False) for user in ("alice", "bob"))
    assert identity(alice.stored) == ["OCSVM", 1, of(models).model.card.fingerprint]
    assert identity(alice.stored)[2] != identity(bob.stored)[2]
    store = Store(models)
    store.save("alice", of(models).model)
    assert identity(of(models))[1] == 2


def test_a_day_may_add_two_usual_days(trained: Trained) -> None:
    """The cap on what a day may add is two of the days that the model's card speaks of."""
    stored = of(trained.models)
    standing = Standing(stored, None, adapt=True)
    assert standing.adaptation is not None
    card = stored.model.card
    assert standing.adaptation._most == pytest.approx(DAYS * card.actions / card.days)
    assert standing.adaptation._most >= 2 * WINDOW


@pytest.mark.parametrize("kind", ["ocsvm", "lstm", "both", "crowd"])
def test_without_adapt_nothing_is_learned(
    kind: str, request: pytest.FixtureRequest, later: Later, crowd: Later
) -> None:
    """Where nothing is to adapt, all that could be learned stays as training left it; elsewhere it does not."""
    models = request.getfixturevalue(f"{kind}_models")
    actions = (crowd if kind == "crowd" else later)(1250, 4)
    still, moving = lived(models, actions, adapt=False), lived(models, actions)
    fresh = Standing(of(models), None, adapt=False)
    assert still.adaptation is None
    assert still.to_json()["adaptation"] is None
    assert same(arrays(still), arrays(fresh))
    assert not same(arrays(moving), arrays(fresh))
    assert moving.adaptation is not None
    assert moving.adaptation.progress.learned == 1100


@pytest.mark.parametrize("kind", ["ocsvm", "both", "crowd"])
def test_an_intruder_teaches_nothing(
    kind: str, request: pytest.FixtureRequest, later: Later, crowd: Later
) -> None:
    """From when somebody else is noticed all is refused, and what was learned before stays as it was."""
    models = request.getfixturevalue(f"{kind}_models")
    own = [action for action in (crowd if kind == "crowd" else later)(1000, 4) if action.user == "alice"]
    foreign = [
        msgspec.structs.replace(action, columns={"command": f"nmap -p{number} 10.9.{number}.1"})
        for number, action in enumerate(own[350:])
    ]
    noticed = lived(models, own[:350] + foreign[:250])
    later_on = lived(models, own[:350] + foreign)
    assert noticed.adaptation is not None
    assert later_on.adaptation is not None
    assert noticed.adaptation.progress.learned <= 300
    assert later_on.adaptation.progress.learned == noticed.adaptation.progress.learned
    assert later_on.adaptation.progress.refused == noticed.adaptation.progress.refused + 400
    assert same(arrays(later_on), arrays(noticed))


def test_forgetting_stays_where_the_user_is(trained: Trained, later: Later) -> None:
    """Forgetting takes what was learned and nothing else: window, filter, risk and admission stay."""
    standing = lived(trained.models, later(1350, 4))
    before = standing.to_json()
    standing.kept, standing.kept_generation = {"slot": 0}, 12
    standing.forget()
    after = standing.to_json()
    assert {name: after[name] for name in after if name != "adaptation"} == {
        name: before[name] for name in before if name != "adaptation"
    }
    assert same(arrays(standing), arrays(Standing(of(trained.models), None, adapt=True)))
    assert standing.adaptation is not None
    assert standing.adaptation.progress == Progress()
    assert (standing.kept, standing.kept_generation) == (None, 0)


def test_what_another_model_learned_is_refused(trained: Trained, crowd_models: Path, later: Later) -> None:
    """Arrays that do not fit the detector raise, and never make half a standing."""
    first = lived(trained.models, later(150, 4))
    saved = first.to_json()
    other = arrays(Standing(of(crowd_models), None, adapt=True))
    for wrong in ({}, {"own": np.zeros(3)}, dict.fromkeys(arrays(first), np.zeros(1)), other):
        learned = Learned(Origin("alice", "", 1, "", ""), Progress(), wrong)
        with pytest.raises((ValueError, KeyError, TypeError)):
            Standing(first.stored, saved, adapt=True, learned=learned)


def test_drift_is_told_once_and_shown(trained: Trained, later: Later, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once two fifths of what was learned last surprise the model as trained, it has drifted, and one is told."""
    monkeypatch.setattr("anomaly.adaptation.STRANGE", -1.0)
    said: list[str] = []
    scorer = Scorer(Store(trained.models).load, only="alice", say=said.append)
    states = []
    for action in later(1500, 4):
        score = scorer.score("1", action)
        if score is not None:
            states.append(score.model.state)
    turn = states.index("drifted")
    # The eighth chunk is learned with the last action of the ninth, which is itself still scored before.
    assert turn == (round(DRIFTED * REMEMBERED) + 1) * WINDOW
    assert states == ["ready"] * turn + ["drifted"] * (1500 - turn)
    (text,) = said
    assert text.startswith("'alice' has drifted: 40% of what was learned last")
    assert "anomaly models drift" in text
    scorer._users["alice"].forget()
    assert scorer._users["alice"].reference.state == "ready"


def test_the_window_of_a_suspect_is_kept_for_another_model(trained: Trained, actions: list[Action]) -> None:
    """A training while nobody scores acquits nobody; of those who are not suspected no action is kept."""
    standing = lived(trained.models, [action for action in actions if action.user == "alice"])
    standing.risk = 1.0
    assert standing.to_json()["recent"] == []
    standing.risk = 60.0
    saved = json.loads(json.dumps(standing.to_json()))
    assert len(saved["recent"]) == WINDOW
    other = Standing(of(trained.models), None, adapt=True)
    other.carry(saved)
    other.replay()
    assert (other.risk, list(other.filter.odds)) == (60.0, list(standing.filter.odds))
    assert list(other.recent) == list(standing.recent)
    window = standing.state.to_json()
    if trained.algorithm == "OCSVM":
        assert other.state.to_json() == window
    for damaged in (["recent"], {**saved, "recent": ["!"]}, {**saved, "recent": ["AAAA"]}):
        with pytest.raises((ValueError, KeyError, TypeError)):
            other.carry(damaged)  # type: ignore[arg-type]
