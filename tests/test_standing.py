"""Where a user stands: what is carried from one action to the next, what is learned, how the model is called."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from anomaly.adaptation import DAYS, DRIFTED, LAG, REMEMBERED, Progress
from anomaly.detectors.fusion import Filter
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


def learnable(models: Path, actions: int) -> int:
    """Return how many of so many quiet actions are learned by then."""
    later = of(models).model.fusion.delay
    return max((actions - LAG - later) // WINDOW * WINDOW, 0)


def test_standing_without_a_state_starts_where_training_ended(trained: Trained) -> None:
    """At first there is no risk yet, an empty filter, nothing learned, and the model is ready."""
    stored = of(trained.models)
    standing = Standing(stored, None, adapt=True)
    assert standing.state.to_json() == stored.model.detector.start().to_json()
    assert (standing.risk, len(standing.admission.window)) == (None, 0)
    assert standing.filter.to_json() == Filter(stored.model.fusion).to_json()
    assert not any(standing.filter.odds)
    assert same(arrays(standing), stored.model.detector.learned(stored.model.detector.start()))
    assert msgspec.structs.astuple(standing.reference) == (trained.algorithm.value, 1, "ready")
    assert standing.adaptation is not None
    assert standing.adaptation.progress == Progress()
    assert (standing.kept, standing.kept_generation) == (None, 0)


def test_standing_from_json_is_the_same(trained: Trained, later: Later) -> None:
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
    assert second.adaptation.progress.learned == learnable(trained.models, 1350) > 0


def test_identity_is_of_one_trained_model(models: Path) -> None:
    """It is told by the algorithm, the version, and the fingerprint of what was learned from."""
    alice, bob = (Standing(of(models, user), None, adapt=False) for user in ("alice", "bob"))
    assert identity(alice.stored) == ["OCSVM", 1, of(models).model.card.fingerprint]
    assert identity(alice.stored)[2] != identity(bob.stored)[2]
    store = Store(models)
    store.save("alice", of(models).model)
    assert identity(of(models))[1] == 2


def test_adaptation_of_a_day_is_capped_at_two_usual_days(trained: Trained) -> None:
    """The cap on what a day may add is two of the days that the model's card speaks of."""
    stored = of(trained.models)
    standing = Standing(stored, None, adapt=True)
    assert standing.adaptation is not None
    card = stored.model.card
    assert standing.adaptation._most == pytest.approx(DAYS * card.actions / card.days)
    assert standing.adaptation._most >= 2 * WINDOW


@pytest.mark.parametrize("kind", ["ocsvm", "lstm", "both", "crowd"])
def test_standing_without_adapt_learns_nothing(
    kind: str, request: pytest.FixtureRequest, later: Later, crowd: Later
) -> None:
    """Without adaptation all that could be learned stays as training left it, and so do the scales; else not."""
    models = request.getfixturevalue(f"{kind}_models")
    actions = (crowd if kind == "crowd" else later)(1250, 4)
    still, moving = lived(models, actions, adapt=False), lived(models, actions)
    fresh = Standing(of(models), None, adapt=False)
    assert still.adaptation is None
    assert still.to_json()["adaptation"] is None
    assert same(arrays(still), arrays(fresh))
    assert not same(arrays(moving), arrays(fresh))
    assert moving.adaptation is not None
    assert moving.adaptation.progress.learned == learnable(models, 1250) > 0
    scales = [one.filter.to_json()["scales"] for one in (still, moving, fresh)]
    assert scales[0] == scales[2]
    assert (scales[1] == scales[2]) is (kind == "crowd")  # which has thresholds for all, and no scales


@pytest.mark.parametrize("kind", ["ocsvm", "lstm", "both"])
def test_standing_without_adapt_scores_as_trained(kind: str, request: pytest.FixtureRequest, later: Later) -> None:
    """A run that does not adapt scores by the model and the scales of training, and keeps the adapted ones."""
    models: Path = request.getfixturevalue(f"{kind}_models")
    moved = lived(models, later(900, 4))
    saved = json.loads(json.dumps(moved.to_json()))
    still = Standing(of(models), saved, adapt=False)
    assert json.loads(json.dumps(still.to_json())) == saved
    scales = Filter(still.stored.model.fusion).to_json()["scales"]
    assert still.filter.to_json()["scales"] == scales != saved["filter"]["scales"]
    assert same(arrays(still), arrays(Standing(of(models), None, adapt=False)))


@pytest.mark.parametrize("kind", ["ocsvm", "both", "crowd"])
def test_adaptation_while_an_intruder_acts_learns_nothing(
    kind: str, request: pytest.FixtureRequest, later: Later, crowd: Later
) -> None:
    """From when somebody else is noticed all is refused, and what was learned before stays as it was."""
    models = request.getfixturevalue(f"{kind}_models")
    own = [action for action in (crowd if kind == "crowd" else later)(1800, 4) if action.user == "alice"]
    foreign = [
        msgspec.structs.replace(action, columns={"command": f"nmap -p{number} 10.9.{number}.1"})
        for number, action in enumerate(own[350:])
    ]
    noticed = lived(models, own[:350] + foreign[:650])
    later_on = lived(models, own[:350] + foreign[:1400])
    assert noticed.adaptation is not None
    assert later_on.adaptation is not None
    assert noticed.adaptation.progress.learned == later_on.adaptation.progress.learned == 300
    assert noticed.adaptation.progress.refused == 0  # in quarantine, all of it
    assert later_on.adaptation.progress.refused == 800  # what is older than the quarantine
    assert same(arrays(later_on), arrays(noticed))


