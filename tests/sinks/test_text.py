from __future__ import annotations

import io
from textwrap import dedent

import click
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.osquery import Action
from anomaly.records import ModelRef, Reason, ReasonKind, Score
from anomaly.sinks.text import TextSink
from anomaly.sinks.visible import columns


class Counter(io.StringIO):
    """A stream that notes what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def write(self, text: str, /) -> int:
        """Note the call."""
        self.calls.append("write")
        return super().write(text)

    def flush(self) -> None:
        """Note the call."""
        self.calls.append("flush")


def shown(*scores: Score, colour: bool = False, width: int = 80) -> str:
    """Print scores as text."""
    stream = io.StringIO()
    TextSink(stream, colour=colour, width=width).write(scores)
    return stream.getvalue()


def of(action: Action, *reasons: Reason, score: float | None = 55.0) -> Score:
    """Score an action."""
    return Score("f:0", action, score, score, score, ModelRef("LSTM", 1, "ready"), reasons)


def doing(query: str, **row: str) -> Action:
    """Report a row of alice."""
    return Action(1793585624, "ws1", "alice", query, "added", row)


def test_table(scan: Score, baseline: Score, stranger: Score) -> None:
    """A header, one aligned line a score, and a sentence a reason; what is unknown is a dash or a word."""
    assert shown(scan, baseline, stranger) == dedent("""\
        time           user       score  risk severity action
        11-02 02:13:44 alice       37.2  12.5 warning  +shell_history nmap -sS 10.0.0...
          new command "nmap", never seen in 12,034; usually ls, git
          unusual hour 02:00 UTC, 0 of 12,034; usually 09:00 UTC
        11-02 02:14:14 alice          -  12.5 baseline +processes /usr/bin/bash
        no time        bob            -     -          -open_sockets 10.0.0.7
        """)


def test_a_row_without_a_time_says_so() -> None:
    """A time that the log does not tell, or that no calendar has, is a word and no gap."""
    for time in (0, 10**18):
        action = Action(time, "ws1", "alice", "shell_history", "added", {"command": "ls"})
        line = shown(of(action)).splitlines()[1]
        assert line == "no time        alice       55.0  55.0 critical +shell_history ls"


def test_wider(scan: Score) -> None:
    """A wider terminal shows more of the action."""
    assert "+shell_history nmap -sS 10.0.0.0/24\n" in shown(scan, width=100)


def test_header_once(scan: Score) -> None:
    """The header stands before the first record, and only there."""
    stream = io.StringIO()
    sink = TextSink(stream, colour=False)
    sink.write([])
    assert stream.getvalue() == ""
    sink.write([scan])
    sink.write([scan])
    assert stream.getvalue().count("severity") == 1


def test_one_write_and_flush_a_batch(scan: Score) -> None:
    """A batch is one write and one flush, so that a pipe gets whole lines at once."""
    stream = Counter()
    TextSink(stream, colour=False).write([scan, scan, scan])
    assert stream.calls == ["write", "flush"]


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (
            Reason(ReasonKind.NEW_VALUE, "command", "nmap", ("ls", "git"), 0, 12034, 13.1),
            'new command "nmap", never seen in 12,034; usually ls, git',
        ),
        (
            Reason(ReasonKind.RARE_VALUE, "command", "nmap", ("ls",), 2, 12034, 11.0),
            'rare command "nmap", 2 of 12,034; usually ls',
        ),
        (
            Reason(
                ReasonKind.UNEXPECTED_NEXT,
                "action",
                "process_events added",
                ("processes added",),
                9,
                99,
                9.14,
            ),
            "unexpected process_events added here (9.1 bits); expected processes added",
        ),
        (
            Reason(ReasonKind.UNUSUAL_HOUR, "time", "02:00 UTC", ("09:00 UTC", "10:00 UTC"), 0, 12034, 9.0),
            "unusual hour 02:00 UTC, 0 of 12,034; usually 09:00 UTC, 10:00 UTC",
        ),
        (
            Reason(ReasonKind.UNUSUAL_MIX, "path", "/usr/bin/nc", ("/usr/bin/git",), 7, 12034, 3.0),
            'unusual in this mix: path "/usr/bin/nc"; usually /usr/bin/git',
        ),
        (Reason(ReasonKind.NEW_VALUE, "path", "/usr/bin/evil", (), 0, 0, 9.0), 'new path "/usr/bin/evil"'),
        (
            Reason(ReasonKind.NEW_VALUE, "path", "/opt/" + "x" * 90, ("a" * 30, "b" * 30), 0, 5, 9.0),
            f'new path "/opt/{"x" * 24}...", never seen in 5',
        ),
        (
            Reason(ReasonKind.NEW_VALUE, "tty", "pts/9", ("pts/0", "b" * 28, "c" * 28), 0, 5, 9.0),
            f'new tty "pts/9", never seen in 5; usually pts/0, {"b" * 28}',
        ),
    ],
)
def test_sentences(reason: Reason, sentence: str) -> None:
    """Each kind of reason has its sentence; of what is usual it names as many as fit, and none by half."""
    assert shown(of(doing("x"), reason)).splitlines()[2:] == ["  " + sentence]


@pytest.mark.parametrize(("score", "lines"), [(19.9, 2), (20.0, 3)])
def test_reasons_from_notice_upwards(score: float, lines: int) -> None:
    """What asks for no attention is one line, whatever its reasons."""
    reason = Reason(ReasonKind.NEW_VALUE, "command", "nmap", (), 0, 5, 9.0)
    assert len(shown(of(doing("x"), reason, score=score)).splitlines()) == lines


@pytest.mark.parametrize(
    ("action", "summary"),
    [
        (
            doing("process_events", uid="0", pid="7", path="/bin/su", cmdline="su -", time="1"),
            "su - path=/bin/su",
        ),
        (doing("open_sockets", remote_port="443", remote_address="fe80::1234"), "fe80::1234"),
        (doing("usb", serial="A1", vendor_id="05ac"), "serial=A1 vendor_id=05ac"),
        (doing("users", uid="0", username=""), "uid=0"),
        (doing("nothing"), ""),
    ],
)
def test_summary(action: Action, summary: str) -> None:
    """The most telling columns come first, unnamed; who and when is left out; the rest only where it fits."""
    line = shown(of(action, score=None)).splitlines()[1]
    assert line[47:] == f"+{action.query} {summary}".rstrip()


def test_colour_only_on_request(scan: Score, baseline: Score) -> None:
    """Colour adds escape sequences around the same text, and without it there is not one."""
    plain, coloured = shown(scan, baseline), shown(scan, baseline, colour=True)
    assert "\x1b" not in plain
    assert "\x1b[33mwarning \x1b[0m" in coloured
    assert click.unstyle(coloured) == plain


@pytest.mark.parametrize(
    "text",
    [
        "\x1b]0;owned\x07\x1b[2J",
        "[/oops] [bold red]markup[/]",
        "one\ntwo\r\nthree",
        "\u202egpj.exe\u2066",
        "日本語" * 40,
        "x" * 65536,
        "\x1b" * 65536,
        "\udc80\ud800",
        "\x9b31m\x7f\x00",
    ],
)
@pytest.mark.parametrize("where", ["user", "query", "command", "reason"])
def test_hostile_text(text: str, where: str) -> None:
    """No text of the log adds a line, leaves its 80 columns, or reaches the terminal as a control."""
    action = msgspec.structs.replace(doing("shell_history", command="ls"), host=text)
    if where == "command":
        action = msgspec.structs.replace(action, columns={"command": text, text: text})
    elif where != "reason":
        action = msgspec.structs.replace(action, **{where: text})
    value = text if where == "reason" else "nmap"
    lines = shown(of(action, Reason(ReasonKind.NEW_VALUE, value, value, (value,), 0, 5, 9.0))).split("\n")
    assert len(lines) == 4
    assert lines[3] == ""
    assert all(line.isprintable() and columns(line) <= 80 for line in lines)


def test_markup_is_text() -> None:
    """What rich would read as markup is printed as it stands."""
    assert "[/oops] [red]" in shown(of(doing("x", command="[/oops] [red]"), score=None))


def test_poor_encoding() -> None:
    """A terminal that knows no Japanese gets escapes, in the same 80 columns."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="latin-1")
    TextSink(stream, colour=False).write([of(doing("x", command="naïve 日本語" * 20), score=None)])
    written = raw.getvalue().decode("latin-1")
    assert r"naïve \u65e5\u672c" in written
    assert all(len(line) <= 80 for line in written.splitlines())


@given(st.lists(st.from_type(Score), max_size=4), st.sampled_from((60, 80, 133)))
def test_structure(scores: list[Score], width: int) -> None:
    """Whatever the scores, each gives a line, so does each reason to show, and all of them fit."""
    lines = shown(*scores, width=width).split("\n")
    reasons = sum(len(score.reasons) for score in scores if score.severity.rank > 0)
    assert len(lines) == len(scores) + reasons + bool(scores) + 1
    assert all(line.isprintable() and columns(line) <= width for line in lines)
