"""What of the board is shown, in which order, and which row is chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.live.board import KEPT, Board
from anomaly.live.choice import ENTRY_ORDERS, USER_ORDERS, Choice, Roll
from anomaly.records import Severity

if TYPE_CHECKING:
    from tests.live.conftest import Make


@pytest.fixture
def choice(make: Make) -> Choice:
    """Give a board with five actions of three users."""
    board = Board()
    board.write(
        [
            make("alice", 55.0, 5.0, command="nmap -sS 10.0.0.0/24"),
            make("bob", 22.0, 30.0, query="processes", path="/usr/bin/ls"),
            make("carol", None, None, state="none"),
            make("alice", 1.0, 6.0, query="open_sockets", remote_address="10.0.0.9"),
            make("bob", 35.0, 12.0, host="ws2"),
        ]
    )
    return Choice(board)


def numbers(choice: Choice) -> list[int]:
    """Tell which actions are shown."""
    return [entry.number for entry in choice.entries()]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", [1, 2, 3, 4, 5]),
        ("alice", [1, 4]),
        ("ALIce", [1, 4]),
        ("open_s", [4]),
        ("10.0.0.", [1, 4]),
        ("bin/ls", [2]),
        ("path", []),  # a column's name is no value
        ("[", []),
    ],
)
def test_the_filter_looks_at_users_queries_and_values(choice: Choice, text: str, found: list[int]) -> None:
    """A text is looked for as it is, in upper or lower case."""
    choice.text = text
    assert numbers(choice) == found


def test_severities_go_round(choice: Choice) -> None:
    """From all to critical alone, and back to all."""
    seen = []
    for _ in range(5):
        seen.append((choice.least, numbers(choice)))
        choice.next_severity()
    assert seen == [
        (Severity.NONE, [1, 2, 3, 4, 5]),
        (Severity.NOTICE, [1, 2, 5]),
        (Severity.WARNING, [1, 2, 5]),
        (Severity.CRITICAL, [1]),
        (Severity.NONE, [1, 2, 3, 4, 5]),
    ]


def test_one_user_is_one_of_one_host(choice: Choice) -> None:
    """The same name on another host is somebody else; clearing shows everyone again."""
    choice.user = ("ws1", "bob")
    assert numbers(choice) == [2]
    choice.text, choice.least = "ls", Severity.NOTICE
    choice.clear()
    assert numbers(choice) == [1, 2, 3, 4, 5]


def test_actions_are_sorted_by_each_figure(choice: Choice) -> None:
    """Newest last, or the highest first and among equals the newest."""
    seen = {}
    for _ in ENTRY_ORDERS:
        seen[choice.entry_order] = numbers(choice)
        choice.next_entry_order()
    assert seen == {"newest": [1, 2, 3, 4, 5], "score": [1, 5, 2, 4, 3], "risk": [2, 5, 4, 1, 3]}
    assert choice.entry_order == "newest"


def test_users_are_sorted_by_each_figure(choice: Choice, make: Make) -> None:
    """Whoever is to be looked at first is at the top."""
    choice.board.write([make("alice", 2.0, 6.0)])
    seen = {}
    for _ in USER_ORDERS:
        seen[choice.user_order] = [f"{user.user}@{user.host}" for user in choice.users()]
        choice.next_user_order()
    alice, bob, carol, other = "alice@ws1", "bob@ws1", "carol@ws1", "bob@ws2"
    assert seen == {
        "risk": [bob, other, alice, carol],
        "highest score": [alice, other, bob, carol],
        "last action": [alice, other, carol, bob],
        "actions": [alice, other, carol, bob],
        "name": [alice, bob, other, carol],
    }


def test_a_paused_stream_stands_still_and_counts(choice: Choice, make: Make) -> None:
    """What comes meanwhile is counted, and shown when it goes on; the filter works on what stands still."""
    choice.pause()
    choice.board.write([make("alice") for _ in range(7)])
    assert (choice.paused, choice.waiting, numbers(choice)) == (True, 7, [1, 2, 3, 4, 5])
    choice.text = "alice"
    assert numbers(choice) == [1, 4]
    choice.pause()
    assert (choice.paused, choice.waiting, numbers(choice)) == (False, 0, [1, 4, 6, 7, 8, 9, 10, 11, 12])


def test_a_stream_may_pause_before_the_first_action(make: Make) -> None:
    """Then all that comes is counted."""
    choice = Choice(Board())
    choice.pause()
    choice.board.write([make(), make()])
    assert (choice.waiting, numbers(choice)) == (2, [])


def test_no_more_than_a_thousand_actions_are_shown(choice: Choice, make: Make) -> None:
    """Beside what each severity keeps, the list itself is bounded."""
    choice.board.write([make(score=number % 2 * 30.0) for number in range(2 * KEPT)])
    assert len(choice.entries()) == KEPT
    assert numbers(choice)[-1] == choice.board.taken


def test_a_roll_keeps_to_the_chosen_row() -> None:
    """What comes before or after it moves neither the choice nor its place on the screen."""
    roll: Roll[int] = Roll(lambda row: row)
    roll.show(range(20))
    roll.seen(5)
    roll.move(9)
    assert (roll.chosen, list(roll.seen(5))) == (9, [5, 6, 7, 8, 9])
    roll.show(range(3, 40))
    assert (roll.chosen, list(roll.seen(5))) == (9, [5, 6, 7, 8, 9])
    roll.show(range(9, 40))
    assert (roll.chosen, roll.seen(5)[0]) == (9, 9)
    roll.show(range(30, 40))  # it is gone
    assert roll.chosen == 30


def test_a_roll_follows_the_end() -> None:
    """Until it is told not to, the last row is the chosen one."""
    roll: Roll[int] = Roll(lambda row: row, follow=True)
    roll.show(range(3))
    roll.show(range(30))
    assert (roll.chosen, list(roll.seen(4))) == (29, [26, 27, 28, 29])
    roll.follow = False
    roll.show(range(60))
    assert roll.chosen == 29


def test_a_roll_turns_by_pages_and_to_its_ends() -> None:
    """A page leaves one row of the last one in sight."""
    roll: Roll[int] = Roll(lambda row: row)
    roll.show(range(100))
    roll.seen(10)
    roll.page(2)
    assert roll.chosen == 18
    roll.last()
    assert roll.chosen == 99
    roll.page(-1)
    assert roll.chosen == 90
    roll.first()
    assert (roll.chosen, roll.top) == (0, 0)


_STEPS = st.one_of(
    st.tuples(st.just("show"), st.integers(0, 30)),
    st.tuples(st.just("seen"), st.integers(-1, 12)),
    st.tuples(st.sampled_from(("move", "page")), st.integers(-9, 9)),
    st.tuples(st.sampled_from(("first", "last")), st.just(0)),
)


@given(st.lists(_STEPS, max_size=20), st.booleans())
def test_the_chosen_row_is_always_seen(steps: list[tuple[str, int]], follow: bool) -> None:  # noqa: FBT001 - drawn
    """Whatever is done with a roll, and however few rows there are."""
    roll: Roll[int] = Roll(lambda row: row, follow=follow)
    for what, value in steps:
        do: Callable[[int], object] = {
            "show": lambda count: roll.show(range(count)),
            "seen": roll.seen,
            "move": roll.move,
            "page": roll.page,
            "first": lambda _: roll.first(),
            "last": lambda _: roll.last(),
        }[what]
        do(value)
    seen = roll.seen(4)
    assert len(seen) == min(4, len(roll.rows))
    assert roll.chosen in seen if roll.rows else roll.chosen is None
