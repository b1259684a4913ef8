"""The lines are what osqueryd writes: keys, types, order, counters."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from random import Random
from time import asctime, gmtime
from typing import Any

import pytest

from anomaly.simulation import simulate
from anomaly.simulation.results import QUERIES, Clock, lines
from anomaly.simulation.simulator import MONDAY
from anomaly.simulation.timeline import FOREVER, Timeline

KEYS = [
    "name",
    "hostIdentifier",
    "calendarTime",
    "unixTime",
    "epoch",
    "counter",
    "numerics",
    "decorations",
    "columns",
    "action",
]
COLUMNS = {
    "arp_cache": ["address", "mac"],
    "kernel_modules": ["name"],
    "listening_ports": ["port", "uid", "username"],
    "logged_in_users": ["host", "time", "tty", "username"],
    "open_files": ["path", "uid", "username"],
    "open_sockets": ["remote_address", "remote_port", "uid", "username"],
    "process_events": "auid cmdline cwd euid parent path pid time uid username".split(),  # noqa: SIM905 - one line
    "processes": ["name", "path", "uid", "username"],
    "shell_history": ["command", "time", "uid", "username"],
    "syslog": ["facility", "message", "severity", "tag", "time"],
    "usb_devices": ["model_id", "serial", "vendor_id"],
    "user_events": "address auid message path pid terminal time type uid username".split(),  # noqa: SIM905 - the same
}
PREFIX = "pack_user_behavior_"
CHANCE = Random(0)  # noqa: S311 - for the splay of the intervals


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Return all lines of one simulation, of the normal days and of both intrusions."""
    made = simulate(seed=5, days=14)
    return [line.text for line in (*made.normal, *made.masquerade, *made.attack)]


@pytest.fixture(scope="module")
def results(texts: list[str]) -> list[dict[str, Any]]:
    """Return the lines, parsed."""
    return [json.loads(text) for text in texts]


@pytest.fixture(scope="module")
def runs(results: list[dict[str, Any]]) -> dict[str, list[tuple[int, int, list[str]]]]:
    """Return time, counter and actions of each run of each query."""
    runs: dict[str, list[tuple[int, int, list[str]]]] = defaultdict(list)
    for result in results:
        query = runs[result["name"].removeprefix(PREFIX)]
        if not query or query[-1][1] != result["counter"]:
            query.append((result["unixTime"], result["counter"], []))
        assert query[-1][0] == result["unixTime"], "all rows of a run share its time"
        query[-1][2].append(result["action"])
    return runs


def test_keys_and_types(results: list[dict[str, Any]]) -> None:
    """Every line has osquery's keys in osquery's order, with its types."""
    for result in results:
        assert list(result) == KEYS
        assert result["numerics"] is False
        assert [type(result[key]) for key in ("unixTime", "epoch", "counter")] == [int, int, int]
        assert list(result["decorations"]) == ["host_uuid", "osquery_version", "username"]
        assert result["action"] in {"added", "removed"}
        assert result["calendarTime"] == f"{asctime(gmtime(result['unixTime']))} UTC"


def test_columns_are_those_of_the_pack(results: list[dict[str, Any]]) -> None:
    """Every row has the columns of its query, in alphabetical order, as strings; every query reports."""
    seen = {(result["name"].removeprefix(PREFIX), tuple(result["columns"])) for result in results}
    assert seen == {(query, tuple(columns)) for query, columns in COLUMNS.items()}
    assert all(isinstance(value, str) for result in results for value in result["columns"].values())


def test_json_is_compact(texts: list[str], results: list[dict[str, Any]]) -> None:
    """A line is what osquery's compact writer would make of the same object, without a newline in it."""
    for text, result in zip(texts, results, strict=True):
        assert text == json.dumps(result, separators=(",", ":"), ensure_ascii=False)
        assert "\n" not in text


def test_time_never_goes_back(results: list[dict[str, Any]]) -> None:
    """The log is in the order of time, and no row tells of what has not happened yet."""
    assert all(before["unixTime"] <= after["unixTime"] for before, after in pairwise(results))
    for result in results:
        assert int(result["columns"].get("time", 0)) <= result["unixTime"]


def test_removed_before_added(runs: dict[str, list[tuple[int, int, list[str]]]]) -> None:
    """Within one run the removed rows come first, and queries of events or of history remove nothing."""
    for query in QUERIES:
        for _, _, actions in runs[query.name]:
            assert actions == sorted(actions, reverse=True)
            assert query.removed or "removed" not in actions


def test_counters(runs: dict[str, list[tuple[int, int, list[str]]]]) -> None:
    """Counter 0 is the first run of a differential query, and every run with rows counts one up."""
    for query in QUERIES:
        time = runs[query.name][0][0]
        counters = [counter for _, counter, _ in runs[query.name]]
        first = 0 if not query.evented and time < MONDAY + 2 * query.interval else 1
        assert counters == list(range(first, first + len(counters)))


def test_runs_keep_their_interval(runs: dict[str, list[tuple[int, int, list[str]]]]) -> None:
    """A query runs when the clock is a multiple of its splayed interval."""
    for query in QUERIES:
        near = range(query.interval - query.interval // 10, query.interval + query.interval // 10 + 1)
        assert any(all(time % interval == 0 for time, _, _ in runs[query.name]) for interval in near)


def test_differences_add_up(results: list[dict[str, Any]]) -> None:
    """No row is removed more often than it was added: the differences are those of a multiset."""
    held: dict[tuple[str, str], int] = defaultdict(int)
    for result in results:
        key = (result["name"], json.dumps(result["columns"]))
        held[key] += 1 if result["action"] == "added" else -1
        assert held[key] >= 0


def test_what_a_poll_misses() -> None:
    """A process that comes and goes between two polls is seen by audit alone; a longer one by both."""
    timeline = Timeline()
    timeline.execute("/usr/bin/ls", start=1001, end=1002)
    timeline.execute("/usr/bin/vim", start=1003, end=1100)
    timeline.number(CHANCE, up=FOREVER)
    made = lines(timeline, Clock(1000, 2000, FOREVER, FOREVER), CHANCE)
    parsed = [json.loads(line.text) for line in made]
    assert [(p["name"].removeprefix(PREFIX), p["columns"]["path"], p["action"]) for p in parsed] == [
        ("process_events", "/usr/bin/ls", "added"),
        ("process_events", "/usr/bin/vim", "added"),
        ("processes", "/usr/bin/vim", "added"),
        ("processes", "/usr/bin/vim", "removed"),
    ]


def test_distinct_rows_show_once() -> None:
    """Two processes with one connection are one row of a DISTINCT query, until the last of them ends."""
    timeline = Timeline()
    for end in (1200.0, 1500.0):
        process = timeline.execute("/usr/bin/ssh", start=1001, end=end)
        timeline.connect(process, "web01", 22, 1002, end)
    timeline.number(CHANCE, up=FOREVER)
    made = lines(timeline, Clock(1000, 2000, FOREVER, FOREVER), CHANCE)
    sockets = [line for line in made if "open_sockets" in line.text]
    assert [json.loads(line.text)["action"] for line in sockets] == ["added", "removed"]
    assert 1500 <= sockets[1].time < 1500 + 33
