"""What a run knows of itself: users, days, alerts, and how far it is behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly import board as board_module
from anomaly.board import Board, encodable
from anomaly.osquery import Action
from anomaly.records import Alert, ModelRef, Score, Severity
from anomaly.sources.interface import Line, Position, Source
from anomaly.tally import Tally

DAY = 86_400
NOON = 20_000 * DAY + DAY // 2
READY = ModelRef("OCSVM", 3, "ready")


class Waiting(Source):
    """A source in which so many bytes wait."""

    def __init__(self, backlog: int) -> None:
        self.counters = Counter(rotations=2)
        self._backlog = backlog

    def read(self, limit: int, timeout: float) -> list[Line]:
        """Return nothing."""
        del limit, timeout
        return []

    @property
    def position(self) -> Position:
        """Return no place."""
        return Position()

    @property
    def ended(self) -> bool:
        """Say that it goes on."""
        return False

    @property
    def backlog(self) -> int:
        """Return what waits."""
        return self._backlog

    def close(self) -> None:
        """Do nothing."""


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def score(
    user: str = "alice", time: int = NOON, rare: float | None = 5.0, risk: float | None = 3.0, host: str = "ws1"
) -> Score:
    """Make the score of an action."""
    return Score("f:0", Action(time, host, user, "shell_history", "added", {}), rare, risk, 1.0, READY)


def alert(user: str = "alice", *, update: int = 0, severity: Severity = Severity.WARNING) -> Alert:
    """Make an alert."""
    return Alert("f:0", user, "ws1", severity, NOON, NOON, 1, update, False, score(user), ())  # noqa: FBT003 - a record


@pytest.fixture
def board() -> Board:
    """Give an empty board."""
    return Board(Tally())


def test_a_users_row_says_what_was_last_and_what_was_worst_today(board: Board) -> None:
    """Actions, the last one's time and risk, the highest of the day, and the day's severities are kept by user."""
    board.take([score(rare=35.0), score(rare=22.0, risk=18.0), score("bob", rare=None, risk=None)])
    board.take([score(time=NOON + 60, risk=12.0), score(rare=55.0, risk=51.0), score(time=NOON + 90, risk=4.0)])
    alice, bob = board.rows()
    assert (alice.user, alice.host, alice.actions, alice.last, alice.risk) == ("alice", "ws1", 5, NOON + 90, 4.0)
    assert (alice.score_of_day, alice.risk_of_day, alice.model) == (55.0, 51.0, READY)
    assert (alice.notices, alice.warnings, alice.criticals) == (1, 1, 1)
    assert (bob.actions, bob.risk, bob.score_of_day) == (1, None, 0.0)


_POINTS = st.none() | st.floats(0, 100) | st.sampled_from([20.0, 25.0, 30.0, 50.0])


@given(_POINTS, _POINTS, st.booleans(), st.sampled_from(["ready", "learning", "drifted"]))
def test_an_action_is_counted_by_the_severity_of_its_score(
    rare: float | None,
    risk: float | None,
    baseline: bool,  # noqa: FBT001 - drawn
    state: str,
) -> None:
    """The board's quick rule is that of the score itself."""
    action = Action(NOON, "ws1", "alice", "shell_history", "added", {}, baseline)
    one = Score("f:0", action, rare, risk, 1.0, ModelRef("OCSVM", 3, state))
    board = Board(Tally())
    board.take([one])
    (row,) = board.rows()
    counted = {Severity.NOTICE: row.notices, Severity.WARNING: row.warnings, Severity.CRITICAL: row.criticals}
    assert counted == {severity: int(severity is one.severity) for severity in counted}


def test_another_day_of_the_log_begins_anew_and_a_late_line_does_not(board: Board) -> None:
    """What is of the day goes with it; a line of the day before changes nothing, a clock set back does."""
    board.take([score(rare=35.0)])
    board.take([score(time=NOON + DAY, rare=21.0)])
    (row,) = board.rows()
    assert (row.day, row.warnings, row.notices, row.score_of_day) == (20_001, 0, 1, 21.0)
    board.take([score(time=NOON), score(time=0)])
    assert (row.day, row.notices) == (20_001, 1)
    board.take([score(time=NOON - 30 * DAY)])
    assert (row.day, row.notices, row.actions) == (19_970, 0, 5)


