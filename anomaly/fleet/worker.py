"""What a worker process of Spark holds from one task to the next: models, and users whom it has scored."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from anomaly.fleet.models import Models
from anomaly.fleet.reading import Known, keys_by
from anomaly.fleet.remote import open_files
from anomaly.fleet.state import Desk
from anomaly.garbage import search_seldom
from anomaly.osquery import Parser


class Order(NamedTuple):
    """What a worker must know of what was asked for."""

    models: str
    """Address of the model store."""
    key: str
    """As :func:`anomaly.fleet.reading.keys_by` has it."""
    adapt: bool
    least: float
    """Score or risk from which on an action is shown."""


class Worker:
    """The state of this process, of which nothing is lost with it.

    Raises
    ------
    ModelRefused, StateError
        The store has no manifest that can be read.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self.models = Models(open_files(order.models))
        self.desk = Desk(self.models, adapt=order.adapt)
        self._learn_names()

    def refresh(self) -> None:
        """Take over another manifest, where there is one."""
        before = self.models.manifest
        self.models.refresh()
        if self.models.manifest is not before:
            self._learn_names()

    def _learn_names(self) -> None:
        self.parser = Parser(Known(self.models.identities()))
        self.key = keys_by(self._order.key, self.models.manifest.models)


@cache
def _worker(order: Order) -> Worker:
    search_seldom()
    return Worker(order)


def worker(order: Order) -> Worker:
    """Return this process's state, with the manifest of now."""
    found = _worker(order)
    found.refresh()
    return found