def test_forget_keeps_where_the_user_is(trained: Trained, later: Later) -> None:
    """Forgetting takes what was learned and the scales that followed it; window, odds, risk and admission stay."""
    standing = lived(trained.models, later(1350, 4))
    before = standing.to_json()
    standing.kept, standing.kept_generation = {"slot": 0}, 12
    standing.forget()
    after = standing.to_json()
    scales = Filter(standing.stored.model.fusion).to_json()["scales"]
    assert before["filter"]["scales"] != scales
    before["filter"]["scales"] = scales
    assert after | {"adaptation": None} == before | {"adaptation": None}
    assert same(arrays(standing), arrays(Standing(of(trained.models), None, adapt=True)))
    assert standing.adaptation is not None
    assert standing.adaptation.progress == Progress()
    assert (standing.kept, standing.kept_generation) == (None, 0)


def test_standing_with_what_another_model_learned_raises(
    trained: Trained, crowd_models: Path, later: Later
) -> None:
    """Arrays that do not fit the detector raise, and never make half a standing."""
    first = lived(trained.models, later(150, 4))
    saved = first.to_json()
    other = arrays(Standing(of(crowd_models), None, adapt=True))
    for wrong in ({}, {"own": np.zeros(3)}, dict.fromkeys(arrays(first), np.zeros(1)), other):
        learned = Learned(Origin("alice", "", 1, "", ""), Progress(), wrong)
        with pytest.raises((ValueError, KeyError, TypeError)):
            Standing(first.stored, saved, adapt=True, learned=learned)


def test_drift_is_told_once_and_shown(trained: Trained, later: Later, monkeypatch: pytest.MonkeyPatch) -> None:
    """When two fifths of what was learned last surprise the frozen model, the user has drifted: said once."""
    monkeypatch.setattr("anomaly.adaptation.STRANGE", -1.0)
    said: list[str] = []
    scorer = Scorer(Store(trained.models).load, only="alice", say=said.append)
    states = []
    for action in later(1500, 4):
        score = scorer.score("1", action)
        if score is not None:
            states.append(score.model.state)
    turn = states.index("drifted")
    # The eighth chunk is learned with the action that the wait for it ends with, itself still scored before.
    delay = of(trained.models).model.fusion.delay
    assert turn == round(DRIFTED * REMEMBERED) * WINDOW + delay + LAG
    assert states == ["ready"] * turn + ["drifted"] * (1500 - turn)
    (text,) = said
    assert text.startswith("'alice' has drifted: 40% of what was learned last")
    assert "anomaly models drift" in text
    scorer._users["alice"].forget()
    assert scorer._users["alice"].reference.state == "ready"


def test_carry_of_a_suspect_keeps_the_risk_and_the_window(trained: Trained, actions: list[Action]) -> None:
    """A suspicious user stays so after retraining while the daemon is down; raw actions are kept for them only."""
    standing = lived(trained.models, [action for action in actions if action.user == "alice"])
    standing.risk = 1.0
    assert standing.to_json()["recent"] == []
    standing.risk = 60.0
    saved = json.loads(json.dumps(standing.to_json()))
    assert len(saved["recent"]) == WINDOW
    other = Standing(of(trained.models), None, adapt=True)
    other.carry(saved)
    other.replay()
    assert (other.risk, other.filter.odds) == (60.0, standing.filter.odds)
    assert list(other.recent) == list(standing.recent)
    window = standing.state.to_json()
    found = other.state.to_json()
    assert (found["window"], found["sizes"]) == (window["window"], window["sizes"])
    for damaged in (
        ["recent"],
        {**saved, "recent": ["!"]},
        {**saved, "recent": ["AAAA"]},
        {**saved, "filter": {"odds": [["nan"]] * len(standing.filter.odds)}},
        {**saved, "newest": "soon"},
    ):
        with pytest.raises((ValueError, KeyError, TypeError)):
            other.carry(damaged)  # type: ignore[arg-type]
        assert (other.risk, other.filter.odds) == (60.0, standing.filter.odds)


def test_carry_scales_stay_those_of_the_new_model(ocsvm_models: Path, lstm_models: Path, later: Later) -> None:
    """Another model measures by its own scales, in a running process too: the old model's would make it blind."""
    before = lived(ocsvm_models, later(900, 4))
    before.risk = 60.0
    stored = of(lstm_models)
    scales = Filter(stored.model.fusion).to_json()["scales"]
    carried = Standing(stored, None, adapt=True)
    carried.carry(json.loads(json.dumps(before.to_json())))
    for other in (carried, before.succeeded_by(stored)):
        assert (other.risk, other.filter.odds) == (60.0, before.filter.odds)
        assert other.filter.to_json()["scales"] == scales != before.filter.to_json()["scales"]


def test_carry_from_a_model_with_other_channels_starts_an_empty_filter(
    ocsvm_models: Path, crowd_models: Path, crowd: Later
) -> None:
    """A user who was learned alone, and then together with others, has other channels; the risk stays."""
    before = lived(ocsvm_models, crowd(150, 4))
    before.risk = 60.0
    other = before.succeeded_by(of(crowd_models))
    assert (other.risk, list(map(len, other.filter.odds))) == (60.0, [0, 0, 0])
