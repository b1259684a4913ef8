from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anomaly.enrolment import Enrolment, enrol
from anomaly.fleet.models import Models
from anomaly.fleet.parcel import Dated
from anomaly.fleet.remote import LocalFiles
from anomaly.fleet.state import LATENESS, Desk, Mark, Memory, alarming
from anomaly.osquery import Action
from anomaly.records import Score
from anomaly.scoring import Scorer
from anomaly.store import Store
from tests.conftest import Trained

Later = Callable[[int, int], list[Action]]


class Shelf(Memory):
    """A key's state, as Spark would keep it: what is written counts when it is committed."""

    def __init__(self) -> None:
        self.kept: tuple[Mark, tuple[bytes, bytes]] | None = None
        self.what_was_learned: bytes | None = None
        self.reads = self.writes = 0

    def mark(self) -> Mark | None:
        """Return the mark."""
        return self.kept[0] if self.kept else None

    def standing(self) -> tuple[bytes, bytes] | None:
        """Return where the key stands."""
        self.reads += 1
        return self.kept[1] if self.kept else None

    def learned(self) -> bytes | None:
        """Return what was learned."""
        return self.what_was_learned

    def write(self, mark: Mark, standing: bytes, window: bytes, learned: bytes | None) -> None:
        """Write it."""
        self.kept = mark, (standing, window)
        if learned is not None:
            self.writes += 1
            self.what_was_learned = learned


def dated(actions: Sequence[Action], start: int = 0) -> list[Dated]:
    """Give actions their times and ids."""
    return [(action.time, str(number), action) for number, action in enumerate(actions, start)]


def figures(scores: Sequence[Score]) -> list[tuple[float | None, ...]]:
    """Return what must be equal to 1e-6."""
    return [(score.score, score.risk, score.surprise) for score in scores]


def alike(found: Sequence[Score], expected: Sequence[Score]) -> bool:
    """Compare scores to 1e-6, and all that is no number exactly."""
    rest = [[(s.id, s.action, s.model, s.reasons) for s in scores] for scores in (found, expected)]
    numbers = [np.array(figures(scores), dtype=float) for scores in (found, expected)]
    return rest[0] == rest[1] and bool(np.allclose(numbers[0], numbers[1], rtol=0, atol=1e-6, equal_nan=True))


@pytest.mark.parametrize("memory", ["kept", "lost", "crowded"])
def test_cuts_and_workers_do_not_matter(
    trained: Trained, memory: str, publisher: Callable[..., Path], later: Later, tmp_path: Path
) -> None:
    """Scores are those of a local run that learns, wherever batches end and whichever worker has them."""
    own = [action for action in later(1250, 5) if action.user == "alice"]
    whole = Scorer(Store(trained.models).load)
    expected = whole.score_all([(str(number), action) for number, action in enumerate(own)])
    store = publisher(trained.models, tmp_path / "fleet")
    models = Models(LocalFiles(store))
    cuts = sorted(random.Random(3).sample(range(1, len(own)), 9))  # noqa: S311 - places to cut at
    shelf, other, found = Shelf(), Shelf(), []
    desk = Desk(models, adapt=True)
    for start, stop in zip([0, *cuts], [*cuts, len(own)], strict=True):
        if memory == "lost":
            desk = Desk(models, adapt=True)
        elif memory == "crowded":
            desk = Desk(models, adapt=True, room=1) if start == 0 else desk
            desk.score("bob", dated(own[:1]), other)
        found += desk.score("alice", dated(own[start:stop], start), shelf).scores
    assert alike(found, expected)
    assert not alike(Scorer(Store(trained.models).load, adapt=False).score_all(list(_numbered(own))), expected)
    assert shelf.writes >= 5
    assert (shelf.reads == 0) is (memory == "kept")


def _numbered(actions: Sequence[Action]) -> list[tuple[str, Action]]:
    return [(str(number), action) for number, action in enumerate(actions)]


def test_a_batch_that_comes_again_is_scored_again(fleet_models: Path, later: Later) -> None:
    """Where a batch was not committed, the state of before is read again, though the worker remembers another."""
    own = [action for action in later(300, 5) if action.user == "alice"]
    desk, shelf = Desk(Models(LocalFiles(fleet_models)), adapt=True), Shelf()
    desk.score("alice", dated(own[:150]), shelf)
    before, learned = shelf.kept, shelf.what_was_learned
    first = desk.score("alice", dated(own[150:], 150), shelf)
    shelf.kept, shelf.what_was_learned = before, learned
    assert desk.score("alice", dated(own[150:], 150), shelf) == first


def test_without_learning_what_was_learned_stays(fleet_models: Path, later: Later) -> None:
    """A query that does not learn keeps what another one has learned, and does not use it."""
    own = [action for action in later(800, 5) if action.user == "alice"]
    models, shelf = Models(LocalFiles(fleet_models)), Shelf()
    Desk(models, adapt=True).score("alice", dated(own[:750]), shelf)
    learned = shelf.what_was_learned
    assert learned is not None
    Desk(models, adapt=False).score("alice", dated(own[750:780]), shelf)
    assert shelf.what_was_learned == learned
    assert shelf.kept is not None
    assert json.loads(shelf.kept[1][0])["learned"] is not None


