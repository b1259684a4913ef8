"""Where everybody stands: who does not fit into memory is put aside, and nothing that is said of him changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from anomaly.errors import ModelRefused
from anomaly.learned import StoreKeeper
from anomaly.osquery import Action
from anomaly.records import Score
from anomaly.scoring import Scorer
from anomaly.standings import ROOM
from anomaly.store import Store, Stored

if TYPE_CHECKING:
    from tests.conftest import Trained

Later = Callable[[int, int], list[Action]]
LOG = "log"


def scorer(models: Path, room: int, said: list[str] | None = None, **options: Any) -> Scorer:  # noqa: ANN401
    """Return a scorer of everybody that keeps what is learned beside the models."""
    store = Store(models)
    say = (said if said is not None else []).append
    return Scorer(store.load, keeper=StoreKeeper(store, LOG, say), log=LOG, say=say, room=room, **options)


def run(mine: Scorer, actions: list[Action]) -> list[Score]:
    """Score actions of users who have a model."""
    return [score for action in actions if (score := mine.score("1", action)) is not None]


def in_turns(actions: list[Action], turn: int = 15) -> list[Action]:
    """Let each user do so many actions in one go: all of one user's are in order, as before."""
    users = {action.user: [one for one in actions if one.user == action.user] for action in actions}
    longest = max(map(len, users.values()))
    return [one for n in range(0, longest, turn) for own in users.values() for one in own[n : n + turn]]


def figures(scores: list[Score]) -> list[tuple[object, ...]]:
    """Return what was said, with the figures as exactly as they must be."""
    return [
        (
            score.model,
            [(reason.kind, reason.field, reason.value) for reason in score.reasons],
            *(None if n is None else round(n, 5) for n in (score.score, score.risk, score.surprise)),
        )
        for score in scores
    ]


@pytest.mark.parametrize(("kind", "adapt"), [("ocsvm", True), ("both", True), ("crowd", True), ("both", False)])
def test_being_put_aside_changes_no_score(
    kind: str,
    adapt: bool,  # noqa: FBT001 - a parameter
    request: pytest.FixtureRequest,
    later: Later,
    crowd: Later,
    tmp_path: Path,
) -> None:
    """The scores of interleaved users are the same with one of them in memory at a time as with all of them."""
    models: Path = request.getfixturevalue(f"{kind}_models")
    actions = in_turns(crowd(220, 6) if kind == "crowd" else later(330, 6))
    found, learned = [], []
    for room in (0, ROOM):
        copy = shutil.copytree(models, tmp_path / str(room))
        mine = scorer(copy, room, adapt=adapt)
        found.append(run(mine, actions))
        assert len(mine._users) == 1 if room == 0 else len(mine._users) > 1
        learned.append({name: {**state, "learned": None} for name, state in mine.export().items()})
    assert len(found[0]) == len(actions)
    assert figures(found[0]) == figures(found[1])
    assert max(score.score or 0.0 for score in found[0]) > 0
    for name in learned[0]:
        odds = [[list(one) for one in of[name]["filter"]["odds"]] for of in learned]
        assert [[round(one, 6) for one in past] for past in odds[0]] == [
            [round(one, 6) for one in past] for past in odds[1]
        ]
        assert any(odds[0])


def test_as_many_are_in_memory_as_there_is_room_for(crowd_models: Path, crowd: Later) -> None:
    """Whoever has not acted for longest is put aside first; he stays known, and comes back when he acts."""
    actions = crowd(12, 6)
    stored = Store(crowd_models).load(actions[0].user)
    assert stored is not None
    one = run(alone := scorer(crowd_models, 0), actions[:1])
    assert one
    size = alone._users[actions[0].user].size
    mine = scorer(crowd_models, 3 * size)
    run(mine, actions)
    assert list(mine._users._here) == [action.user for action in actions[-len(mine._users) :]]
    assert 2 <= len(mine._users) <= 4
    assert set(mine.export()) == {action.user for action in actions}
    assert all(action.user in mine._users for action in actions)


