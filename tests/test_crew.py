from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anomaly import machine
from anomaly.corpus import Corpus
from anomaly.course import Course, Shared
from anomaly.crew import Lesson, fitting_jobs, lessons
from anomaly.detectors.interface import Algorithm
from anomaly.enrolment import Enrolled, Enrolment, enrol
from anomaly.errors import TooLittleData, WorkerLost
from anomaly.harvest import Period, Report, Watch, gather
from anomaly.model import UserModel
from anomaly.population import Population
from anomaly.store import Store
from anomaly.together import FEWEST, Together
from tests.synthetic import USERS, actions_of

if TYPE_CHECKING:
    from tests.conftest import Event

BEGIN = 1_793_000_000
ROOT = Path(__file__).parents[1]


@pytest.fixture
def crowd(tmp_path: Path, event: Event) -> Callable[[int], Path]:
    """Give the maker of a log of so many users; the first one does the most, and takes the longest."""

    def make(count: int) -> Path:
        path = tmp_path / "crowd.log"
        with path.open("wb") as file:
            for user in range(count):
                draw = random.Random(user)  # noqa: S311 - sample data
                for number in range(1200 if user == 0 else 520 + 10 * user):
                    command = f"c{user + draw.randrange(9)}"
                    file.write(event(f"user{user}", time=BEGIN + 60 * number, command=command) + b"\n")
        return path

    return make


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    """Fail a test that leaves a process behind."""
    yield
    assert multiprocessing.active_children() == []


@pytest.fixture
def everyone(tmp_path: Path, event: Event) -> Path:
    """Give a log of the synthetic users, who are enough to be learned together."""
    path = tmp_path / "everyone.log"
    actions = [action for user in USERS for action in actions_of(user, 520)]
    rows = [event(a.user, time=a.time, command=a.columns["command"]) for a in actions]
    path.write_bytes(b"".join(row + b"\n" for row in rows))
    return path


def content(lesson: Lesson) -> bytes:
    """Return what came of a user as something to compare."""
    assert isinstance(lesson.outcome, UserModel)
    return lesson.outcome.to_bytes()


def test_lessons_in_processes_equal_lessons_in_turn(crowd: Callable[[int], Path], silent: Watch) -> None:
    """Users learned at once come in the same order, and to the same, as those learned one after another."""
    found, parser = gather((crowd(4),), silent, period=Period())
    course = Course(Algorithm.OCSVM, 0, (), found, parser.identities)
    alone = list(lessons(course, found.users, None, 1, silent))
    at_once = list(lessons(course, found.users, None, 3, silent))
    assert [lesson.user for lesson in at_once] == list(found.users) == [lesson.user for lesson in alone]
    assert [content(lesson) for lesson in at_once] == [content(lesson) for lesson in alone]


def test_lessons_together_in_processes_equal_lessons_in_turn(everyone: Path, silent: Watch) -> None:
    """What users have in common goes to the processes with each of them."""
    found, parser = gather((everyone,), silent, period=Period())
    together = Together.fit(Population(found.users), 0)
    assert together is not None
    course = Course(Algorithm.BOTH, 0, ("lstm",), found, parser.identities)
    alone = list(lessons(course, found.users, together, 1, silent))
    at_once = list(lessons(course, found.users, together, 2, silent))
    assert [content(lesson) for lesson in at_once] == [content(lesson) for lesson in alone]
    for lesson in at_once:
        assert isinstance(lesson.outcome, UserModel)
        assert lesson.outcome.card.others == FEWEST - 1


def test_lessons_user_outside_of_the_cohort_is_learned_alone(everyone: Path, silent: Watch) -> None:
    """A user whom the cohort has passed over is not compared with it."""
    found, parser = gather((everyone,), silent, period=Period())
    together = Together.fit(Population(found.users), 0)
    assert together is not None
    del together.cohort.histories["ann"]
    course = Course(Algorithm.BOTH, 0, ("lstm",), found, parser.identities)
    users = {user: found.users[user] for user in ("ann", "ben")}
    others = [lesson.outcome.card.others for lesson in lessons(course, users, together, 1, silent)]  # type: ignore[union-attr]
    assert others == [0, FEWEST - 1]


