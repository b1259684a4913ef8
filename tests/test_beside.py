"""Beside the process that follows a log: the same scores, nothing locked, nothing written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from anomaly.beside import Beside, glimpse
from anomaly.errors import StateRefused
from anomaly.osquery import Action
from anomaly.prediction import prepare
from anomaly.records import Score
from anomaly.request import Prediction
from anomaly.sinks.interface import Sink
from anomaly.sources.checkpoint import Checkpoint, checkpoint_name
from anomaly.sources.checkpoint_file import CheckpointFile
from anomaly.sources.interface import Position

if TYPE_CHECKING:
    from tests.conftest import Event


class Kept(Sink):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.scores: list[Score] = []

    def write(self, scores: Sequence[Score]) -> None:
        """Take the scores."""
        self.scores += scores


class Watch:
    """A log, models of it, and a daemon that has followed it for a while."""

    def __init__(self, log: Path, models: Path, state: Path, event: Event, later: list[Action]) -> None:
        self.log, self.models, self.state = log, models, state
        self.said: list[str] = []
        self._event = event
        self.append(later[:1000])
        self.follow()

    def append(self, actions: Sequence[Action]) -> None:
        """Write actions as osquery does."""
        with self.log.open("ab") as file:
            for action in actions:
                line = msgspec.json.decode(self._event(action.user, action.query, time=action.time))
                file.write(msgspec.json.encode({**line, "columns": action.columns}) + b"\n")

    def follow(self, user: str | None = None) -> list[Score]:
        """Let the daemon score what is there."""
        sink = Kept()
        with prepare(self._asked(user), sink, self.said.append) as follower:
            follower.run()
        return sink.scores

    def look_on(self, user: str | None = None) -> list[Score]:
        """Score what is there beside the daemon."""
        sink = Kept()
        beside = glimpse(self.log, self.state, user, self.said.append)
        with prepare(self._asked(user), sink, self.said.append, beside=beside) as follower:
            follower.run()
        return sink.scores

    def _asked(self, user: str | None) -> Prediction:
        return Prediction(self.log, self.models, self.state, user, follow=False)

    def files(self) -> dict[Path, tuple[int, bytes]]:
        """Return what is on disk of models and checkpoints, and when it was written."""
        paths = [path for top in (self.models, self.state) for path in sorted(top.rglob("*")) if path.is_file()]
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


@pytest.fixture(scope="module")
def more(later: Callable[[int, int], list[Action]]) -> list[Action]:
    """Give what both users do after training."""
    return later(650, 5)


@pytest.fixture
def watch(models: Path, log: Path, tmp_path: Path, event: Event, more: list[Action]) -> Watch:
    """Give a daemon that has scored, and learned from, a thousand actions."""
    copy = tmp_path / "osqueryd.results.log"
    copy.write_bytes(log.read_bytes())
    return Watch(copy, models, tmp_path / "state", event, more)


@pytest.mark.parametrize("user", [None, "alice"])
def test_scores_are_the_daemons(watch: Watch, more: list[Action], user: str | None) -> None:
    """It begins where the daemon is, with what that knows and has learned; for one user also beside one of all."""
    watch.append(more[1000:])
    found = watch.look_on(user)
    expected = [score for score in watch.follow() if user in (None, score.action.user)]
    assert len(found) == (300 if user is None else 150)
    assert [(s.id, s.score, s.risk, s.model) for s in found] == [
        (s.id, s.score, s.risk, s.model) for s in expected
    ]
    assert watch.said == []


def test_nothing_is_locked_or_written(watch: Watch, more: list[Action]) -> None:
    """The daemon holds its checkpoint meanwhile, and finds everything as it left it."""
    watch.append(more[1000:])
    before = watch.files()
    with CheckpointFile(watch.state, checkpoint_name(watch.log, "all users")):
        locked = watch.files()
        assert len(watch.look_on()) == 300
    assert {path: data for path, (_, data) in watch.files().items() if path.suffix != ".lock"} == {
        path: data for path, (_, data) in before.items() if path.suffix != ".lock"
    }
    assert watch.files() == locked
    assert any("learned" in str(path) for path in before)


def test_where_there_is_no_checkpoint_training_s_end_counts(watch: Watch) -> None:
    """Then all that came after training is scored, and no directory is made."""
    watch.state = watch.state.with_name("elsewhere")
    assert len(watch.look_on()) == 1000
    assert not watch.state.exists()


def test_what_was_learned_may_be_gone(watch: Watch, more: list[Action]) -> None:
    """The daemon may have written over it meanwhile: that is said, and the user is scored as trained."""
    watch.append(more[1000:])
    for path in watch.models.rglob("*learned*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert len(watch.look_on()) == 300
    assert watch.said == [
        "What was learned of 'alice' since training is gone; it is learned anew.",
        "What was learned of 'bob' since training is gone; it is learned anew.",
    ]


def test_a_checkpoint_that_is_none_is_said_and_left_alone(watch: Watch) -> None:
    """It is the daemon's to put aside."""
    (path,) = watch.state.glob("*[0-9a-f].json")
    path.write_bytes(b"{")
    path.chmod(0o600)
    assert glimpse(watch.log, watch.state, None, watch.said.append).checkpoint is None
    assert watch.said == [
        f"{path} cannot be read: Input data was truncated. Scoring begins where training stopped."
    ]
    assert path.read_bytes() == b"{"


def test_a_checkpoint_that_others_could_have_written_is_refused(watch: Watch) -> None:
    """Nothing is believed that the daemon would not believe."""
    (path,) = watch.state.glob("*[0-9a-f].json")
    path.chmod(0o666)
    with pytest.raises(StateRefused, match=r"or give another directory with --state\."):
        glimpse(watch.log, watch.state, None, watch.said.append)


@pytest.mark.parametrize("what", ["file", "directory"])
def test_a_link_is_refused(watch: Watch, what: str) -> None:
    """Somebody else may turn it."""
    (path,) = watch.state.glob("*[0-9a-f].json") if what == "file" else (watch.state,)
    away = path.with_name("away")
    path.rename(away)
    path.symlink_to(away)
    with pytest.raises(StateRefused, match="is a symbolic link"):
        glimpse(watch.log, watch.state, None, watch.said.append)


def test_a_directory_that_may_not_be_read_is_said(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person may look at what the daemon alone may remember."""

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert glimpse(watch.log, watch.state, "alice", watch.said.append).checkpoint is None
    assert set(watch.said) == {
        f"{watch.state} cannot be read: Permission denied. Scoring begins where training stopped."
    }


def risks(*states: bytes) -> Iterator[float | None]:
    """Return the risks in saved states."""
    users = {str(number): msgspec.Raw(state) for number, state in enumerate(states)}
    for _, risk in Beside(Checkpoint("log", Position(), users=users), "name").risks():
        yield risk


def test_risks_are_read_from_a_checkpoint(watch: Watch) -> None:
    """They are what the daemon would go on from."""
    found = dict(glimpse(watch.log, watch.state, None, watch.said.append).risks())
    assert found.keys() == {"alice", "bob"}
    assert all(risk is not None and 0.0 <= risk <= 100.0 for risk in found.values())
    assert list(Beside(None, "name").risks()) == []


def test_a_state_that_holds_no_risk_is_one_of_none() -> None:
    """Whatever stands there instead."""
    states = (
        b'{"risk":3.5}',
        b'{"risk":null}',
        b"{}",
        b"[]",
        b'{"risk":"x"}',
        b'{"risk":101}',
        b'{"risk":-1}',
        b"{",
    )
    assert list(risks(*states)) == [3.5, None, None, None, None, None, None, None]
