"""osquery's side: polls the tables of a timeline, and writes what differs as lines of the results log."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from time import asctime, gmtime
from typing import TYPE_CHECKING

from anomaly.simulation.timeline import Event, Process, State, Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

HOST = "ws1"
Row = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Query:
    """One query of the pack ``user_behavior``."""

    name: str
    interval: int
    evented: bool = False
    distinct: bool = False
    """A row shows once, however many processes hold it: ``SELECT DISTINCT``, or a table of different rows."""
    removed: bool = True


QUERIES = (  # in the order in which osqueryd runs them within one second
    Query("arp_cache", 30, distinct=True),
    Query("kernel_modules", 30),
    Query("listening_ports", 30, distinct=True),
    Query("logged_in_users", 60),
    Query("open_files", 30, distinct=True),
    Query("open_sockets", 30, distinct=True),
    Query("process_events", 10, evented=True, removed=False),
    Query("processes", 30),
    Query("shell_history", 30, removed=False),
    Query("syslog", 30, evented=True, removed=False),
    Query("usb_devices", 60),
    Query("user_events", 10, evented=True, removed=False),
)


@dataclass(frozen=True, slots=True)
class Clock:
    """When osqueryd lives: from ``start`` to ``end``, but not while the host is down."""

    start: float
    end: float
    down: float
    up: float

    def run(self, time: float, interval: int) -> int:
        """Return the first run of a query at or after a time."""
        time = max(time, self.start)
        run = math.ceil(time / interval) * interval
        return math.ceil(self.up / interval) * interval if self.down <= run < self.up else run


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the results log, with what only the simulator knows."""

    time: int
    text: str
    user: str
    """Whose action a reader of the log takes it for."""
    step: str


@dataclass(slots=True)
class _Change:
    row: Row
    count: int
    step: str


def lines(timeline: Timeline, clock: Clock, rng: Random) -> list[Line]:
    """Return the results log of a timeline, in the order of the file."""
    states, events = _tables(timeline)
    batches: list[tuple[int, int, list[Line]]] = []
    for order, query in enumerate(QUERIES):
        # osqueryd splays each interval once, by up to a tenth, and keeps that in its database.
        interval = query.interval + rng.randint(-query.interval // 10, query.interval // 10)
        if query.evented:
            runs = list(_evented(events[query.name], clock, interval))
        else:
            runs = list(_differential(states[query.name], clock, interval, query))
        # Counter 0 is the first run of a differential query; it stays unwritten if the table was empty.
        baseline = not query.evented and runs and runs[0][0] == clock.run(clock.start, interval)
        for counter, (time, rows) in enumerate(runs, start=0 if baseline else 1):
            batch = [_line(query.name, time, counter, verb, row, step) for verb, row, step in rows]
            batches.append((time, order, batch))
    batches.sort(key=lambda batch: batch[:2])
    return [line for _, _, batch in batches for line in batch]


def _tables(timeline: Timeline) -> tuple[dict[str, list[State]], dict[str, list[Event]]]:
    """Sort the timeline into osquery's tables; a process is a row of two of them."""
    states: dict[str, list[State]] = defaultdict(list)
    events: dict[str, list[Event]] = defaultdict(list)
    for state in timeline.states:
        states[state.query].append(state)
    for event in timeline.events:
        events[event.query].append(event)
    for process in timeline.processes:
        owner = {"uid": str(process.runs_as.uid), "username": process.runs_as.name}
        columns = {"name": process.name, "path": process.path, **owner}
        states["processes"].append(State("processes", columns, process.start, process.end, process.step))
        events["process_events"].append(_execution(process))
    return states, events


def _execution(process: Process) -> Event:
    """Return the audit record of an exec; sudo begins with the caller's uid, as its file is set-uid."""
    caller = process.login if process.name == "sudo" and process.login else process.runs_as
    columns = {
        "auid": str(process.login.uid if process.login else 2**32 - 1),
        "cmdline": process.cmdline,
        "cwd": f'"{process.cwd}"',  # osquery keeps the quotes of the audit record
        "euid": str(process.runs_as.uid),
        "parent": str(process.parent.pid if process.parent else 1),
        "path": process.path,
        "time": str(int(process.start)),
        "uid": str(caller.uid),
        "username": (process.login or process.runs_as).name,
    }
    return Event("process_events", columns, process.start, process, process.step)


def _evented(events: list[Event], clock: Clock, interval: int) -> Iterator[tuple[int, list[tuple[str, Row, str]]]]:
    """Yield the runs that found events, each with the rows in the order they happened."""
    runs: dict[int, list[tuple[str, Row, str]]] = defaultdict(list)
    for event in sorted(events, key=lambda each: each.time):
        if not clock.start <= event.time < clock.end:
            continue
        columns = event.columns | ({"pid": str(event.process.pid)} if event.process else {})
        runs[clock.run(event.time, interval)].append(("added", tuple(sorted(columns.items())), event.step))
    yield from sorted((time, rows) for time, rows in runs.items() if time < clock.end)


def _differential(
    states: list[State], clock: Clock, interval: int, query: Query
) -> Iterator[tuple[int, list[tuple[str, Row, str]]]]:
    """Yield the runs that found a change; what came and went between two runs was never seen."""
    changes: dict[int, list[_Change]] = defaultdict(list)
    for state in sorted(states, key=lambda each: each.start):
        seen = clock.run(state.start, interval)
        gone = clock.run(state.until, interval) if state.until < clock.end else math.inf
        if seen < gone:
            row = tuple(sorted(state.columns.items()))
            changes[seen].append(_Change(row, 1, state.step))
            if gone < math.inf:
                changes[int(gone)].append(_Change(row, -1, state.step))
    held: Counter[Row] = Counter()
    for time in sorted(time for time in changes if time < clock.end):
        before = {change.row: held[change.row] for change in changes[time]}
        steps: dict[tuple[Row, bool], str] = {}
        for change in changes[time]:
            held[change.row] += change.count
            steps[change.row, change.count > 0] = change.step or steps.get((change.row, change.count > 0), "")
        rows: list[tuple[str, Row, str]] = []
        removed: list[tuple[str, Row, str]] = []
        for row, old in before.items():
            difference = (held[row] > 0) - (old > 0) if query.distinct else held[row] - old
            verb, found = ("added", rows) if difference > 0 else ("removed", removed)
            found += [(verb, row, steps.get((row, difference > 0), ""))] * abs(difference)
        # osquery keeps the rows of one run in a multiset, so the removed ones come sorted, and come first.
        rows = (sorted(removed) if query.removed else []) + rows
        if rows:
            yield time, rows


def _line(query: str, time: int, counter: int, verb: str, row: Row, step: str) -> Line:
    columns = dict(row)
    result = {
        "name": f"pack_user_behavior_{query}",
        "hostIdentifier": HOST,
        "calendarTime": f"{asctime(gmtime(time))} UTC",
        "unixTime": time,
        "epoch": 0,
        "counter": counter,
        "numerics": False,
        "decorations": {
            "host_uuid": "7d1c4f02-5b0e-4c5e-9a57-3f2f1f7b8e61",
            "osquery_version": "5.23.1",
        },
        "columns": columns,
        "action": verb,
    }
    user = columns.get("username") or f"host:{HOST}"
    text = json.dumps(result, ensure_ascii=False, separators=(",", ":"))
    return Line(time, text, user, step)
