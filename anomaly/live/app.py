"""The screen of ``anomaly top``: keys and lines; what they show is chosen and worded elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from anomaly.live.board import Entry, Watched
from anomaly.live.choice import Choice, Roll
from anomaly.live.driver import SteadyDriver
from anomaly.live.listing import Listing
from anomaly.live.paper import HELP, Paper
from anomaly.live.wording import (
    Row,
    details,
    entry_header,
    entry_row,
    summed_up,
    user_header,
    user_row,
)
from anomaly.live.worker import Told
from anomaly.sinks.visible import visible

EVERY = 0.2
"""Seconds between two looks at the board: often enough for eyes, and the CPU is left to scoring."""

_TELL = 8.0
"""Seconds that a message stays."""

_KEYS = "q quit  ? help  / filter  space pause  v severity  s sort  f follow  tab pane"

_BEHIND = frozenset({"help", "messages", "filter", "pause", "severity", "sort", "follow", "clear"})


class Top(App[None]):
    """Shows a board until it is left, or there is nothing to be waited for any more.

    Parameters
    ----------
    log
        What is followed, for people.
    choice
        What of the board is to be shown at first.
    told
        What the loop says.
    over
        Says whether the screen must be given up.
    """

    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = "#entries"
    CSS = """
    Screen { layout: vertical; overflow: hidden; }
    Static { height: 1; }
    #paper { height: 1fr; }
    #state, #shown { text-style: bold; }
    #users { height: 3fr; min-height: 2; }
    #entries { height: 5fr; min-height: 3; }
    #details { height: 4fr; min-height: 2; }
    #filter { height: 1; border: none; padding: 0; display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit"),
        Binding("ctrl+c", "quit", priority=True),
        Binding("question_mark", "help"),
        Binding("m", "messages"),
        Binding("slash", "filter"),
        Binding("space", "pause"),
        Binding("v", "severity"),
        Binding("s", "sort"),
        Binding("f", "follow"),
        Binding("escape", "clear"),
    ]

    def __init__(self, log: str, choice: Choice, told: Told, over: Callable[[], bool]) -> None:
        super().__init__(driver_class=SteadyDriver, ansi_color=True)
        self._where, self._choice, self._told, self._over = log, choice, told, over
        self._users: Roll[Watched] = Roll(lambda user: (user.host, user.user))
        self._entries: Roll[Entry] = Roll(lambda entry: entry.number, follow=True)
        self._details: Roll[Row] = Roll(lambda row: row.text)
        self._drawn = -1
        self._detailed: tuple[int, int] | None = None
        self._state, self._shown, self._keys = (
            Static(id=name, markup=False) for name in ("state", "shown", "keys")
        )
        self._filter = Input(id="filter", placeholder="", compact=True)
        hosts = choice.board.hosts
        self._listings: tuple[Listing[Any], ...] = (
            Listing(
                self._users,
                lambda user, width: user_row(user, width, hosts=len(hosts) > 1),
                user_header,
                name="users",
            ),
            Listing(self._entries, entry_row, entry_header, name="entries"),
            Listing(self._details, lambda row, _: row, name="details"),
        )

    def compose(self) -> ComposeResult:
        """Put the lines in their order."""
        users, entries, chosen = self._listings
        yield from (self._state, users, self._shown, entries, chosen, self._keys, self._filter)

    def on_mount(self) -> None:
        """Begin to look."""
        self.set_interval(EVERY, self.look)
        self.look()

    def on_resize(self) -> None:
        """Word everything anew, when it is known how wide it may be."""
        self.call_after_refresh(self.look, anew=True)

    def look(self, *, anew: bool = False) -> None:
        """Show what is new."""
        if self._over():
            self.exit()
            return
        choice = self._choice
        # What is chosen changes by keys alone, which ask for a look anew; while it stands still, nothing moves it.
        if anew or choice.board.taken != self._drawn:
            self._drawn = choice.board.taken
            self._users.show(choice.users())
            if anew or not choice.paused:
                self._entries.show(choice.entries())
            for listing in self._listings:
                listing.refresh()
        self._tell()
        self._explain()

    def _tell(self) -> None:
        """Word the three lines that are no lists."""
        width = self.size.width
        self._state.update(visible(f"anomaly top: {self._told.state}; {self._where}", width))
        self._shown.update(visible(summed_up(self._choice, follow=self._entries.follow), width))
        told = self._told
        # Before the first action a message says why: there is no log yet, or no model that can be used.
        current = time.monotonic() - told.said_at < _TELL or not self._choice.board.taken
        self._keys.update(visible(told.messages[-1] if current and told.messages else _KEYS, width))

    def _explain(self) -> None:
        """Word the chosen action, if it is another one."""
        entry, listing = self._entries.chosen, self._listings[2]
        detailed = None if entry is None else (entry.number, listing.room)
        if detailed != self._detailed:
            self._detailed = detailed
            self._details.show([] if entry is None else details(entry.score, listing.room))
            self._details.first()
            listing.refresh()

    def on_listing_moved(self, message: Listing.Moved) -> None:
        """Explain another action; at the newest one, follow again."""
        roll = self._entries
        if message.listing.roll is roll and self._choice.entry_order == "newest":
            roll.follow = roll.index == len(roll.rows) - 1
        self._tell()
        self._explain()

    def on_listing_taken(self, message: Listing.Taken) -> None:
        """Show one user's actions, or everyone's again."""
        user = self._users.chosen
        if message.listing.roll is self._users and user is not None and user.number:
            key = user.host, user.user
            self._choice.user = None if self._choice.user == key else key
            self.look(anew=True)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - textual's
        """Leave what is behind a page alone while somebody reads it."""
        return len(self.screen_stack) == 1 or action not in _BEHIND

    def action_filter(self) -> None:
        """Ask what actions must contain."""
        self._filter.display, self._keys.display = True, False
        self._filter.focus()

    def on_input_changed(self, message: Input.Changed) -> None:
        """Show what contains what has been typed so far."""
        self._choice.text = message.value
        self.look(anew=True)

    def on_input_submitted(self) -> None:
        """Keep the filter."""
        self._filter.display, self._keys.display = False, True
        self._listings[1].focus()

    def action_clear(self) -> None:
        """Show all."""
        self._choice.clear()
        self._filter.value = ""
        if self._filter.display:
            self.on_input_submitted()
        self.look(anew=True)

    def action_pause(self) -> None:
        """Let the actions stand still, or go on."""
        self._choice.pause()
        self.look(anew=True)

    def action_severity(self) -> None:
        """Show the next severity and worse."""
        self._choice.next_severity()
        self.look(anew=True)

    def action_sort(self) -> None:
        """Sort the list that has the keys otherwise."""
        if self._listings[0].has_focus:
            self._choice.next_user_order()
            self._told.say(f"Users by {self._choice.user_order}.")
        else:
            self._choice.next_entry_order()
            self._entries.follow = self._choice.entry_order == "newest"
            self._entries.show(())  # the first of the order is looked at, wherever the chosen one goes
        self.look(anew=True)

    def action_follow(self) -> None:
        """Keep to the newest action, or to the chosen one."""
        self._entries.follow = not self._entries.follow and self._choice.entry_order == "newest"
        self.look(anew=True)

    def action_help(self) -> None:
        """Say what the keys do."""
        self.push_screen(Paper(HELP.splitlines()))

    def action_messages(self) -> None:
        """Show what a person should know of the run."""
        self.push_screen(Paper(list(self._told.messages) or ["There are no messages."]))
