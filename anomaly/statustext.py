"""How the watch goes, for people: a few lines for each log, and a table of its users in 80 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from anomaly.sinks.ndjson import timestamp
from anomaly.sinks.visible import columns, visible
from anomaly.tally import skipped
from anomaly.watched import Standing, Watch

_WIDTH = 80


def sheet(watches: Sequence[Watch]) -> Iterator[str]:
    """Yield the lines; whatever a log or a file chose is escaped."""
    for number, watch in enumerate(watches):
        if number:
            yield ""
        yield from _about(watch)
        if watch.users:
            yield from _table(watch.users)


def _about(watch: Watch) -> Iterator[str]:
    if watch.log is None:
        yield "Nothing has been watched yet. Watch with: anomaly predict --all-users"
        return
    yield visible(f"{watch.log}{f', {watch.user} alone' if watch.user is not None else ''}", _WIDTH)
    yield f"  {_running(watch)}"
    yield f"  {_behind(watch)}"
    if watch.lines:
        yield f"  {watch.lines:,} lines and {watch.actions:,} actions since it was started"
    if watch.skipped:
        yield visible(f"  {skipped(Counter(watch.skipped))}", _WIDTH)
    if watch.checkpoint_errors:
        yield f"  {watch.checkpoint_errors:,} checkpoints could not be written"
    if any(watch.alerts.values()):
        yield visible(f"  alerts since it was started: {_counts(watch.alerts)}", _WIDTH)
    if any(watch.failures.values()):
        yield visible(f"  could not be written to: {_counts(watch.failures)}", _WIDTH)
    if watch.others:
        yield f"  {watch.others:,} actions are of users who are not told apart"


def _running(watch: Watch) -> str:
    if not watch.running:
        return f"not running; last heard of at {_clock(watch.seen)}" if watch.seen else "not running"
    process = f", process {watch.process}" if watch.process is not None else ""
    return f"running since {_clock(watch.started)}{process}" if watch.started else f"running{process}"


def _behind(watch: Watch) -> str:
    if watch.lag_bytes is None:
        return "how much of the log has not been read cannot be told"
    if not watch.lag_bytes:
        return "at the end of the log"
    waits = f", for {_span(watch.lag_seconds)}" if watch.lag_seconds else ""
    return f"{_size(watch.lag_bytes)} of the log have not been read{waits}"


def _table(users: Sequence[Standing]) -> Iterator[str]:
    names = Counter(one.user for one in users)
    yield _row("user", "state", "model", "actions", "last action", "risk", "alerts", "drift")
    for one in users:
        several = names[one.user] > 1 and one.host is not None
        yield _row(
            f"{one.user}@{one.host}" if several else one.user,
            one.state,
            f"{one.algorithm} {one.version}" if one.algorithm is not None else "-",
            f"{one.actions:,}",
            (timestamp(one.last or 0) or "-")[:16].replace("T", " "),
            "-" if one.risk is None else f"{one.risk:.1f}",
            f"{one.alerts:,}",
            "-" if one.drift is None else f"{one.drift:.0%}",
        )


def _row(user: str, state: str, model: str, actions: str, last: str, risk: str, alerts: str, drift: str) -> str:
    names = f"{_cell(user, 14)} {_cell(state, 8)} {_cell(model, 9)}"
    return f"{names} {actions:>9} {last:<16} {risk:>5} {alerts:>6} {drift:>5}"


def _cell(text: str, width: int) -> str:
    """Escape text and give it its width, as a terminal counts it."""
    shown = visible(text, width)
    return shown + " " * (width - columns(shown))


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()) if count)


def _clock(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds or 0, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _size(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB" if count >= 1 << 20 else f"{count:,} bytes"


def _span(seconds: float | None) -> str:
    """Say how long, to two figures or so.

    >>> _span(42), _span(5400), _span(200000)
    ('42 s', '90 min', '56 h')
    """
    whole = seconds or 0.0
    if whole < 120:
        return f"{whole:.0f} s"
    return f"{whole / 60:.0f} min" if whole < 7200 else f"{whole / 3600:.0f} h"
