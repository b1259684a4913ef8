"""The board: what it keeps of what comes, and that it does not grow."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from anomaly.live.board import KEPT, LATELY, Board
from anomaly.records import Severity

if TYPE_CHECKING:
    from tests.live.conftest import Make


def test_a_user_stands_where_the_last_action_left_him(make: Make) -> None:
    """Risk, count, time and model are the last action's, the highest score that of the last hundred."""
    board = Board()
    board.write([make("alice", 40.0, 3.0), make("bob", 1.0, 26.0), make("alice", 2.0, 4.0, state="drifted")])
    bob, alice = board.users()
    assert (alice.host, alice.user, alice.risk, alice.highest, alice.actions) == ("ws1", "alice", 4.0, 40.0, 2)
    assert (alice.last, alice.number, alice.state) == (1_793_585_624, 3, "drifted")
    assert (bob.severity, alice.severity) == (Severity.WARNING, Severity.NONE)
    board.write([make("alice", 5.0) for _ in range(LATELY - 1)])
    assert board.users()[-1].highest == 5.0


def test_what_has_no_figures_is_shown_without(make: Make) -> None:
    """A baseline row has no score, a stranger neither score nor risk."""
    board = Board()
    board.write([make("alice", None, 7.0, baseline=True), make("eve", None, None, state="none")])
    eve, alice = board.users()
    assert (alice.risk, alice.highest, alice.actions) == (7.0, None, 1)
    assert (eve.risk, eve.highest, eve.state) == (None, None, "none")


def test_the_newest_of_each_severity_are_kept(make: Make) -> None:
    """However much comes, a thousand of each severity stay, and harmless actions push no alarm out."""
    board = Board()
    board.write([make("alice", 55.0)])
    for _ in range(3):
        board.write([make() for _ in range(KEPT)])
    entries = board.entries()
    assert board.taken == 3 * KEPT + 1
    assert len(entries) == KEPT + 1
    assert [entry.number for entry in entries[:2]] == [1, 2 * KEPT + 2]
    assert entries[-1].number == board.taken


def test_what_is_below_the_least_is_counted_and_not_kept(make: Make) -> None:
    """A user's standing is that of all actions; the stream has those whose score or risk is enough."""
    board = Board(least=10.0)
    board.write([make(score=9.0, risk=9.0), make(score=11.0, risk=1.0), make(score=None, risk=12.0)])
    assert [entry.number for entry in board.entries()] == [2, 3]
    assert board.users()[0].actions == 3


def test_names_cannot_fill_the_memory(make: Make) -> None:
    """The log may name any number of users and hosts: users with a model are pushed out by their like alone."""
    board = Board()
    board.write([make("alice", 1.0, 60.0)])
    board.write([make(f"u{number}", None, None, host=f"h{number}", state="none") for number in range(1500)])
    users = board.users()
    assert len(users) == 1001
    assert users[-1].user == "alice"
    assert "u0" not in {user.user for user in users}
    assert len(board.hosts) == 1001
    board.write([make(f"m{number}") for number in range(1000)])
    assert "alice" not in {user.user for user in board.users()}
    assert board.hosts["ws1"] == 1000


def test_a_user_whose_model_comes_or_goes_stays_one(make: Make) -> None:
    """Trained while one looks, a user is not listed twice."""
    board = Board()
    board.write(
        [make("eve", None, None, state="none"), make("eve", 1.0, 2.0), make("eve", None, None, state="none")]
    )
    assert [(user.user, user.actions, user.state) for user in board.users()] == [("eve", 3, "none")]
    assert board.hosts == {"ws1": 1}


def test_who_is_expected_is_shown_until_he_acts(make: Make) -> None:
    """What a checkpoint says is shown under the model's name, and gives way to the user's own actions."""
    board = Board()
    board.expect([("alice", 31.0), ("bob@ws1", None), ("bob@ws2", 5.0)])
    assert [(user.user, user.risk, user.number, user.state) for user in board.users()] == [
        ("alice", 31.0, 0, ""),
        ("bob@ws1", None, 0, ""),
        ("bob@ws2", 5.0, 0, ""),
    ]
    board.write([make("bob"), make("alice", 1.0, 32.0)])
    assert [(user.host, user.user) for user in board.users()] == [
        ("", "bob@ws2"),
        ("ws1", "bob"),
        ("ws1", "alice"),
    ]


def test_long_actions_are_cut(make: Make) -> None:
    """What is kept of an action is bounded, however long the line was; a usual one is kept as it is."""
    board = Board()
    usual = make(command="x" * 3000)
    long = make("u" * 256, query="q" * 9999, c0="y" * 99_999)
    long.action.columns.update((f"c{number}", "y" * 99_999) for number in range(1, 99))
    board.write([usual, long])
    first, second = (entry.score for entry in board.entries())
    assert first is usual
    action = second.action
    assert len(action.columns) == 24
    assert action.columns["c0"] == "y" * 200 + "..."
    assert sum(map(len, (action.user, action.query, *action.columns, *action.columns.values()))) < 6000
    assert (second.id, second.score, second.model) == (long.id, long.score, long.model)


def test_one_thread_writes_while_another_looks(make: Make) -> None:
    """Whoever looks sees whole actions, in order, whatever is written meanwhile."""
    board = Board()
    batches = [[make(f"u{number % 40}", number % 60) for number in range(500)] for _ in range(20)]

    def write() -> None:
        for batch in batches:
            board.write(batch)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        numbers = [entry.number for entry in board.entries()]
        assert numbers == sorted(numbers)
        assert len(board.users()) <= 40
    writer.join()
    assert sum(user.actions for user in board.users()) == board.taken == 10_000
