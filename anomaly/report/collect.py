"""From scores to what the page says: the log goes by once, and only aggregates stay."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from anomaly.alert_rules import AtLeast
from anomaly.alerts import Alerting
from anomaly.errors import LogEmpty, ModelRefused
from anomaly.harvest import Watch, nothing
from anomaly.identity import keys
from anomaly.once import Say
from anomaly.osquery import Action
from anomaly.records import Alert
from anomaly.report.anew import Anew, Asked, Scored
from anomaly.report.profile import Profile, Room
from anomaly.tally import counted

_MOST_NAMES = 10_000
_MOST_STRANGERS = 500
_LONGEST = 255


@dataclass
class Report:
    """What a log came to."""

    asked: Asked
    lines: int = 0
    actions: int = 0
    """Within the period; those of nobody who was asked for are not among them."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Lines that report no action, by reason."""
    met: Counter[str] = field(default_factory=Counter)
    """What the reader of the log met, as :class:`~anomaly.sources.tail.LogSource` counts it."""
    profiles: list[Profile] = field(default_factory=list)
    """Users with a model who acted, those with the highest risk first."""
    strangers: Counter[str] = field(default_factory=Counter)
    """Actions of users without a model."""
    unnamed: int = 0
    """Actions of further ones: there was no room for their names."""

    def summary(self) -> str:
        """Say it in a few words."""
        users, alerts = len(self.profiles), sum(len(one.alerts) + one.forgotten for one in self.profiles)
        return (
            f"{self.actions:,} actions, {users:,} {'user' if users == 1 else 'users'} with a model,"
            f" {alerts:,} {'alert' if alerts == 1 else 'alerts'}"
        )


def collect(asked: Asked, say: Say, watch: Watch) -> Report:
    """Score a log anew and keep what a page can show of it.

    Raises
    ------
    UnknownUser, ModelRefused
        There is no model, or none that can be used.
    LogMissing, LogUnreadable
        The log cannot be read.
    LogEmpty
        Nobody who was asked for acted in the period.
    """
    anew = Anew(asked, say)
    collector = _Collector(asked, anew)
    for batch in anew.run(watch):
        collector.take(batch)
    report = collector.finish()
    report.lines, report.skipped, report.met = anew.lines, anew.skipped, anew.met
    if not report.actions:
        raise LogEmpty(_no_action(asked, anew))
    return report


def _no_action(asked: Asked, anew: Anew) -> str:
    if asked.user is None or not anew.lines:
        return nothing([asked.log], anew.lines, anew.skipped)
    what = f"no action of {asked.user!r} in the period that was asked for"
    return f"{asked.log} has {counted(anew.lines, 'line')}, and {what}."


class _Collector:
    def __init__(self, asked: Asked, anew: Anew) -> None:
        self._asked = asked
        self._anew = anew
        self._roster = anew.registry.users() if asked.user is None else frozenset({asked.user})
        self._room = Room.among(len(self._roster))
        self._report = Report(asked)
        self._profiles: dict[str, Profile] = {}
        self._names: dict[tuple[str, str], str | None] = {}
        self._alerting = Alerting.by(asked.least, None)
        self._alarms = AtLeast(asked.least)

    def take(self, batch: list[Scored]) -> None:
        """Take the next scores."""
        for score, line in batch:
            if not self._asked.period.holds(score.action.time):
                continue
            self._report.actions += 1
            name = self._name(score.action)
            if name is None:
                self._stranger(score.action.user)
                continue
            profile = self._profile(name)
            alarming = self._alarms(score) is not None
            profile.add(score, line, self._anew.tokenizers.get(name), alarming=alarming)
            self._tell(self._alerting.take([score]))

    def finish(self) -> Report:
        """Return what it came to, after the last score."""
        self._tell(self._alerting.flush())
        self._report.profiles = sorted(self._profiles.values(), key=lambda one: (-one.top_risk.value, one.user))
        return self._report

    def _tell(self, alerts: list[Alert]) -> None:
        for alert in alerts:
            name = self._name(alert.worst.action)
            if name is not None:
                self._profile(name).alert(alert)

    def _profile(self, name: str) -> Profile:
        if name not in self._profiles:
            try:
                card = self._anew.registry.store.card(name)
            except ModelRefused:  # it was well when it scored, and somebody is at it
                card = None
            self._profiles[name] = Profile(name, card, self._room)
        return self._profiles[name]

    def _stranger(self, user: str) -> None:
        strangers = self._report.strangers
        if user in strangers or (len(strangers) < _MOST_STRANGERS and len(user) <= _LONGEST):
            strangers[user] += 1
        else:
            self._report.unnamed += 1

    def _name(self, action: Action) -> str | None:
        """Return the name of the model that judges an action, as the scorer finds it."""
        if self._asked.user is not None:
            return self._asked.user
        key = action.host, action.user
        if key in self._names:
            return self._names[key]
        name = next((name for name in keys(*key) if name in self._roster), None)
        if len(self._names) < _MOST_NAMES and len(action.host) <= _LONGEST >= len(action.user):
            self._names[key] = name
        return name
