"""The open data sets as osquery rows, and intruders put into a user's own rows under the user's name.

Nothing here is part of the project: the sets are read from a directory beside it (see its README). An intruder at
a user's keyboard has the user's name, number and host, so their rows are given those before they are put in.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Row = dict[str, Any]
"""A result line of one action."""
Transformation = Callable[[Row], Row]

BLOCK, LEARNED, BLOCKS = 100, 50, 100
"""Actions of a block; blocks of SEA that are learned, and that are scored."""
GAP, MOST = 150, 3
"""Own actions between two intruders, at least; intruders in one pass over a user's rows, at most."""
SHARE = 0.6
"""Share of a history that is learned."""
_DAY = 86_400
_START = 1_700_006_400 - 1_700_006_400 % _DAY + 9 * 3_600


class Person(NamedTuple):
    """One user's rows in order: what is learned, and what is scored."""

    learned: list[Row]
    later: list[Row]


class Stream(NamedTuple):
    """One user's later rows, with the places of those that an intruder made."""

    rows: list[Row]
    visits: list[range]


def read(path: Path) -> list[Row]:
    """Return the rows of a log, gzipped or not."""
    raw = path.read_bytes()
    lines = (gzip.decompress(raw) if path.suffix == ".gz" else raw).splitlines()
    return [json.loads(line) for line in lines]


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as result lines."""
    path.write_text("".join(map(line, rows)), encoding="ascii")


def line(row: Row) -> str:
    """Return the result line of a row, in ASCII."""
    return json.dumps(row, separators=(",", ":")) + "\n"


def sea(folder: Path) -> tuple[dict[str, Person], dict[str, list[bool]]]:
    """Return SEA's users, and of each later block of theirs whether somebody else typed it.

    SEA has no times. One block is laid on one day, five minutes apart from 09:00 UTC, for everyone alike, so the
    hour of day tells nothing.
    """
    people = {}
    for path in sorted(folder.glob("User*")):
        rows = [_sea_row(path.name, at, word) for at, word in enumerate(path.read_text().splitlines())]
        people[path.name] = Person(rows[: BLOCK * LEARNED], rows[BLOCK * LEARNED :])
    labels: defaultdict[str, list[bool]] = defaultdict(lambda: [False] * BLOCKS)
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            labels[line["user"]][int(line["block"])] = line["masquerade"] == "1"
    return people, dict(labels)


def _sea_row(user: str, at: int, command: str) -> Row:
    day, number = divmod(at, BLOCK)
    row = {
        "name": "pack_user_behavior_shell_history",
        "hostIdentifier": "sea",
        "epoch": 0,
        "counter": day + 1,
        "numerics": False,
        "decorations": {"username": user},
        "columns": {"command": command, "username": user},
        "action": "added",
    }
    return _at(row, _START + day * _DAY + number * 300)


def histories(folder: Path) -> dict[str, Person]:
    """Return the people of the shell histories, each cut at SHARE."""
    logs = {path.name.split(".")[0]: read(path) for path in sorted((folder / "users").glob("*.results.log.gz"))}
    return {user: split(rows, SHARE) for user, rows in logs.items()}


def split(rows: list[Row], share: float) -> Person:
    """Return the first ``share`` of rows as learned, and the rest as later."""
    part = int(len(rows) * share)
    return Person(rows[:part], rows[part:])


def sessions(path: Path, least: int = 20) -> list[list[Row]]:
    """Return the sessions of an attackers' log, each a user name in it, without those shorter than ``least``."""
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in read(path):
        found[row["columns"]["username"]].append(row)
    return [found[name] for name in sorted(found) if len(found[name]) >= least]


def when(row: Row) -> int:
    """Return the time of a row, in seconds since 1970."""
    return int(row["unixTime"])


def months(rows: Sequence[Row]) -> float:
    """Return how many months of 30 days rows span."""
    return (when(rows[-1]) - when(rows[0])) / _DAY / 30


