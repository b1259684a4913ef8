"""A process that scores for another one: an error in it is an answer, and not a traceback."""

from __future__ import annotations

import errno
from multiprocessing import Pipe
from pathlib import Path

import pytest

from anomaly.errors import AnomalyError, ModelRefused, WorkerLost
from anomaly.spread_process import Post, work

UNREADABLE = PermissionError(errno.EACCES, "Permission denied", "/models/alice")


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ModelRefused("It is not ours. Do this."), ModelRefused, "It is not ours. Do this."),
        (UNREADABLE, PermissionError, str(UNREADABLE)),
        (
            ZeroDivisionError("by nothing"),
            WorkerLost,
            "A process that was scoring failed with ZeroDivisionError: by nothing. To see where: --jobs 1",
        ),
    ],
)
def test_what_fails_is_sent(
    error: Exception,
    kind: type[Exception],
    text: str,
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """An error of ours or of the system is sent as it is, any other one as one of ours that says where to look."""

    class Failing:
        """A scorer that cannot."""

        def __init__(self, *_: object, **__: object) -> None:
            raise error

    monkeypatch.setattr("anomaly.spread_process.Scorer", Failing)
    ours, theirs = Pipe()
    with ours, theirs:
        work(theirs, Post(models, adapt=False, checkpoint="log", log="log"))
        sent = ours.recv()
    assert (type(sent), str(sent)) == (kind, text)
    assert isinstance(sent, AnomalyError | OSError)
    assert capfd.readouterr().err == ""


def test_a_parent_that_has_gone_is_no_error(models: Path) -> None:
    """When nobody asks any more, the process ends."""
    ours, theirs = Pipe()
    with theirs:
        ours.close()
        work(theirs, Post(models, adapt=False, checkpoint="log", log="log"))
