"""What was learned survives what can happen to it: crashes, full disks, deleted files, hostile checkpoints."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from anomaly.errors import StoreUnwritable
from anomaly.learned import StoreKeeper
from anomaly.osquery import Action
from anomaly.prediction import prepare
from anomaly.records import Score
from anomaly.request import Prediction
from anomaly.scoring import Scorer
from anomaly.sinks.interface import Sink
from anomaly.store import Store

Later = Callable[[int, int], list[Action]]


def run(store: Store, actions: list[Action], saved: Any = None, *, adapt: bool = True) -> tuple[Scorer, list[str]]:  # noqa: ANN401
    """Score actions from a checkpoint on; return the scorer and what was said."""
    said: list[str] = []
    scorer = Scorer(store.load, only="alice", keeper=StoreKeeper(store, "log"), say=said.append, adapt=adapt)
    scorer.restore(json.loads(json.dumps(saved or {})))
    for action in actions:
        scorer.score("1", action)
    return scorer, said


@pytest.fixture
def own(later: Later) -> list[Action]:
    """Give actions that alice does after training."""
    return [action for action in later(1400, 5) if action.user == "alice"]


class Full(Store):
    """A store without room."""

    def write_learned(self, user: str, version: int, name: str, data: bytes) -> None:  # noqa: ARG002
        """Raise."""
        raise StoreUnwritable("There is no room.")


def test_a_read_only_store_keeps_it_over_a_restart(models: Path, own: list[Action]) -> None:
    """Where models cannot be written, what was learned outlives a restart, and the checkpoint after it."""
    store = Full(models)
    scorer, _ = run(store, own[:500])
    again, said = run(store, own[500:510], scorer.export())
    assert again.export()["alice"]["learned"] is not None
    assert said == []


def test_without_adapt_what_was_learned_is_kept(models: Path, own: list[Action]) -> None:
    """A run that does not adapt does not lose, for the next that does, what was learned before."""
    store = Store(models)
    scorer, _ = run(store, own[:820])
    still, _ = run(store, own[820:830], scorer.export(), adapt=False)
    again, _ = run(store, own[830:831], still.export())
    adaptation = again._users["alice"].adaptation
    assert adaptation is not None
    assert adaptation.progress.learned == 500


def test_a_user_whose_models_are_removed_ends_nothing(models: Path, own: list[Action]) -> None:
    """Where a user's directory is deleted while the daemon runs, it goes on."""
    store = Store(models)
    scorer, _ = run(store, own[:500])
    shutil.rmtree(models / "alice")
    scorer.export()


def test_forgetting_works_after_a_disk_that_was_full(models: Path, own: list[Action]) -> None:
    """One failed write does not keep what is deleted later from being forgotten."""
    store = Store(models)
    scorer, _ = run(store, own[:300])
    real, store.write_learned = store.write_learned, Full(models).write_learned  # type: ignore[method-assign]
    scorer.export()
    store.write_learned = real  # type: ignore[method-assign]
    for action in own[300:500]:
        scorer.score("1", action)
    scorer.export()
    assert store.forget_learned("alice", 1) == 1
    assert scorer.export()["alice"]["learned"] is None


def test_a_file_that_vanishes_while_it_is_listed(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgetting in another process at this very moment raises nothing here."""
    keeper, real = StoreKeeper(Store(models), "log"), os.listdir
    reference = keeper.keep("alice", 1, b"x", None)
    monkeypatch.setattr(os, "listdir", lambda folder: [*real(folder), "1.log.0.learned"])
    assert not keeper.forgotten("alice", 1, reference)


class Nowhere(Sink):
    """Takes scores and keeps none."""

    def write(self, scores: Sequence[Score]) -> None:
        """Take them."""


def test_a_relative_path_is_the_same_log(
    models: Path, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was learned from a log is gone on from, whichever way the log is named: the checkpoint is, too."""
    shutil.copy(log, tmp_path / "x.log")
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    for path, begin in ((tmp_path / "x.log", "start"), (Path("x.log"), "checkpoint")):
        asked = Prediction(path, models, tmp_path / "state", "alice", follow=False, begin=begin)  # type: ignore[arg-type]
        with prepare(asked, Nowhere(), said.append) as follower:
            follower.run()
        with (tmp_path / "x.log").open("ab") as file:
            file.write(log.read_bytes().splitlines(keepends=True)[-2])
    assert said == []


def test_nan_odds_do_not_blind(models: Path, own: list[Action]) -> None:
    """A checkpoint's 'nan' makes no later risk NaN, which never alarms: such a state is not gone on from."""
    store = Store(models)
    for name in ("odds", "scales"):
        saved = json.loads(json.dumps(run(store, own[:150])[0].export()))
        channels = len(saved["alice"]["filter"][name])
        saved["alice"]["filter"][name] = [["nan"] if name == "odds" else ["nan", "nan", [[]]]] * channels
        scorer, _ = run(store, own[150:400], saved)
        risk = scorer._users["alice"].risk
        assert risk is not None
        assert risk >= 0


@pytest.mark.parametrize(("name", "size"), [("marks", 4), ("features", 8)])
@pytest.mark.parametrize("fill", [b"\xff", b"\x00"])
def test_export_after_hostile_actions_were_learned_raises_nothing(
    both_models: Path, own: list[Action], name: str, size: int, fill: bytes
) -> None:
    """Actions that wait in a checkpoint may hold any marks and features: they are learned, and then exported."""
    store = Store(both_models)
    saved = json.loads(json.dumps(run(store, own[:150])[0].export()))
    actions = saved["alice"]["adaptation"]["waiting"][0][0]
    count = len(base64.b64decode(actions[name])) // size
    actions[name] = base64.b64encode(fill * size * count).decode()
    scorer = Scorer(store.load, only="alice")
    scorer.restore(saved)
    for action in own[150:700]:
        scorer.score("1", action)
    adaptation = scorer._users["alice"].adaptation
    assert adaptation is not None
    assert adaptation.progress.generation > 0
    assert scorer.export()["alice"]["learned"] is not None
