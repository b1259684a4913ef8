"""By what pieces a user's actions are judged: what one call of a detector sees, nothing is learned within."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from anomaly.adaptation import LAG, Adaptation
from anomaly.admission import Admission, keys_of
from anomaly.detectors.detector import Detector, DetectorState
from anomaly.detectors.interface import STEP, WINDOW, Evidence
from anomaly.osquery import Action
from anomaly.scoring import Scorer
from anomaly.standing import Standing
from anomaly.store import Store
from anomaly.tokens import Tokens

Later = Callable[[int, int], list[Action]]
Lesson = tuple[int, list[Tokens], float]


def ends_a_piece(let_in: int) -> bool:
    """Whether something may be learned after so many actions: a chunk is complete, or what follows it is seen."""
    return let_in % WINDOW == 0 or (let_in > WINDOW and let_in % WINDOW == LAG)


class Piece(NamedTuple):
    """One call of the detector."""

    begin: int
    """Actions let in before it, by all scorers so far."""
    size: int
    let_in: int

    @property
    def end(self) -> int:
        """Actions let in after it."""
        return self.begin + self.let_in

    @property
    def is_whole(self) -> bool:
        """Whether nothing is learned between its first action and its last."""
        return not any(map(ends_a_piece, range(self.begin + 1, self.end)))


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
    """Return what detectors are asked from now on."""
    kept, judge, learn, observe = Asked(), Detector.judge, Detector.learn, Adaptation.observe

    def judged(
        detector: Detector, state: DetectorState, batch: Sequence[Tokens], admit: Sequence[bool]
    ) -> Evidence:
        kept.pieces.append(Piece(kept.let_in, len(batch), sum(admit)))
        return judge(detector, state, batch, admit)

    def learned(detector: Detector, state: DetectorState, chunk: Sequence[Tokens], weight: float) -> None:
        kept.lessons.append((kept.let_in, list(chunk), weight))
        learn(detector, state, chunk, weight)

    def observed(adaptation: Adaptation, state: Any, batch: Sequence[Tokens], *rest: Any) -> None:  # noqa: ANN401
        kept.observed.append((len(batch), adaptation.room))
        observe(adaptation, state, batch, *rest)

    monkeypatch.setattr(Detector, "judge", judged)
    monkeypatch.setattr(Detector, "learn", learned)
    monkeypatch.setattr(Adaptation, "observe", observed)
    return kept


@pytest.fixture
def own(later: Later) -> list[tuple[str, Action]]:
    """Give alice's actions after training, with a flood and a few baseline rows among them."""
    actions = [action for action in later(760, 5) if action.user == "alice"]
    actions[130:130] = [actions[129]] * 170
    actions[40:40] = actions[450:450] = [msgspec.structs.replace(actions[0], baseline=True)] * 3
    return [(str(number), action) for number, action in enumerate(actions)]


def scored(scorer: Scorer, actions: list[tuple[str, Action]], size: int) -> None:
    """Score actions by batches of a size."""
    for begin in range(0, len(actions), size):
        scorer.score_all(actions[begin : begin + size])


@pytest.mark.parametrize("size", [2, 64, 99, 100, 101, 256, 2000])
@pytest.mark.parametrize("kind", ["ocsvm", "crowd"])
def test_judge_piece_ends_where_something_is_learned(
    kind: str, size: int, asked: Asked, own: list[tuple[str, Action]], request: pytest.FixtureRequest
) -> None:
    """However many come at once, no piece is more than there is room for; each chunk is learned in its place."""
    store = Store(request.getfixturevalue(f"{kind}_models"))
    asked.forget()  # what training asked
    scored(Scorer(store.load), own, 1)
    expected, count = list(asked.lessons), asked.let_in
    assert all(piece.size == 1 for piece in asked.pieces)
    asked.forget()
    scored(Scorer(store.load), own, size)
    assert asked.let_in == count
    assert len(own) - count > 100  # the flood was kept out
    assert asked.lessons == expected
    assert all(0 < number <= room for number, room in asked.observed)
    for piece in asked.pieces:
        assert 0 < piece.size <= WINDOW
        assert piece.is_whole
    if size == 2000:  # none is shorter than it must be, but before baseline rows and at the end
        long = [piece.size == WINDOW or ends_a_piece(piece.end) for piece in asked.pieces]
        assert sum(long) >= len(long) - 3


def test_judge_chunk_is_learned_when_the_window_has_left_it(
    asked: Asked, later: Later, ocsvm_models: Path
) -> None:
    """Of a user who was learned alone no window is compared with itself: a chunk is learned when it has left."""
    store = Store(ocsvm_models)
    stored = store.load("alice")
    assert stored is not None
    own = [(str(number), action) for number, action in enumerate(later(850, 5)) if action.user == "alice"]
    asked.forget()  # what training asked
    scored(Scorer(store.load), own, len(own))
    tokens = [stored.model.tokenizer.encode(action) for _, action in own]
    assert len(asked.lessons) == 5
    for number, (when, chunk, weight) in enumerate(asked.lessons):
        assert chunk == tokens[number * WINDOW : (number + 1) * WINDOW]
        assert when == (number + 1) * WINDOW + stored.model.fusion.delay + LAG >= (number + 2) * WINDOW
        assert weight > 0.5


def test_judge_chunk_of_a_user_of_a_cohort_is_learned_after_the_lag(
    asked: Asked, crowd: Later, crowd_models: Path
) -> None:
    """Where others are known too, a quiet chunk is learned as soon as the windows that are most of it are seen."""
    own = [(str(number), action) for number, action in enumerate(crowd(450, 5)) if action.user == "alice"]
    asked.forget()
    scored(Scorer(Store(crowd_models).load), own, 64)
    assert [when for when, _, _ in asked.lessons] == [
        WINDOW + LAG,
        2 * WINDOW + LAG,
        3 * WINDOW + LAG,
        4 * WINDOW + LAG,
    ]


@pytest.mark.parametrize("before", [1, 57, 99, 100, 101, 119, 120, 121, 333])
def test_judge_after_a_restart_in_the_middle_of_a_chunk_ends_the_piece_with_it(
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
    assert asked.lessons == expected != []
    assert all(piece.is_whole for piece in asked.pieces)


@pytest.mark.parametrize("kind", ["ocsvm", "lstm", "both", "crowd"])
def test_judge_risk_stays_between_two_steps(
    kind: str, own: list[tuple[str, Action]], request: pytest.FixtureRequest
) -> None:
    """The first action is judged at once, then every tenth that is let in; until the next the risk stays."""
    scorer, risks, let_in = Scorer(Store(request.getfixturevalue(f"{kind}_models")).load), list[float | None](), 0
    for event, action in own:
        user: Standing | None = scorer._users._here.get("alice")
        before = 0 if user is None else len(user.recent), None if user is None else list(user.admission.window)
        score = scorer.score(event, action)
        assert score is not None
        user = scorer._users["alice"]
        came = (len(user.recent), list(user.admission.window)) != before and not action.baseline
        if let_in == 0 and not came:
            assert score.risk is None
        let_in += came
        if came and (let_in == 1 or let_in % STEP == 0):
            risks.append(score.risk)
        assert score.risk == (risks[-1] if risks else None)
        if let_in >= WINDOW:  # from then on the window says no more whether something was let in
            break
    assert len(risks) == 1 + WINDOW // STEP
    assert len(set(risks)) > 5


def test_judge_without_learning_takes_a_window_at_once(
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


def test_judge_notes_what_came_into_the_window(own: list[tuple[str, Action]], ocsvm_models: Path) -> None:
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
