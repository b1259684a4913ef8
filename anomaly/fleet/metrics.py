"""How a query goes, told by Spark's own listener after each batch: one line of JSON each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event
from typing import Any

from pyspark.sql.streaming.listener import StreamingQueryListener

from anomaly.fleet.reading import REASONS


class Listener(StreamingQueryListener):
    """Tells of each batch.

    Parameters
    ----------
    tell
        Given what :func:`batch_row` makes of it.
    """

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        self._tell = tell
        self.ended = Event()
        """Set when the query has ended, and all of its batches were told of."""

    def onQueryStarted(self, event: Any) -> None:  # noqa: ANN401, N802 - Spark's
        """Do nothing."""

    def onQueryProgress(self, event: Any) -> None:  # noqa: ANN401, N802 - Spark's
        """Tell of a batch that is done."""
        progress = event.progress
        observed = {name: row.asDict() for name, row in progress.observedMetrics.items()}
        state = progress.stateOperators[0].numRowsTotal if progress.stateOperators else 0
        self._tell(batch_row(progress.batchId, progress.timestamp, progress.batchDuration, observed, state))

    def onQueryIdle(self, event: Any) -> None:  # noqa: ANN401, N802 - Spark's
        """Do nothing."""

    def onQueryTerminated(self, event: Any) -> None:  # noqa: ANN401, ARG002, N802 - Spark's
        """Take note of the end."""
        self.ended.set()


def batch_row(
    batch: int, time: str, milliseconds: int, observed: Mapping[str, Mapping[str, Any]], state: int
) -> dict[str, Any]:
    """Return what is said of a batch.

    Parameters
    ----------
    batch
        Its number.
    time
        When it began, in ISO 8601.
    milliseconds
        How long it took.
    observed
        What the query counted on the way.
    state
        Values in the state store: two for each key.
    """
    parsed, scored = dict(observed.get("parsed", {})), dict(observed.get("scored", {}))
    skipped = {reason: count for reason in REASONS if (count := parsed.get(reason))}
    refusals = list(scored.pop("refusals", None) or [])
    counts = {name: count or 0 for name, count in scored.items()}
    seconds = milliseconds / 1000
    rate = round(counts.get("actions", 0) / seconds, 1) if seconds > 0 else 0.0
    return {
        "batch": batch,
        "time": time,
        "seconds": seconds,
        "rate": rate,
        **counts,
        "skipped": skipped,
        "files": list(parsed.get("files") or []),
        "refusals": refusals,
        "state": state,
    }
