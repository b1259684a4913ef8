"""By what pieces a user's actions are judged: what one call of a detector sees, nothing is learned within."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from anomaly.adaptation import Adaptation
from anomaly.admission import Admission, keys_of
from anomaly.detectors.interface import WINDOW, Evidence
from anomaly.detectors.ocsvm import OneClassSvm
from anomaly.detectors.ocsvm_state import WindowState
from anomaly.osquery import Action
from anomaly.scoring import Scorer
from anomaly.store import Store
from anomaly.tokens import Tokens

Later = Callable[[int, int], list[Action]]
Lesson = tuple[int, list[Tokens], float]


class Piece(NamedTuple):
    """One call of the detector."""

    begin: int
    """Actions let in before it, by all scorers so far."""
    size: int
    let_in: int

    @property
    def within_a_chunk(self) -> bool:
        """Whether nothing is learned between its first action and its last."""
        return self.begin % WINDOW + self.let_in <= WINDOW


class Asked:
    """What the detector and the adaptation were asked."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.observed: list[tuple[int, int]] = []
        """How many actions at once, and for how many there was room."""
        self.lessons: list[Lesson] = []
        """What was learned, by the actions that had been let in."""

    def forget(self) -> None:
        """Begin anew."""
        self.pieces, self.observed, self.lessons = [], [], []

    @property
    def let_in(self) -> int:
        """How many actions were let in."""
        return sum(piece.let_in for piece in self.pieces)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Give what the window view is asked from now on."""
    kept, judge, learn, observe = Asked(), OneClassSvm.judge, OneClassSvm.learn, Adaptation.observe

    def judged(svm: OneClassSvm, state: WindowState, batch: Sequence[Tokens], admit: Sequence[bool]) -> Evidence:
        kept.pieces.append(Piece(kept.let_in, len(batch), sum(admit)))
        return judge(svm, state, batch, admit)

    def learned(svm: OneClassSvm, state: WindowState, chunk: Sequence[Tokens], weight: float) -> None:
        kept.lessons.append((kept.let_in, list(chunk), weight))
        learn(svm, state, chunk, weight)

    def observed(adaptation: Adaptation, state: Any, batch: Sequence[Tokens], *rest: Any) -> None:  # noqa: ANN401
        kept.observed.append((len(batch), adaptation.room))
        observe(adaptation, state, batch, *rest)

    monkeypatch.setattr(OneClassSvm, "judge", judged)
    monkeypatch.setattr(OneClassSvm, "learn", learned)
    monkeypatch.setattr(Adaptation, "observe", observed)
    return kept


@pytest.fixture
def own(later: Later) -> list[tuple[str, Action]]:
    """Give alice's actions after training, with a flood and a few baseline rows among them."""
    actions = [action for action in later(560, 5) if action.user == "alice"]
    actions[130:130] = [actions[129]] * 170
    actions[40:40] = actions[450:450] = [msgspec.structs.replace(actions[0], baseline=True)] * 3
    return [(str(number), action) for number, action in enumerate(actions)]


def scored(scorer: Scorer, actions: list[tuple[str, Action]], size: int) -> None:
    """Score actions by batches of a size."""
    for begin in range(0, len(actions), size):
        scorer.score_all(actions[begin : begin + size])


@pytest.mark.parametrize("size", [2, 64, 99, 100, 101, 256, 2000])
def test_a_piece_ends_where_something_is_learned(
    size: int, asked: Asked, own: list[tuple[str, Action]], ocsvm_models: Path
) -> None:
    """However many come at once, no piece is more than there is room for; each chunk is learned in its place."""
    scored(Scorer(Store(ocsvm_models).load), own, 1)
    expected, count = list(asked.lessons), asked.let_in
    assert all(piece.size == 1 for piece in asked.pieces)
    asked.forget()
    scored(Scorer(Store(ocsvm_models).load), own, size)
    assert asked.let_in == count
    assert len(own) - count > 100  # the flood was kept out
    assert asked.lessons == expected != []
    assert all(let_in % WINDOW == 0 and len(chunk) == WINDOW for let_in, chunk, _ in asked.lessons)
    assert all(0 < number <= room for number, room in asked.observed)
    for piece in asked.pieces:
        assert 0 < piece.size <= WINDOW
        assert piece.within_a_chunk
    if size == 2000:  # none is shorter than it must be, but before baseline rows and at the end
        long = [piece.size == WINDOW or (piece.begin + piece.let_in) % WINDOW == 0 for piece in asked.pieces]
        assert sum(long) >= len(long) - 3


@pytest.mark.parametrize("before", [1, 57, 99, 100, 101, 137, 333])
def test_a_restart_in_the_middle_of_a_chunk(
    before: int, asked: Asked, own: list[tuple[str, Action]], ocsvm_models: Path
) -> None:
    """After a restart the first piece ends where the chunk does that was begun before it."""
    scored(Scorer(Store(ocsvm_models).load), own, 1)
    expected = list(asked.lessons)
    asked.forget()
    first, second = (Scorer(Store(ocsvm_models).load) for _ in range(2))
    scored(first, own[:before], 2000)
    second.restore(json.loads(json.dumps(first.export())))
    scored(second, own[before:], 2000)
    assert asked.lessons == expected
    assert all(
        piece.begin // WINDOW == (piece.begin + max(piece.let_in, 1) - 1) // WINDOW for piece in asked.pieces
    )


def test_without_learning_a_piece_is_a_window(
    asked: Asked, own: list[tuple[str, Action]], ocsvm_models: Path
) -> None:
    """Where nothing is learned, pieces are as long as the window, but for baseline rows between."""
    scored(Scorer(Store(ocsvm_models).load, adapt=False), own, len(own))
    assert asked.lessons == []
    assert asked.observed == []
    assert max(piece.size for piece in asked.pieces) == WINDOW
    rows = [number for number, (_, action) in enumerate(own) if action.baseline]
    ends = [*rows, len(own)]
    assert len(asked.pieces) == sum(
        -(-(end - begin - 1) // WINDOW) for begin, end in zip([-1, *rows], ends, strict=True)
    )


def test_what_came_into_the_window_is_noted(own: list[tuple[str, Action]], ocsvm_models: Path) -> None:
    """The actions that another model is shown are the last that were let in: no baseline rows, and no flood."""
    for end in (150, 300, len(own)):
        scorer, admission = Scorer(Store(ocsvm_models).load), Admission()
        scorer.score_all(own[:end])
        standing = scorer._users["alice"]
        encode = standing.stored.model.tokenizer.encode
        let_in = [
            action
            for _, action in own[:end]
            if not action.baseline and admission.admit(keys_of(action, encode(action)))
        ]
        noted = [msgspec.msgpack.decode(data, type=Action) for data in standing.recent]
        assert noted == let_in[-WINDOW:]
        assert admission.window == standing.admission.window
