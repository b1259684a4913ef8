"""What a sink is: where scores go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from anomaly.records import Score


class Sink(ABC):
    """Takes scores in order. When ``write`` returns, the records have been handed on."""

    @abstractmethod
    def write(self, scores: Sequence[Score]) -> None:
        """Hand on the scores; raises OSError where they cannot be."""

    def close(self) -> None:  # noqa: B027 - most sinks hold nothing
        """Release what the sink holds."""
