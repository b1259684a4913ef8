"""The lines are what osqueryd writes: keys, types, order, counters."""

from __future__ import annotations

import json
import runpy
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from time import asctime, gmtime
from typing import Any, cast

import pytest

from anomaly.osquery import Action, Parser
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
PREFIX = "pack_user_behavior_"
CONF = runpy.run_path(str(Path(__file__).parents[1] / "test_conf.py"))
PACK: dict[str, dict[str, Any]] = CONF["_PACK"]
"""The queries of the shipped pack."""
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
        assert list(result["decorations"]) == ["host_uuid", "osquery_version"]
        assert result["action"] in {"added", "removed"}
        assert result["calendarTime"] == f"{asctime(gmtime(result['unixTime']))} UTC"


@pytest.fixture
def tables() -> Iterator[sqlite3.Connection]:
    """Stand in for osquery's tables, all of them empty."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(CONF["_TABLES"])
    yield connection
    connection.close()


def rows(results: list[dict[str, Any]], query: str) -> list[dict[str, str]]:
    """Return the columns of all rows of a query."""
    return [result["columns"] for result in results if result["name"] == PREFIX + query]


def test_queries_are_those_of_the_pack() -> None:
    """The simulated osqueryd runs the pack's queries, at the pack's intervals."""
    assert {query.name: (query.interval, query.removed) for query in QUERIES} == {
        name: (query["interval"], query.get("removed", True)) for name, query in PACK.items()
    }


@pytest.mark.parametrize("query", PACK)
def test_columns_are_those_of_the_pack(
    tables: sqlite3.Connection, results: list[dict[str, Any]], query: str
) -> None:
    """Every row has the columns that the pack's SELECT yields, in alphabetical order, as strings."""
    selected = [column[0] for column in tables.execute(PACK[query]["query"]).description]
    assert {tuple(row) for row in rows(results, query)} == {tuple(sorted(selected))}
    assert all(isinstance(value, str) for row in rows(results, query) for value in row.values())


@pytest.mark.parametrize(
    ("query", "table", "columns"),
    [
        ("open_files", "process_open_files", ("path",)),
        ("syslog", "syslog_events", ("time", "facility", "severity", "tag", "message")),
    ],
)
def test_pack_selects_what_is_simulated(
    tables: sqlite3.Connection, results: list[dict[str, Any]], query: str, table: str, columns: tuple[str, ...]
) -> None:
    """No row is one that the pack's WHERE leaves out."""
    told = {tuple(row[column] for column in columns) for row in rows(results, query)}
    places = ", ".join("?" * len(columns))
    tables.execute("INSERT INTO processes (pid) VALUES (1)")
    tables.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", told)  # noqa: S608 - ours
    if query == "open_files":
        tables.execute("UPDATE process_open_files SET pid = 1")
    assert len(tables.execute(PACK[query]["query"]).fetchall()) == len(told)


def test_ports(results: list[dict[str, Any]]) -> None:
    """A port is a number below those that the kernel hands out, or ``ephemeral``; both occur."""
    remote = {row["remote_port"] for row in rows(results, "open_sockets")}
    local = {row["port"] for row in rows(results, "listening_ports")}
    assert {"22", "443", "ephemeral"} <= remote
    assert {"22", "631", "3389", "5173", "8888", "ephemeral"} <= local
    assert all(0 < int(port) < 32768 for port in (remote | local) - {"ephemeral"})


def test_login_user_beats_real_user(results: list[dict[str, Any]]) -> None:
    """An audited row names the user of its auid, or of its uid where no login started the process."""
    names = {row["uid"]: row["username"] for row in rows(results, "processes")}
    for query in ("process_events", "user_events"):
        for row in rows(results, query):
            assert row["username"] == names[row["uid"] if row["auid"] == "4294967295" else row["auid"]]


def test_rows_of_the_host_name_nobody() -> None:
    """The parser lays facts of the machine to the host, and every row to whom the simulator says."""
    made = simulate(seed=5, days=1).normal
    parser = Parser()
    for line in made:
        (action,) = cast(list[Action], parser.parse(line.text.encode()))
        assert action.user == line.user
    assert "host:ws1" in {line.user for line in made}


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