@pytest.mark.parametrize("memory", ["kept", "lost"])
def test_another_model_takes_over_where_the_user_stands(
    models: Path,
    memory: str,
    publisher: Callable[..., Path],
    later: Later,
    log: Path,
    silent: object,
    tmp_path: Path,
) -> None:
    """A newer model is shown the window, and whoever is suspicious stays so: as in a local run that goes on."""
    own = [action for action in later(300, 5) if action.user == "alice"]
    strange = [msgspec.structs.replace(one, user="alice") for one in later(60, 6) if one.user == "bob"]
    first, second = own[:120] + strange, own[120:160]
    local = Scorer(Store(models).load)
    expected = local.score_all(_numbered(first))
    store = publisher(models, tmp_path / "fleet")
    shelf = Shelf()
    desk = Desk(Models(LocalFiles(store)), adapt=True)
    found = desk.score("alice", dated(first), shelf).scores
    list(enrol(Enrolment((log,), models, Store(models).load("alice").model.card.algorithm, seed=2), silent))  # type: ignore[union-attr, arg-type]
    stored = Store(models).load("alice")
    assert stored is not None
    assert stored.version == 2
    local.renew("alice", stored)
    publisher(models, store, 2)
    newer = Models(LocalFiles(store))
    if memory == "lost":
        desk = Desk(newer, adapt=True)
    else:
        desk.models = newer
    expected += local.score_all(_numbered(second))
    found += desk.score("alice", dated(second), shelf).scores
    assert alike(found, expected)
    assert found[-1].model.version == 2


def test_a_refused_model_gives_no_score(fleet_models: Path, later: Later) -> None:
    """Where a model cannot be used the actions are shown without scores and counted, and the state waits."""
    own = later(20, 5)[:5]
    file = fleet_models / "alice" / "1.safetensors"
    file.write_bytes(b"no model")
    shelf = Shelf()
    outcome = Desk(Models(LocalFiles(fleet_models)), adapt=True).score("alice", dated(own), shelf)
    assert outcome.refused == 5
    assert figures(outcome.scores) == [(None, None, None)] * 5
    assert {score.model.state for score in outcome.scores} == {"none"}
    assert shelf.kept is None


def test_what_is_late_is_counted(fleet_models: Path, later: Later) -> None:
    """An action that is older than what was scored, by more than is allowed, is scored in its turn and counted."""
    own = [action for action in later(20, 5) if action.user == "alice"][:4]
    desk, shelf = Desk(Models(LocalFiles(fleet_models)), adapt=True), Shelf()
    rows = [(10_000 + number, str(number), action) for number, action in enumerate(own)]
    assert desk.score("alice", rows, shelf).late == 0
    times = (10_003 - LATENESS, 10_002 - LATENESS, 0, 10_010)
    again = [(when, event, action) for when, (_, event, action) in zip(times, rows, strict=True)]
    outcome = desk.score("alice", again, shelf)
    assert (outcome.late, len(outcome.scores)) == (1, 4)
    assert shelf.kept is not None
    assert shelf.kept[0].newest == 10_010


def test_strangers_are_judged_by_what_everyone_does(
    crowd_models: Path, publisher: Callable[..., Path], later: Later, tmp_path: Path
) -> None:
    """Who has no model is judged as in a local run, with a background and without."""
    own = later(20, 5)
    desk = Desk(Models(LocalFiles(publisher(crowd_models, tmp_path / "fleet"))), adapt=True)
    local = Scorer(lambda _: None, background=Store(crowd_models).load_background())
    assert desk.strangers(dated(own)) == local.score_all(_numbered(own))
    assert alarming(desk.strangers(dated(own))) == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    standing=st.binary(max_size=40) | st.sampled_from([b"{}", b"null", b"[]", b'{"model":1}', b"[" * 5000]),
    window=st.binary(max_size=40),
    learned=st.none() | st.binary(max_size=40),
)
def test_a_state_that_is_not_ours_begins_anew(
    fleet_models: Path, later: Later, standing: bytes, window: bytes, learned: bytes | None
) -> None:
    """Whatever the state holds, the key is scored as if it had not acted, and has a sound state then."""
    (action, *_) = (action for action in later(20, 5) if action.user == "alice")
    models = Models(LocalFiles(fleet_models))
    shelf = Shelf()
    shelf.kept, shelf.what_was_learned = (Mark("x", 5), (standing, window)), learned
    found = Desk(models, adapt=True).score("alice", dated([action]), shelf).scores
    assert found == Desk(models, adapt=True).score("alice", dated([action]), Shelf()).scores
    assert json.loads(shelf.kept[1][0])["model"]


@pytest.mark.parametrize("harm", ["state", "risk", "recent", "learned", "window"])
def test_a_state_that_is_ours_but_for_a_detail_does_no_harm(fleet_models: Path, later: Later, harm: str) -> None:
    """What does not fit in a detail is passed over; scoring goes on."""
    own = [action for action in later(400, 5) if action.user == "alice"]
    models, shelf = Models(LocalFiles(fleet_models)), Shelf()
    Desk(models, adapt=True).score("alice", dated(own[:350]), shelf)
    assert shelf.kept is not None
    mark, (standing, window) = shelf.kept
    saved = json.loads(standing)
    if harm == "learned":
        shelf.what_was_learned = b"something else"
    elif harm == "window":
        window = window[:-3]
    else:
        saved[harm] = {"state": {"window": [[-1]]}, "risk": float("1e99"), "recent": ["%"]}[harm]
    shelf.kept = mark, (json.dumps(saved).encode(), window)
    scores = Desk(models, adapt=True).score("alice", dated(own[350:]), shelf).scores
    assert all(score.score is not None for score in scores)
