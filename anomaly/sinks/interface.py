"""What a sink is: where scores go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from anomaly.records import Alert, Score


class Sink(ABC):
    """Takes scores in order. When ``write`` returns, the records have been handed on."""

    @abstractmethod
    def write(self, scores: Sequence[Score]) -> None:
        """Hand on the scores; raises OSError where they cannot be."""

    def close(self) -> None:  # noqa: B027 - most sinks hold nothing
        """Release what the sink holds."""


class Health(NamedTuple):
    """How a sink that keeps alerts is getting on."""

    waiting: int = 0
    """Alerts that are kept, and not delivered yet."""
    lost: int = 0
    """Alerts that will not be delivered."""
    trouble: str | None = None
    """What is in the way of delivering at present, as a sentence without its full stop."""


class AlertSink(ABC):
    """Takes alerts in order. When ``write`` returns, they have been handed on, or are kept until they can be."""

    @abstractmethod
    def write(self, alerts: Sequence[Alert]) -> None:
        """Hand on the alerts; never waits for somebody else, and raises OSError where they are lost."""

    def check(self) -> None:  # noqa: B027 - most sinks are well or raise
        """Say, to whom the sink says such things, what is in the way of delivering; asked every few seconds."""

    def reopen(self) -> None:  # noqa: B027 - most sinks hold no file
        """Open anew what was renamed or replaced meanwhile: a log after its rotation, a secret."""

    def stop(self) -> None:  # noqa: B027 - most sinks have nothing that takes time to end
        """Begin to end what ``close`` waits for, without waiting: where many are closed, they end together."""

    def close(self) -> None:  # noqa: B027 - most sinks hold nothing
        """Release what the sink holds."""

    def health(self) -> Health:
        """Tell how it is getting on; what a sink cannot hand on at once it keeps, and only this says so."""
        return Health()
