"""A worker learns keys one after another, and one that fails stops none."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pytest

from anomaly.corpus import Corpus
from anomaly.detectors import lstm_fit
from anomaly.detectors.interface import Algorithm
from anomaly.detectors.lstm_fit import LstmLearner
from anomaly.errors import WorkerLost
from anomaly.fleet import lessons
from anomaly.fleet.aside import Aside, aside
from anomaly.fleet.lessons import COLUMNS, Learned, Lessons, keyed, teach_background
from anomaly.fleet.lines import ACTION, PAIR, pack
from anomaly.fleet.storage import FolderStorage
from anomaly.model import UserModel
from anomaly.osquery import Action

Rows = list[dict[str, Any]]


@pytest.fixture(autouse=True, scope="module")
def _no_process_is_left() -> Iterator[None]:
    """End the process beside."""
    yield
    aside().end()


def rows_of(key: str, actions: list[Action], skip: int = 0) -> Rows:
    """Give a key's rows."""
    return [
        dict(
            zip(
                COLUMNS,
                (key.encode(), ACTION, a.host.encode(), a.user.encode(), a.time, a.baseline, skip, pack(a)),
                strict=True,
            )
        )
        for a in actions
    ]


def batches(rows: Rows, size: int = 700) -> Iterator[pa.RecordBatch]:
    """Give rows as Spark does: cut anywhere."""
    for start in range(0, len(rows), size):
        columns = {name: [row[name] for row in rows[start : start + size]] for name in COLUMNS}
        yield pa.RecordBatch.from_pydict(columns)


def taught(asked: Lessons, rows: Rows) -> Rows:
    """Give what comes back."""
    return [row for batch in asked(batches(rows)) for row in batch.to_pylist()]


@pytest.fixture
def by_user(actions: list[Action]) -> dict[str, list[Action]]:
    """Give the sample's actions by user."""
    return {user: [action for action in actions if action.user == user] for user in ("alice", "bob")}


def test_a_key_without_a_model_is_told_and_the_next_is_learned(
    by_user: dict[str, list[Action]], tmp_path: Path
) -> None:
    """Too few actions are a reason, not an end."""
    asked = Lessons(Algorithm.OCSVM, 0, 3, (), FolderStorage(tmp_path), {})
    short, learned = taught(asked, rows_of("al", by_user["alice"][:400]) + rows_of("bob", by_user["bob"]))
    assert (short["key"], short["file"]) == (b"al", None)
    assert short["error"].startswith("'al' has 397 actions to learn from, and 500 are needed")
    assert (learned["key"], learned["file"], learned["error"]) == (b"bob", "bob/3.safetensors", None)
    data = (tmp_path / "bob" / "3.safetensors").read_bytes()
    assert hashlib.sha256(data).hexdigest() == learned["sha256"]
    card = UserModel.from_bytes(data, "it").card
    assert (card.user, card.actions, card.last) == ("bob", learned["actions"], learned["last"])
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")] == ["bob/3.safetensors"]


class Failing(Lessons, frozen=True):
    """Learns alice never: one way or another it goes wrong."""

    def learn(self, learned: Learned) -> tuple[bytes, int]:
        """Do as told by the version."""
        if learned.key == "alice" and self.version == 1:
            raise MemoryError("of\nits own" + "!" * 1000)
        if learned.key == "alice":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().learn(learned)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (1, "MemoryError: of its own!!!"),
        (2, "its process was killed (SIGKILL), as the system does where memory is short; what a worker"),
    ],
)
def test_whatever_goes_wrong_is_one_line(by_user: dict[str, list[Action]], version: int, said: str) -> None:
    """An error that nobody foresaw, a process that is killed: the others have models, and the worker lives."""
    asked = Failing(Algorithm.OCSVM, 0, version, (), None, {})
    failed, learned = taught(asked, rows_of("alice", by_user["alice"]) + rows_of("bob", by_user["bob"]))
    assert failed["error"].startswith(said)
    assert len(failed["error"]) <= 300
    assert learned["error"] is None
    assert hashlib.sha256(learned["data"]).hexdigest() == learned["sha256"]


def test_a_disk_that_is_full_is_a_reason(by_user: dict[str, list[Action]], tmp_path: Path) -> None:
    """The model that could not be written is none."""
    (tmp_path / "models").write_text("in the way")
    asked = Lessons(Algorithm.OCSVM, 0, 1, (), FolderStorage(tmp_path / "models"), {})
    (failed,) = taught(asked, rows_of("bob", by_user["bob"]))
    assert (failed["file"], failed["sha256"]) == (None, None)
    assert failed["error"].startswith(f"Models cannot be written to {tmp_path / 'models'}: File exists.")


def test_lessons_of_one_process_share_a_learner(
    by_user: dict[str, list[Action]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the learner of networks has compiled serves the next key; no model depends on who came before."""
    monkeypatch.setattr(lstm_fit, "MAX_EPOCHS", 2)
    make = Mock(wraps=LstmLearner)
    monkeypatch.setattr(lstm_fit, "LstmLearner", make)
    lessons._network.cache_clear()
    asked = Lessons(Algorithm.LSTM, 0, 1, (), None, {})
    both = [rows_of(user, actions) for user, actions in by_user.items()]
    first, then = (asked.learn(found) for found in keyed(batches([row for rows in both for row in rows])))
    assert make.call_count == 1
    lessons._network.cache_clear()
    (alone,) = keyed(batches(both[1]))
    assert asked.learn(alone) == then != first
    lessons._network.cache_clear()


def test_keyed_normalises_by_the_users_name() -> None:
    """The rows of a key carry the user's name, without which no home directory is the user's own."""
    columns = {"command": "scp /home/alice/notes bob@ws2:/home/bob"}
    action = Action(5, "ws1", "alice", "shell_history", "added", columns)
    (found,) = keyed(batches(rows_of("alice@ws1", [action])))
    local = Corpus()
    local.append(1, action)
    assert found.corpus.values == local.values
    assert found.corpus.fingerprint() == local.fingerprint()


def test_only_the_newest_actions_of_a_key_are_held(by_user: dict[str, list[Action]]) -> None:
    """The oldest are left out, by their number; pairs are not counted."""
    pair = rows_of("alice", by_user["alice"][:1], skip=1000)[0]
    pair |= {"kind": PAIR, "host": b"ws1", "user": b"uid:1000", "content": b"alice"}
    (found,) = keyed(batches([pair, *rows_of("alice", by_user["alice"], skip=1000)]))
    assert found.names == {"ws1": {"1000": "alice"}}
    (newest,) = keyed(batches(rows_of("alice", by_user["alice"][1000:])))
    assert len(newest.corpus) == len(by_user["alice"]) - 1000
    assert newest.corpus.fingerprint() == found.corpus.fingerprint()


def test_a_part_without_rows_teaches_nothing() -> None:
    """Spark has such parts."""
    assert taught(Lessons(Algorithm.OCSVM, 0, 1, (), None, {}), []) == []
    assert list(teach_background([])) == []


def test_a_background_that_fails_is_told(
    by_user: dict[str, list[Action]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models are of use without it."""

    def fail(*_: object) -> None:
        raise WorkerLost("its process was killed")

    monkeypatch.setattr(Aside, "do", fail)
    rows = rows_of("alice", by_user["alice"]) + rows_of("bob", by_user["bob"])
    ((row,),) = (batch.to_pylist() for batch in teach_background(batches(rows)))
    assert (row["data"], row["error"]) == (None, "its process was killed")
