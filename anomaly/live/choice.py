"""What of the board is looked at: filter, severity, order and pause; and which row is chosen."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from anomaly.live.board import KEPT, Board, Entry, Watched
from anomaly.records import Score, Severity

T = TypeVar("T")

USER_ORDERS = ("risk", "highest score", "last action", "actions", "name")
ENTRY_ORDERS = ("newest", "score", "risk")

_BY: dict[str, Callable[[Watched], tuple[float, ...]]] = {
    "risk": lambda user: (_high(user.risk), _high(user.highest)),
    "highest score": lambda user: (_high(user.highest), _high(user.risk)),
    "last action": lambda _: (),
    "actions": lambda user: (user.actions,),
}


class Choice:
    """What a person wants to see of a board.

    Parameters
    ----------
    board
        What there is to see.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self.text = ""
        """What an action's user, query or a value must contain, in upper or lower case."""
        self.user: tuple[str, str] | None = None
        """Host and name of the only user to be shown; None for everyone."""
        self.least = Severity.NONE
        self.user_order, self.entry_order = USER_ORDERS[0], ENTRY_ORDERS[0]
        self._still: list[Entry] | None = None
        self._paused_at = 0

    @property
    def paused(self) -> bool:
        """Whether the stream stands still."""
        return self._still is not None

    @property
    def waiting(self) -> int:
        """How many actions came since the stream stands still."""
        return self.board.taken - self._paused_at if self.paused else 0

    def pause(self) -> None:
        """Let the stream stand still, or go on."""
        if self._still is None:
            self._still = self.board.entries()
            self._paused_at = self._still[-1].number if self._still else self.board.taken
        else:
            self._still = None

    def next_severity(self) -> None:
        """Show from the next severity on; after the last, all again."""
        severities = list(Severity)
        self.least = severities[(self.least.rank + 1) % len(severities)]

    def next_user_order(self) -> None:
        """Sort users by the next figure."""
        self.user_order = _next(USER_ORDERS, self.user_order)

    def next_entry_order(self) -> None:
        """Sort actions by the next figure."""
        self.entry_order = _next(ENTRY_ORDERS, self.entry_order)

    def clear(self) -> None:
        """Show everyone's actions, whatever they contain and however severe they are."""
        self.text, self.user, self.least = "", None, Severity.NONE

    def users(self) -> list[Watched]:
        """Return the users, the one to look at first at the top."""
        users = self.board.users()
        if self.user_order == "name":
            return sorted(users, key=lambda user: (user.user, user.host))
        by = _BY[self.user_order]
        return sorted(users, key=lambda user: (*by(user), user.number), reverse=True)

    def entries(self) -> list[Entry]:
        """Return the actions to be shown, a thousand at most: oldest first, or else the worst first."""
        entries = self.board.entries() if self._still is None else self._still
        needle = self.text.casefold()
        found = [entry for entry in entries if self._wanted(entry.score, needle)][-KEPT:]
        if self.entry_order == "newest":
            return found
        figure = "score" if self.entry_order == "score" else "risk"
        return sorted(found, key=lambda entry: (_high(getattr(entry.score, figure)), entry.number), reverse=True)

    def _wanted(self, score: Score, needle: str) -> bool:
        if score.severity.rank < self.least.rank:
            return False
        action = score.action
        if self.user is not None and (action.host, action.user) != self.user:
            return False
        if not needle:
            return True
        return any(needle in text.casefold() for text in (action.user, action.query, *action.columns.values()))


class Roll(Generic[T]):
    """A list of which as much is seen as there is room for, and in which one row is chosen.

    Parameters
    ----------
    key
        Tells a row from the others, also when it is shown anew.
    follow
        Keep to the end of the list, until another row is chosen.
    """

    def __init__(self, key: Callable[[T], Hashable], *, follow: bool = False) -> None:
        self.rows: Sequence[T] = ()
        self.index = self.top = 0
        """Places of the row that is chosen, and of the first that is seen."""
        self.follow = follow
        self._key = key
        self._height = 1

    @property
    def chosen(self) -> T | None:
        """The chosen row; None where there is none."""
        return self.rows[self.index] if self.rows else None

    def show(self, rows: Sequence[T]) -> None:
        """Show other rows; the one that was chosen stays so, and stays where it is on the screen."""
        before, offset = self.chosen, self.index - self.top
        self.rows = rows
        if self.follow:
            self.index = len(rows) - 1
        elif before is not None:
            wanted = self._key(before)
            self.index = next((place for place, row in enumerate(rows) if self._key(row) == wanted), self.index)
            self.top = self.index - offset
        self._settle()

    def seen(self, height: int) -> Sequence[T]:
        """Return the rows that are seen where there is room for so many."""
        self._height = max(height, 1)
        self._settle()
        return self.rows[self.top : self.top + self._height]

    def move(self, by: int) -> None:
        """Choose another row, so many further down."""
        self.index += by
        self._settle()

    def page(self, by: int) -> None:
        """Choose another row, so many screens further down."""
        self.move(by * max(self._height - 1, 1))

    def first(self) -> None:
        """Choose the first row."""
        self.move(-len(self.rows))

    def last(self) -> None:
        """Choose the last row."""
        self.move(len(self.rows))

    def _settle(self) -> None:
        self.index = max(0, min(self.index, len(self.rows) - 1))
        self.top = max(self.index - self._height + 1, min(self.top, self.index))
        self.top = max(0, min(self.top, len(self.rows) - self._height))


def _high(value: float | None) -> float:
    return -1.0 if value is None else value


def _next(orders: tuple[str, ...], order: str) -> str:
    return orders[(orders.index(order) + 1) % len(orders)]
