"""The end of the log."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anomaly.doctor.sample import Naming, naming, take
from anomaly.osquery import Action

if TYPE_CHECKING:
    from tests.conftest import Event

MAX_LINE = 1 << 20


def test_only_the_end_is_looked_at(tmp_path: Path, event: Event) -> None:
    """Of a long log the last bytes are read, and the line they begin in the middle of is left out."""
    lines = [event(time=1_793_000_000 + number) for number in range(1000)]
    log = tmp_path / "log"
    log.write_bytes(b"".join(line + b"\n" for line in lines))
    most = 10 * len(lines[0]) + 50
    sample = take(log, MAX_LINE, most)
    assert (sample.lines, sample.actions, sample.looked) == (10, 10, most)
    assert (sample.last, sample.size) == (1_793_000_999, log.stat().st_size)
    assert not sample.skipped


def test_an_unfinished_line_is_none(tmp_path: Path, event: Event) -> None:
    """What osquery is writing at this moment is not held against it."""
    log = tmp_path / "log"
    log.write_bytes(event() + b"\n" + event()[:40])
    assert (take(log, MAX_LINE).lines, take(log, MAX_LINE).skipped) == (1, {})


def test_of_an_archive_the_beginning_is_looked_at(tmp_path: Path, event: Event) -> None:
    """What unpacks to a thousand times its size is not unpacked."""
    log = tmp_path / "log.gz"
    log.write_bytes(gzip.compress((event() + b"\n") * 200_000))
    sample = take(log, MAX_LINE, 100_000)
    assert 100_000 <= sample.looked < 500_000
    assert sample.actions == sample.lines > 100


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=200).filter(lambda line: b"\n" not in line), max_size=20))
def test_any_bytes_are_counted(tmp_path: Path, lines: list[bytes]) -> None:
    """Whatever stands in a log is an action or has a reason, and nothing raises."""
    log = tmp_path / "log"
    log.write_bytes(b"".join(line + b"\n" for line in lines))
    sample = take(log, 100)
    long = sum(len(line) > 100 for line in lines)
    assert sample.skipped["too_long"] == long
    assert sample.lines == len(lines) - long
    assert sample.skipped.total() - long + sample.actions >= sample.lines


def test_counts_are_bounded(tmp_path: Path) -> None:
    """Whoever writes to the log chooses names of queries and users; a thousand of each are enough."""
    rows = [
        json.dumps({"name": f"q{number}", "columns": {"username": f"u{number}"}, "action": "added"})
        for number in range(1500)
    ]
    log = tmp_path / "log"
    log.write_text("\n".join(rows) + "\n")
    sample = take(log, MAX_LINE)
    assert (sample.actions, len(sample.namings), len(sample.users)) == (1500, 1000, 1000)


def test_what_names_a_user() -> None:
    """A name, a number somebody knows, a number nobody knows, a decorator, nothing."""

    def of(user: str, **columns: str) -> Naming:
        return naming(Action(0, "h", user, "processes", "added", columns))

    assert of("alice", username="alice", uid="1000") is Naming.NAME
    assert of("alice", uid="1000") is Naming.KNOWN
    assert of("uid:7", uid="7") is Naming.NUMBER
    assert of("alice", auid="4294967295", path="/x") is Naming.DECORATED
    assert of("host:h", path="/x") is Naming.NOBODY
