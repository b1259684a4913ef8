"""Whose models there will be, and which worker learns whom: decided by counts alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from heapq import heapify, heapreplace, nsmallest
from typing import NamedTuple

from anomaly.fleet.names import bare, is_machine, is_nameless, specific
from anomaly.harvest import MIN_ACTIONS

PARTS = 4096
"""Most parts that the keys are dealt out to: a task of Spark's costs the driver some milliseconds."""

CROWD = 200
"""Users at most that the background is made of."""


class Rule(StrEnum):
    """How the key of a model is made of a host and a user."""

    LOCAL = "local"
    """As ``anomaly train`` names users: by name alone, unless one name acts on several hosts."""
    HOST = "host"
    """One model for each user of each host: ``alice@web``."""
    USER = "user"
    """One model for each name, over all hosts."""


class Actor(NamedTuple):
    """What one user did on one host, in numbers."""

    host: str
    user: str
    actions: int
    learnable: int
    """Actions but for baseline rows."""
    first: tuple[int, ...]
    """Where in the logs the user first acted."""
    scattered: bool = False
    """Whether the actions have no order but that of time: they lie in several partitions of a topic."""


class Key(NamedTuple):
    """A model to be made, of one user on one host or on several."""

    name: str
    actors: tuple[Actor, ...]

    @property
    def actions(self) -> int:
        """How many actions there are."""
        return sum(actor.actions for actor in self.actors)

    @property
    def by_time(self) -> bool:
        """Whether actions are put in the order of time, there being no other."""
        return len(self.actors) > 1 or any(actor.scattered for actor in self.actors)

    @property
    def learnable(self) -> int:
        """How many of them can be learned from."""
        return sum(actor.learnable for actor in self.actors)


def name(actors: Iterable[Actor], rule: Rule) -> list[Key]:
    """Give each user the key of a model, sorted by name; as :func:`anomaly.fleet.reading.keys_by` finds it."""
    found: dict[str, tuple[Actor, ...]] = {}
    for user, group in _by_user(actors).items():
        if rule is Rule.USER and not is_nameless(user):
            found[bare(user)] = tuple(group)
            continue
        plain = None if is_nameless(user) else _plain(group, rule)
        for actor in group:
            alone = actor is plain or is_machine(user, actor.host)
            found[bare(user) if alone else specific(user, actor.host)] = (actor,)
    return [Key(key, found[key]) for key in sorted(found)]


def _plain(group: Sequence[Actor], rule: Rule) -> Actor | None:
    """Return which of a name's users keeps the name alone: with most actions, unless several hosts have enough."""
    large = [actor for actor in group if actor.actions >= MIN_ACTIONS]
    return max(group, key=lambda actor: actor.actions) if rule is Rule.LOCAL and len(large) < 2 else None


def deal(chosen: Sequence[Key], most: int = PARTS) -> dict[str, int]:
    """Deal keys out to parts, the largest first, each to the part that has least; part 0 is the fullest.

    Spark starts parts in their order: whoever has half of all actions is begun first, while others are learned.
    """
    count = min(len(chosen), most)
    loads = [(0, part) for part in range(count)]
    heapify(loads)
    dealt: dict[str, int] = {}
    for key in sorted(chosen, key=lambda key: (-key.actions, key.name)):
        load, part = loads[0]
        dealt[key.name] = part
        heapreplace(loads, (load + key.actions, part))
    order = {part: place for place, (_, part) in enumerate(sorted(loads, key=lambda entry: (-entry[0], entry[1])))}
    return {key: order[part] for key, part in dealt.items()}


def crowd(chosen: Iterable[Key], seed: int) -> list[Key]:
    """Draw the users that the background is made of: everyone, or :data:`CROWD` of them, each as likely.

    A machine itself is nobody to be like. Equal keys and seeds give equal users, however Spark deals them out.
    """
    people = [key for key in chosen if not is_nameless(key.name) and key.learnable >= MIN_ACTIONS]
    return sorted(nsmallest(CROWD, people, key=lambda key: _lot(key.name, seed)))


def _lot(key: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {key}".encode("utf-8", "surrogatepass")).digest()


def _by_user(actors: Iterable[Actor]) -> dict[str, list[Actor]]:
    found: dict[str, list[Actor]] = {}
    for actor in sorted(actors, key=lambda actor: actor.first):
        found.setdefault(actor.user, []).append(actor)
    return found
