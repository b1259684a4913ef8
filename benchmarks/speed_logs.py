"""The logs that speed is measured on: a real one made longer, one of many users, and a simulated one.

    python -m benchmarks.speed_logs MODELS USER OUT NUMBER

stores one user's model once more for each of so many users ``u0``, ``u1`` and so on.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.speed_child import ANOMALY, run

DAY = 86_400


class Log(NamedTuple):
    """A log, and whose actions in it are learned and scored."""

    name: str
    path: Path
    user: str | None
    """None for everyone in it."""


def unpacked(log: Path, out: Path, most: int | None = None) -> int:
    """Write a gzipped log's lines, all or the first so many, and return how many they were."""
    count = 0
    with gzip.open(log) as file, out.open("wb") as written:
        for count, line in enumerate(islice(file, most), 1):  # noqa: B007 - the last one is the number
            written.write(line)
    return count


def first(log: Path, out: Path, number: int) -> None:
    """Write a log's first so many lines."""
    with log.open("rb") as file, out.open("wb") as written:
        written.writelines(islice(file, number))


def user_of(log: Path) -> str:
    """Return whose log it is: the decorated name in its first line."""
    with log.open("rb") as file:
        name: str = json.loads(file.readline())["decorations"]["username"]
    return name


def lengthened(log: Path, out: Path, number: int) -> None:
    """Repeat a log to so many lines, each time later than before by the whole days that it spans, and one more."""
    begin, end = (int(json.loads(line)["unixTime"]) for line in _ends(log))
    span = (end - begin) // DAY * DAY + DAY
    first(log, out, number)
    with log.open("rb") as file:
        left = number - sum(1 for _ in file)
    with out.open("ab") as written:
        for turn in count(1):
            if left <= 0:
                break
            with log.open("rb") as file:
                for line in islice(file, left):
                    written.write(_dumped(_later(json.loads(line), turn * span)))
                    left -= 1


def shared(log: Path, out: Path, users: int, number: int) -> None:
    """Let so many users act in turn: each takes the next of a log's actions."""
    with log.open("rb") as file, out.open("wb") as written:
        for place, line in enumerate(islice(file, number)):
            record = json.loads(line)
            record["decorations"]["username"] = f"u{place % users}"
            written.write(_dumped(record))


def simulated(folder: Path, days: int) -> Path:
    """Let the product simulate a log of three users; return where it is."""
    log = folder / "simulated.log"
    if not log.exists():
        run([ANOMALY, "simulate", "--days", str(days), str(folder / "simulated")])
        unpacked(folder / "simulated" / "osqueryd.results.log.gz", log)
    return log


def moment(log: Path, share: float) -> str:
    """Return the time, as ``--until`` takes it, that lies at a share of the time that a log spans."""
    begin, end = (int(json.loads(line)["unixTime"]) for line in _ends(log))
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(begin + share * (end - begin)))


def endless(log: Path) -> Iterator[bytes]:
    """Give a log's lines over and over."""
    while True:
        with log.open("rb") as file:
            yield from file


def _ends(log: Path) -> tuple[bytes, bytes]:
    """Return a log's first line and its last."""
    with log.open("rb") as file:
        begin = file.readline()
        for end in file:  # noqa: B007 - the last one counts
            pass
    return begin, end


def _later(record: dict[str, Any], seconds: int) -> dict[str, Any]:
    when = int(record["unixTime"]) + seconds
    record["unixTime"] = type(record["unixTime"])(when)
    record["calendarTime"] = f"{time.asctime(time.gmtime(when))} UTC"
    return record


def _dumped(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"


def _clone(models: Path, user: str, out: Path, number: int) -> None:
    """Store a model for many users; in a process of its own, which the arrays make large."""
    from msgspec.structs import replace  # noqa: PLC0415 - only here

    from anomaly.store import Store  # noqa: PLC0415 - the same

    stored = Store(models).load(user)
    if stored is None:
        raise SystemExit(f"There is no model of {user} in {models}")
    store, model = Store(out), stored.model
    card = model.card
    for place in range(number):
        model.card = replace(card, user=f"u{place}")
        store.save(f"u{place}", model)


if __name__ == "__main__":
    _clone(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
