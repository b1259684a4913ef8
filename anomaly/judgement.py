"""What one user's model makes of the user's next actions: the hot path, for one action or for hundreds.

Actions are judged by pieces within which nothing is learned, so that one call of numpy serves many of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import NamedTuple

from anomaly.adaptation import Adaptation
from anomaly.admission import keys_of
from anomaly.detectors.interface import WINDOW, Evidence
from anomaly.explanation import explain, unusual_hour
from anomaly.osquery import Action
from anomaly.records import Reason, Score
from anomaly.standing import Standing
from anomaly.suppression import by_now, newest_of
from anomaly.tokens import Tokens

EXPLAINED = 10.0
"""From this score on (1 action in 10) an action is explained; the others are what they usually are."""

EXPLAINED_RISK = 20.0
"""From this risk on (1 window in 100) the window is explained too."""

Turn = Sequence[tuple[str, Action]]
"""Actions of one user in the order of the log, each with its event's id."""


class _Piece(NamedTuple):
    """Consecutive actions within which nothing is learned."""

    turn: Turn
    batch: list[Tokens]
    admit: list[bool]
    """Whether each comes into the window."""
    silenced: list[int]
    """Which do not since they are suppressed: of them the window says nothing."""


class _Course(NamedTuple):
    """Where a piece leads."""

    risks: list[float | None]
    """By action: the risk after it; None before the user's first window was judged."""
    doubts: list[float]
    """By window that was judged: the evidence against learning it."""
    chunk_doubt: float
    """Of the last window: the evidence against learning it as a chunk."""


def judge(
    user: Standing,
    turn: Turn,
    say: Callable[[str], None],
    silences: Callable[[Action], bool] | None = None,
) -> list[Score]:
    """Judge a user's actions, and move the user's state past them.

    Baseline rows are shown and not judged. ``say`` is told, as a sentence, when the user has drifted. ``silences``
    says of an action whether it is suppressed: then it does not come into the window, and has a score but no risk.
    """
    scores: list[Score] = []
    begin = 0
    while begin < len(turn):
        identity, action = turn[begin]
        if action.baseline:
            scores.append(Score(identity, action, None, user.risk, None, user.reference))
            begin += 1
            continue
        piece = _next(user, turn, begin, silences)
        evidence = user.stored.model.detector.judge(user.state, piece.batch, piece.admit)
        course = _follow(user, evidence, len(piece.batch))
        scores += _scores(user, piece, evidence, _told(course.risks, piece.silenced))
        user.note([action for (_, action), let_in in zip(piece.turn, piece.admit, strict=True) if let_in])
        if user.adaptation is not None and any(piece.admit):
            _learn(user, user.adaptation, piece, course, say)
        begin += len(piece.turn)
    return scores


def _next(user: Standing, turn: Turn, begin: int, silences: Callable[[Action], bool] | None) -> _Piece:
    """Take as many actions as can be judged before something is learned, but no more than a window's worth."""
    encode, admit = user.stored.model.tokenizer.encode, user.admission.admit
    room = user.adaptation.room if user.adaptation is not None else WINDOW
    batch: list[Tokens] = []
    admitted: list[bool] = []
    silenced: list[int] = []
    for _, action in turn[begin : begin + WINDOW]:
        if action.baseline or not room:
            break
        tokens = encode(action)
        user.newest = newest_of(user.newest, action)
        if silences is not None and silences(by_now(action, user.newest)):
            silenced.append(len(batch))
            let_in = False
        else:
            let_in = admit(keys_of(action, tokens))
        batch.append(tokens)
        admitted.append(let_in)
        room -= let_in
    return _Piece(turn[begin : begin + len(batch)], batch, admitted, silenced)


def _follow(user: Standing, evidence: Evidence, count: int) -> _Course:
    """Move the user's risk past the windows; between two of them it stays as it is."""
    model, risks, doubts, done = user.stored.model, list[float | None](), list[float](), 0
    chunk_doubt = -inf
    for step, views in zip(evidence.steps, evidence.views, strict=True):
        ratios = model.fusion.evidence(views)
        verdict = user.filter.step(ratios)
        risks += [user.risk] * (step - done)
        done = step
        user.risk = model.calibration.window.score(verdict.excess)
        doubts.append(verdict.doubt)
        chunk_doubt = verdict.chunk_doubt
    risks += [user.risk] * (count - done)
    return _Course(risks, doubts, chunk_doubt)


def _told(risks: list[float | None], silenced: list[int]) -> Sequence[float | None]:
    """Return what is shown of risks: of what is suppressed none, or the last would stand for as long as all is."""
    if not silenced:
        return risks
    shown = list(risks)
    for number in silenced:
        shown[number] = None
    return shown


def _scores(user: Standing, piece: _Piece, evidence: Evidence, risks: Sequence[float | None]) -> list[Score]:
    rare, reference = user.stored.model.calibration.action.scores(evidence.action.tolist()), user.reference
    scores = []
    figures = zip(piece.turn, rare, evidence.surprise.tolist(), risks, strict=True)
    for number, ((identity, action), score, surprise, risk) in enumerate(figures):
        window = risk is not None and risk >= EXPLAINED_RISK
        reasons = _explain(user, piece, evidence, number, window=window) if window or score >= EXPLAINED else ()
        scores.append(Score(identity, action, score, risk, surprise, reference, reasons))
    return scores


def _explain(
    user: Standing, piece: _Piece, evidence: Evidence, number: int, *, window: bool
) -> tuple[Reason, ...]:
    model, (_, action), tokens = user.stored.model, piece.turn[number], piece.batch[number]
    reasons = explain(model.tokenizer, model.detector, evidence.details, number, action, tokens, window=window)
    hour = unusual_hour(action.time, model.card.hours, model.card.days)
    return (*reasons, hour) if hour else reasons


def _learn(
    user: Standing, adaptation: Adaptation, piece: _Piece, course: _Course, say: Callable[[str], None]
) -> None:
    """Show the actions to the adaptation: where they end a chunk, they are the last of it."""
    let_in = [number for number, admit in enumerate(piece.admit) if admit]
    batch = [piece.batch[number] for number in let_in]
    before = adaptation.progress.drifted
    time = piece.turn[let_in[-1]][1].time
    adaptation.observe(user.state, batch, course.doubts, course.chunk_doubt, time)
    if adaptation.progress.drifted is not before:
        user.refresh()
        if not before:
            say(
                f"{user.stored.model.card.user!r} has drifted: {adaptation.progress.drift:.0%} of what was learned"
                " last would have surprised the model as it was trained. See: anomaly models drift"
            )
