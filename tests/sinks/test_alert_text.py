from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.records import Alert
from anomaly.sinks.alert_text import alert_text
from anomaly.sinks.visible import columns


def test_alert(alert: Alert) -> None:
    """Five lines: who, when and how much; the worst action; why; what to do next, each ready to be pasted."""
    assert alert_text(alert).splitlines() == [
        "2026-11-02 02:13:44 alice on ws1: 3 unusual actions in 2 min, warning",
        "  +shell_history nmap -sS 10.0.0.0/24 (score 37.2 risk 12.5)",
        '  new command "nmap", never seen in 12,034; usually ls, git',
        "  Was it expected? anomaly feedback 9f2c:18230 --expected",
        "  Or an incident?  anomaly feedback 9f2c:18230 --incident",
    ]


@pytest.mark.parametrize(
    ("first", "last", "count", "said"),
    [
        (0, 0, 1, "1 unusual action, warning"),
        (1000, 1005, 2, "2 unusual actions in 5 s, warning"),
        (1000, 1000 + 3 * 3600, 1000, "1,000 unusual actions in 3 h, warning"),
        (1005, 1000, 2, "2 unusual actions, warning"),
    ],
)
def test_how_much(alert: Alert, first: int, last: int, count: int, said: str) -> None:
    """The count and how long it took, where the log says it."""
    changed = msgspec.structs.replace(alert, first=first, last=last, count=count)
    assert alert_text(changed).splitlines()[0].endswith(f"alice on ws1: {said}")


def test_the_end_of_a_burst_asks_nothing(alert: Alert) -> None:
    """A closed alert says that it is over, and proposes nothing more."""
    lines = alert_text(msgspec.structs.replace(alert, closed=True)).splitlines()
    assert lines[0].endswith("warning, over")
    assert len(lines) == 3


def test_a_real_id_fits(alert: Alert) -> None:
    """An id as they are, of a log of millions of lines, leaves the whole in 80 columns."""
    worst = msgspec.structs.replace(alert.worst, id="9f2c41d07b3e5a68:9999999999")
    lines = alert_text(msgspec.structs.replace(alert, worst=worst)).splitlines()
    assert max(map(columns, lines)) <= 80


@settings(deadline=None)
@given(st.from_type(Alert))
def test_any_alert(alert: Alert) -> None:
    """Whatever the alert, it is two to five printable lines; all but the commands fit into 80 columns."""
    lines = alert_text(alert).split("\n")
    assert lines.pop() == ""
    assert 2 <= len(lines) <= 5
    assert all(line.isprintable() for line in lines)
    assert all(columns(line) <= 80 for line in lines if "anomaly feedback" not in line)
