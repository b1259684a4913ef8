"""Scores and alerts to write: some that look like life, and a strategy for anything the types allow."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import strategies as st

from anomaly.osquery import Action
from anomaly.records import Alert, ModelRef, Reason, ReasonKind, Score, Severity

# Any code point, lone surrogates included, and often one of those that matter.
_CHARACTERS = st.characters(exclude_categories=()) | st.sampled_from("\0\t\n\r\x1b\x7f\x9b\u202e\u2028\ufeff日")
_TEXT = st.text(_CHARACTERS, max_size=40) | st.builds("x".__mul__, st.integers(0, 300))
_POINTS = st.none() | st.floats(0, 100) | st.sampled_from((float("nan"), float("inf")))
_FIGURE = st.floats() | st.integers(-(2**70), 2**70)
_COUNT = st.integers(0, 2**70)
_NAME = _TEXT | st.sampled_from(("command", "path", "uid", "remote_port"))

st.register_type_strategy(
    Score,
    st.builds(
        Score,
        id=_TEXT,
        action=st.builds(
            Action,
            time=st.integers(0, 2**33) | st.integers(-(2**70), 2**70),
            host=_TEXT,
            user=_TEXT,
            query=_TEXT,
            verb=st.sampled_from(("added", "removed", "snapshot")),
            columns=st.dictionaries(_NAME, _TEXT, max_size=5),
            baseline=st.booleans(),
        ),
        score=_POINTS,
        risk=_POINTS,
        surprise=st.none() | _FIGURE,
        model=st.sampled_from((ModelRef("LSTM", 7, "ready"), ModelRef(None, None, "none"))),
        reasons=st.lists(
            st.builds(
                Reason,
                kind=st.sampled_from(ReasonKind),
                field=_TEXT,
                value=_TEXT,
                expected=st.lists(_TEXT, max_size=3).map(tuple),
                seen=_COUNT,
                of=_COUNT,
                bits=_FIGURE,
            ),
            max_size=5,
        ).map(tuple),
    ),
)

st.register_type_strategy(
    Alert,
    st.builds(
        Alert,
        id=_TEXT,
        user=_TEXT | st.sampled_from(("uid:1000", "host:ws1")),
        host=_TEXT,
        severity=st.sampled_from(Severity),
        first=st.integers(0, 2**33),
        last=st.integers(0, 2**33),
        count=st.integers(1, 2**40),
        update=st.integers(0, 2**40),
        closed=st.booleans(),
        worst=st.from_type(Score),
        reasons=st.from_type(Score).map(lambda score: score.reasons),
    ),
)


@pytest.fixture
def scan() -> Score:
    """Let alice, who never did, map a network at night."""
    return Score(
        id="9f2c:18230",
        action=Action(
            time=1793585624,
            host="ws1",
            user="alice",
            query="shell_history",
            verb="added",
            columns={"username": "alice", "uid": "1000", "command": "nmap -sS 10.0.0.0/24"},
        ),
        score=37.24,
        risk=12.5,
        surprise=21.4,
        model=ModelRef("LSTM", 7, "ready"),
        reasons=(
            Reason(ReasonKind.NEW_VALUE, "command", "nmap", ("ls", "git"), 0, 12034, 13.1),
            Reason(ReasonKind.UNUSUAL_HOUR, "time", "02:00 UTC", ("09:00 UTC",), 0, 12034, 11.04),
        ),
    )


@pytest.fixture
def baseline() -> Score:
    """Report a process that ran when osquery was first asked."""
    row = {"name": "bash", "path": "/usr/bin/bash", "username": "alice"}
    return Score(
        id="9f2c:18630",
        action=Action(1793585654, "ws1", "alice", "processes", "added", row, baseline=True),
        score=None,
        risk=12.5,
        surprise=None,
        model=ModelRef("LSTM", 7, "ready"),
    )


@pytest.fixture
def stranger() -> Score:
    """Report a row of a user without a model, from a line without a time."""
    return Score(
        id="9f2c:18930",
        action=Action(0, "ws1", "bob", "open_sockets", "removed", {"remote_address": "10.0.0.7", "uid": "1001"}),
        score=None,
        risk=None,
        surprise=None,
        model=ModelRef(None, None, "none"),
    )


@pytest.fixture
def alert(scan: Score) -> Alert:
    """Tell of three alarming actions of alice in two minutes, the worst of which maps a network."""
    return Alert(
        id="9f2c:18000",
        user="alice",
        host="ws1",
        severity=Severity.WARNING,
        first=1793585504,
        last=1793585624,
        count=3,
        update=0,
        closed=False,
        worst=scan,
        reasons=scan.reasons,
    )


@pytest.fixture
def alerts(alert: Alert) -> Callable[[int], list[Alert]]:
    """Make many alerts, each with an id of its own."""
    return lambda number: [msgspec.structs.replace(alert, id=f"9f2c:{place}") for place in range(number)]
