"""The invariants of the architecture, by their numbers; those of single modules are tested with them."""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomaly import harvest
from anomaly.adaptation import LAG, Progress
from anomaly.alerts import Alerting
from anomaly.corpus import Corpus
from anomaly.detectors.interface import WINDOW, Algorithm
from anomaly.detectors.ocsvm import GAMMA, LENGTH, NU, STRIDE, bag_of
from anomaly.enrolment import Enrolled, Enrolment, enrol
from anomaly.errors import AnomalyError, ModelRefused
from anomaly.features import levels
from anomaly.harvest import Watch
from anomaly.identity import Identities
from anomaly.learned import StoreKeeper
from anomaly.osquery import Action, Parser, Skipped
from anomaly.records import Score, Severity
from anomaly.scoring import Scorer
from anomaly.sources.interface import Line
from anomaly.sources.tail import LogSource
from anomaly.store import Store
from anomaly.tokenizer import Tokenizer
from anomaly.tokens import Encoded, Tokens

if TYPE_CHECKING:
    from tests.conftest import Event, Trained

Later = Callable[[int, int], list[Action]]
ROOT = Path(__file__).parents[1]


def close(found: list[Score | None], expected: list[Score | None]) -> bool:
    """Compare scores to 1e-6, and everything else exactly."""
    figures = [
        [(score.score, score.risk, score.surprise) for score in scores if score] for scores in (found, expected)
    ]
    numbers = [np.array(part, dtype=float) for part in figures]
    rest = [[(s.id, s.action, s.model, s.reasons) for s in scores if s] for scores in (found, expected)]
    return rest[0] == rest[1] and bool(np.allclose(numbers[0], numbers[1], rtol=0, atol=1e-6, equal_nan=True))


def run(scorer: Scorer, actions: list[Action], start: int = 0) -> list[Score | None]:
    """Score actions, numbered from ``start``."""
    return [scorer.score(str(number), action) for number, action in enumerate(actions, start)]


def learned(scorer: Scorer) -> Progress:
    """Return how far alice's model has moved."""
    adaptation = scorer._users["alice"].adaptation
    assert adaptation is not None
    return adaptation.progress


# 1. Chunking does not matter.


@pytest.mark.parametrize("kind", ["ocsvm", "lstm", "both", "crowd"])
@pytest.mark.parametrize("kept", ["in the checkpoint", "beside the model"])
def test_1_restarts_anywhere_change_no_score(
    kind: str, kept: str, request: pytest.FixtureRequest, later: Later, crowd: Later, tmp_path: Path
) -> None:
    """The scores of a log are those of one pass, wherever it is interrupted, and what is learned is the same."""
    trained: Path = request.getfixturevalue(f"{kind}_models")
    own = [action for action in (crowd if kind == "crowd" else later)(1250, 5) if action.user == "alice"]
    whole = Scorer(Store(trained).load)
    expected = run(whole, own)
    assert not close(run(Scorer(Store(trained).load, adapt=False), own), expected)
    delay = whole._users["alice"].stored.model.fusion.delay
    draw = random.Random(5)  # noqa: S311 - places to cut at
    places = (
        [1, 2, 10, 99, 100, 101, 119, 120, 121, 200, 419, 420, 421, 1100],
        sorted(draw.sample(range(1250), 30)),
    )
    for number, cuts in enumerate(places):
        store = Store(shutil.copytree(trained, tmp_path / str(number)))
        found: list[Score | None] = []
        saved: dict[str, Any] = {}
        for start, stop in zip([0, *cuts], [*cuts, len(own)], strict=True):
            mine = Scorer(store.load, keeper=StoreKeeper(store, "log") if kept == "beside the model" else None)
            mine.restore(json.loads(json.dumps(saved)))
            found += run(mine, own[start:stop], start)
            saved = mine.export()
        assert close(found, expected)
        assert learned(mine) == learned(whole)
        assert learned(mine).learned == (1250 - LAG - delay) // WINDOW * WINDOW


# 2. The numpy scorer equals the framework.


def corpus_of(actions: list[Action], user: str = "alice") -> Corpus:
    """Gather a user's actions that are no baseline."""
    corpus = Corpus()
    for number, action in enumerate(actions):
        if action.user == user and not action.baseline:
            corpus.append(number, action)
    return corpus


