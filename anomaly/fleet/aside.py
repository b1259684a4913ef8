"""A process beside a worker of Spark's, for what may take more memory than there is.

A worker that the system ends takes its whole task with it, and one that comes to the same place again at each
attempt takes the job. So what is large is done in a process of its own, which dies alone. It is begun anew
("spawn"), since a fork would copy whatever threads there are, and serves its worker for as long as that lives.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from anomaly.errors import AnomalyError, WorkerLost
from anomaly.processes import end_with_parent, how_it_ended

_PATIENCE = 5.0  # seconds for a process to end before it is killed
_FIRST = "1000"  # of -1000..1000: whom the kernel ends first where memory is short
_LONGEST = 300  # characters of a reason
_MOST = 1536  # MiB that a process may keep: tensorflow gives none of its graphs back

_SPAWN = multiprocessing.get_context("spawn")

Asked = ParamSpec("Asked")
Found = TypeVar("Found")


class Aside:
    """Has a process of its own do one thing after another."""

    def __init__(self) -> None:
        self._begun: tuple[SpawnProcess, Connection[Any, Any]] | None = None

    def do(self, work: Callable[Asked, Found], *args: Asked.args, **kwargs: Asked.kwargs) -> Found:
        """Return what a function returns, which is done there; both ways by pickling.

        A process that has kept too much memory then is ended, and the next call has another one.

        Raises
        ------
        WorkerLost
            It raised something, or the process was ended, with why; the next call has another process.
        """
        process, connection = self._begun or self._begin()
        try:
            with suppress(BrokenPipeError):  # it has died: that is heard next
                connection.send((work, args, kwargs))
            done, found, kept = connection.recv()
        except (EOFError, ConnectionError):
            process.join(_PATIENCE)
            how = how_it_ended(process.exitcode)
            self.end()
            raise WorkerLost(f"its process {how}; what a worker needs is in docs/fleet.md") from None
        except BaseException:  # such as a signal's: what is still to come would be taken for the next answer
            self.end()
            raise
        if kept > _MOST:
            self.end()
        if not done:
            raise WorkerLost(found)
        return found  # type: ignore[no-any-return]  # what the function returned

    def end(self) -> None:
        """End the process, whatever it is at."""
        if self._begun is None:
            return
        (process, connection), self._begun = self._begun, None
        connection.close()
        process.terminate()
        process.join(_PATIENCE)
        if process.exitcode is None:
            process.kill()
            process.join()
        process.close()

    def _begin(self) -> tuple[SpawnProcess, Connection[Any, Any]]:
        # As the local commands do: by threads, small matrices are multiplied more slowly.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_serve, args=(theirs,), name="anomaly-fleet-train", daemon=True)
        process.start()
        theirs.close()
        self._begun = process, ours
        return self._begun


@cache
def aside() -> Aside:
    """Return the one of this process."""
    return Aside()


def reason(error: BaseException) -> str:
    """Say what went wrong, in one line."""
    text = str(error) if isinstance(error, AnomalyError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split()).encode("utf-8", "replace").decode()[:_LONGEST]


def _serve(connection: Connection[Any, Any]) -> None:
    """Do what comes, until nothing does: the process beside."""
    with suppress(OSError):  # not on Linux
        Path("/proc/self/oom_score_adj").write_text(_FIRST)
    threading.Thread(target=end_with_parent, daemon=True).start()
    with suppress(EOFError, ConnectionError):
        while True:
            work, args, kwargs = connection.recv()
            answer: tuple[bool, object]  # whether it was done, and what came of it
            try:
                answer = True, work(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told
                answer = False, reason(error)
            del work, args, kwargs
            connection.send((*answer, _kept()))


def _kept() -> float:
    """Return the resident memory of this process, in MiB; 0 where the system does not say."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    return 0.0
