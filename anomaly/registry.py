"""The models in use: loaded when their users act, and looked at again for what was trained since."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from anomaly.background import Background
from anomaly.errors import ModelRefused
from anomaly.model import Card
from anomaly.once import Once, Say
from anomaly.store import Store, Stored

SETTLING = 10.0
"""Seconds in which a change of who has a model is looked at again: a model is written in several steps."""


class Changes(NamedTuple):
    """What is no longer as it was when it was loaded."""

    users: list[str]
    """Whose model in use may be another one."""
    anyone: bool
    """Whether there may be models of further users, or another background."""
    gone: list[str]
    """Who has no model any more, of those who have not acted."""


class Registry:
    """Gives models by user, and says which have changed since. What cannot be used is said once, and survived.

    Parameters
    ----------
    store
        Where the models are.
    say
        Told, as a sentence, why a model cannot be used.
    clock
        Gives seconds that never go back.
    """

    def __init__(self, store: Store, say: Say, clock: Callable[[], float] = time.monotonic) -> None:
        self.store = store
        self.say = Once(say)
        self._clock = clock
        self._marks: dict[str, tuple[int, ...]] = {}
        self._mark = store.mark()
        self._settled_at = 0.0
        self._roster: frozenset[str] | None = None
        self._ahead: dict[str, Stored] = {}
        self._everyone = False  # whether it is known what everyone does

    def cards(self) -> list[Card]:
        """Return the cards of the models that can be used; some of the others are named, and the rest counted.

        That costs little; whether the rest of a model is well turns out when its user acts.
        """
        found, refused = [], []
        for user in sorted(self.users()):
            try:
                card = self.store.card(user)
            except ModelRefused as error:
                refused.append(self._without(user, error))
            else:
                found += [card] if card is not None else []
        self.say.few(refused, "models are refused. To see why: anomaly models list")
        return found

    def ahead(self, user: str) -> Stored | None:
        """Do as :meth:`load` does, for a user who will soon be asked for: the model is not read a second time."""
        stored = self.load(user)
        if stored is not None:
            self._ahead[user] = stored
        return stored

    def find(self, user: str) -> Stored | None:
        """Return the model of a user; None where there is none, or none that can be used."""
        if user not in self.users():  # names are the log's to choose: a new one must not cost a look at the disk
            return None
        if user in self._ahead:
            return self._ahead.pop(user)
        try:
            return self.load(user)
        except ModelRefused as error:
            # Called in the middle of the log: it must not end the watch over all others.
            self.say(self._without(user, error))
            return None

    def users(self) -> frozenset[str]:
        """Return the users that have a model, also those whose model will be refused."""
        if self._roster is None:
            self._roster = frozenset(self.store.users())
        return self._roster

    def load(self, user: str) -> Stored | None:
        """Return the model of a user, None where there is none.

        Raises
        ------
        ModelRefused
            There is one, and it cannot be used.
        """
        self._ahead.pop(user, None)
        mark = self.store.mark(user)  # asked first: what changes meanwhile is found by the next look
        if mark is not None:
            self._marks[user] = mark
        return self.store.load(user)

    def background(self) -> Background | None:
        """Return what everyone does; None where it was never learned, or cannot be used.

        Who asks for it judges by it those whose model cannot be used, and so it is said of them.
        """
        found = None
        try:
            found = self.store.load_background()
        except ModelRefused as error:
            self.say(str(error))
        self._everyone = found is not None
        return found

    def changes(self) -> Changes:
        """Look at the files; costs a stat() for each model that was loaded."""
        users = [user for user, mark in self._marks.items() if self.store.mark(user) != mark]
        for user in users:
            del self._marks[user]
        mark, now = self.store.mark(), self._clock()
        if mark != self._mark:
            self._mark, self._settled_at = mark, now + SETTLING
        anyone = now < self._settled_at
        return Changes(users, anyone, self._call_the_roll({*users, *self._marks}) if anyone else [])

    def everything(self) -> Changes:
        """Return the changes that there may be at most."""
        return Changes(list(self._marks), anyone=True, gone=self._call_the_roll(self._marks.keys()))

    def _call_the_roll(self, loaded: Iterable[str]) -> list[str]:
        """Look anew who has a model, and return who has none any more, but for those whose model was loaded."""
        before, self._roster = self._roster, None
        if before is None:
            return []
        with suppress(ModelRefused):  # it is met again where a model is asked for
            return sorted(before.difference(self.users(), loaded))
        return []

    def _without(self, user: str, error: ModelRefused) -> str:
        instead = "is judged by what everyone does" if self._everyone else "is shown without scores"
        return f"{user!r} {instead}. {error}"
