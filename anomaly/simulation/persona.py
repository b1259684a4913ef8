"""What a persona is made of: tasks that follow one another, the words they are filled with, hours, programs."""
# ruff: noqa: SIM905 - a list of words reads best as text

from __future__ import annotations

import re
from dataclasses import dataclass, field
from time import gmtime, strftime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from anomaly.simulation.timeline import Account

NOUNS = tuple(
    "account alarm archive audit batch billing branch bridge buffer bundle cache campaign carrier "
    "catalog channel claim client cluster codec column config contract cursor customer daily delivery "
    "deposit device digest driver edge engine entry event export factor feature feed field filter flag "
    "folder forecast frame gauge graph group handler harbor header health history image import index "
    "input invoice item job journal kernel label ledger lease legacy limit listener loader locale login "
    "margin market matrix member merge message meter metric mirror model module monitor network notice "
    "offer order outlet output packet parcel parser partner payment period pilot planner policy price "
    "probe product profile proxy queue quota rate reader record refund region registry release report "
    "request result retry return revenue review route router rule sample schema score segment sensor "
    "series session shape shipment signal sink socket source stage station status stock storage store "
    "stream summary supply survey switch target task tenant ticket token topic trace tracker transfer "
    "trial update upload usage vendor version visit volume voucher window worker writer zone".split()
)
VERBS = tuple(
    "add allow apply avoid bound build check clean close compare count drop extend fix guard handle "
    "keep limit load log map merge move parse pass read remove rename reuse send show skip sort split "
    "store test trim use validate wrap write".split()
)


@dataclass(frozen=True, slots=True)
class Step:
    """One command line of a task, or none: the first of the alternatives is the most likely."""

    lines: tuple[str, ...]
    chance: float = 1.0


def do(*lines: str, chance: float = 1.0) -> Step:
    """Return a step; a shorthand that keeps the tables of the personas readable."""
    return Step(lines, chance)


@dataclass(frozen=True, slots=True)
class Task:
    """A short stochastic script, and what tends to follow it."""

    steps: tuple[Step, ...]
    then: Mapping[str, float]
    again: float = 0.0
    """Chance to go through the steps once more, with other files."""
    since: float = 0.0
    """Share of the two weeks after which the task first shows up: a new tool, a new duty."""
    trend: float = 1.0
    """Factor by which its weight grows over the two weeks."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The words that a placeholder stands for: some known from the start, others made as time goes by."""

    values: tuple[str, ...] = ()
    fresh: str = ""
    """Template of a word never used before."""
    rate: float = 0.0
    """How often a new word is made."""
    local: bool = False
    """Whether each project has its own words."""


@dataclass(frozen=True, slots=True)
class App:
    """A program of the desktop, which lives for hours and does things on its own."""

    path: str
    cmdline: str
    helpers: tuple[tuple[str, str], ...] = ()
    """Name and command line of the processes it starts."""
    chance: float = 1.0
    hours: float = 0.0
    """Typical time until it is closed; 0 keeps it open as long as the session."""
    site: str = ""
    """Pool of the hosts it talks to."""
    sites: float = 0.0
    """Connections an hour."""
    files: tuple[str, ...] = ()
    document: str = ""
    """Pool of the documents it opens."""
    documents: float = 0.0
    """Documents an hour."""
    port: int = 0
    """The port it listens on, if any."""
    upgrade: tuple[str, str] = ("", "")
    """What the upgrade of packages replaces in its paths, and by what."""


@dataclass(frozen=True, slots=True)
class Hours:
    """When somebody works, in hours of the day (UTC)."""

    begin: float
    finish: float
    lunch: float
    jitter: float = 0.4
    weekend: float = 0.0
    """Chance of a short sitting on a day off."""
    night: float = 0.0
    """Chance of being called at night."""


@dataclass(frozen=True, slots=True)
class Persona:
    """The habits of one person, apart from the account they are lived on."""

    hours: Hours
    pause: float
    """Median seconds between two commands."""
    stint: float
    """Typical minutes at the shell between two breaks."""
    rest: float
    """Typical minutes away from the shell, at the desktop or the coffee machine."""
    tasks: Mapping[str, Task]
    first: str
    """The task a stint starts with."""
    pools: Mapping[str, Pool]
    projects: tuple[tuple[str, float], ...]
    """Directory, and the share of the two weeks after which it exists."""
    apps: tuple[App, ...]
    jobs: tuple[tuple[float, str], ...] = ()
    """The user's own crontab: hours between two runs, and the command."""
    stays: float = 0.5
    """Chance to leave in the evening without logging out."""
    typos: float = 0.02
    prompt: bool = True
    """Whether bash appends to the history at each prompt, or all at once on exit (its default)."""


@dataclass(slots=True)
class Vocabulary:
    """Fills templates with a person's words; what was used lately is likely to be used again."""

    persona: Persona
    account: Account
    rng: Random
    project: str = ""
    time: float = 0.0
    known: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """Words of each pool, the latest first; a local pool has a list for each project."""
    _chosen: dict[str, str] = field(default_factory=dict)

    def forget(self) -> None:
        """Start a new task: until now each placeholder kept its word, as one file is edited, tested, added."""
        self._chosen.clear()

    def fill(self, template: str) -> str:
        """Return the template with every ``{placeholder}`` replaced."""
        return re.sub(r"\{(\w+)\}", lambda match: self._word(match[1]), template)

    def _word(self, name: str) -> str:
        if name in _MADE:
            return _MADE[name](self)
        if name not in self._chosen:
            self._chosen[name] = self._pick(name)
        return self._chosen[name]

    def _pick(self, name: str) -> str:
        pool = self.persona.pools[name]
        key = (name, self.project if pool.local else "")
        if key not in self.known:
            self.known[key] = [self.fill(value) for value in pool.values]
        known = self.known[key]
        if pool.fresh and (not known or self.rng.random() < pool.rate):
            known.insert(0, self.fill(pool.fresh))
            return known[0]
        return known[int(len(known) * self.rng.random() ** 2.2)]


_MADE: Mapping[str, Callable[[Vocabulary], str]] = {
    "noun": lambda words: words.rng.choice(NOUNS),
    "verb": lambda words: words.rng.choice(VERBS),
    "n": lambda words: str(int(1 + 9 * words.rng.random() ** 2)),
    "number": lambda words: str(words.rng.randint(10, 400)),
    "hex": lambda words: f"{words.rng.getrandbits(28):07x}",
    "day": lambda words: strftime("%Y-%m-%d", gmtime(words.time)),
    "project": lambda words: words.project,
    "home": lambda words: words.account.home,
}
"""Placeholders that are made anew each time, and those that stand for the time and the place."""
