"""What a run knows of itself, as metrics for Prometheus.

Values are read from the board when they are asked for, so nothing is counted twice and the hot path pays nothing.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from anomaly import __version__
from anomaly.board import Board, Row
from anomaly.records import Severity
from anomaly.sinks.visible import visible

RISKIEST = 200
"""Users that have a metric of their own: each costs the receiver a series, and names are the log's to choose."""

_NONE = {severity.value: 0 for severity in Severity if severity.rank}


class BoardCollector(Collector):
    """Gives a board's figures as metrics.

    Parameters
    ----------
    board
        Read, never changed; another thread may feed it meanwhile.
    """

    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        yield from _of_run(self._board)
        yield from _of_log(self._board)
        rows = self._board.rows()
        states = Counter(row.model.state for row in rows)
        yield _gauges("anomaly_users", "Users, by the state of what judges them.", "state", states)
        yield _risks(rows)


def registry(board: Board) -> CollectorRegistry:
    """Return a registry of a board's metrics and nothing else: not the client's own, which others may fill."""
    made = CollectorRegistry()
    made.register(BoardCollector(board))
    return made


def _of_run(board: Board) -> Iterator[Metric]:
    tally = board.tally
    yield _gauges("anomaly_build_info", "Which version runs.", "version", {__version__: 1})
    yield _gauge("anomaly_start_time_seconds", "When it was started, since 1970.", board.started)
    yield _counter("anomaly_lines", "Lines of the log that were read.", tally.lines)
    yield _counter("anomaly_actions", "Actions in them.", tally.actions)
    yield _counter("anomaly_actions_scored", "Actions that a model gave a score.", tally.scored)
    yield _counters("anomaly_lines_skipped", "Lines that are no result.", "reason", tally.skipped)
    # A rate needs the zero before the first one.
    yield _counters("anomaly_scores", "Actions by severity.", "severity", _NONE | _named(tally.severities))
    yield _counters("anomaly_alerts", "Alerts, each counted once.", "severity", _NONE | _named(board.alerts))
    yield _counters(
        "anomaly_sink_failures",
        "Writings that failed, and times that alerts were found to be lost.",
        "sink",
        board.failures,
    )
    yield _counter("anomaly_checkpoint_errors", "Checkpoints that could not be written.", tally.checkpoint_errors)
    yield _gauge("anomaly_checkpoint_age_seconds", "Time since a checkpoint held all that was read.", board.unsafe)
    yield _gauge("anomaly_loop_age_seconds", "Time since the loop came by; above 10 it hangs.", board.silent)


def _of_log(board: Board) -> Iterator[Metric]:
    yield _counters("anomaly_log_events", "What befell the log, as rotations.", "event", board.met)
    yield _gauge("anomaly_lag_bytes", "Bytes that wait in the log.", board.backlog)
    yield _gauge("anomaly_lag_seconds", "Age of the last action read, where more waits; else 0.", board.behind)


def _risks(rows: Iterable[Row]) -> GaugeMetricFamily:
    """Give the riskiest users; of two whose names read alike, the higher risk: a series may be there once."""
    family = GaugeMetricFamily(
        "anomaly_user_risk", f"Risk of the {RISKIEST} riskiest users, 0..100; alarming from 25 on.",
        labels=("user", "host"),
    )  # fmt: skip
    known = ((row.risk, row.user, row.host) for row in rows if row.risk is not None)
    told: set[tuple[str, str]] = set()
    for risk, *name in heapq.nlargest(RISKIEST, known):
        user, host = map(visible, name)
        if (user, host) not in told:
            told.add((user, host))
            family.add_metric((user, host), risk)
    return family


def _named(counts: Counter[Severity]) -> dict[str, int]:
    """Give counts by the names of severities; copied in one step, since another thread may add to them."""
    return {severity.value: count for severity, count in dict(counts).items()}


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=(label,))
    for value, count in sorted(_shown(values).items()):
        family.add_metric((value,), count)
    return family


def _counters(name: str, text: str, label: str, values: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=(label,))
    for value, count in sorted(_shown(values).items()):
        family.add_metric((value,), count)
    return family


def _shown(values: Mapping[str, float]) -> dict[str, float]:
    """Make names such that a file of metrics may be shown on a terminal; what reads alike then is added up."""
    shown: dict[str, float] = {}
    for value, count in dict(values).items():  # copied in one step: another thread may add to them
        label = visible(str(value))
        shown[label] = shown.get(label, 0) + count
    return shown
