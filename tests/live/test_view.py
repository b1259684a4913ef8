"""A log, the thread that scores it and the screen, together: what is shown, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from textual.pilot import Pilot

from anomaly.control import Control
from anomaly.daemon import Follower
from anomaly.errors import AnomalyError, LogUnreadable, StateRefused, UnknownUser
from anomaly.live.app import Top
from anomaly.live.view import view
from anomaly.request import Prediction
from anomaly.tally import Tally

if TYPE_CHECKING:
    from tests.conftest import Event

PATIENCE = 20.0
"""Seconds until what does not come is a failure."""

Act = Callable[[Pilot[None]], Awaitable[None]]


async def until(pilot: Pilot[None], holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await pilot.pause(0.02)


@pytest.fixture
def act(monkeypatch: pytest.MonkeyPatch) -> Callable[[Act], None]:
    """Give what sits somebody before the screen."""

    def seat(act: Act) -> None:
        def run(app: Top, **_: object) -> None:
            async def show() -> None:
                async with app.run_test(size=(80, 24)) as pilot:
                    await act(pilot)

            asyncio.run(show())

        monkeypatch.setattr(Top, "run", run)

    return seat


@pytest.fixture
def asked(models: Path, log: Path, tmp_path: Path) -> Prediction:
    """Ask for the whole log."""
    return Prediction(log, models, tmp_path / "state", None, follow=True, begin="start")


def test_a_log_is_scored_while_it_is_shown(
    asked: Prediction, act: Callable[[Act], None], lines: list[bytes], tmp_path: Path
) -> None:
    """The whole backlog comes, the screen has its newest, the log's end is told, and no state is left behind."""

    async def watch(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, Top)
        await until(pilot, lambda: app._choice.board.taken == len(lines))
        await until(pilot, lambda: app._told.state.startswith(f"At the end of the log; {len(lines):,} actions"))
        app.look()
        assert [user.user for user in app._users.rows if user.actions] == [user.user for user in app._users.rows]
        assert {user.user for user in app._users.rows} == {"alice", "bob"}
        assert len(app._entries.rows) == 1000
        chosen = app._entries.chosen
        assert chosen is not None
        assert chosen.number == len(lines)
        await pilot.press("q")

    act(watch)
    tally = view(asked, Control())
    assert (tally.lines, tally.actions) == (len(lines), len(lines))
    assert not (tmp_path / "state").exists()


def test_new_actions_are_shown_as_they_come(
    asked: Prediction, act: Callable[[Act], None], event: Event, tmp_path: Path
) -> None:
    """Also where the log does not exist at first."""
    log = tmp_path / "osqueryd.results.log"

    async def watch(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, Top)
        assert app._told.messages[-1].endswith(f"{log} is not there yet; waiting for it.")
        for count in (1, 2):
            with log.open("ab") as file:
                file.write(event("alice", command=f"git status {count}") + b"\n")
            await until(pilot, lambda count=count: len(app._entries.rows) == count)  # type: ignore[misc]
        await pilot.press("ctrl+c")

    act(watch)
    assert view(Prediction(log, asked.models, asked.state, "alice", follow=True), Control()).actions == 2


def test_users_of_a_checkpoint_are_shown_before_they_act(asked: Prediction, act: Callable[[Act], None]) -> None:
    """Who looks at a quiet log sees at once where everyone stands."""
    from anomaly.live.board import Board  # noqa: PLC0415 - as a sink that keeps nothing
    from anomaly.prediction import prepare  # noqa: PLC0415 - the same

    said: list[str] = []
    once = Prediction(asked.log, asked.models, asked.state, None, follow=False, begin="start")
    with prepare(once, Board(), said.append) as follower:
        follower.run()

    async def watch(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, Top)
        assert {(user.user, user.actions) for user in app._users.rows} == {("alice", 0), ("bob", 0)}
        assert all(user.risk is not None for user in app._users.rows)
        await pilot.press("tab", "tab", "enter", "q")
        assert app._choice.user is None

    act(watch)
    assert view(Prediction(asked.log, asked.models, asked.state, None, follow=True), Control()).actions == 0

    async def watch_bob(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, Top)
        assert [user.user for user in app._users.rows] == ["bob"]
        await pilot.press("q")

    act(watch_bob)
    view(Prediction(asked.log, asked.models, asked.state, "bob", follow=True), Control())
    (path,) = asked.state.glob("*[0-9a-f].json")
    path.chmod(0o666)
    with pytest.raises(StateRefused):
        view(Prediction(asked.log, asked.models, asked.state, None, follow=True), Control())


def test_a_signal_ends_it(asked: Prediction, act: Callable[[Act], None]) -> None:
    """What asks the loop to stop takes the screen away too."""
    control = Control()

    async def watch(pilot: Pilot[None]) -> None:
        control.stopped = True
        await until(pilot, lambda: not pilot.app.is_running)

    act(watch)
    assert isinstance(view(asked, control), Tally)


def test_a_terminal_that_is_gone_ends_it(asked: Prediction, act: Callable[[Act], None]) -> None:
    """Nobody looks any more, and no signal has said so."""
    here = [True]

    async def watch(pilot: Pilot[None]) -> None:
        here.clear()
        await until(pilot, lambda: not pilot.app.is_running)

    act(watch)
    with Control() as control:
        assert isinstance(view(asked, control, gone=lambda: not here), Tally)
        assert control.stopped


def test_a_screen_that_fails_is_an_error(asked: Prediction, act: Callable[[Act], None]) -> None:
    """It does not pass for having been left."""

    async def watch(pilot: Pilot[None]) -> None:
        pilot.app.exit(return_code=1)
        await until(pilot, lambda: not pilot.app.is_running)

    act(watch)
    with pytest.raises(AnomalyError, match="The screen could not be drawn any more"):
        view(asked, Control())


def test_an_error_of_the_loop_ends_it_and_is_raised(
    asked: Prediction, act: Callable[[Act], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The screen is given up first, so that the sentence is read where sentences belong."""

    def fail(*_: object) -> Tally:
        raise LogUnreadable("The log may not be read.")

    monkeypatch.setattr(Follower, "run", fail)
    left = []

    async def watch(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: not pilot.app.is_running)
        left.append(True)

    act(watch)
    with pytest.raises(LogUnreadable, match=r"The log may not be read\."):
        view(asked, Control())
    assert left == [True]


def test_an_error_before_the_loop_shows_no_screen(asked: Prediction, act: Callable[[Act], None]) -> None:
    """What cannot be opened is told at once."""

    async def watch(_: Pilot[None]) -> None:
        pytest.fail("there is nothing to be shown")

    act(watch)
    with pytest.raises(UnknownUser, match="There is no model of 'zoe'"):
        view(Prediction(asked.log, asked.models, asked.state, "zoe", follow=True), Control())


def test_the_least_score_keeps_actions_from_the_stream(asked: Prediction, act: Callable[[Act], None]) -> None:
    """They are scored and counted all the same."""

    async def watch(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, Top)
        await until(pilot, lambda: app._told.state.startswith("At the end"))
        app.look()
        scores = [entry.score for entry in app._entries.rows]
        assert 0 < len(scores) < 500
        assert all(max(score.score or 0.0, score.risk or 0.0) >= 20.0 for score in scores)
        assert sum(user.actions for user in app._users.rows) == app._choice.board.taken > 2000
        await pilot.press("q")

    act(watch)
    view(asked, Control(), least=20.0)
