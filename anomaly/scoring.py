"""From actions to scores, one after another, for every user of a log: the hot path, numpy alone."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from anomaly.background import Background
from anomaly.identity import NAMELESS, keys
from anomaly.judgement import judge
from anomaly.learned import EmbeddedKeeper, Keeper, Learned, Origin
from anomaly.osquery import Action
from anomaly.records import ModelRef, Score
from anomaly.standing import Standing, identity
from anomaly.store import Stored

_UNKNOWN = ModelRef(None, None, "none")
_LEARNING = ModelRef(None, None, "learning")
_MOST_NAMES = 10_000
_LONGEST_HOST = 255

Find = Callable[[str], Stored | None]
"""Gives the model that a user's name stands for, None where there is none."""


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
    ) -> None:
        self.find = find
        """Gives the models."""
        self._only = only
        self._claims = claims
        self._adapt = adapt
        self._keeper = keeper or EmbeddedKeeper()
        self._background = background
        self._log = log
        self._say = say
        self._users: dict[str, Standing] = {}
        self._names: OrderedDict[tuple[str, str], str | None] = OrderedDict()
        self._saved: dict[str, Any] = {}

    def score(self, event: str, action: Action) -> Score | None:
        """Score one action; None where it is not ours. See :meth:`score_all`."""
        return next(iter(self.score_all([(event, action)])), None)

    def score_all(self, batch: Sequence[tuple[str, Action]]) -> list[Score]:
        """Score actions and move their users' states past them; the scores come in their order.

        Parameters
        ----------
        batch
            Actions in the order of the log, each with its event's id: file and offset. Those that are not ours are
            passed over.
        """
        scores: list[Score | None] = [None] * len(batch)
        turns: defaultdict[str, list[int]] = defaultdict(list)
        if self._only is not None:
            batch = [(event, ours) for event, action in batch if (ours := self._ours(action))]
        for place, (event, action) in enumerate(batch):
            name = self._name(action)
            if name is None:
                scores[place] = self._stranger(event, action)
            else:
                turns[name].append(place)
        for name, places in turns.items():
            # Nothing that one user does moves another's state, so each is judged at one go.
            turn = judge(self._users[name], [batch[place] for place in places], self._say)
            for place, score in zip(places, turn, strict=True):
                scores[place] = score
        return [score for score in scores if score is not None]

    def flush(self) -> list[Score]:
        """Return the scores that are still to come: none, where one process does all (see :class:`Crew`)."""
        return []

    def export(self) -> dict[str, Any]:
        """Return every user's state as JSON-able values: what :meth:`restore` goes on from."""
        states = {name: self._export(name, user) for name, user in self._users.items()}
        return {**self._saved, **states}

    def saved(self) -> None:
        """Take note that what :meth:`export` gave last is safe: it is what a restart will go on from."""
        for user in self._users.values():
            user.safe = user.kept

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what :meth:`export` gave. A state of another model is left aside when its user acts."""
        self._saved = dict(saved)

    def renew(self, name: str, stored: Stored | None) -> bool:
        """Put another model of a user in use, where the user stands; None takes the user's model away.

        Returns whether that is another model than the one in use; a user who has not acted gets it when he does.
        """
        user = self._users.get(name)
        if user is None or (stored is not None and identity(stored) == identity(user.stored)):
            return False
        if stored is None:
            del self._users[name]
            self._names.clear()
        else:
            self._users[name] = user.succeeded_by(stored)
        return True

    def refresh(self, background: Background | None) -> None:
        """Ask again who has a model, and take over what everyone does."""
        self._names.clear()
        self._background = background

    def adapt(self, on: bool) -> None:  # noqa: FBT001 - a switch
        """Let the models learn from now on, or no longer. What :meth:`export` gave last must be safe."""
        self._saved = self.export()
        self._users.clear()
        self._names.clear()
        self._adapt = on

    def _ours(self, action: Action) -> Action | None:
        """Return an action as that of the only user asked for; None where it is another's."""
        only = self._only
        if self._claims and action.user.startswith(NAMELESS):
            return msgspec.structs.replace(action, user=only)
        return action if action.user == only or only in keys(action.host, action.user) else None

    def _stranger(self, identity: str, action: Action) -> Score:
        """Score an action of a user without a model."""
        if self._background is None or action.baseline:
            return Score(identity, action, None, None, None, _UNKNOWN)
        score, bits = self._background.judge(self._background.tokenizer.encode(action))
        return Score(identity, action, score, None, bits, _LEARNING)

    def _name(self, action: Action) -> str | None:
        """Return the name of the model that judges an action; None where there is none."""
        key = (action.host, action.user)
        if key in self._names:
            return self._names[key]
        name = next(filter(self._known, keys(*key)), None)
        if len(action.host) <= _LONGEST_HOST:  # names are the log's to choose, and so is their number
            if len(self._names) >= _MOST_NAMES:
                self._names.popitem(last=False)
            self._names[key] = name
        return name

    def _known(self, name: str) -> bool:
        if name not in self._users:
            stored = self.find(name)
            if stored is None:
                return False
            self._users[name] = self._resume(name, stored)
        return True

    def _resume(self, name: str, stored: Stored) -> Standing:
        saved = self._saved.pop(name, None)
        # A checkpoint that is not ours in some detail is passed over: the model's own start is always right.
        with suppress(KeyError, TypeError, ValueError, OverflowError, IndexError):
            if saved is not None and saved["model"] == identity(stored):
                return self._restored(name, stored, saved)
        user = Standing(stored, None, adapt=self._adapt)
        with suppress(KeyError, TypeError, ValueError, OverflowError, IndexError):
            if saved is not None:  # of the model before: whoever was suspicious has not been acquitted by training
                user.carry(saved)
                user.replay()
        return user

    def _restored(self, name: str, stored: Stored, saved: Mapping[str, Any]) -> Standing:
        reference = saved["learned"]
        learned = None
        if reference is not None and self._adapt:
            data = self._keeper.fetch(name, stored.version, reference)
            learned = Learned.from_bytes(data) if data is not None else None
            if learned is None or not learned.origin.same_model(self._origin(name, stored)):
                self._say(f"What was learned of {name!r} since training is gone; it is learned anew.")
                saved = {**saved, "adaptation": None}
                learned = None
        user = Standing(stored, saved, adapt=self._adapt, learned=learned)
        user.kept = user.safe = reference if learned is not None or not self._adapt else None
        user.kept_generation = learned.progress.generation if learned is not None else 0
        return user

    def _export(self, name: str, user: Standing) -> dict[str, Any]:
        generation = user.adaptation.progress.generation if user.adaptation is not None else 0
        if user.kept is not None and self._keeper.forgotten(name, user.stored.version, user.kept):
            user.forget()
            self._say(f"What was learned of {name!r} since training was taken away; it is learned anew.")
        elif user.adaptation is not None and generation != user.kept_generation:
            arrays = user.stored.model.detector.learned(user.state)
            learned = Learned(self._origin(name, user.stored), user.adaptation.progress, arrays)
            user.kept = self._keeper.keep(name, user.stored.version, learned.to_bytes(), user.safe)
            user.kept_generation = generation
        return user.to_json() | {"learned": user.kept}

    def _origin(self, name: str, stored: Stored) -> Origin:
        card = stored.model.card
        return Origin(name, card.algorithm.value, stored.version, card.fingerprint, self._log)
