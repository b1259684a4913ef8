"""Learning several users at once, in processes of their own; what comes of each is handed on in the users' order.

The processes are new ones ("spawn"): a fork would copy the threads of tensorflow in whatever state they are in.
Each learns one user at a time and is given the next when it is done, so that no more users are learned in memory
than there are processes. One that dies takes only its user with it. They end with the process that started them,
however it ends.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from anomaly import machine
from anomaly.corpus import Corpus
from anomaly.course import Course, Shared
from anomaly.detectors.interface import Algorithm
from anomaly.errors import AnomalyError, TooLittleData, WorkerLost
from anomaly.harvest import Report, Watch
from anomaly.model import UserModel
from anomaly.processes import end_with_parent, how_it_ended, shielded
from anomaly.together import Together

_ROOM = 1 << 30  # bytes that a process takes at most, tensorflow included, for a log of a million actions
_WORTH = {Algorithm.OCSVM: 20_000, Algorithm.LSTM: 6_000, Algorithm.BOTH: 6_000}
"""Actions that are learned in the time that one more process takes to begin: to load scikit-learn takes 0.9 s,
and 1,000 actions 0.06 s; with tensorflow it is 7 to 9 s of CPU, by all processes at once, and 1.5 s."""

_STEP = 0.01  # of a user's work, between one report and the next
_PATIENCE = 5.0  # seconds for a process to end before it is killed

_SPAWN = multiprocessing.get_context("spawn")


class Lesson(NamedTuple):
    """Result of one user: a model, or the reason why there is none."""

    user: str
    outcome: UserModel | AnomalyError
    seconds: float


def fitting_jobs(algorithm: Algorithm, users: Mapping[str, Corpus]) -> int:
    """Return how many users to learn at once by default: 1, unless more processes are faster, and fit.

    That are as many as there are CPUs for us and room in memory, but each must have enough to learn to be worth
    its start: 20,000 actions for OCSVM, 6,000 with a network (see :data:`_WORTH`). One user is never divided,
    so the actions that are not waited for, beside the longest or the average process, must be as many, too.
    """
    sizes = [len(corpus) for corpus in users.values()]
    total, worth = sum(sizes), _WORTH[algorithm]
    jobs = min(len(sizes), machine.cpus(), machine.memory() // _ROOM, total // worth)
    return jobs if jobs > 1 and total - max(*sizes, total / jobs) >= worth else 1


def lessons(
    course: Course, users: Mapping[str, Corpus], together: Together | None, jobs: int, watch: Watch
) -> Iterator[Lesson]:
    """Learn users, so many at once; yield what came of each, in their order.

    ``together`` is what those have in common who are learned together; None if each is learned alone.
    """
    if min(jobs, len(users)) > 1:
        return _at_once(course, users, together, min(jobs, len(users)), watch)
    return _in_turn(course, users, together, watch)


def _in_turn(
    course: Course, users: Mapping[str, Corpus], together: Together | None, watch: Watch
) -> Iterator[Lesson]:
    for user, corpus in users.items():
        with watch(user) as report:
            lesson = _lesson(course, user, corpus, _shared(together, user), report)
        yield lesson


def _shared(together: Together | None, user: str) -> Shared | None:
    return None if together is None else together.shared(user)


def _lesson(course: Course, user: str, corpus: Corpus, shared: Shared | None, report: Report) -> Lesson:
    begin = time.monotonic()
    outcome: UserModel | AnomalyError
    try:
        outcome = course.learn(user, corpus, shared, report)
    except TooLittleData as error:  # nobody else has to go without a model for it
        outcome = error
    return Lesson(user, outcome, time.monotonic() - begin)


def _at_once(
    course: Course, users: Mapping[str, Corpus], together: Together | None, jobs: int, watch: Watch
) -> Iterator[Lesson]:
    crew = _Crew(course, users, together, jobs)
    order = deque(users)
    try:
        while order:
            with watch("learning") as report:  # closed before what came of a user is shown
                while order[0] not in crew.finished:
                    crew.advance()
                    report(*crew.progress())
            while order and order[0] in crew.finished:
                yield crew.finished.pop(order.popleft())
    finally:
        crew.end()


class _Crew:
    """Processes, and the users who wait for one."""

    def __init__(self, course: Course, users: Mapping[str, Corpus], together: Together | None, jobs: int) -> None:
        self.finished: dict[str, Lesson] = {}
        self._course, self._users, self._together, self._jobs = course, users, together, jobs
        self._waiting = deque(users)
        self._workers: list[_Worker] = []

    def advance(self) -> None:
        """Give each process a user, and hear what the next ones say that say something."""
        while self._waiting and len(self._workers) < self._jobs:
            self._workers.append(_Worker(self._course))
            self._give(self._workers[-1])
        ready = wait([worker.connection for worker in self._workers])
        for worker in [worker for worker in self._workers if worker.connection in ready]:
            lesson = worker.hear()
            if lesson is None:
                continue
            self.finished[lesson.user] = lesson
            if worker.lost or not self._waiting:
                self._workers.remove(worker)
                worker.end()
            else:
                self._give(worker)

    def _give(self, worker: _Worker) -> None:
        user = self._waiting.popleft()
        worker.give(user, self._users[user], _shared(self._together, user))

    def progress(self) -> tuple[float, str]:
        """Return how far all users have come, in 0..1, and in words."""
        complete = len(self._users) - len(self._waiting) - len(self._workers)
        begun = sum(worker.done for worker in self._workers)
        return (complete + begun) / len(self._users), f"{complete} of {len(self._users)} users"

    def end(self) -> None:
        """End what is still at work."""
        for worker in self._workers:
            worker.end()


class _Worker:
    """A process, seen from the one that started it. Learns one user at a time."""

    def __init__(self, course: Course) -> None:
        self.connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_work, args=(theirs, course), name="anomaly-train", daemon=True)
        with shielded({signal.SIGINT}):  # a terminal's Ctrl-C
            self._process.start()
        theirs.close()
        self._user = ""
        self._since = 0.0
        self.done = 0.0
        """Of this user's work, in 0..1."""
        self.lost = False

    def give(self, user: str, corpus: Corpus, shared: Shared | None) -> None:
        """Give it a user to learn."""
        self._user, self._since, self.done = user, time.monotonic(), 0.0
        with suppress(OSError):  # it has died: that is heard next
            self.connection.send((user, corpus, shared))

    def hear(self) -> Lesson | None:
        """Return what came of the user, None where it has only come further."""
        try:
            said: float | Lesson = self.connection.recv()
        except (EOFError, OSError):
            self.lost = True
            self._process.join(_PATIENCE)
            how = how_it_ended(self._process.exitcode)
            error = WorkerLost(f"its process {how}. With --jobs 1 users are learned one after another.")
            return Lesson(self._user, error, time.monotonic() - self._since)
        if isinstance(said, Lesson):
            return said
        self.done = said
        return None

    def end(self) -> None:
        """End the process, whatever it is at."""
        self.connection.close()
        self._process.terminate()
        self._process.join(_PATIENCE)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        self._process.close()


def _work(connection: Connection[Any, Any], course: Course) -> None:
    """Learn what comes, until nothing does: the process that a worker is."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    with suppress(EOFError, ConnectionError):  # reset, where the parent was killed with something unread
        while True:
            user, corpus, shared = connection.recv()
            lesson = _safe_lesson(course, user, corpus, shared, _Reports(connection))
            connection.send(lesson)


class _Reports:
    """Says now and then how far a user's work has come."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection, self._said = connection, 0.0

    def __call__(self, fraction: float, _what: str) -> None:
        if fraction >= self._said + _STEP:
            self._said = fraction
            self._connection.send(fraction)


def _safe_lesson(course: Course, user: str, corpus: Corpus, shared: Shared | None, report: Report) -> Lesson:
    """Learn a user; what we have not foreseen is this user's misfortune, and not the others'."""
    begin = time.monotonic()
    try:
        return _lesson(course, user, corpus, shared, report)
    except BrokenPipeError:
        raise
    except AnomalyError as error:
        return Lesson(user, error, time.monotonic() - begin)
    except Exception as error:  # noqa: BLE001 - it is handed on
        reason = f"learning it failed with {type(error).__name__}: {error}"
        return Lesson(user, WorkerLost(reason), time.monotonic() - begin)