def test_models_are_the_same_files(crowd: Callable[[int], Path], silent: Watch, tmp_path: Path) -> None:
    """However many users are learned at once, the directory of models is the same, byte for byte."""
    log = crowd(3)
    files = []
    for jobs in (1, 2):
        models = tmp_path / f"models{jobs}"
        done = list(enrol(Enrolment((log,), models, Algorithm.OCSVM, jobs=jobs), silent))
        assert [outcome.user for outcome in done] == ["user0", "user1", "user2"]
        files.append({path.relative_to(models): path.read_bytes() for path in models.rglob("*.safetensors")})
    assert len(files[0]) == 4  # and what all have in common
    assert files[0] == files[1]


def test_models_of_users_learned_together_are_the_same_files(
    everyone: Path, silent: Watch, tmp_path: Path
) -> None:
    """Training with --jobs 2 gives what --jobs 1 gives, byte for byte."""
    files = []
    for jobs in (1, 2):
        models = tmp_path / f"models{jobs}"
        asked = Enrolment((everyone,), models, Algorithm.BOTH, without=("lstm",), jobs=jobs)
        assert all(isinstance(outcome, Enrolled) for outcome in enrol(asked, silent))
        files.append({path.relative_to(models): path.read_bytes() for path in models.rglob("*.safetensors")})
    assert len(files[0]) == FEWEST + 1
    assert files[0] == files[1]


class Slow(Course):
    """Learns nothing: waits, fails or dies, as the user's name says."""

    def __init__(self) -> None: ...

    def learn(self, user: str, _corpus: Corpus, _shared: Shared | None, report: Report) -> UserModel:
        """Do what the name says."""
        report(0.5, "half")
        if user == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if user == "fails":
            raise ZeroDivisionError("by nothing")
        if user == "repeats":
            raise TooLittleData("repeats the same")
        if user == "sleeps":
            time.sleep(600)
        raise TooLittleData(f"{os.getpid()}")


def test_a_process_that_fails_takes_only_its_user_with_it(silent: Watch) -> None:
    """What goes wrong with one user is that user's outcome, as one of our errors; all others are learned."""
    names = ("a", "dies", "b", "fails", "c", "repeats", "d")
    outcomes = {
        user: lesson for user, lesson, _ in lessons(Slow(), dict.fromkeys(names, Corpus()), None, 2, silent)
    }
    assert tuple(outcomes) == names
    assert isinstance(outcomes["dies"], WorkerLost)
    assert "SIGKILL" in str(outcomes["dies"])
    assert "--jobs 1" in str(outcomes["dies"])
    assert isinstance(outcomes["fails"], WorkerLost)
    assert str(outcomes["fails"]) == "learning it failed with ZeroDivisionError: by nothing"
    assert str(outcomes["repeats"]) == "repeats the same"
    assert all(str(outcomes[name]).isdigit() for name in "abcd")