def encode(corpus: Corpus) -> tuple[Tokenizer, Encoded]:
    """Tokenise a corpus by its own vocabulary."""
    tokenizer = Tokenizer.fit(corpus, corpus.rows(), salt=3)
    return tokenizer, tokenizer.encode_all(corpus, corpus.rows())


def test_2_lstm_equals_keras(actions: list[Action]) -> None:
    """Log-probabilities in numpy are those of the Keras layers that were trained, along a whole sequence."""
    from anomaly.detectors.lstm_fit import LstmLearner  # noqa: PLC0415 - tensorflow takes 3 s
    from anomaly.detectors.lstm_layout import Layout  # noqa: PLC0415 - the same

    corpus = corpus_of(actions)
    tokenizer, encoded = encode(corpus)
    learner = LstmLearner(seed=1)
    learner.epochs = 2
    lstm = learner.fit(tokenizer, encoded, [range(len(corpus))], range(0))
    (trainer,) = learner._trainers.values()
    count = 300
    ids = encoded.ids[:count]
    there = (ids > 0)[..., None]
    places = Layout.of(tokenizer, ids.shape[1]).places
    entered = (np.where(there, trainer.embed(places[ids]).numpy(), 0.0)).sum(axis=1)[None]
    hidden = trainer.lstm(entered.astype(np.float32))[0]
    logits = trainer.out(hidden).numpy()[0][:, places]
    state = lstm.start()
    compared = 0
    for step in range(count - 1):
        lstm.network.advance(state, [encoded.tokens(step)], [True])
        for token in encoded.tokens(step + 1).ids:
            head = next(head for head in tokenizer.heads if head.start <= token < head.stop)
            column = logits[step, head.start : head.stop].astype(np.float64)
            expected = column - column.max() - np.log(np.exp(column - column.max()).sum())
            np.testing.assert_allclose(
                lstm.network.log_probabilities(state.hidden, token), expected, rtol=0, atol=1e-5
            )
            share = np.exp(expected[token - head.start])
            ((given,),) = lstm.network.probabilities(state.hidden[None], [Tokens((token,), ())])
            assert given == pytest.approx(share, abs=1e-5)
            compared += 1
    assert compared > 2 * count


def test_2_ocsvm_equals_sklearn(actions: list[Action]) -> None:
    """Margins in numpy are scikit-learn's decision function of the same bags, divided by the weights' total."""
    from sklearn.svm import OneClassSVM  # noqa: PLC0415 - scikit-learn takes 2 s

    from anomaly.detectors.ocsvm_fit import fit_svm  # noqa: PLC0415 - the same

    corpus = corpus_of(actions)
    _, encoded = encode(corpus)
    history = list(encoded.features)
    keys = np.unique(np.array([feature for one in history for feature in one], dtype=np.uint64))
    bags = np.array(
        [np.isin(keys, bag_of(history[end - LENGTH : end])) for end in range(LENGTH, len(history) + 1)]
    )
    points = bags / np.linalg.norm(bags, axis=1, keepdims=True)
    svm = fit_svm(history[:600])
    ends = range(LENGTH, 601, STRIDE)
    framework = OneClassSVM(kernel="rbf", gamma=GAMMA, nu=NU, tol=1e-6).fit([points[end - LENGTH] for end in ends])
    expected = -framework.decision_function(points) / framework.dual_coef_.sum()
    margins = [svm.margin(svm.start(), history[end - LENGTH : end]) for end in range(LENGTH, len(history) + 1)]
    np.testing.assert_allclose(margins, expected, rtol=0, atol=1e-5)


# 3. What scoring, and help, do not import.