@given(st.lists(st.tuples(st.integers(-(10**18), 10**18), st.floats(0, 100), st.integers(0, 3)), max_size=60))
def test_cuts_into_batches_do_not_matter(given_actions: list[tuple[int, float, int]]) -> None:
    """The rows are the same however scores are cut into batches, whatever times the log claims."""
    scores = [score(f"u{who}", time, rare, rare) for time, rare, who in given_actions]
    whole, cut = Board(Tally()), Board(Tally())
    whole.take(scores)
    for one in scores:
        cut.take([one])
    shown: Callable[[Board], list[object]] = lambda one: [  # noqa: E731 - used twice, here
        (row.user, row.actions, row.last, row.risk, row.day, row.notices, row.score_of_day) for row in one.rows()
    ]
    assert shown(whole) == shown(cut)
    assert sum(row.actions for row in whole.rows()) == len(scores)


def test_users_are_bounded_and_the_least_recent_go_first(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many users those who have not acted for longest are counted among the others."""
    monkeypatch.setattr(board_module, "USERS", 20)
    for number in range(20):
        board.take([score(f"u{number}")])
    board.take([score("u0")])
    board.take([score("new")])
    names = {row.user for row in board.rows()}
    assert len(names) == 19
    assert {"u0", "new"} <= names
    assert not {"u1", "u2"} & names
    assert board.others == 2
    for number in range(1000):
        board.take([score(f"x{number}"), score(f"y{number}")])
    assert len(board.rows()) <= 20
    assert sum(row.actions for row in board.rows()) + board.others == 2022


def test_names_too_long_are_told_apart_by_nobody(board: Board) -> None:
    """A name or host beyond 256 characters takes no memory: its actions are the others'."""
    board.take([score("a" * 257), score(host="h" * 257), score("a" * 256)])
    assert [row.user for row in board.rows()] == ["a" * 256]
    assert board.others == 2


def test_half_a_character_becomes_an_escape(board: Board) -> None:
    """Rows hold nothing that a file could not."""
    board.take([score("a\udc80"), score("a\udc80")])
    (row,) = board.rows()
    assert (row.user, row.actions) == ("a\\udc80", 2)
    assert encodable("a\udc80é").encode() == b"a\\udc80\xc3\xa9"


def test_an_alert_counts_once_however_often_it_is_brought_up_to_date(board: Board) -> None:
    """Alerts are counted by severity and by user when they are first told."""
    board.take([score()])
    board.alerted([alert(), alert(update=1), alert("nobody", severity=Severity.CRITICAL)])
    assert board.alerts == {Severity.WARNING: 1, Severity.CRITICAL: 1}
    assert [row.alerts for row in board.rows()] == [1]
    board.alerted([msgspec.structs.replace(alert(), first=1, last=1)])  # of a day that a backlog has left behind
    assert [row.alerts for row in board.rows()] == [1]
    board.failed("webhook")
    board.failed("webhook")
    assert board.failures == {"webhook": 2}


def test_a_line_that_has_just_come_is_no_lag() -> None:
    """Seconds behind are the age of the last action, once something has waited for a second; else 0."""
    clock, steady = Clock(NOON + 7200.0), Clock(100.0)
    board = Board(Tally(), clock, steady)
    board.take([score()])
    board.look(Waiting(50), safe=True)
    assert (board.backlog, board.behind, board.met["rotations"]) == (50, 0.0, 2)
    steady.now = 101.5
    board.look(Waiting(50), safe=True)
    assert board.behind == 7200.0
    board.look(Waiting(0), safe=True)
    assert board.behind == 0.0


def test_a_checkpoint_grows_old_only_while_something_is_missing_in_it() -> None:
    """Its age is what a crash would repeat; the loop's silence is told apart from it."""
    steady = Clock(100.0)
    board = Board(Tally(), steady=steady)
    board.look(Waiting(0), safe=True)
    steady.now = 160.0
    board.look(Waiting(0), safe=False)
    assert (board.unsafe, board.silent) == (60.0, 0.0)
    steady.now = 165.0
    assert board.silent == 5.0
    board.look(Waiting(0), safe=True)
    assert board.unsafe == 0.0


def test_who_looks_is_told_to_keep_it(board: Board) -> None:
    """Each look calls whoever keeps the board."""
    calls: list[int] = []
    board.changed = lambda: calls.append(1)
    board.look(Waiting(0), safe=True)
    assert calls == [1]


def test_a_board_goes_on_from_an_earlier_ones_rows(board: Board) -> None:
    """Counts of users go on, and who acted last is known."""
    board.take([score(), score("bob", time=NOON + 5)])
    later = Board(Tally())
    later.restore(board.rows(), others=7)
    later.take([score()])
    assert {row.user: row.actions for row in later.rows()} == {"alice": 2, "bob": 1}
    assert (later.others, later.day) == (7, 20_000)
