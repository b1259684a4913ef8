"""Models and settings that change while a log is followed: taken over between two batches, or left alone."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from anomaly.daemon import Follower
from anomaly.errors import AnomalyError, ModelRefused
from anomaly.once import Say, few
from anomaly.records import Score
from anomaly.registry import Changes, Registry
from anomaly.request import FIXED, Again, Prediction
from anomaly.scoring import Scorer
from anomaly.store import Store


class Renewal:
    """Keeps a follower's models and settings up to date.

    Parameters
    ----------
    asked
        The settings that are in force.
    registry
        The models that are in use.
    follower, scorer
        Who is to have them.
    again
        Reads the settings anew.
    say
        Told, as a sentence, what was taken over and what was not.
    """

    def __init__(
        self, asked: Prediction, registry: Registry, follower: Follower, scorer: Scorer, again: Again, say: Say
    ) -> None:
        self._asked, self._registry, self._follower, self._scorer = asked, registry, follower, scorer
        self._again, self._say = again, say

    def look(self) -> None:
        """Take over the models that were trained since."""
        self._take_over(self._registry.changes())

    def reload(self) -> None:
        """Take over settings and models as they are now; what does not fit stays as it was."""
        try:
            asked = self._again()
            registry = self._registry if asked.models == self._asked.models else self._opened(asked)
        except AnomalyError as error:
            self._say(f"Nothing was reloaded; what was in force stays so. {error}")
            return
        for name in FIXED:
            if getattr(asked, name) != getattr(self._asked, name):
                self._say(f"What is new in {name.replace('_', '-')} takes effect at the next start.")
        self._asked = msgspec.structs.replace(
            asked, **{name: getattr(self._asked, name) for name in (*FIXED, "adapt")}
        )
        self._follower.shown = shown(asked.min_score)
        if self._follower.alerts is not None:
            self._follower.alerts.tune(asked.alert_on, asked.budget)
        self._switch(asked.adapt)
        changes = self._registry.everything()
        if registry is not self._registry:
            self._registry = registry
            self._scorer.find_in(registry.find)
        self._take_over(changes)
        self._say("Settings and models were loaded anew.")

    def _opened(self, asked: Prediction) -> Registry:
        registry = Registry(Store(asked.models), self._say)
        if not registry.store.users():
            raise ModelRefused(f"There is no model in {asked.models} that can be used.")
        return registry

    def _switch(self, adapt: bool) -> None:  # noqa: FBT001 - a setting
        if adapt is not self._asked.adapt and self._follower.save():
            self._asked = msgspec.structs.replace(self._asked, adapt=adapt)
            self._scorer.adapt(adapt)

    def _take_over(self, changes: Changes) -> None:
        for user in changes.users:
            try:
                stored = self._registry.load(user)
            except ModelRefused as error:
                self._say(f"The newest model of {user!r} is left aside, and nothing changes. {error}")
                continue
            renewed = self._scorer.renew(user, stored)
            if renewed:
                self._follower.changed()
            if stored is None:  # also of who has not acted, and would not be missed until then
                self._say(_gone(user))
            elif renewed:
                self._say(f"{user!r}: model {stored.version} is in use from now on.")
        if self._asked.user is None:
            few(self._say, [_gone(user) for user in changes.gone], "models were taken away.")
        if changes.anyone:
            background = self._registry.background() if self._asked.user is None else None
            self._scorer.refresh(background)


def _gone(user: str) -> str:
    return f"{user!r}: the model was taken away."


def shown(least: float) -> Callable[[Score], bool]:
    """Return what says whether a score is to be shown: its score or its risk is ``least`` or more."""
    if least <= 0:
        return lambda _: True
    return lambda score: max(score.score or 0.0, score.risk or 0.0) >= least