@pytest.mark.parametrize(
    ("failing", "told"),
    [
        ({"user0"}, "Not everyone could be learned: user0. 2 others have new models."),
        ({"user0", "user2"}, "Not everyone could be learned: user0, user2. 1 other has a new model."),
        ({"user0", "user1", "user2"}, "Nobody could be learned: user0, user1, user2. No new model was made."),
    ],
)
def test_a_failure_is_told_at_the_end(
    failing: set[str],
    told: str,
    crowd: Callable[[int], Path],
    silent: Watch,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others have their models when it is said, as an error, who has none; and how many they are."""

    def some(
        course: Course, users: dict[str, Corpus], together: Together | None, jobs: int, watch: Watch
    ) -> Iterator[Lesson]:
        for lesson in lessons(course, users, together, jobs, watch):
            failed = lesson.user in failing
            yield lesson._replace(outcome=WorkerLost("it died")) if failed else lesson

    monkeypatch.setattr("anomaly.enrolment.lessons", some)
    outcomes = enrol(Enrolment((crowd(3),), tmp_path / "models", Algorithm.OCSVM), silent)
    for user in ("user0", "user1", "user2"):
        outcome = next(outcomes)
        assert isinstance(outcome, Enrolled) is (user not in failing)
        assert user not in failing or str(outcome) == f"{user}: no new model: it died"
    with pytest.raises(WorkerLost) as caught:
        next(outcomes)
    assert str(caught.value) == told
    assert set(Store(tmp_path / "models").users()) == {"user0", "user1", "user2"} - failing


def test_whoever_stops_listening_ends_them(silent: Watch) -> None:
    """Where nobody wants the rest, or Ctrl-C is pressed, processes in the middle of their work are ended."""
    begin = time.monotonic()
    found = lessons(Slow(), dict.fromkeys(("a", "sleeps", "b"), Corpus()), None, 2, silent)
    assert next(found).user == "a"
    found.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []
    assert time.monotonic() - begin < 60


def test_processes_are_as_many_as_asked_for(silent: Watch) -> None:
    """Users share processes: no more than asked for, and never more than users; for one user there is none."""
    users = dict.fromkeys("abcdef", Corpus())
    assert len({str(lesson.outcome) for lesson in lessons(Slow(), users, None, 2, silent)}) <= 2
    for one, jobs in ((users, 1), ({"a": Corpus()}, 8)):
        assert {str(lesson.outcome) for lesson in lessons(Slow(), one, None, jobs, silent)} == {str(os.getpid())}


def test_progress_is_that_of_all() -> None:
    """One bar shows how far all users have come: it rises from 0 to 1."""
    seen: list[float] = []

    @contextmanager
    def watch(title: str) -> Iterator[Report]:
        assert title == "learning"
        yield lambda fraction, _what: seen.append(fraction)

    assert len(list(lessons(Slow(), dict.fromkeys("abcd", Corpus()), None, 2, watch))) == 4
    assert seen == sorted(seen)
    assert 0 < seen[0] < 1
    assert seen[-1] == 1.0


class Sized(Corpus):
    """A corpus that is only large."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        """Return how large."""
        return self.size


def sized(*sizes: int) -> dict[str, Corpus]:
    """Give users with so many actions."""
    return {f"user{number}": Sized(size) for number, size in enumerate(sizes)}


def test_jobs_fit_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many users are learned at once as there are CPUs for us and GiB of memory, and one in any case."""
    monkeypatch.setattr(machine, "cpus", lambda: 4)
    for gibibytes, users, expected in (
        (64, 0, 1),
        (64, 1, 1),
        (64, 3, 3),
        (64, 9, 4),
        (2.5, 1, 1),
        (2.5, 9, 2),
        (0.1, 9, 1),
    ):
        monkeypatch.setattr(machine, "memory", lambda free=gibibytes: int(free * (1 << 30)))
        assert fitting_jobs(Algorithm.OCSVM, sized(*[10**6] * users)) == expected


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_jobs_are_worth_their_start(algorithm: Algorithm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Little is learned by one process, and so is much of one user beside little of others."""
    monkeypatch.setattr(machine, "cpus", lambda: 8)
    monkeypatch.setattr(machine, "memory", lambda: 64 << 30)
    worth = 20_000 if algorithm is Algorithm.OCSVM else 6_000
    for sizes, expected in (
        ([500] * 3, 1),
        ([worth - 1] * 2, 1),
        ([worth] * 2, 2),
        ([worth // 2] * 3, 1),
        ([worth // 2] * 8, 4),
        ([worth] * 9, 8),
        ([40 * worth, worth - 1], 1),
        ([40 * worth, worth], 2),
        ([40 * worth, *[worth // 10] * 9], 1),
        ([40 * worth, *[worth // 4] * 4], 5),
    ):
        assert fitting_jobs(algorithm, sized(*sizes)) == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_the_command(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C, and even SIGKILL of the command alone, leave no process behind, and nobody's traceback but one."""
    code = (
        "import signal\nfrom contextlib import nullcontext\nfrom anomaly.corpus import Corpus\n"
        "from anomaly.crew import lessons\nfrom tests.test_crew import Slow\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job ignores it
        "    def said(*_): print('begun', flush=True)\n"
        "    list(lessons(Slow(), dict.fromkeys(('sleeps', 'sleeps2'), Corpus()) | {'sleeps': Corpus()}, None, 2,"
        " lambda _: nullcontext(said)))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    command = subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    with command:
        assert command.stdout is not None
        assert command.stdout.readline() == "begun\n"
        if number is signal.SIGINT:
            os.killpg(command.pid, number)
        else:
            command.kill()
        _, said = command.communicate(timeout=60)  # ends when nobody holds its standard error any more
    assert said.count("Traceback") == (number is signal.SIGINT)
