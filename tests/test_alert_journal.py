"""The journal of alerts: bounded, and nothing in it stops anybody."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from anomaly.alert_journal import MAX_BYTES, MOST, AlertJournal, told
from anomaly.errors import StateError, StateRefused
from anomaly.osquery import Action
from anomaly.records import Alert, ModelRef, Score, Severity


def alert(number: int, update: int = 0, *, worst: int | None = None, text: str = "nmap") -> Alert:
    """Make a record of an alert."""
    action = Action(1000 + number, "ws1", "alice", "shell_history", "added", {"command": text})
    score = Score(f"f1:{number if worst is None else worst}", action, 35.0, 3.0, 1.0, ModelRef("LSTM", 1, "ready"))
    what = (f"f1:{number}", "alice", "ws1", Severity.WARNING, 1000 + number, 1000 + number, 4**update)
    return Alert(*what, update, closed=False, worst=score, reasons=())


def test_alerts_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Each alert is given once, as it was told last, with the worst action of each of its records."""
    journal = AlertJournal(tmp_path, "log")
    records = [alert(5), alert(3), alert(3, 1, worst=9), alert(3, 1, worst=9)]
    for record in records:
        journal.write([record])
    assert [(one.checkpoint, one.alert) for one in told(tmp_path)] == [("log", records[2]), ("log", records[0])]
    assert [score.id for score in told(tmp_path)[0].worst] == ["f1:3", "f1:9"]
    assert journal.path.stat().st_mode & 0o777 == 0o600
    line = json.loads(journal.path.read_bytes().splitlines()[0])
    assert (line["schema"], line["user"], line["host"], line["count"]) == (1, "alice", "ws1", 1)


def test_a_line_that_is_torn_costs_itself_alone(tmp_path: Path) -> None:
    """Whoever was killed while writing has left half a line: the next record begins on a line of its own."""
    AlertJournal(tmp_path, "log").write([alert(1)])
    path = tmp_path / "log.alerts.ndjson"
    path.write_bytes(path.read_bytes() + b'{"schema":1,"id":"f1')
    AlertJournal(tmp_path, "log").write([alert(2)])
    assert [one.alert.id for one in told(tmp_path)] == ["f1:1", "f1:2"]


@pytest.mark.parametrize("line", [b"\xff\xfe", b"[" * 9000, b"{}", b'{"id":null}', b"\0" * 50])
def test_lines_that_are_none_of_ours_are_passed_over(tmp_path: Path, line: bytes) -> None:
    """Whatever stands in a journal, the rest of it is read."""
    journal = AlertJournal(tmp_path, "log")
    journal.write([alert(1)])
    with journal.path.open("ab") as file:
        file.write(line + b"\n")
    journal.write([alert(2)])
    assert len(told(tmp_path)) == 2


def test_a_journal_is_bounded_by_count(tmp_path: Path) -> None:
    """Of too many records the newer half is kept, at once and not at the next start."""
    journal = AlertJournal(tmp_path, "log")
    for begin in range(0, 3 * MOST, 1000):
        journal.write([alert(number) for number in range(begin, begin + 1000)])
        assert journal.path.read_bytes().count(b"\n") <= MOST
    ids = [int(one.alert.id[3:]) for one in told(tmp_path)]
    assert ids == list(range(ids[0], 3 * MOST // 1000 * 1000 + 1000))
    assert len(ids) >= MOST // 2


def test_a_journal_is_bounded_by_bytes(tmp_path: Path) -> None:
    """So it is by its size, across restarts too; one batch may be larger than all that is kept."""
    for begin in range(0, 1000, 100):
        journal = AlertJournal(tmp_path, "log")
        journal.write([alert(number, text="x" * 10_000) for number in range(begin, begin + 100)])
        assert journal.path.stat().st_size <= MAX_BYTES
    journal.write([alert(number, text="x" * 10_000) for number in range(1000, 1900)])
    assert told(tmp_path)[-1].alert.id == "f1:1899"
    assert MAX_BYTES // 3 < journal.path.stat().st_size <= MAX_BYTES


def test_a_journal_that_others_may_write_is_refused(tmp_path: Path) -> None:
    """What it says is shown and answered: it must be ours."""
    path = tmp_path / "log.alerts.ndjson"
    path.write_text("")
    path.chmod(0o666)
    with pytest.raises(StateRefused, match="everybody may write it"):
        AlertJournal(tmp_path, "log")
    with pytest.raises(StateRefused):
        told(tmp_path)


def test_what_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full, at once or in the middle, is an error; later records are whole again."""
    journal = AlertJournal(tmp_path, "log")
    journal.write([alert(1)])
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:40]))
        with pytest.raises(StateError, match="there is no room"):
            journal.write([alert(2)])
    journal.write([alert(3)])
    assert [one.alert.id for one in told(tmp_path)] == ["f1:1", "f1:3"]
    journal.path.unlink()
    with pytest.raises(StateError, match="No such file"):
        journal.sync()


def test_each_run_has_its_own(tmp_path: Path) -> None:
    """What two runs tell of one alert is two tellings, each of its checkpoint; no journal, no alerts."""
    assert told(tmp_path) == []
    for name in ("b", "a"):
        AlertJournal(tmp_path, name).write([alert(1)])
    assert [one.checkpoint for one in told(tmp_path)] == ["a", "b"]
