"""Lines of the screen: what they say, that they fit, and that nothing in them steers a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from anomaly.live.board import Board, Entry, Watched
from anomaly.live.choice import Choice
from anomaly.live.wording import (
    details,
    entry_header,
    entry_row,
    summed_up,
    user_header,
    user_row,
    wrapped,
)
from anomaly.records import Reason, ReasonKind, Severity
from anomaly.sinks.visible import columns

if TYPE_CHECKING:
    from tests.live.conftest import Make

ALICE = Watched("ws1", "alice", 52.4, 37.7, 10_657, 1_793_585_624, 5, "ready")
HOSTILE = st.text(st.sampled_from("ab[/]\\\x1b\x9b\n\u202e\u2028日ü\ud800"), max_size=60)


@pytest.mark.parametrize(
    ("width", "header", "row"),
    [
        (
            78,
            "user              risk  high   actions last action    model    severity",
            "alice             52.4  37.7    10,657 11-02 02:13:44 ready    critical",
        ),
        (
            62,
            "user          risk  high   actions model    severity",
            "alice         52.4  37.7    10,657 ready    critical",
        ),
        (38, "user        risk   actions severity", "alice       52.4    10,657 critical"),
    ],
)
def test_a_user_is_a_line(width: int, header: str, row: str) -> None:
    """Risk and severity are told at every width, the rest as far as there is room; nothing needs a colour."""
    assert user_header(width) == header
    assert user_row(ALICE, width, hosts=False) == (row, Severity.CRITICAL)


def test_a_host_is_told_where_there_are_several() -> None:
    """Of a user who has not acted yet, no host is known, and no time or score."""
    assert user_row(ALICE, 78, hosts=True).text.startswith("alice@ws1         52.4")
    idle = Watched("", "bob", None, None, 0, 0, 0, "")
    assert user_row(idle, 78, hosts=True).text.split() == ["bob", "-", "-", "0"]


def test_an_action_without_a_time_says_so(make: Make) -> None:
    """A time that the log does not tell is a word and no gap."""
    score = make("alice", 37.24, 12.5)
    score = replace(score, action=replace(score.action, time=0))
    assert entry_row(Entry(1, score), 78).text.startswith("no time        alice       37.2")


@pytest.mark.parametrize(
    ("width", "header", "row"),
    [
        (
            78,
            "time           user       score  risk severity action",
            "11-02 02:13:44 alice       37.2  12.5 warning  +shell_history nmap -sS 10.0...",
        ),
        (38, "user     score  risk severity action", "alice     37.2  12.5 warning  +shel..."),
    ],
)
def test_an_action_is_a_line(make: Make, width: int, header: str, row: str) -> None:
    """Figures and severity are told at every width, the action as far as there is room."""
    score = make("alice", 37.24, 12.5, command="nmap -sS 10.0.0.0/24")
    assert entry_header(width) == header
    found = entry_row(Entry(1, score), width)
    assert found == (row, Severity.WARNING)


def test_a_baseline_row_is_named_so(make: Make) -> None:
    """State is no behaviour."""
    assert " baseline " in entry_row(Entry(1, make(score=None, baseline=True)), 78).text


def test_an_action_is_told_in_full(make: Make) -> None:
    """Its figures, its reasons as sentences, then the query and all columns."""
    reasons = (Reason(ReasonKind.NEW_VALUE, "command", "nmap", ("ls", "git"), 0, 12034, 13.1),)
    lines = [
        row.text for row in details(make("alice", 37.24, 12.5, reasons=reasons, command="nmap", uid="1000"), 78)
    ]
    assert lines == [
        "alice on ws1, 2026-11-02T02:13:44Z: score 37.2, risk 12.5, warning (OCSVM 1, ",
        "  ready)",
        'new command "nmap", never seen in 12,034; usually ls, git',
        "action: added",
        "query: shell_history",
        "command: nmap",
        "uid: 1000",
    ]


def test_an_action_without_reasons_says_why(make: Make) -> None:
    """Nothing stands out, or nothing is known."""
    assert "No reasons: no part of it stands out." in [row.text for row in details(make(), 78)]
    unknown = details(make("eve", None, None, state="none"), 200)
    assert unknown[0].text.endswith("score -, risk - (no model, none)")
    assert unknown[1].text == "No reasons: there is no model of this user."


@given(HOSTILE, HOSTILE, HOSTILE, st.integers(1, 120))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_is_wider_than_its_place_or_steers(
    make: Make, user: str, name: str, value: str, width: int
) -> None:
    """Whatever users, columns and values hold, each line is printable, and fits from the narrowest layout on."""
    reason = Reason(ReasonKind.RARE_VALUE, name, value, (value,), 1, 2, 3.0)
    score = make(user, 60.0, 60.0, host=user, query=value, reasons=(reason,))
    score.action.columns[name] = value
    lines = [user_row(ALICE._replace(user=user, host=value), width, hosts=True).text]
    lines += [row.text for row in details(score, width)]
    lines.append(entry_row(Entry(1, score), max(width, 30)).text)
    assert all(line.isprintable() for line in lines)
    assert all(columns(line) <= max(width, 8) for line in lines[:-1])
    assert columns(lines[-1]) <= max(width, 30)


def test_a_long_value_takes_a_bounded_number_of_lines(make: Make) -> None:
    """A megabyte in one column is no thousand lines."""
    assert len(details(make(command="x" * 1_000_000), 78)) < 25


@given(st.text(st.sampled_from("ab 日"), max_size=90), st.integers(8, 40))
def test_wrapping_loses_nothing(text: str, width: int) -> None:
    """The lines hold the text, character by character, and none is too wide."""
    lines = list(wrapped(text, width))
    assert lines[0] + "".join(line[2:] for line in lines[1:]) == text
    assert all(columns(line) <= width for line in lines)


def test_what_is_shown_is_summed_up(make: Make) -> None:
    """Everything that keeps an action from being seen is named."""
    choice = Choice(Board())
    assert summed_up(choice, follow=True) == "Actions: newest last"
    assert summed_up(choice, follow=False) == "Actions: newest last; not following"
    choice.pause()
    choice.board.write([make()] * 1234)
    choice.next_severity()
    choice.user, choice.text = ("ws1", "alice"), "nmap"
    choice.next_entry_order()
    assert (
        summed_up(choice, follow=False)
        == 'Actions: highest score first; paused, 1,234 came meanwhile; notice and worse; only alice; with "nmap"'
    )