def test_what_has_not_changed_is_not_encoded_again(
    models: Path, actions: list[Action], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint encodes who has acted since the last one, and says of the others what it would say anew."""
    mine = scorer(models, ROOM)
    run(mine, actions[:300])
    first = dict(mine.encoded())
    assert {name: msgspec.json.decode(state) for name, state in first.items()} == json.loads(
        json.dumps({n: mine._users[n].to_json() | {"learned": mine._users[n].kept} for n in first})
    )
    asked: list[str] = []
    encode = type(mine._users["bob"]).to_json

    def noted(self: Any) -> Any:  # noqa: ANN401
        asked.append(self.stored.model.card.user)
        return encode(self)

    monkeypatch.setattr("anomaly.standing.Standing.to_json", noted)
    run(mine, [action for action in actions[300:320] if action.user == "alice"])
    second = dict(mine.encoded())
    assert asked == ["alice"]
    mine._users._encoded.clear()
    assert dict(mine.encoded()) == second
    assert (first["bob"] == second["bob"], first["alice"] == second["alice"]) == (True, False)


def test_who_is_aside_is_in_the_checkpoint(models: Path, later: Later) -> None:
    """A restart goes on from what was aside as from what was in memory."""
    actions = in_turns(later(240, 6))
    whole = run(scorer(models, ROOM, adapt=False), actions)
    mine = scorer(models, 0, adapt=False)
    found = run(mine, actions[:200])
    again = scorer(models, 0, adapt=False)
    again.restore({name: msgspec.Raw(state) for name, state in mine.encoded()})
    assert figures(found + run(again, actions[200:])) == figures(whole)


def test_a_checkpoint_that_was_not_written_still_finds_what_was_learned(models: Path, later: Later) -> None:
    """However often users are put aside meanwhile, the file that the last checkpoint names is left as it was."""
    actions = in_turns(later(700, 6))
    said: list[str] = []
    mine = scorer(models, 0, said)
    run(mine, actions[:700])
    checkpoint = dict(mine.encoded())
    mine.saved()
    expected = run(mine, actions[700:])
    again = scorer(models, 0, said)
    again.restore({name: msgspec.Raw(state) for name, state in checkpoint.items()})
    assert figures(run(again, actions[700:])) == figures(expected)
    assert said == []


def test_a_model_that_is_damaged_while_its_user_is_aside(models: Path, later: Later) -> None:
    """It is met when he acts, costs his scores and nobody else's, and when it is whole again he goes on."""
    actions = later(60, 6)
    alice, bob = ([action for action in actions if action.user == name] for name in ("alice", "bob"))
    refused: list[str] = []
    store = Store(models)

    def find(user: str) -> Stored | None:
        try:
            return store.load(user)
        except ModelRefused:
            refused.append(user)
            return None

    mine, whole = Scorer(find, room=0, adapt=False), Scorer(find, adapt=False)
    run(mine, [*alice[:40], bob[0]])
    expected = run(whole, [*alice[:40], bob[0], bob[1], alice[40]])[-1]
    file = models / "alice" / "1.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:-1] + b"~")
    assert [score.model.state for score in run(mine, [*alice[40:44], bob[1]])] == ["none"] * 4 + ["ready"]
    assert refused == ["alice"]
    file.write_bytes(data)
    mine.refresh(None)
    assert figures(run(mine, alice[40:41])) == figures([expected])


@pytest.mark.parametrize("asked", [True, False])
def test_a_newer_model_goes_on_where_who_is_aside_stands(
    trained: Trained,
    later: Later,
    tmp_path: Path,
    asked: bool,  # noqa: FBT001
) -> None:
    """Whoever is not in memory gets another model as whoever is: it is shown his window, and that is said."""
    actions = later(200, 6)
    found: list[list[Score]] = []
    said: list[str] = []
    for room in (0, ROOM):
        store = Store(shutil.copytree(trained.models, tmp_path / str(room)))
        mine = scorer(store.directory, room, said, adapt=False)
        run(mine, [action for action in actions[:300] if action.user == "alice"])
        run(mine, [action for action in actions[:300] if action.user == "bob"])
        stored = store.load("alice")
        assert stored is not None
        store.save("alice", stored.model)
        if asked or room:
            assert mine.renew("alice", store.load("alice"))
            assert not mine.renew("alice", store.load("alice"))
        found.append(run(mine, [action for action in actions[300:] if action.user == "alice"]))
    assert figures(found[0]) == figures(found[1])
    assert {score.model.version for score in found[0]} == {2}
    assert said == ([] if asked else ["'alice': model 2 is in use from now on."])
    assert mine.renew("alice", None)
    assert not mine.renew("alice", None)


def test_learning_is_switched_for_everybody(models: Path, later: Later) -> None:
    """Those in memory and those aside learn no more, or again, where they stand."""
    actions = in_turns(later(480, 6))
    mine = scorer(models, 0)
    run(mine, actions[:900])
    dict(mine.encoded())
    mine.saved()
    mine.adapt(on=False)
    run(mine, actions[900:902])
    assert mine._users[actions[901].user].adaptation is None
    mine.adapt(on=True)
    run(mine, actions[902:904])
    adaptation = mine._users[actions[903].user].adaptation
    assert adaptation is not None
    assert adaptation.progress.learned > 0
