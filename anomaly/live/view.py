"""A log, the thread that scores it and the screen that shows it, put together and taken apart again."""

from __future__ import annotations

from collections.abc import Callable

from anomaly.beside import Beside, glimpse
from anomaly.control import Control
from anomaly.errors import AnomalyError
from anomaly.live.app import Top
from anomaly.live.board import Board
from anomaly.live.choice import Choice
from anomaly.live.worker import Told, Worker
from anomaly.prediction import prepare
from anomaly.request import Prediction
from anomaly.sources.checkpoint import checkpoint_name
from anomaly.tally import Tally


def view(
    asked: Prediction, control: Control, least: float = 0.0, gone: Callable[[], bool] = lambda: False
) -> Tally:
    """Show scores on the terminal until a person, a signal or an error ends it; return what was met.

    Parameters
    ----------
    asked
        The settings. Nothing is written: neither a checkpoint nor what was learned.
    control
        Told by signals to stop.
    least
        Actions whose score and risk are both less are scored and counted, and not shown.
    gone
        Says whether there is nobody left to look.

    Raises
    ------
    AnomalyError
        As :func:`anomaly.prediction.prepare` says; the terminal is as it was before.
    """
    told = Told()
    board = Board(least)
    beside = Beside(None, checkpoint_name(asked.log, ""))
    if asked.begin == "checkpoint":
        beside = glimpse(asked.log, asked.state, asked.user, told.say)
    with prepare(asked, board, told.say, notifier=told, beside=beside) as follower:
        board.expect((name, risk) for name, risk in beside.risks() if asked.user in (None, name))
        del beside  # the text of a thousand states
        with Worker(follower, control) as worker:

            def over() -> bool:
                if gone():
                    control.stop()
                return control.stopped or worker.error is not None

            app = Top(str(asked.log), Choice(board), told, over)
            app.run(mouse=False)
            if app.return_code and not control.stopped:
                raise AnomalyError("The screen could not be drawn any more; textual has said above why.")
        worker.check()
    return follower.tally
