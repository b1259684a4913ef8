"""From actions to scores, one after another, for every user of a log: the hot path, numpy alone."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from anomaly.background import Background
from anomaly.identity import NAMELESS, keys
from anomaly.judgement import Turn, judge
from anomaly.learned import EmbeddedKeeper, Keeper
from anomaly.osquery import Action
from anomaly.records import ModelRef, Score
from anomaly.standings import ROOM, Find, Standings
from anomaly.store import Stored

_UNKNOWN = ModelRef(None, None, "none")
_LEARNING = ModelRef(None, None, "learning")
_MOST_NAMES = 10_000
_LONGEST_HOST = 255


class Scoring(Protocol):
    """What the loop along a log asks of whoever scores: see :class:`Scorer`."""

    def score_all(self, batch: Sequence[tuple[str, Action]]) -> list[Score]:
        """Take actions and return scores, in their order; those of the last actions may come later."""

    def flush(self) -> list[Score]:
        """Return the scores that are still to come."""

    def encoded(self) -> Iterator[tuple[str, bytes]]:
        """Give every user's state as JSON; no score may be still to come."""

    def saved(self) -> None:
        """Take note that the states are safe."""


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
        self.silences: Callable[[Action], bool] | None = None
        """Says of an action whether it is suppressed; that may change between two batches."""

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
        if self._only is not None:
            batch = [(event, ours) for event, action in batch if (ours := self._ours(action))]
        scores: list[Score | None] = [None] * len(batch)
        turns: defaultdict[str, list[int]] = defaultdict(list)
        for place, (event, action) in enumerate(batch):
            name = self._name(action)
            if name is None:
                scores[place] = self._stranger(event, action)
            else:
                turns[name].append(place)
        for name, places in turns.items():
            if len(places) == len(batch):
                return self._judge(name, batch)
            # Nothing that one user does moves another's state, so each is judged at one go.
            turn = self._judge(name, [batch[place] for place in places])
            for place, score in zip(places, turn, strict=True):
                scores[place] = score
        return [score for score in scores if score is not None]

    def flush(self) -> list[Score]:
        """Return the scores that are still to come: none, where one process does all (see :class:`Spread`)."""
        return []

    def export(self) -> dict[str, Any]:
        """Return every user's state as JSON-able values: what :meth:`restore` goes on from."""
        return {name: msgspec.json.decode(state) for name, state in self.encoded()}

    def encoded(self, *, acted: bool = False) -> Iterator[tuple[str, bytes]]:
        """Give what :meth:`export` returns as JSON, one user after another: all at once may be much.

        With ``acted``, only of those who have acted since :meth:`restore`.
        """
        return self._users.encoded(acted=acted)

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

    def feedback(self, actions: Sequence[Action], *, expected: bool) -> bool:
        """Hand over actions of one user that somebody has looked at, and say whether that could be done.

        What was ``expected`` is learned with the user's next actions that are; anything else is not, nor what
        waits beside it.
        """
        ours = [own for action in actions if (own := self._ours(action) if self._only is not None else action)]
        name = self._name(ours[0]) if ours else None
        user = self._users.get(name) if name is not None else None
        if user is None or user.adaptation is None:
            return False
        batch = [user.stored.model.tokenizer.encode(action) for action in ours]
        if expected:
            user.adaptation.expect(batch)
        else:
            user.adaptation.refuse(batch)
        return True

    def _judge(self, name: str, turn: Turn) -> list[Score]:
        user = self._users.get(name)
        if user is not None:
            return judge(user, turn, self._say, self.silences)
        for _, action in turn:  # there was a model, and it cannot be used any more
            if (action.host, action.user) in self._names:
                self._names[action.host, action.user] = None
        return [self._stranger(event, action) for event, action in turn]

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
        known = self._names.get(key, "")
        if known != "":  # nobody's name, and not None either
            return known
        name = next(filter(self._known, keys(*key)), None)
        if len(action.host) <= _LONGEST_HOST:  # names are the log's to choose, and so is their number
            if len(self._names) >= _MOST_NAMES:
                self._names.popitem(last=False)
            self._names[key] = name
        return name

    def _known(self, name: str) -> bool:
        return name in self._users or self._users.get(name) is not None