def disguised(row: Row, victim: Row) -> Row:
    """Return a row as if the victim had made it: an intruder has the victim's name, number and host."""
    columns, decorations = dict(row["columns"]), dict(row.get("decorations") or {})
    mine, said = victim["columns"], victim.get("decorations") or {}
    if "username" in columns:
        columns["username"] = mine.get("username", columns["username"])
    if "uid" in mine and columns.get("uid", "0") != "0":
        columns["uid"] = mine["uid"]
    if "username" in decorations:
        decorations["username"] = said.get("username", mine.get("username"))
    changed = row | {"columns": columns, "hostIdentifier": victim["hostIdentifier"]}
    return changed | {"decorations": decorations} if decorations else changed


def _at(row: Row, seconds: int) -> Row:
    """Return a row at another time."""
    columns = row["columns"]
    if "time" in columns and str(columns["time"]).isdecimal():
        columns = columns | {"time": str(seconds)}
    said = time.strftime("%a %b %d %H:%M:%S %Y UTC", time.gmtime(seconds))
    return row | {"columns": columns, "unixTime": seconds, "calendarTime": said}


def put_in(own: list[Row], intruders: Sequence[list[Row]]) -> Stream:
    """Return own rows with intruders put in at even distances.

    An intruder begins a minute after the own action before. Own actions after them are later by whole days, so
    that they keep their hours.
    """
    rows: list[Row] = []
    visits: list[range] = []
    step, shift = len(own) // (len(intruders) + 1), 0
    for number, intruder in enumerate(intruders):
        rows += [_at(row, when(row) + shift) for row in own[step * number : step * (number + 1)]]
        begin = when(rows[-1]) + 60 - when(intruder[0])
        visits.append(range(len(rows), len(rows) + len(intruder)))
        rows += [_at(disguised(row, own[0]), when(row) + begin) for row in intruder]
        shift += _DAY * -((when(intruder[0]) - when(intruder[-1]) - 120) // _DAY)
    rows += [_at(row, when(row) + shift) for row in own[step * len(intruders) :]]
    return Stream(rows, visits)


def passes(own: list[Row], intruders: Sequence[list[Row]]) -> list[Stream]:
    """Return streams that hold every intruder once, at most MOST in each and GAP own actions between two."""
    most = max(1, min(MOST, len(own) // GAP - 1))
    return [put_in(own, intruders[begin : begin + most]) for begin in range(0, len(intruders), most)]


def blocks_of(rows: list[Row], size: int, most: int) -> list[list[Row]]:
    """Return the first stretches of ``size`` rows, at most ``most``; what is left over is in none."""
    return [rows[begin : begin + size] for begin in range(0, len(rows) - size + 1, size)][:most]


def with_uid(row: Row) -> Row:
    """Return a row with the account's number in it, the same for all rows of a user."""
    number = 1_000 + int("".join(filter(str.isdecimal, row["columns"]["username"])) or 0)
    return row | {"columns": row["columns"] | {"uid": str(number)}}


def without_uid(row: Row) -> Row:
    """Return a row without the account's number."""
    return row | {"columns": {name: value for name, value in row["columns"].items() if name != "uid"}}


def shuffled(row: Row) -> Row:
    """Return a row whose columns stand in another order, each row's its own."""
    columns = list(row["columns"].items())
    random.Random(f"{row['unixTime']} {row['columns'].get('command')}").shuffle(columns)  # noqa: S311 - repeatable
    return row | {"columns": dict(columns)}


def renamed(row: Row) -> Row:
    """Return a row of a query of another name."""
    return row | {"name": "pack_desktops_typed_commands"}


def transformed(people: dict[str, Person], change: Transformation) -> dict[str, Person]:
    """Return people with every row changed."""
    return {
        user: Person([change(row) for row in person.learned], [change(row) for row in person.later])
        for user, person in people.items()
    }
