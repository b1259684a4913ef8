"""A list on the screen, of which only the lines that are seen are made: a thousand rows cost what ten do."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from anomaly.live.choice import Roll
from anomaly.live.wording import Row
from anomaly.records import Severity
from anomaly.sinks.visible import visible

T = TypeVar("T")

MARGIN = 2
"""Columns before each row: the chosen one has a mark there, which needs no colour."""

_COLOURS = {
    Severity.NONE: Style(),
    Severity.NOTICE: Style(color="cyan"),
    Severity.WARNING: Style(color="yellow"),
    Severity.CRITICAL: Style(color="red", bold=True),
}
_HEADER = Style(bold=True, underline=True)
_CHOSEN = Style(reverse=True)


class Listing(Widget, Generic[T], can_focus=True):
    """Shows a roll's rows, each on a line. Text goes to the screen as it is: there is no markup in it.

    Parameters
    ----------
    roll
        The rows, and which is chosen.
    row
        Words a row for so many columns.
    header
        Words the line above the rows; None for none.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)"),
        Binding("down,j", "move(1)"),
        Binding("pageup", "page(-1)"),
        Binding("pagedown", "page(1)"),
        Binding("home,g", "first"),
        Binding("end,G", "last"),
        Binding("enter", "take"),
    ]

    class _Told(Message):
        """What a key did."""

        def __init__(self, listing: Listing[T]) -> None:
            super().__init__()
            self.listing = listing

    class Moved(_Told):
        """Another row may have been chosen."""

    class Taken(_Told):
        """Something is to be done with the chosen row."""

    def __init__(
        self,
        roll: Roll[T],
        row: Callable[[T, int], Row],
        header: Callable[[int], str] | None = None,
        *,
        name: str,
    ) -> None:
        super().__init__(id=name)
        self.roll = roll
        self._row, self._header = row, header

    @property
    def room(self) -> int:
        """Columns that a row has."""
        return max(self.size.width - MARGIN, 1)

    def render_line(self, y: int) -> Strip:
        """Make one line of the screen."""
        width = self.size.width
        if self._header is not None:
            if y == 0:
                return _strip("  " + self._header(self.room), width, _HEADER)
            y -= 1
        seen = self.roll.seen(self.size.height - (self._header is not None))
        if y >= len(seen):
            return Strip.blank(width)
        chosen = self.roll.top + y == self.roll.index
        row = self._row(seen[y], self.room)
        style = _COLOURS[row.severity]
        if chosen and self.has_focus:
            style += _CHOSEN
        return _strip(("> " if chosen else "  ") + row.text, width, style)

    def action_move(self, by: int) -> None:
        """Choose a row near by."""
        self.roll.follow = False
        self.roll.move(by)
        self._moved()

    def action_page(self, by: int) -> None:
        """Choose a row a screen away."""
        self.roll.follow = False
        self.roll.page(by)
        self._moved()

    def action_first(self) -> None:
        """Choose the first row."""
        self.roll.follow = False
        self.roll.first()
        self._moved()

    def action_last(self) -> None:
        """Choose the last row."""
        self.roll.last()
        self._moved()

    def action_take(self) -> None:
        """Do with the chosen row what is done with such rows."""
        self.post_message(self.Taken(self))

    def _moved(self) -> None:
        self.refresh()
        self.post_message(self.Moved(self))


def _strip(text: str, width: int, style: Style) -> Strip:
    # Terminals disagree on how wide some characters are: what is counted too wide here is cut, not wrapped.
    return Strip([Segment(visible(text, width), style)]).adjust_cell_length(width, style)
