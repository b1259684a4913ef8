"""From actions to scores, one after another, for every user of a log: the hot path, numpy alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from anomaly.adaptation import Adaptation
from anomaly.admission import keys_of
from anomaly.background import Background
from anomaly.explanation import explain, unusual_hour
from anomaly.identity import NAMELESS, keys
from anomaly.learned import EmbeddedKeeper, Keeper
from anomaly.osquery import Action
from anomaly.records import ModelRef, Reason, Score
from anomaly.standing import Standing
from anomaly.standings import ROOM, Find, Standings
from anomaly.store import Stored
from anomaly.tokenizer import Tokens

EXPLAINED = 10.0
"""From this score on (1 action in 10) an action is explained; the others are what they usually are."""

EXPLAINED_RISK = 20.0
"""From this risk on (1 window in 100) the window is explained too."""

_UNKNOWN = ModelRef(None, None, "none")
_LEARNING = ModelRef(None, None, "learning")
_MOST_NAMES = 10_000
_LONGEST_HOST = 255


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
    adapt
        Let the models learn, under guard, from what is not suspected.
    keeper
        Where to keep what they learn; None to keep it with the rest of the state.
    background
        What everyone does, for users without a model of their own.
    log
        The log's name, for people who look at what was learned.
    say
        Told, as a sentence, what a person should know of a user.
    room
        Bytes that the users in memory may take: :mod:`anomaly.standings`.
    """

    def __init__(
        self,
        find: Find,
        *,
        only: str | None = None,
        claims: bool = False,
        adapt: bool = True,
        keeper: Keeper | None = None,
        background: Background | None = None,
        log: str = "",
        say: Callable[[str], None] = lambda _: None,
        room: int = ROOM,
    ) -> None:
        self._only = only
        self._claims = claims
        self._background = background
        self._say = say
        self._users = Standings(find, adapt=adapt, keeper=keeper or EmbeddedKeeper(), log=log, say=say, room=room)
        self._names: OrderedDict[tuple[str, str], str | None] = OrderedDict()

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
            return self._stranger(identity, action)
        if action.baseline:
            return Score(identity, action, None, user.risk, None, user.reference)
        return self._judge(identity, action, user)

    def export(self) -> dict[str, Any]:
        """Return every user's state as JSON-able values: what :meth:`restore` goes on from."""
        return {name: msgspec.json.decode(state) for name, state in self.encoded()}

    def encoded(self) -> Iterator[tuple[str, bytes]]:
        """Give what :meth:`export` returns as JSON, one user after another: all at once may be much."""
        return self._users.encoded()

    def saved(self) -> None:
        """Take note that what :meth:`export` gave last is safe: it is what a restart will go on from."""
        self._users.saved()

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what :meth:`export` gave. A state of another model is left aside when its user acts."""
        self._users.restore(saved)

    def renew(self, name: str, stored: Stored | None) -> bool:
        """Put another model of a user in use, where the user stands; None takes the user's model away.

        Returns whether that is another model than the one in use; a user who has not acted gets it when he does.
        """
        if stored is None:
            self._names.clear()
        return self._users.renew(name, stored)

    def find_in(self, find: Find) -> None:
        """Take models from elsewhere."""
        self._users.find = find

    def refresh(self, background: Background | None) -> None:
        """Ask again who has a model, and take over what everyone does."""
        self._names.clear()
        self._background = background

    def adapt(self, on: bool) -> None:  # noqa: FBT001 - a switch
        """Let the models learn from now on, or no longer. What :meth:`export` gave last must be safe."""
        self._users.adapt(on)

    def _judge(self, identity: str, action: Action, user: Standing) -> Score:
        model = user.stored.model
        tokens = model.tokenizer.encode(action)
        admit = user.admission.admit(keys_of(action, tokens))
        evidence = model.detector.score(user.state, tokens, admit=admit)
        score = model.calibration.action.score(evidence.action)
        if admit:
            user.note(action)
            odds = user.filter.step(model.fusion.evidence(evidence.views))
            user.risk = model.calibration.window.score(odds)
        risk = user.risk or 0.0
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
        scored = Score(identity, action, score, risk, evidence.surprise, user.reference, reasons)
        if admit and user.adaptation is not None:
            self._learn(user, user.adaptation, tokens, odds, risk, action.time)
        return scored

    def _learn(
        self, user: Standing, adaptation: Adaptation, tokens: Tokens, odds: float, risk: float, time: int
    ) -> None:
        before = adaptation.progress.drifted
        adaptation.observe(user.state, tokens, odds, risk, time)
        if adaptation.progress.drifted is not before:
            user.refresh()
            if not before:
                name = user.stored.model.card.user
                self._say(
                    f"{name!r} has drifted: {adaptation.progress.drift:.0%} of what was learned last would have"
                    " surprised the model as it was trained. See: anomaly models drift"
                )

    def _stranger(self, identity: str, action: Action) -> Score:
        """Score an action of a user without a model."""
        if self._background is None or action.baseline:
            return Score(identity, action, None, None, None, _UNKNOWN)
        score, bits = self._background.judge(self._background.tokenizer.encode(action))
        return Score(identity, action, score, None, bits, _LEARNING)

    def _user(self, action: Action) -> Standing | None:
        key = (action.host, action.user)
        if key in self._names:
            name = self._names[key]
        else:
            name = next(filter(self._known, keys(*key)), None)
            if len(action.host) <= _LONGEST_HOST:  # names are the log's to choose, and so is their number
                if len(self._names) >= _MOST_NAMES:
                    self._names.popitem(last=False)
                self._names[key] = name
        user = self._users.get(name) if name is not None else None
        if user is None and key in self._names:
            self._names[key] = None  # there was a model, and it cannot be used any more
        return user

    def _known(self, name: str) -> bool:
        return name in self._users or self._users.get(name) is not None
