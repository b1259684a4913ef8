"""The screen, by textual's pilot: what is on it, and what each key does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from textual.binding import Binding
from textual.pilot import Pilot

from anomaly.live.app import Top
from anomaly.live.board import Board
from anomaly.live.choice import Choice
from anomaly.live.listing import Listing
from anomaly.live.worker import Told
from anomaly.records import Reason, ReasonKind
from anomaly.sinks.visible import columns

if TYPE_CHECKING:
    from tests.live.conftest import Make

NEW = Reason(ReasonKind.NEW_VALUE, "command", "nmap", ("ls", "git"), 0, 12034, 13.1)


class Stage:
    """A board, the screen that shows it, and whoever sits before it."""

    def __init__(self, *, width: int = 80, height: int = 24) -> None:
        self.board, self.told, self.over = Board(), Told(), False
        self.told.status("At the end of the log; 3 actions")
        self.choice = Choice(self.board)
        self.app = Top("/var/log/osquery/osqueryd.results.log", self.choice, self.told, lambda: self.over)
        self._size = width, height

    def play(self, act: Callable[[Pilot[None]], Awaitable[None]]) -> None:
        """Let a person act."""

        async def show() -> None:
            async with self.app.run_test(size=self._size) as pilot:
                await pilot.pause()
                await act(pilot)

        asyncio.run(show())

    def lines(self) -> list[str]:
        """Return what is on the screen."""
        strips = self.app.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip).rstrip() for strip in strips]

    def actions(self) -> list[str]:
        """Return the lines of the list of actions."""
        lines = self.lines()
        begin = next(number for number, line in enumerate(lines) if line.startswith("Actions:")) + 2
        height = self.app.query_one("#entries").size.height - 1
        return [line for line in lines[begin : begin + height] if line]


@pytest.fixture
def stage(make: Make) -> Stage:
    """Give a screen of 80 by 24 with three actions of two users."""
    stage = Stage()
    stage.board.write(
        [
            make("alice", 55.0, 26.0, reasons=(NEW,), command="nmap -sS 10.0.0.0/24"),
            make("bob", 1.0, 2.0, query="processes", path="/usr/bin/ls"),
            make("alice", 3.0, 27.0, command="git status"),
        ]
    )
    return stage


def test_the_screen_at_80_by_24(stage: Stage) -> None:
    """Users by risk, the newest actions, the last one chosen, why it stands out, and the keys."""

    async def act(_: Pilot[None]) -> None:
        lines = stage.lines()
        assert len(lines) == 24
        assert lines[0] == "anomaly top: At the end of the log; 3 actions; /var/log/osquery/osqueryd.resu..."
        assert lines[1] == "  user              risk  high   actions last action    model    severity"
        assert lines[2] == "> alice             27.0  55.0         2 11-02 02:13:44 ready    warning"
        assert lines[3] == "  bob                2.0   1.0         1 11-02 02:13:44 ready"
        assert "Actions: newest last" in lines
        assert stage.actions() == [
            "  11-02 02:13:44 alice       55.0  26.0 critical +shell_history nmap -sS 10.0...",
            "  11-02 02:13:44 bob          1.0   2.0          +processes /usr/bin/ls",
            "> 11-02 02:13:44 alice        3.0  27.0 warning  +shell_history git status",
        ]
        assert "  command: git status" in lines
        assert lines[-1] == "q quit  ? help  / filter  space pause  v severity  s sort  f follow  tab pane"

    stage.play(act)


@pytest.mark.parametrize("size", [(40, 15), (20, 8), (5, 3), (200, 60)])
def test_the_screen_at_other_sizes(make: Make, size: tuple[int, int]) -> None:
    """It fits; at 40 by 15 every part is still there."""
    stage = Stage(width=size[0], height=size[1])
    stage.board.write([make("alice", 55.0, 26.0, command="nmap -sS 10.0.0.0/24") for _ in range(30)])

    async def act(pilot: Pilot[None]) -> None:
        for key in ("up", "pageup", "tab", "down", "question_mark", "down", "escape"):
            await pilot.press(key)
        lines = stage.lines()
        assert len(lines) == size[1]
        assert all(columns(line) <= size[0] for line in lines)
        if size == (40, 15):
            assert "> alice       26.0        30 warning" in lines
            assert "  alice     55.0  26.0 critical +shel..." in lines
            assert "Actions: newest last; not following" in lines
            assert "  alice on ws1, 2026-11-02T02:13:44Z:" in lines

    stage.play(act)


def test_it_is_laid_out_anew_when_the_terminal_changes(stage: Stage) -> None:
    """Lines are worded for the columns that there are."""

    async def act(pilot: Pilot[None]) -> None:
        await pilot.resize_terminal(40, 15)
        await pilot.pause()
        await pilot.pause()
        assert stage.actions()[-1] == "> alice      3.0  27.0 warning  +shel..."

    stage.play(act)


def test_a_chosen_action_is_explained(stage: Stage) -> None:
    """Its reasons and its columns are shown, and it is no longer followed."""

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("up", "up")
        lines = stage.lines()
        assert '  new command "nmap", never seen in 12,034; usually ls, git' in lines
        assert "Actions: newest last; not following" in lines
        for key in ("f", "end"):
            await pilot.press(key)
            assert "  command: git status" in stage.lines()
            assert "Actions: newest last" in stage.lines()
            await pilot.press("up", "tab", "down", "shift+tab")
            assert "Actions: newest last; not following" in stage.lines()

    stage.play(act)


def test_the_filter_is_typed(stage: Stage) -> None:
    """While it is typed it applies; enter keeps it, escape takes it away, and keys typed there are only text."""

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"ls q")
        assert stage.actions() == []
        await pilot.press("backspace", "backspace", "enter")
        assert stage.actions() == ["> 11-02 02:13:44 bob          1.0   2.0          +processes /usr/bin/ls"]
        assert 'Actions: newest last; with "ls"' in stage.lines()
        await pilot.press("slash", "x", "escape")
        assert len(stage.actions()) == 3
        assert stage.lines()[-1].startswith("q quit")

    stage.play(act)


def test_one_users_actions(stage: Stage) -> None:
    """Enter on a user shows that user's alone, and once more everyone's."""

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("shift+tab", "down", "enter")
        assert "Actions: newest last; only bob" in stage.lines()
        assert len(stage.actions()) == 1
        await pilot.press("enter")
        assert len(stage.actions()) == 3

    stage.play(act)


def test_the_stream_is_paused(stage: Stage, make: Make) -> None:
    """Actions stand still and are counted, users go on; then all is shown."""

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("space")
        stage.board.write([make("alice", 1.0, 31.0, command=f"late {number}") for number in range(5)])
        stage.app.look()
        await pilot.pause()
        lines = stage.lines()
        assert "Actions: newest last; paused, 5 came meanwhile" in lines
        assert lines[2] == "> alice             31.0  55.0         7 11-02 02:13:44 ready    warning"
        assert len(stage.actions()) == 3
        await pilot.press("space")
        assert stage.actions()[-1].endswith("late 4")

    stage.play(act)


def test_severities_and_orders(stage: Stage) -> None:
    """Keys go round; what is sorted is the list that has the keys."""

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("v", "v", "v")
        assert "Actions: newest last; critical" in stage.lines()
        assert len(stage.actions()) == 1
        await pilot.press("escape", "s")
        assert "Actions: highest score first" in stage.lines()
        assert stage.actions()[0].startswith("> 11-02 02:13:44 alice       55.0")
        await pilot.press("s")
        assert "Actions: highest risk first" in stage.lines()
        assert stage.actions()[0].startswith("> 11-02 02:13:44 alice        3.0  27.0")
        await pilot.press("f")  # there is no end to be followed
        assert stage.actions()[0].startswith("> ")
        await pilot.press("s", "shift+tab", "s", "s", "s", "s")
        assert stage.actions()[-1].startswith("> ")
        assert stage.lines()[-1].endswith("Users by name.")

    stage.play(act)


def test_what_the_log_holds_is_shown_and_not_obeyed(make: Make) -> None:
    """Neither markup nor control characters, nor characters of two columns, do anything to the screen."""
    stage = Stage()
    hostile = "[/oops][bold red]x[@click=app.quit]\x1b[2J\u202e日本"
    reason = Reason(ReasonKind.NEW_VALUE, "command", hostile, (hostile,), 0, 3, 13.1)
    stage.board.write([make(hostile, 55.0, 26.0, reasons=(reason,), host=hostile, command=hostile)])
    stage.told.say(hostile)
    stage.told.status(hostile)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"[/", "enter", "up")
        text = "\n".join(stage.lines())
        assert "[/oops][bold red]x[@click=app.quit]\\x1b[2J\\u202e日本" in text
        assert 'with "[/"' in text
        assert all(line.isprintable() and columns(line) <= 80 for line in stage.lines())
        await pilot.press("m")
        assert any(
            line.endswith("[/oops][bold red]x[@click=app.quit]\\x1b[2J\\u202e日本") for line in stage.lines()
        )

    stage.play(act)


def test_help_and_messages_are_pages(stage: Stage) -> None:
    """Keys for what is behind a page do nothing; the page's own end it, and then they work again."""
    stage.told.say("The model of 'bob' cannot be used.")

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("question_mark")
        await pilot.pause()
        assert "> tab, shift+tab  go to the users, the actions, or the chosen one's details" in stage.lines()
        assert len([line for line in stage.lines() if line]) == 18  # no line of help is broken in two
        await pilot.press("space", "v", "slash")
        assert not stage.choice.paused
        await pilot.press("q", "m")
        await pilot.pause()
        assert stage.lines()[0].endswith(" The model of 'bob' cannot be used.")
        await pilot.press("escape", "space")
        assert stage.choice.paused

    stage.play(act)


