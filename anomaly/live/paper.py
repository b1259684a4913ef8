"""Pages to read: what the keys do, and what was said."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Static

from anomaly.live.choice import Roll
from anomaly.live.listing import MARGIN, Listing
from anomaly.live.wording import Row, wrapped
from anomaly.sinks.visible import visible

HELP = """\
tab, shift+tab  go to the users, the actions, or the chosen one's details
up, down, k, j  choose a row; pageup, pagedown, home and end, too
enter           on a user: show that user's actions alone; everyone's again
/               show only actions with a text in user, query or a value:
                enter keeps it, escape takes it away
v               show notice and worse, warning and worse, critical; all again
space           let the actions stand still, or go on; scoring goes on anyway
s               sort the list you are in: users by risk, highest score, last
                action, actions, name; actions by newest, score, risk
f               keep to the newest action (as end does), or to the chosen one
m               messages
escape          show all again
q, ctrl+c       quit

score  how rare the action is for this user: 20 is 1 in 100, 30 is 1 in 1,000
risk   the same of the user's last 100 actions; from 25 on it is a warning
high   the highest score among the user's last 100 actions

Nothing is stored: what models learn while this runs is forgotten at its end.
"""


class Paper(Screen[None]):
    """Lines to read, as long as somebody does."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,m,enter", "dismiss")]

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines
        self._roll: Roll[Row] = Roll(lambda row: row.text)

    def compose(self) -> ComposeResult:
        """Put the lines above the key that ends them."""
        yield Listing(self._roll, lambda row, _: row, name="paper")
        yield Static(" escape back", markup=False)

    def on_resize(self) -> None:
        """Break the lines anew."""
        width = max(self.size.width - MARGIN, 1)
        self._roll.show([Row(part) for line in self._lines for part in wrapped(visible(line), width)])
        self.query_one(Listing).refresh()
