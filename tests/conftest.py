"""A small log of two users and models of it, made once a run; and no test may leave a thread behind."""

from __future__ import annotations

import json
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest
from hypothesis import settings

from anomaly.detectors.interface import Algorithm
from anomaly.enrolment import Enrolment, enrol
from anomaly.identity import Identities
from anomaly.osquery import Action, Parser, Skipped
from anomaly.scoring import Scorer
from anomaly.store import Store
from tests.browsing import Browser

settings.register_profile("untimed", deadline=None)  # how long an example takes is the machine's to say
settings.load_profile("untimed")

BEGIN = 1_793_000_000
"""Time of the sample log's first line; nothing in a model may be dated otherwise."""

GRACE = 2.0
"""Seconds that a thread may take to end after its test."""

_HABITS = {
    "alice": ["git status", "git diff", "pytest -q", "vim src/app.py", "ls", "make test"],
    "bob": ["ssh db1", "psql -l", "top", "journalctl -n 50", "df -h", "systemctl status nginx"],
}
_UIDS = {"alice": "1000", "bob": "1001"}
_CROWD = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi")


class Event(Protocol):
    """Writes one line as osquery does."""

    def __call__(
        self,
        user: str | None = "alice",
        query: str = "shell_history",
        *,
        time: int = BEGIN,
        counter: int | None = 7,
        host: str = "ws1",
        **columns: str,
    ) -> bytes:
        """Return the line, without its newline; a user of None names nobody."""


class Trained(NamedTuple):
    """A directory of models of both users, by one algorithm."""

    algorithm: Algorithm
    models: Path


def _event(
    user: str | None = "alice",
    query: str = "shell_history",
    *,
    time: int = BEGIN,
    counter: int | None = 7,
    host: str = "ws1",
    **columns: str,
) -> bytes:
    named = {} if user is None else {"username": user, "uid": _UIDS.get(user, "1999")}
    record = {
        "name": f"pack_user_behavior_{query}",
        "hostIdentifier": host,
        "unixTime": time,
        "counter": counter,
        "columns": {**named, **columns},
        "action": "added",
    }
    return json.dumps({key: value for key, value in record.items() if value is not None}).encode()


def _lines(count: int, seed: int = 11) -> Iterator[bytes]:
    """Yield what two users do: each goes along a ring of habits, and strays a little."""
    draw = random.Random(seed)  # noqa: S311 - sample data
    place = dict.fromkeys(_HABITS, 0)
    now = BEGIN
    for user in _HABITS:
        for name in ("systemd", "bash", "gnome-shell"):
            yield _event(user, "processes", time=now, counter=0, name=name, pid=str(draw.randrange(400, 9000)))
    for number in range(2 * count):
        user = ("alice", "bob")[number % 2]
        habits = _HABITS[user]
        now += draw.randrange(1, 600)
        place[user] = draw.randrange(len(habits)) if draw.random() < 0.1 else (place[user] + 1) % len(habits)
        command = habits[place[user]]
        kind = draw.random()
        if kind < 0.5:
            extra = f" {draw.randrange(10**6)}" if draw.random() < 0.03 else ""
            yield _event(user, time=now, command=command + extra)
        elif kind < 0.8:
            name = command.split()[0]
            yield _event(
                user,
                "processes",
                time=now,
                name=name,
                path=f"/usr/bin/{name}",
                pid=str(draw.randrange(400, 32000)),
            )
        else:
            address = f"10.0.{_UIDS[user][-1]}.{draw.choice((5, 5, 5, 9, draw.randrange(250)))}"
            yield _event(user, "open_sockets", time=now, remote_address=address, remote_port="443")


