"""What is taken over while a log is followed, and what stays when it does not fit."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from anomaly.daemon import Follower
from anomaly.errors import ConfigError
from anomaly.once import FEW
from anomaly.prediction import prepare
from anomaly.records import Score
from anomaly.request import Prediction
from anomaly.scoring import Scorer
from anomaly.sinks.ndjson import NdjsonSink
from anomaly.store import Store

if TYPE_CHECKING:
    from tests.conftest import Event


class Running:
    """A follower, with what was asked for and what it said."""

    def __init__(self, asked: Prediction, follower: Follower, said: list[str]) -> None:
        self.asked, self.follower, self.said = asked, follower, said

    def score(self, line: bytes) -> Score:
        """Score one line."""
        found = self.follower.parser.parse(line)
        assert isinstance(found, list | tuple)
        (score,) = self.follower.scorer.score_all([("1", found[0])])
        return score


@pytest.fixture
def settings() -> dict[str, Any]:
    """Give the settings that a reload finds, to be changed."""
    return {}


@pytest.fixture
def running(models: Path, log: Path, tmp_path: Path, settings: dict[str, Any]) -> Iterator[Running]:
    """Give a follower of everybody in a copy of the sample log."""
    copy = Path(shutil.copy(log, tmp_path / log.name))
    asked = Prediction(copy, models, tmp_path / "state", None, follow=True)
    with opened(asked, settings) as found:
        yield found


@contextmanager
def opened(asked: Prediction, settings: dict[str, Any]) -> Iterator[Running]:
    """Open a follower whose reload finds ``settings``, or raises the error in it."""
    said: list[str] = []

    def again() -> Prediction:
        if "error" in settings:
            raise settings["error"]
        return msgspec.structs.replace(asked, **settings)

    with prepare(asked, NdjsonSink(io.StringIO()), said.append, again=again) as follower:
        yield Running(asked, follower, said)


def test_a_newer_model_is_put_in_use(running: Running, event: Event) -> None:
    """A look is enough; who has the same model keeps it."""
    line = event("alice", command="ls")
    assert running.score(line).model.version == 1
    running.follower.look()
    assert running.said == []
    store = Store(running.asked.models)
    stored = store.load("alice")
    assert stored is not None
    store.save("alice", stored.model)
    running.follower.look()
    assert running.said == ["'alice': model 2 is in use from now on."]
    assert running.score(line).model.version == 2
    assert running.score(event("bob", command="top")).model.version == 1


def test_a_broken_newer_model_leaves_the_old_one(running: Running, event: Event) -> None:
    """It is said once, and scoring goes on as before."""
    line = event("alice", command="ls")
    running.score(line)
    store = Store(running.asked.models)
    stored = store.load("alice")
    assert stored is not None
    store.save("alice", stored.model)
    file = running.asked.models / "alice" / "2.safetensors"
    file.write_bytes(b"nothing of the kind")
    for _ in range(3):
        running.follower.look()
    (sentence,) = running.said
    assert sentence.startswith("The newest model of 'alice' is left aside, and nothing changes. ")
    assert running.score(line).model.version == 1


def test_a_model_that_was_taken_away_is_not_used(running: Running, event: Event) -> None:
    """The user is then one without a model."""
    line = event("alice", command="ls")
    running.score(line)
    shutil.rmtree(running.asked.models / "alice")
    running.follower.look()
    assert running.said == ["'alice': the model was taken away."]
    assert running.score(line).model.version is None


@pytest.mark.parametrize("user", [None, "alice"])
def test_a_model_that_is_taken_away_before_its_user_acts_is_said(
    user: str | None, running: Running, settings: dict[str, Any], event: Event
) -> None:
    """It is said once, as of one who acted; whoever watches one user hears of that one alone."""
    asked = msgspec.structs.replace(running.asked, user=user, state=running.asked.state / "other")
    with opened(asked, settings) as found:
        for name in ("alice", "bob"):
            shutil.rmtree(asked.models / name)
        for _ in range(3):
            found.follower.look()
        told = [f"{name!r}: the model was taken away." for name in ([user] if user else ["alice", "bob"])]
        assert found.said == told
        if user is None:
            assert found.score(event("bob", command="ls")).model.version is None


def test_a_thousand_models_that_are_taken_away_are_counted(running: Running) -> None:
    """Some are named, and the others counted."""
    store = Store(running.asked.models)
    stored = store.load("alice")
    assert stored is not None
    for number in range(12):
        store.save(f"user{number}", stored.model)
    running.follower.look()
    shutil.rmtree(running.asked.models)
    running.follower.look()
    assert running.said[0] == "'alice': the model was taken away."
    assert running.said[-1] == f"{12 + 2 - FEW} more models were taken away."
    assert len(running.said) == FEW + 1


def test_settings_are_taken_over(running: Running, settings: dict[str, Any], event: Event) -> None:
    """What is shown, and whether models learn, can change; the user stands where he stood."""
    for _ in range(5):
        score = running.score(event("alice", command="ls"))
    assert running.follower.shown(score)
    settings |= {"min_score": 99.0, "adapt": False}
    running.follower.reload()
    assert not running.follower.shown(score)
    assert running.score(event("alice", command="ls")).risk == pytest.approx(score.risk, abs=5)
    assert isinstance(running.follower.scorer, Scorer)
    user = running.follower.scorer._users["alice"]
    assert user.adaptation is None
    assert [len(odds) for odds in user.filter.odds] == [1, 1]  # the first of six actions was judged
    assert running.said == ["Settings and models were loaded anew."]


def test_what_a_running_program_cannot_change_is_said(running: Running, settings: dict[str, Any]) -> None:
    """Another log or another state directory needs another start."""
    settings |= {"log": Path("/elsewhere"), "max_line": 5000}
    running.follower.reload()
    assert running.said == [
        "What is new in log takes effect at the next start.",
        "What is new in max-line takes effect at the next start.",
        "Settings and models were loaded anew.",
    ]


def test_settings_that_do_not_fit_change_nothing(
    running: Running, settings: dict[str, Any], tmp_path: Path, event: Event
) -> None:
    """An error in the file, or a directory without models, leaves all as it was."""
    running.score(event("alice", command="ls"))
    settings |= {"error": ConfigError("It does not fit.")}
    running.follower.reload()
    assert running.said == ["Nothing was reloaded; what was in force stays so. It does not fit."]
    del settings["error"]
    settings |= {"models": tmp_path / "none", "min_score": 50.0}
    running.follower.reload()
    assert running.said[1].startswith("Nothing was reloaded; what was in force stays so. There is no model in ")
    assert running.score(event("alice", command="ls")).model.version == 1
    assert running.follower.shown(running.score(event("alice", command="ls")))


def test_another_directory_of_models_is_taken_over(
    running: Running, settings: dict[str, Any], tmp_path: Path, event: Event
) -> None:
    """Whoever has a model there is scored by it from then on."""
    running.score(event("alice", command="ls"))
    other = shutil.copytree(running.asked.models, tmp_path / "other")
    store = Store(other)
    for _ in range(2):
        stored = store.load("alice")
        assert stored is not None
        store.save("alice", stored.model)
    settings |= {"models": other}
    running.follower.reload()
    assert running.score(event("alice", command="ls")).model.version == 3
    assert running.score(event("bob", command="top")).model.version == 1
