"""Scoring a backlog on several cores: processes that score some of the users each, and results in input order.

Nothing that one user does moves another's state, so users are dealt out to processes and stay there. The parent
reads, parses and shows; while the processes score one batch, it parses the next.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Self

import msgspec

from anomaly.errors import WorkerLost
from anomaly.osquery import Action
from anomaly.processes import how_it_ended, shielded
from anomaly.records import Score
from anomaly.spread_process import ANSWERS, Post, Verdict, packed, unpacked, work

_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_PATIENCE = 1.0  # seconds for the processes to end by themselves: a stop may not take five
_MOST_NAMES = 10_000  # of users that are dealt out one by one; names are the log's to choose

Batch = Sequence[tuple[str, Action]]


class Spread:
    """Scores actions of many users by several processes, as a :class:`Scorer` does in one.

    What :meth:`score_all` returns are scores of the batch before; :meth:`flush` gives the last ones.

    Parameters
    ----------
    post
        What the processes do.
    jobs
        How many there are.
    say
        Told, as a sentence, what a person should know of a user; each process may say the same.

    Raises
    ------
    WorkerLost
        By every method, where a process has ended, with how it ended.
    AnomalyError, OSError
        By every method, where a process has met one.
    """

    def __init__(self, post: Post, jobs: int, say: Callable[[str], None]) -> None:
        self._say = say
        self._restored: dict[str, bytes] = {}
        self._dealt: dict[str, int] = {}
        self._load = [0] * jobs
        self._waiting: tuple[Batch, list[list[int]]] = ([], [])
        self._workers: list[tuple[SpawnProcess, Connection[Any, Any]]] = []
        # A terminal's Ctrl-C and systemd's TERM reach all processes; what they mean is the parent's to say.
        with shielded(_SIGNALS):
            self._workers.extend(_started(post) for _ in range(jobs))

    def score_all(self, batch: Batch) -> list[Score]:
        """Take actions, in the order of the log, and return the scores of those before."""
        answers = self._collect()
        shares: list[list[int]] = [[] for _ in self._workers]
        for place, (_, action) in enumerate(batch):
            # By what may be before a host's name: "alice" on ws1 and a user called "alice@ws1" share a model.
            number = self._worker_of(action.user.partition("@")[0])
            self._load[number] += 1
            shares[number].append(place)
        for number, share in enumerate(shares):
            if share:
                self._send(number, "score", packed([batch[place] for place in share]))
        before, self._waiting = self._waiting, (batch, shares)
        return _merged(*before, answers)

    def flush(self) -> list[Score]:
        """Wait for the scores that are still to come, and return them."""
        answers = self._collect()
        before, self._waiting = self._waiting, ([], [])
        return _merged(*before, answers)

    def encoded(self) -> Iterator[tuple[str, bytes]]:
        """Give every user's state as JSON, see :meth:`Scorer.encoded`; no score may be still to come."""
        waiting = dict(self._restored)
        for number in range(len(self._workers)):
            self._send(number, "encoded", None)
        # All answers first: whoever is written to may stop asking, and they would be taken for others.
        for answer in [self._receive(number) for number in range(len(self._workers))]:
            waiting |= dict(answer)
        yield from waiting.items()

    def saved(self) -> None:
        """Take note that what :meth:`encoded` gave last is safe."""
        for number in range(len(self._workers)):
            self._send(number, "saved", None)

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what :meth:`encoded` gave: of each user the process that will judge him, so all are told."""
        self._restored = {name: bytes(state) for name, state in saved.items()}
        for number in range(len(self._workers)):
            self._send(number, "restore", self._restored)

    def close(self) -> None:
        """End the processes; what they have not given back is lost, and comes again after a restart."""
        for _, connection in self._workers:
            connection.close()  # which they read as the end
        deadline = time.monotonic() + _PATIENCE
        for worker, _ in self._workers:
            worker.join(max(deadline - time.monotonic(), 0.0))
            if worker.is_alive():
                worker.kill()
                worker.join()
            worker.close()
        self._workers = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _worker_of(self, user: str) -> int:
        """Deal a user out to the process that has had least to do; on whichever host, one name goes to one."""
        number = self._dealt.get(user)
        if number is None:
            number = min(range(len(self._load)), key=self._load.__getitem__)
            if len(self._dealt) >= _MOST_NAMES:
                return zlib.crc32(user.encode("utf-8", "surrogatepass")) % len(self._load)
            self._dealt[user] = number
        return number

    def _collect(self) -> list[list[Verdict]]:
        answers: list[list[Verdict]] = []
        for number, share in enumerate(self._waiting[1]):
            verdicts, said = unpacked(self._receive(number), ANSWERS) if share else ([], [])
            answers.append(verdicts)
            for sentence in said:
                self._say(sentence)
        return answers

    def _send(self, number: int, command: str, content: Any) -> None:  # noqa: ANN401 - by command
        try:
            self._workers[number][1].send((command, content))
        except OSError as error:
            raise self._last_word(number) from error

    def _receive(self, number: int) -> Any:  # noqa: ANN401 - by command
        try:
            answer = self._workers[number][1].recv()
        except (OSError, EOFError) as error:
            raise self._last_word(number) from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _last_word(self, number: int) -> Exception:
        """Return the error that a process has met which has ended, or how it ended."""
        worker, connection = self._workers[number]
        with suppress(OSError, EOFError):
            while connection.poll():
                if isinstance(said := connection.recv(), Exception):
                    return said
        worker.join(_PATIENCE)
        return WorkerLost(
            f"A process that was scoring {how_it_ended(worker.exitcode)}. Go on from the last checkpoint (without"
            " --from), with --jobs 1 if it comes again."
        )


def _started(post: Post) -> tuple[SpawnProcess, Connection[Any, Any]]:
    context = multiprocessing.get_context("spawn")  # a fork would share descriptors, and locks that are held
    ours, theirs = context.Pipe()
    worker = context.Process(target=work, args=(theirs, post), daemon=True)
    worker.start()
    theirs.close()
    return worker, ours


def _merged(batch: Batch, shares: list[list[int]], answers: list[list[Verdict]]) -> list[Score]:
    scores: dict[int, Score] = {}
    for share, verdicts in zip(shares, answers, strict=True):
        for place, verdict in zip(share, verdicts, strict=True):
            event, action = batch[place]
            scores[place] = Score(event, action, *msgspec.structs.astuple(verdict))
    return [scores[place] for place in range(len(batch))]