def imported(*arguments: str) -> set[str]:
    """Run a command and return the top-level modules that it loaded."""
    code = (
        "import sys\nfrom anomaly.cli import main\n"
        "try:\n    main(sys.argv[1:], prog_name='anomaly')\nexcept SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "print('\\nMODULES', *{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, check=True, cwd=ROOT
    )
    return set(done.stderr.rpartition("MODULES")[2].split())


def test_3_predict_imports_no_framework(trained: Trained, log: Path, tmp_path: Path) -> None:
    """Scoring a log loads neither tensorflow nor scikit-learn nor scipy, and watching is left to numpy alone."""
    models = shutil.copytree(trained.models, tmp_path / "models")  # what is learned is written there
    found = imported(
        *("predict", "--all-users", "--no-follow", "--from", "start", "-l", str(log)),
        *("--models", str(models), "--state", str(tmp_path / "state"), "--format", "json"),
    )
    assert "numpy" in found
    frameworks = {"tensorflow", "keras", "sklearn", "scipy", "pandas"}
    assert not found & {*frameworks, "rich", "psutil", "prometheus_client", "jinja2", "plotly", "textual"}


@pytest.mark.parametrize("command", [["users", "-l"], ["models", "list"]])
def test_3_looking_around_imports_no_framework(command: list[str], trained: Trained, log: Path) -> None:
    """Listing users or models pays for no more than scoring does."""
    arguments = [*command, *([str(log)] if command[-1] == "-l" else []), "--models", str(trained.models)]
    found = imported(*arguments)
    assert "numpy" in found
    assert not found & {"tensorflow", "keras", "sklearn", "scipy"}


@pytest.mark.parametrize(
    "command", [["--help"], ["train", "--help"], ["predict", "--help"], ["config", "show"], ["--version"]]
)
def test_3_help_imports_no_numpy(command: list[str]) -> None:
    """Help costs none of the heavy rooms, and neither does looking at settings."""
    assert not imported(*command) & {"numpy", "tensorflow", "sklearn", "scipy", "watchdog", "rich", "psutil"}


def test_3_recording_imports_no_numpy(tmp_path: Path) -> None:
    """Looking at the machine is as light as it can be; psutil is for this command alone."""
    found = imported("record", "--once", "--no-history", "-l", str(tmp_path / "recorded.results.log"))
    assert "psutil" in found
    assert not found & {"numpy", "tensorflow", "sklearn", "scipy", "watchdog", "rich"}


# 4. Memory does not grow with the log, and training reads it once.


def test_4_scoring_memory_is_bounded(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, scorer: Callable[[Path], Scorer], event: Event
) -> None:
    """After the bounded caches are full, ever new values, users and numbers of users take no more memory."""
    monkeypatch.setattr(levels, "_hash", lru_cache(64)(levels._hash.__wrapped__))
    monkeypatch.setattr("anomaly.lookup._CACHE", 64)
    monkeypatch.setattr("anomaly.detectors.network._ENTERING", 64)
    monkeypatch.setattr("anomaly.tokenizer._ACTIONS", 16)
    monkeypatch.setattr("anomaly.scoring._MOST_NAMES", 64)
    mine = scorer(trained.models)
    parser = Parser(Identities(hostname="", lookup=lambda _: None, limit=64))

    def feed(start: int, stop: int) -> int:
        for number in range(start, stop):
            for line in (
                event("alice", command=f"cat /srv/{number}/{number}.txt", time=number),
                event("alice", "processes", name=f"n{number}", path=f"/opt/{number}", pid=str(number)),
                event(f"user{number}", command="ls", host=f"host{number}"),
                event(None, "processes", uid=str(10**6 + number), name="sh"),
            ):
                parsed = parser.parse(line)
                assert not isinstance(parsed, Skipped)
                run(mine, parsed)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    feed(0, 300)
    tracemalloc.start()
    try:
        first = feed(300, 900)
        assert feed(900, 1500) - first < 16_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("place", ["command", "host"])
def test_4_long_values_are_not_kept(ocsvm_models: Path, event: Event, place: str) -> None:
    """What is remembered of a value, or of a host's name, is of bounded length: the log chooses both."""
    mine, parser = Scorer(Store(ocsvm_models).load), Parser(Identities(hostname="", lookup=lambda _: None))
    lines = [event(**{"command": "ls", place: f"{number}" + "x" * 100_000}) for number in range(50)]  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        for line in lines:
            parsed = parser.parse(line)
            assert not isinstance(parsed, Skipped)
            run(mine, parsed)
        del parsed
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


def test_4_training_reads_the_log_once(
    log: Path, lines: list[bytes], tmp_path: Path, silent: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte of the log is read once, whatever the number of users and folds."""
    read = 0

    class Counting(LogSource):
        def read(self, limit: int, timeout: float) -> list[Line]:
            nonlocal read
            batch = super().read(limit, timeout)
            read += len(batch)
            return batch

    monkeypatch.setattr(harvest, "LogSource", Counting)
    done = list(enrol(Enrolment((log,), tmp_path / "models", Algorithm.OCSVM), silent))
    assert len(done) == 2
    assert read == len(lines)


def test_4_a_corpus_holds_numbers_and_not_json(event: Event) -> None:
    """A log that says the same again costs numbers only: far less than its lines."""
    parser, corpus = Parser(Identities(hostname="")), Corpus()
    line = event("alice", command="find / " + "-name x " * 100)
    tracemalloc.start()
    try:
        for number in range(3000):
            parsed = parser.parse(line)
            assert not isinstance(parsed, Skipped)
            corpus.append(number, parsed[0])
        assert tracemalloc.get_traced_memory()[0] < 0.15 * 3000 * len(line)
    finally:
        tracemalloc.stop()


# 5. The log's time, and no clock.


def test_5_clock_has_no_part_in_models_and_scores(
    ocsvm_models: Path,
    log: Path,
    later: Later,
    tmp_path: Path,
    silent: Watch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In another century the same log gives the same models, the same scores and the same alerts."""
    own = [action for action in later(150, 5) if action.user == "alice"]
    own += [
        Action(own[-1].time + n, "ws1", "alice", "shell_history", "added", {"command": f"nmap {n}"})
        for n in range(99)
    ]
    found = []
    for clock in (None, 4.0e9):
        models = ocsvm_models
        if clock is not None:
            monkeypatch.setattr(time, "time", lambda: 4.0e9)
            models = tmp_path / "models"
            list(enrol(Enrolment((log,), models, Algorithm.OCSVM), silent))
        scorer, alerting = Scorer(Store(models).load), Alerting.by(Severity.NOTICE, None)
        scores = [score for score in run(scorer, own) if score is not None]
        alerts = [*alerting.take(scores), *alerting.flush()]
        names = sorted(path.relative_to(models) for path in models.rglob("*.safetensors"))
        found.append(([(name, (models / name).read_bytes()) for name in names], scores, alerts, alerting.export()))
    assert found[0] == found[1]
    assert found[0][2]


# 6. The same bytes.


def test_6_same_seed_same_lstm(
    lstm_models: Path, log: Path, tmp_path: Path, silent: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained again, by fresh graphs and for one user alone, an LSTM is the same file, by its seed alone."""
    monkeypatch.setattr("anomaly.detectors.lstm_fit.MAX_EPOCHS", 2)
    for seed in (0, 1):
        models = tmp_path / str(seed)
        (done,) = enrol(Enrolment((log,), models, Algorithm.LSTM, user="bob", seed=seed), silent)
        assert isinstance(done, Enrolled)
        same = (models / "bob/1.safetensors").read_bytes() == (lstm_models / "bob/1.safetensors").read_bytes()
        assert same is (seed == 0)


@pytest.mark.parametrize("algorithm", [Algorithm.OCSVM, Algorithm.BOTH])
def test_6_same_bytes_in_another_process(
    algorithm: Algorithm, request: pytest.FixtureRequest, log: Path, tmp_path: Path
) -> None:
    """Another process, with another hash seed and another directory, trains the same file."""
    models = request.getfixturevalue(f"{algorithm.lower()}_models")
    code = (
        "import sys\nfrom pathlib import Path\nfrom contextlib import nullcontext\n"
        "from anomaly.detectors.interface import Algorithm\nfrom anomaly.enrolment import Enrolment, enrol\n"
        "if sys.argv[1] != 'OCSVM':\n"
        "    from anomaly.detectors import lstm_fit\n    lstm_fit.MAX_EPOCHS = 2\n"
        "asked = Enrolment((Path(sys.argv[2]),), Path(sys.argv[3]), Algorithm(sys.argv[1]), user='alice')\n"
        "list(enrol(asked, lambda _: nullcontext(lambda *_: None)))"
    )
    copy = shutil.copy(log, tmp_path / "elsewhere.log")
    subprocess.run(
        [sys.executable, "-c", code, algorithm.value, str(copy), str(tmp_path / "models")],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "77"},
        check=True,
        capture_output=True,
        timeout=300,
    )
    name = "alice/1.safetensors"
    assert (tmp_path / "models" / name).read_bytes() == (models / name).read_bytes()


# 7. Hostile input.

hostile_text = st.text(max_size=12) | st.sampled_from(
    (
        "../../etc/passwd",
        "/",
        ".",
        "..",
        "a/b",
        "a\0b",
        "\ud800",
        "~",
        "{user}",
        "x" * 5000,
        "\x1b[2J",
        "999999999999",
    )
)
hostile_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | hostile_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile_text, inner, max_size=3),
    max_leaves=6,
)
COLUMNS = ("username", "uid", "auid", "command", "cmdline", "cwd", "path", "name", "pid", "time", "target_path")
hostile_lines = st.binary(max_size=60) | st.builds(
    lambda record: json.dumps(record).encode(),
    hostile_json
    | st.fixed_dictionaries(
        {
            "name": hostile_json,
            "hostIdentifier": hostile_json,
            "unixTime": hostile_json | st.integers(0, 2**33),
            "columns": st.dictionaries(st.sampled_from(COLUMNS) | hostile_text, hostile_text, max_size=6),
            "action": st.sampled_from(("added", "removed", "snapshot")) | hostile_json,
        },
        optional={"counter": hostile_json, "snapshot": hostile_json, "epoch": hostile_json},
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(hostile_lines, max_size=12), st.booleans())
@example(
    lines=[b'{"name":"pack_x_y","columns":{"username":"../../x","command":"a"},"action":"added"}'], claims=True
)
def test_7_no_line_ends_the_run(trained: Trained, lines: list[bytes], claims: bool) -> None:  # noqa: FBT001 - drawn
    """Whatever a line holds, it is skipped or scored, and its user's state can be saved and gone on from."""
    parser = Parser(Identities(hostname="", lookup=lambda _: None))
    store = Store(trained.models)
    scorer = Scorer(store.load, only="alice" if claims else None, claims=claims)
    before = sorted(trained.models.parent.rglob("*"))
    for line in lines * 3:
        parsed = parser.parse(line)
        if isinstance(parsed, Skipped):
            continue
        for action in parsed:
            mine = Action(action.time, action.host, "alice", action.query, action.verb, action.columns)
            for score in (scorer.score("1", action), scorer.score("2", mine)):
                figures = (score.score, score.risk, score.surprise) if score is not None else ()
                assert all(figure is None or np.isfinite(figure) for figure in figures)
    again = Scorer(store.load)
    again.restore(json.loads(json.dumps(scorer.export())))
    run(again, [Action(5, "ws1", "alice", "shell_history", "added", {"command": "ls"})])
    assert sorted(trained.models.parent.rglob("*")) == before


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hostile_text, st.binary(max_size=80))
@example("..", b"")
def test_7_no_name_and_no_file_leaves_the_store(models: Path, name: str, data: bytes) -> None:
    """A user's name leads to no file outside the models, and a model that is any bytes is refused."""
    store = Store(models)
    secret = models.parent / "1.safetensors"
    secret.write_bytes((models / "alice/1.safetensors").read_bytes())
    with suppress(ModelRefused):
        assert store.load(name) is None or name in {"alice", "bob"}
    (models / "bob/1.safetensors").write_bytes(data)
    with pytest.raises(ModelRefused):
        store.load("bob")
    model = store.load("alice")
    assert model is not None
    before = {path for path in models.parent.rglob("*") if models not in path.parents}
    with suppress(AnomalyError, ValueError):
        store.save(name, model.model)
    assert {path for path in models.parent.rglob("*") if models not in path.parents} == before
    assert secret.read_bytes() == model.model.to_bytes()


# 8. Whose account it is does not matter.


class Names(NamedTuple):
    """How a log calls things."""

    users: Mapping[str, tuple[str, str]] = {}
    """Name and number of each user; those of the sample log by default."""
    host: str = "ws1"
    queries: Mapping[str, str] = {}
    shows_number: bool = False
    """Whether rows have the column ``uid``."""
    order: int = 0
    """Seed of the order of the columns; 0 leaves it."""


def rewritten(actions: list[Action], names: Names) -> list[bytes]:
    """Return lines that say the same by other names; each has the user's home in it."""
    lines = []
    for number, action in enumerate(actions):
        user, uid = names.users.get(action.user, (action.user, action.columns["uid"]))
        columns = {column: value for column, value in action.columns.items() if column not in {"username", "uid"}}
        columns["cwd"] = f"/home/{user}/src"
        if number % 5 == 0 and "command" in columns:
            columns["command"] = f"cat /home/{user}/notes/{number % 7}.txt"
        columns |= {"username": user} | ({"uid": uid} if names.shows_number else {})
        if names.order:
            shuffled = random.Random(names.order + number).sample(sorted(columns), len(columns))  # noqa: S311
            columns = {column: columns[column] for column in shuffled}
        record = {
            "name": f"pack_x_{names.queries.get(action.query, action.query)}",
            "hostIdentifier": names.host,
            "unixTime": action.time,
            "counter": 0 if action.baseline else 7,
            "columns": columns,
            "action": action.verb,
        }
        lines.append(json.dumps(record).encode())
    return lines


class Accounts:
    """Trains and scores the same actions under several names.

    Parameters
    ----------
    trained, later
        What is learned from, and what is scored.
    asked
        The algorithm, and the parts that are left out.
    folder
        Where to work.
    """

    def __init__(
        self, trained: list[Action], later: list[Action], asked: tuple[Algorithm, tuple[str, ...]], folder: Path
    ) -> None:
        self.trained, self.later, self.asked, self.folder = trained, later, asked, folder
        self._known: dict[str, NDArray[np.float64]] = {}

    def figures(self, change: str, silent: Watch) -> NDArray[np.float64]:
        """Return score, risk and surprise of each action that is scored."""
        if change not in self._known:
            users = sorted({action.user for action in self.trained})
            self._known[change] = self._figures(CHANGES[change](users), self.folder / change, silent)
        return self._known[change]

    def _figures(self, names: Names, folder: Path, silent: Watch) -> NDArray[np.float64]:
        folder.mkdir()
        log, (algorithm, without) = folder / "osqueryd.results.log", self.asked
        log.write_bytes(b"".join(line + b"\n" for line in rewritten(self.trained, names)))
        list(enrol(Enrolment((log,), folder / "models", algorithm, without=without), silent))
        scorer, parser = (
            Scorer(Store(folder / "models").load),
            Parser(Identities(hostname="", lookup=lambda _: None)),
        )
        found = []
        for line in rewritten(self.later, names):
            parsed = parser.parse(line)
            assert not isinstance(parsed, Skipped)
            (score,) = run(scorer, parsed)
            assert score is not None
            assert score.model.state == "ready"
            found.append((score.score, score.risk, score.surprise))
        return np.array(found, dtype=float)


def renamed(users: list[str]) -> dict[str, tuple[str, str]]:
    """Return other names for users, in another order, and other numbers."""
    names = ("zoe", "yann", "xenia", "wim", "vera", "uwe", "tina", "sam")
    return {user: (names[place], str(2345 - 7 * place)) for place, user in enumerate(users)}


QUERIES = {"shell_history": "a_typed", "processes": "z_run", "open_sockets": "m_peers"}
"""Other names, in another order."""

CHANGES: dict[str, Callable[[list[str]], Names]] = {
    "nothing": lambda _: Names(),
    "number and order": lambda _: Names(shows_number=True, order=3),
    "host": lambda _: Names(host="box"),
    "names": lambda users: Names(renamed(users)),
    "queries": lambda _: Names(queries=QUERIES),
    "everything": lambda users: Names(renamed(users), "box", QUERIES, shows_number=True, order=9),
}


@pytest.fixture(scope="module")
def accounts(
    actions: list[Action], later: Later, crowd: Later, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Accounts]:
    """Return the sample log's two users by each algorithm, and eight users who are learned together."""
    columns = {"username": "alice", "uid": "1000"}
    intruder = [
        Action(
            1_793_900_000 + n,
            "ws1",
            "alice",
            "shell_history",
            "added",
            columns | {"command": f"nmap -p{n} 10.9.{n}.1"},
        )
        for n in range(80)
    ]
    kinds = {
        algorithm.value: Accounts(
            actions, later(250, 4) + intruder, (algorithm, ()), tmp_path_factory.mktemp(algorithm.value)
        )
        for algorithm in Algorithm
    }
    together = Accounts(
        crowd(520, 11), crowd(120, 4) + intruder, (Algorithm.BOTH, ("lstm",)), tmp_path_factory.mktemp("crowd")
    )
    return kinds | {"together": together}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        *((algorithm.value, change) for algorithm in Algorithm for change in ("number and order", "everything")),
        *(("together", change) for change in ("number and order", "host")),
        *(("together", change) for change in ("names", "queries", "everything")),
    ],
)
def test_8_whose_account_it_is_does_not_matter(
    kind: str, change: str, accounts: dict[str, Accounts], silent: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same actions have the same scores, however users, homes, numbers, hosts and queries are called.

    It does not matter either whether rows have the user's number, and in which order they have their columns.
    """
    monkeypatch.setattr("anomaly.detectors.lstm_fit.MAX_EPOCHS", 2)
    plain, found = (accounts[kind].figures(one, silent) for one in ("nothing", change))
    assert np.nanmax(plain[:, 1]) > 20.0
    np.testing.assert_allclose(found, plain, rtol=0, atol=1e-6)
