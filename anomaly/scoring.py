"""From actions to scores, one after another, for every user of a log: the hot path, numpy alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from anomaly.detectors.interface import State
from anomaly.explanation import explain, unusual_hour
from anomaly.identity import NAMELESS, keys
from anomaly.osquery import Action
from anomaly.records import ModelRef, Reason, Score
from anomaly.store import Stored

EXPLAINED = 10.0
"""From this score on (1 action in 10) an action is explained; the others are what they usually are."""

EXPLAINED_RISK = 20.0
"""From this risk on (1 window in 100) the window is explained too."""

_UNKNOWN = ModelRef(None, None, "none")
_MOST_NAMES = 10_000
_LONGEST_HOST = 255

Find = Callable[[str], Stored | None]
"""Gives the model that a user's name stands for, None where there is none."""


class _User:
    """One user's model and where it stands."""

    def __init__(self, stored: Stored, state: State, risk: float | None = None) -> None:
        self.stored = stored
        self.state = state
        self.risk = risk
        self.reference = ModelRef(stored.model.card.algorithm.value, stored.version, "ready")

    def identity(self) -> list[Any]:
        """Tell one trained model from another: a state fits only the model it came from."""
        card = self.stored.model.card
        return [card.algorithm.value, self.stored.version, card.fingerprint]


class Scorer:
    """Scores a stream of actions. The scores do not depend on how the stream is cut into batches.

    Parameters
    ----------
    find
        Gives the models; asked once per name.
    only
        Score this user's actions and pass over the others; None scores every action.
    claims
        Give the actions that name no user to ``only``.
    """

    def __init__(self, find: Find, *, only: str | None = None, claims: bool = False) -> None:
        self._find = find
        self._only = only
        self._claims = claims
        self._users: dict[str, _User] = {}
        self._names: OrderedDict[tuple[str, str], str | None] = OrderedDict()
        self._saved: dict[str, Any] = {}

    def score(self, identity: str, action: Action) -> Score | None:
        """Score one action and move its user's state past it; None where the action is not ours.

        Parameters
        ----------
        identity
            The event's id: file and offset.
        action
            In the order of the log, for each user.
        """
        if self._only is not None:
            if self._claims and action.user.startswith(NAMELESS):
                action = msgspec.structs.replace(action, user=self._only)
            elif self._only not in keys(action.host, action.user):
                return None
        user = self._user(action)
        if user is None:
            return Score(identity, action, None, None, None, _UNKNOWN)
        if action.baseline:
            return Score(identity, action, None, user.risk, None, user.reference)
        return self._judge(identity, action, user)

    def export(self) -> dict[str, Any]:
        """Return every user's state as JSON-able values: what :meth:`restore` goes on from."""
        states = {
            name: {"model": user.identity(), "risk": user.risk, "state": user.state.to_json()}
            for name, user in self._users.items()
        }
        return {**self._saved, **states}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what :meth:`export` gave. A state of another model is left aside when its user acts."""
        self._saved = dict(saved)

    def _judge(self, identity: str, action: Action, user: _User) -> Score:
        model = user.stored.model
        tokens = model.tokenizer.encode(action)
        evidence = model.detector.score(user.state, tokens)
        score = model.calibration.action.score(evidence.action)
        risk = model.calibration.window.score(evidence.window)
        user.risk = risk
        reasons: tuple[Reason, ...] = ()
        if score >= EXPLAINED or risk >= EXPLAINED_RISK:
            reasons = explain(
                model.tokenizer,
                model.detector,
                user.state,
                action,
                tokens,
                evidence,
                window=risk >= EXPLAINED_RISK,
            )
            hour = unusual_hour(action.time, model.card.hours, model.card.days)
            reasons = (*reasons, hour) if hour else reasons
        return Score(identity, action, score, risk, evidence.surprise, user.reference, reasons)

    def _user(self, action: Action) -> _User | None:
        key = (action.host, action.user)
        if key in self._names:
            name = self._names[key]
        else:
            name = next(filter(self._known, keys(*key)), None)
            if len(action.host) <= _LONGEST_HOST:  # names are the log's to choose, and so is their number
                if len(self._names) >= _MOST_NAMES:
                    self._names.popitem(last=False)
                self._names[key] = name
        return self._users[name] if name is not None else None

    def _known(self, name: str) -> bool:
        if name not in self._users:
            stored = self._find(name)
            if stored is None:
                return False
            self._users[name] = self._resume(name, stored)
        return True

    def _resume(self, name: str, stored: Stored) -> _User:
        saved = self._saved.pop(name, None)
        user = _User(stored, stored.model.detector.start())
        try:
            if saved is not None and saved["model"] == user.identity():
                risk = saved["risk"]
                user = _User(
                    stored,
                    stored.model.detector.resume(saved["state"]),
                    None if risk is None else float(risk),
                )
        except (KeyError, TypeError, ValueError, OverflowError):
            # A checkpoint that is not ours in some detail: the model's own start is always right.
            pass
        return user