def test_the_page_about_it_names_every_key() -> None:
    """docs/top.md fits the screen that it speaks of, and leaves no key out."""
    page = (Path(__file__).parents[2] / "docs" / "top.md").read_text()
    keys = {
        key.strip()
        for binding in (*Top.BINDINGS, *Listing.BINDINGS)
        if isinstance(binding, Binding)
        for key in binding.key.split(",")
    }
    names = {"question_mark": "?", "slash": "/", "g": "home", "G": "end"}
    assert {key for key in keys if f"`{names.get(key, key)}`" not in page} == set()
    picture = page.partition("```text\n")[2].partition("```")[0].splitlines()
    assert len(picture) == 24
    assert max(map(len, picture)) <= 80


def test_a_message_is_shown_until_something_happens(make: Make) -> None:
    """Why there is no action yet stays on the screen."""
    stage = Stage()
    stage.told.say("There is no log yet.")
    stage.told.said_at = float("-inf")

    async def act(pilot: Pilot[None]) -> None:
        assert stage.lines()[-1].endswith("There is no log yet.")
        stage.board.write([make()])
        stage.app.look()
        await pilot.pause()
        assert stage.lines()[-1].startswith("q quit")

    stage.play(act)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_it_is_left_by_a_key(stage: Stage, key: str) -> None:
    """At once, also from a page."""

    async def act(pilot: Pilot[None]) -> None:
        if key != "q":
            await pilot.press("question_mark")
        await pilot.press(key)
        assert not stage.app.is_running

    stage.play(act)
    assert stage.app.return_code == 0


def test_it_is_given_up_when_it_is_over(stage: Stage) -> None:
    """A signal, or the end of the thread that scores, is noticed by the next look."""

    async def act(_: Pilot[None]) -> None:
        stage.over = True
        stage.app.look()
        assert stage.app._exit

    stage.play(act)


def test_nothing_is_told_by_colour_alone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR there is none, and severity and choice are read all the same."""
    monkeypatch.setenv("NO_COLOR", "1")
    colourless = Stage()
    colourless.board.write([entry.score for entry in stage.board.entries()])

    async def act(_: Pilot[None]) -> None:
        strips = colourless.app.screen._compositor.render_strips()
        styles = [
            segment.style
            for strip in strips
            for segment in strip.apply_filter(
                colourless.app._filters[-1], colourless.app.screen.background_colors[1]
            )
            if segment.style
        ]
        assert all(
            colour is None or colour.is_default for style in styles for colour in (style.color, style.bgcolor)
        )
        assert any(" critical " in line for line in colourless.actions())
        assert colourless.actions()[-1].startswith("> ")

    colourless.play(act)