def _crowd(count: int, seed: int = 11) -> Iterator[bytes]:
    """Yield what eight users do with the tools of both: each has seven of them for habits."""
    draw = random.Random(seed)  # noqa: S311 - sample data
    tools = [command for habits in _HABITS.values() for command in habits]
    habits = {user: random.Random(user).sample(tools, 7) for user in _CROWD}  # noqa: S311 - the same
    now = BEGIN
    for number in range(len(_CROWD) * count):
        user = _CROWD[number % len(_CROWD)]
        now += draw.randrange(1, 200)
        command = habits[user][(number // len(_CROWD) + (draw.random() < 0.1)) % 7]
        if draw.random() < 0.6:
            extra = f" {draw.randrange(10**6)}" if draw.random() < 0.03 else ""
            yield _event(user, time=now, command=command + extra)
        else:
            name = command.split()[0]
            yield _event(user, "processes", time=now, name=name, path=f"/usr/bin/{name}", pid=str(number))


def _parsed(lines: Iterable[bytes]) -> list[Action]:
    parser = Parser(Identities(hostname="", lookup=lambda _: None))
    found: list[Action] = []
    for line in lines:
        parsed = parser.parse(line)
        assert not isinstance(parsed, Skipped)
        found += parsed
    return found


def _trained(log: Path, models: Path, algorithm: Algorithm) -> Path:
    """Train everyone, hastily."""
    with pytest.MonkeyPatch.context() as patch:
        if algorithm is not Algorithm.OCSVM:
            patch.setattr("anomaly.detectors.lstm_fit.MAX_EPOCHS", 2)
        list(enrol(Enrolment((log,), models, algorithm), _silent))
    return models


@contextmanager
def _silent(_title: str) -> Iterator[Callable[[float, str], None]]:
    yield lambda _fraction, _what: None


@pytest.fixture(autouse=True)
def _no_leaked_thread() -> Iterator[None]:
    """Fail a test that leaves a thread behind."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + GRACE
    while (left := set(threading.enumerate()) - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left


@pytest.fixture(scope="session")
def event() -> Event:
    """Give the writer of sample lines."""
    return _event


@pytest.fixture(scope="session")
def silent() -> Callable[[str], object]:
    """Give a progress bar that shows nothing."""
    return _silent


@pytest.fixture(scope="session")
def lines() -> list[bytes]:
    """Give the sample log's lines: 1,200 actions of each user after a few baseline rows."""
    return list(_lines(1200))


@pytest.fixture(scope="session")
def log(lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the sample log; not to be written to."""
    path = tmp_path_factory.mktemp("log") / "osqueryd.results.log"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


@pytest.fixture(scope="session")
def actions(lines: list[bytes]) -> list[Action]:
    """Give the sample log's actions."""
    return _parsed(lines)


@pytest.fixture(scope="session")
def later() -> Callable[[int, int], list[Action]]:
    """Give the maker of what both users do after training: so many actions each, by a seed; no baseline rows."""
    return lambda count, seed: [action for action in _parsed(_lines(count, seed)) if not action.baseline]


@pytest.fixture(scope="session")
def ocsvm_models(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory of One-Class SVMs of both users; not to be written to."""
    return _trained(log, tmp_path_factory.mktemp("ocsvm") / "models", Algorithm.OCSVM)


@pytest.fixture(scope="session")
def lstm_models(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory of hastily trained LSTMs of both users; not to be written to."""
    return _trained(log, tmp_path_factory.mktemp("lstm") / "models", Algorithm.LSTM)


@pytest.fixture(scope="session")
def both_models(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory of hastily trained models of both views, of both users; not to be written to."""
    return _trained(log, tmp_path_factory.mktemp("both") / "models", Algorithm.BOTH)


@pytest.fixture(scope="session")
def crowd_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory of models of eight users who are learned together; not to be written to."""
    folder = tmp_path_factory.mktemp("crowd")
    log = folder / "osqueryd.results.log"
    log.write_bytes(b"".join(line + b"\n" for line in _crowd(520)))
    list(enrol(Enrolment((log,), folder / "models", Algorithm.BOTH, without=("lstm",)), _silent))
    return folder / "models"


@pytest.fixture(scope="session")
def crowd() -> Callable[[int, int], list[Action]]:
    """Give the maker of what the eight do after training: so many actions each, by a seed."""
    return lambda count, seed: _parsed(_crowd(count, seed))


@pytest.fixture(scope="session", params=list(Algorithm))
def trained(request: pytest.FixtureRequest) -> Trained:
    """Give the models of each algorithm in turn; not to be written to."""
    algorithm: Algorithm = request.param
    return Trained(algorithm, request.getfixturevalue(f"{algorithm.lower()}_models"))


@pytest.fixture
def models(ocsvm_models: Path, tmp_path: Path) -> Path:
    """Give a copy of the One-Class SVMs, to do anything with."""
    return shutil.copytree(ocsvm_models, tmp_path / "models")


@pytest.fixture(scope="session")
def scorer() -> Callable[[Path], Scorer]:
    """Give the maker of a scorer of all users from a directory of models."""
    return lambda models: Scorer(Store(models).load)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start Chromium once; where there is none, what needs it is skipped."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium here (Debian's package: chromium)")
    started = Browser(program, tmp_path_factory.mktemp("chromium"))
    yield started
    started.close()
