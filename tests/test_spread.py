"""A backlog scored by several processes: the same scores in the same order, and nothing is lost when one dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from anomaly import prediction
from anomaly.errors import ConfigError, ModelRefused, WorkerLost
from anomaly.learned import StoreKeeper
from anomaly.osquery import Action
from anomaly.prediction import prepare
from anomaly.records import Score
from anomaly.registry import Registry
from anomaly.request import Prediction
from anomaly.scoring import Scorer
from anomaly.sinks.interface import Sink
from anomaly.spread import Spread
from anomaly.spread_process import Post
from anomaly.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

Later = Callable[[int, int], list[Action]]
Batch = list[tuple[str, Action]]


@pytest.fixture
def batches(crowd: Later) -> list[Batch]:
    """Give actions of a crowd, some of people nobody knows, by batches of odd sizes."""
    actions = crowd(260, 6)
    for number in range(0, len(actions), 41):
        name, columns = f"z{number}", actions[number].columns
        actions[number] = msgspec.structs.replace(actions[number], user=name, columns=columns | {"username": name})
    entries = [(f"f:{number}", action) for number, action in enumerate(actions)]
    return [entries[begin : begin + 97] for begin in range(0, len(entries), 97)]


@pytest.fixture
def copy(crowd_models: Path, tmp_path: Path) -> Path:
    """Give models of the crowd that may be written to."""
    return shutil.copytree(crowd_models, tmp_path / "models")


@pytest.fixture
def spread(copy: Path) -> Iterator[Spread]:
    """Give two processes."""
    with Spread(Post(copy, adapt=True, checkpoint="log", log="log"), 2, lambda _: None) as found:
        yield found


def alone(models: Path) -> Scorer:
    """Return a scorer that does the same in this process."""
    registry = Registry(Store(models), lambda _: None)
    keeper = StoreKeeper(registry.store, "log")
    return Scorer(registry.find, keeper=keeper, background=registry.background(), log="log")


def scored(scoring: Spread | Scorer, batches: Sequence[Batch]) -> list[Score]:
    """Score batches to the end."""
    return [score for batch in batches for score in scoring.score_all(batch)] + scoring.flush()


def states(scoring: Spread | Scorer) -> dict[str, Any]:
    """Return where everybody stands; which file holds what was learned says when it was saved, and no more."""
    return {name: msgspec.json.decode(state) | {"learned": None} for name, state in scoring.encoded()}


def test_processes_change_no_score(spread: Spread, copy: Path, tmp_path: Path, batches: list[Batch]) -> None:
    """Scores, their order and everybody's state are exactly those of one process; after a restart, to 1e-6."""
    one = alone(shutil.copytree(copy, tmp_path / "other"))
    half = len(batches) // 2
    expected = scored(one, batches[:half])
    assert scored(spread, batches[:half]) == expected
    assert [score.id for score in expected] == [event for batch in batches[:half] for event, _ in batch]
    saved = {name: msgspec.Raw(state) for name, state in spread.encoded()}
    spread.saved()
    assert states(spread) == states(one)
    with Spread(Post(copy, adapt=True, checkpoint="log", log="log"), 3, lambda _: None) as again:
        again.restore(saved)
        assert states(again) == states(one)  # also of those who have not acted since
        found, expected = scored(again, batches[half:]), scored(one, batches[half:])
        assert [score.id for score in found] == [score.id for score in expected]
        for figure in ("score", "risk", "surprise"):
            figures = ([getattr(score, figure) for score in scores] for scores in (found, expected))
            for one_way, other in zip(*figures, strict=True):
                assert one_way == pytest.approx(other, abs=1e-6)


def test_half_a_character_is_carried(spread: Spread, batches: list[Batch]) -> None:
    """A value that no text can hold comes back as it went."""
    event, action = batches[0][0]
    odd = msgspec.structs.replace(action, columns={"name": "\ud800", "path": "/x"})
    spread.score_all([(event, odd)])
    (score,) = spread.flush()
    assert score.action is odd
    assert score.score is not None


@pytest.mark.parametrize(
    ("number", "how"),
    [
        (signal.SIGKILL, "was killed (SIGKILL), as the system does where memory is short."),
        (signal.SIGSEGV, "was ended by SIGSEGV."),
    ],
)
def test_a_process_that_dies_is_told(
    number: signal.Signals, how: str, spread: Spread, batches: list[Batch]
) -> None:
    """When a process is ended, the error says how and what to do; memory is blamed only where it may be it."""
    spread.score_all(batches[0])
    for worker, _ in spread._workers:
        assert worker.pid is not None
        os.kill(worker.pid, number)
    with pytest.raises(WorkerLost, match="--jobs 1") as caught:
        scored(spread, batches)
    assert str(caught.value).startswith(f"A process that was scoring {how} ")
    assert ("memory" in str(caught.value)) is (number is signal.SIGKILL)
    assert WorkerLost.exit_code == 12


@pytest.mark.parametrize("restored", [False, True])
def test_an_error_of_a_process_is_the_commands(
    restored: bool,  # noqa: FBT001 - a parameter
    spread: Spread,
    copy: Path,
    batches: list[Batch],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What a process met arrives as it is, with its exit code and without a traceback, whatever it was asked."""
    copy.chmod(0o777)
    if restored:
        spread.restore(dict.fromkeys(("user0", "user1"), b"{}"))
    with pytest.raises(ModelRefused, match=f"{copy}"):
        scored(spread, batches)
    spread.close()
    assert capfd.readouterr().err == ""


def test_signals_are_the_parents(spread: Spread, batches: list[Batch]) -> None:
    """What a terminal or systemd sends to all processes ends none of those that score."""
    spread.score_all(batches[0])
    for worker, _ in spread._workers:
        assert worker.pid is not None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(worker.pid, number)
    assert len(spread.flush()) == len(batches[0])


def test_closing_ends_the_processes(copy: Path) -> None:
    """Afterwards no process is left, whatever was still to come."""
    spread = Spread(Post(copy, adapt=False, checkpoint="log", log="log"), 2, lambda _: None)
    pids = [worker.pid for worker, _ in spread._workers]
    spread.close()
    for pid in pids:
        assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_closing_does_not_wait_for_each(copy: Path) -> None:
    """Processes that answer no more are ended together, within a second or two, however many they are."""
    spread = Spread(Post(copy, adapt=False, checkpoint="log", log="log"), 3, lambda _: None)
    for worker, _ in spread._workers:
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGSTOP)
    begin = time.monotonic()
    spread.close()
    assert time.monotonic() - begin < 2.9


def test_users_are_dealt_out_evenly_and_models_are_not_shared(spread: Spread, batches: list[Batch]) -> None:
    """Users who act in one batch go to both processes, and who may share a model to the same one."""
    _, action = batches[0][1]
    names = [f"u{n}" for n in range(6)] + [f"u{n}@ws1" for n in range(6)]
    spread.score_all([("e", msgspec.structs.replace(action, user=name)) for name in names])
    _, shares = spread._waiting
    assert sorted(map(len, shares)) == [6, 6]
    placed = {names[place]: number for number, share in enumerate(shares) for place in share}
    assert all(placed[f"u{n}"] == placed[f"u{n}@ws1"] for n in range(6))


def test_answers_that_were_not_asked_to_the_end_are_not_taken_for_others(
    spread: Spread, batches: list[Batch]
) -> None:
    """A checkpoint that cannot be written to its end, on a full disk, leaves no answer behind to be misread."""
    scored(spread, batches[:4])
    next(iter(spread.encoded()))
    assert len(scored(spread, batches[4:6])) == sum(map(len, batches[4:6]))


def test_strangers_are_dealt_out_within_bounds(spread: Spread, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names a log shows, no more of them are remembered than there is room for."""
    monkeypatch.setattr("anomaly.spread._MOST_NAMES", 10)
    numbers = {spread._worker_of(f"user{n}") for n in range(1000)}
    assert numbers == {0, 1}
    assert len(spread._dealt) == 10
    assert [spread._worker_of(f"user{n}") for n in range(1000)] == [
        spread._worker_of(f"user{n}") for n in range(1000)
    ]


class Kept(Sink):
    """Keeps the scores."""

    def __init__(self) -> None:
        self.scores: list[Score] = []

    def write(self, scores: Sequence[Score]) -> None:
        """Keep them."""
        self.scores += scores


def written(batches: list[Batch], path: Path) -> Path:
    """Write actions as osquery does."""
    with path.open("w", encoding="utf-8") as file:
        for _, action in (entry for batch in batches for entry in batch):
            line = {
                "name": action.query,
                "hostIdentifier": action.host,
                "unixTime": action.time,
                "action": action.verb,
                "decorations": {"username": action.user},
                "columns": action.columns,
            }
            file.write(json.dumps(line) + "\n")
    return path


@pytest.mark.parametrize(
    ("jobs", "worthwhile", "spreads"), [(2, 1 << 40, True), (1, 0, False), (None, 0, True), (None, 1 << 40, False)]
)
def test_predict_spreads_a_long_backlog(
    jobs: int | None,
    worthwhile: int,
    spreads: bool,  # noqa: FBT001 - a parameter
    copy: Path,
    batches: list[Batch],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With --jobs, or a backlog that is worth it, predict scores by processes; the checkpoint holds everybody."""
    monkeypatch.setattr(prediction, "WORTHWHILE", worthwhile)
    monkeypatch.setattr("anomaly.machine.cpus", lambda: 2)
    log = written(batches, tmp_path / "log")
    asked = Prediction(log, copy, tmp_path / "state", None, follow=False, begin="start", jobs=jobs)
    sink, said = Kept(), list[str]()
    with prepare(asked, sink, said.append) as follower:
        assert isinstance(follower.scorer, Spread) is spreads
        tally = follower.run()
    assert tally.actions == tally.lines == len(sink.scores) == sum(map(len, batches))
    expected = scored(alone(copy), batches)
    assert [(s.action, s.score, s.risk, s.reasons) for s in sink.scores] == [
        (s.action, s.score, s.risk, s.reasons) for s in expected
    ]
    (checkpoint,) = (tmp_path / "state").glob("*[0-9a-f].json")
    users = json.loads(checkpoint.read_bytes())["users"]
    assert users.keys() == {score.action.user for score in expected if score.risk is not None}


def test_jobs_are_for_a_backlog_of_many(copy: Path, batches: list[Batch], tmp_path: Path) -> None:
    """One user, or a log that is followed, is no work for several processes."""
    log = written(batches[:1], tmp_path / "log")
    for user, follow in ((batches[0][1][1].user, False), (None, True)):
        asked = Prediction(log, copy, tmp_path / "state", user, follow=follow, begin="start", jobs=2)
        with pytest.raises(ConfigError, match="--all-users --no-follow"), prepare(asked, Kept(), print):
            pass


def test_what_nobody_fetches_is_no_error(
    copy: Path, batches: list[Batch], capfd: pytest.CaptureFixture[str]
) -> None:
    """Closed while scores are still to come, the processes end without a word."""
    for _ in range(3):
        with Spread(Post(copy, adapt=False, checkpoint="log", log="log"), 2, lambda _: None) as spread:
            spread.score_all([entry for batch in batches for entry in batch] * 4)
    assert capfd.readouterr().err == ""


def test_what_all_processes_say_is_said_once(copy: Path, batches: list[Batch], tmp_path: Path) -> None:
    """A sentence that every process, and the parent, has to say comes once."""
    (copy / "background.safetensors").write_bytes(b"damaged")
    log = written(batches, tmp_path / "log")
    asked = Prediction(log, copy, tmp_path / "state", None, follow=False, begin="start", jobs=3)
    said: list[str] = []
    with prepare(asked, Kept(), said.append) as follower:
        assert isinstance(follower.scorer, Spread)
        follower.run()
    assert len(said) == 1
    assert "background.safetensors is refused" in said[0]
