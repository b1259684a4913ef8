"""The invariants of the architecture, by their numbers; those of single rooms are tested with them."""

from __future__ import annotations

import gc
import io
import json
import os
import random
import shutil
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anomaly import harvest
from anomaly.corpus import Corpus
from anomaly.detectors.interface import WINDOW, Algorithm
from anomaly.detectors.ocsvm import GAMMA, OneClassSvm
from anomaly.enrolment import Enrolled, Enrolment, enrol
from anomaly.errors import ModelRefused
from anomaly.harvest import Watch
from anomaly.identity import Identities
from anomaly.model import UserModel
from anomaly.osquery import Action, Parser, Skipped
from anomaly.records import Score
from anomaly.scoring import Scorer
from anomaly.sinks.ndjson import NdjsonSink
from anomaly.sinks.text import TextSink
from anomaly.sources.interface import Line
from anomaly.sources.stdin import StdinSource
from anomaly.sources.tail import LogSource
from anomaly.store import Store
from anomaly.tokenizer import Encoded, Tokenizer

if TYPE_CHECKING:
    from tests.conftest import Event, Trained

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


# 1. Chunking does not matter.


def test_1_restarts_do_not_matter(
    trained: Trained, actions: list[Action], scorer: Callable[[Path], Scorer]
) -> None:
    """The scores of a log are those of one pass, whichever places it is interrupted at, reasons included."""
    part = actions[:900]
    expected = run(scorer(trained.models), part)
    draw = random.Random(5)  # noqa: S311 - places to cut at
    for cuts in ([1, 2, 3, 99, 100, 101, 102], sorted(draw.sample(range(1, 900), 40))):
        found: list[Score | None] = []
        saved: dict[str, Any] = {}
        for start, stop in zip([0, *cuts], [*cuts, len(part)], strict=True):
            mine = scorer(trained.models)
            mine.restore(json.loads(json.dumps(saved)))
            found += run(mine, part[start:stop], start)
            saved = mine.export()
        assert close(found, expected)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 4096), min_size=1, max_size=60))
def test_1_chunks_do_not_matter(ocsvm_models: Path, lines: list[bytes], sizes: list[int]) -> None:
    """However a log arrives in pieces, the same lines have the same scores."""

    class Trickle(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            return super().read(pieces.pop() if pieces else 1 << 20)

    pieces = list(sizes)
    data = b"".join(line + b"\n" for line in lines[:300])
    found = []
    for stream in (io.BytesIO(data), Trickle(data)):
        parser, scorer = Parser(Identities(hostname="")), Scorer(Store(ocsvm_models).load)
        scores: list[Score | None] = []
        with StdinSource(stream) as source:
            while not source.ended:
                for line in source.read(1 + len(pieces), timeout=0.1):
                    parsed = parser.parse(line.data)
                    assert not isinstance(parsed, Skipped)
                    scores += [scorer.score(f"{line.offset}", action) for action in parsed]
        found.append(scores)
    assert len(found[0]) == 300
    assert found[0] == found[1]


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

    corpus = corpus_of(actions)
    tokenizer, encoded = encode(corpus)
    learner = LstmLearner(seed=1)
    learner.epochs = 2
    lstm = learner.fit(tokenizer, encoded, [range(len(corpus))], range(0))
    (trainer,) = learner._trainers.values()
    count = 300
    ids = encoded.ids[:count]
    there = (ids > 0)[..., None]
    entered = (np.where(there, trainer.embed(ids).numpy(), 0.0)).sum(axis=1)[None]
    hidden = trainer.lstm(entered.astype(np.float32))[0]
    logits = trainer.out(hidden).numpy()[0]
    state = lstm.start()
    compared = 0
    for step in range(count - 1):
        lstm.advance(state, encoded.tokens(step))
        for token in encoded.tokens(step + 1).ids:
            head = next(head for head in tokenizer.heads if head.start <= token < head.stop)
            column = logits[step, head.start : head.stop].astype(np.float64)
            expected = column - column.max() - np.log(np.exp(column - column.max()).sum())
            np.testing.assert_allclose(lstm.log_probabilities(state.hidden, token), expected, rtol=0, atol=1e-5)
            share = 0.8 * np.exp(expected[token - head.start]) + 0.2 * lstm.frequency[token]
            assert lstm._probability(state.hidden, token) == pytest.approx(share, abs=1e-5)
            compared += 1
    assert compared > 2 * count


def test_2_ocsvm_equals_sklearn(actions: list[Action], monkeypatch: pytest.MonkeyPatch) -> None:
    """Margins in numpy are scikit-learn's decision function of the same bags, divided by the weights' total."""
    from sklearn.svm import OneClassSVM  # noqa: PLC0415 - scikit-learn takes 2 s

    from anomaly.detectors import ocsvm_fit  # noqa: PLC0415 - the same

    kept = []

    class Kept(OneClassSVM):  # type: ignore[misc]
        def fit(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            kept.append(self)
            return super().fit(*args, **kwargs)

    monkeypatch.setattr(ocsvm_fit, "OneClassSVM", Kept)
    corpus = corpus_of(actions)
    tokenizer, encoded = encode(corpus)
    svm = ocsvm_fit.OcsvmLearner().fit(tokenizer, encoded, [range(600)], range(0))
    assert isinstance(svm, OneClassSvm)
    (framework,) = kept
    total = float(framework.dual_coef_.sum())
    assert framework.gamma == GAMMA
    state = svm.start()
    margins = [svm.score(state, encoded.tokens(action)).window for action in range(len(corpus))]
    bags = ocsvm_fit._bags(encoded, [range(len(corpus))]).astype(np.float64)
    bags /= np.linalg.norm(bags, axis=1, keepdims=True)
    expected = -framework.decision_function(bags) / total
    np.testing.assert_allclose(margins[WINDOW - 1 :], expected, rtol=0, atol=1e-5)


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
    found = imported(
        *("predict", "--all-users", "--no-follow", "--from", "start", "-l", str(log)),
        *("--models", str(trained.models), "--state", str(tmp_path / "state"), "--format", "json"),
    )
    assert "numpy" in found
    assert not found & {"tensorflow", "keras", "sklearn", "scipy", "pandas", "rich"}


@pytest.mark.parametrize("command", [["users", "-l"], ["models", "list"]])
def test_3_looking_around_imports_no_framework(command: list[str], trained: Trained, log: Path) -> None:
    """Listing users or models pays for no more than scoring does."""
    arguments = [*command, *([str(log)] if command[-1] == "-l" else []), "--models", str(trained.models)]
    found = imported(*arguments)
    assert "numpy" in found
    assert not found & {"tensorflow", "keras", "sklearn", "scipy"}


@pytest.mark.parametrize("command", [["--help"], ["train", "--help"], ["predict", "--help"], ["--version"]])
def test_3_help_imports_no_numpy(command: list[str]) -> None:
    """Help costs none of the heavy rooms."""
    assert not imported(*command) & {"numpy", "tensorflow", "sklearn", "scipy", "watchdog", "rich"}


# 4. Memory does not grow with the log, and training reads it once.


def test_4_scoring_memory_is_bounded(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, scorer: Callable[[Path], Scorer], event: Event
) -> None:
    """After the bounded caches are full, ever new values, users and numbers of users take no more memory."""
    monkeypatch.setattr("anomaly.tokenizer._CACHE", 64)
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
        first = feed(300, 600)
        assert feed(600, 1500) - first < 16_000
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


# 5 and 6. Dates of the log; the same bytes.


def test_5_models_are_dated_by_the_log(
    ocsvm_models: Path,
    log: Path,
    tmp_path: Path,
    silent: Watch,
    actions: list[Action],
    monkeypatch: Any,  # noqa: ANN401
) -> None:
    """The clock has no part in a model: at another time, the same log gives the same bytes."""
    monkeypatch.setattr(time, "time", lambda: 4.0e9)
    list(enrol(Enrolment((log,), tmp_path / "models", Algorithm.OCSVM), silent))
    for user in ("alice", "bob"):
        name = f"{user}/1.safetensors"
        assert (tmp_path / "models" / name).read_bytes() == (ocsvm_models / name).read_bytes()
        stored = Store(ocsvm_models).load(user)
        assert stored is not None
        times = [action.time for action in actions if action.user == user and not action.baseline]
        assert (stored.model.card.first, stored.model.card.last) == (min(times), max(times))


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


def test_6_same_bytes_in_another_process(trained: Trained, log: Path, tmp_path: Path) -> None:
    """Another process, with another hash seed and another directory, trains the same file."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom contextlib import nullcontext\n"
        "from anomaly.detectors.interface import Algorithm\nfrom anomaly.enrolment import Enrolment, enrol\n"
        "if sys.argv[1] == 'LSTM':\n"
        "    from anomaly.detectors import lstm_fit\n    lstm_fit.MAX_EPOCHS = 2\n"
        "asked = Enrolment((Path(sys.argv[2]),), Path(sys.argv[3]), Algorithm(sys.argv[1]), user='alice')\n"
        "list(enrol(asked, lambda _: nullcontext(lambda *_: None)))"
    )
    copy = shutil.copy(log, tmp_path / "elsewhere.log")
    subprocess.run(
        [sys.executable, "-c", code, trained.algorithm.value, str(copy), str(tmp_path / "models")],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "77"},
        check=True,
        capture_output=True,
        timeout=300,
    )
    name = "alice/1.safetensors"
    assert (tmp_path / "models" / name).read_bytes() == (trained.models / name).read_bytes()


# 7. Nothing hostile crashes, runs, or leads out.


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_7_one_changed_byte_is_refused(trained: Trained, data: st.DataObject) -> None:
    """Whichever byte of a model is changed, in its header or beyond, it is refused and nothing else happens."""
    good = (trained.models / "alice/1.safetensors").read_bytes()
    length = 8 + int.from_bytes(good[:8], "little")
    place = data.draw(st.integers(0, 300) | st.integers(0, length) | st.integers(0, len(good) - 1))
    change = data.draw(st.integers(1, 255))
    bad = bytearray(good)
    bad[place] ^= change
    with pytest.raises(ModelRefused):
        UserModel.from_bytes(bytes(bad), "Model")


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_7_a_cut_model_is_refused(trained: Trained, share: float) -> None:
    """A model that is cut short anywhere is refused, also where the cut leaves a few bytes or none."""
    good = (trained.models / "alice/1.safetensors").read_bytes()
    for size in (int(share * len(good)), int(share * 12)):
        with pytest.raises(ModelRefused):
            UserModel.from_bytes(good[:size], "Model")


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200))
def test_7_any_bytes_are_refused(data: bytes) -> None:
    """Bytes that are no model at all are refused."""
    for content in (data, len(data).to_bytes(8, "little") + data):
        with pytest.raises(ModelRefused):
            UserModel.from_bytes(content, "Model")


@pytest.mark.parametrize(
    "name",
    ["../../x", "..", ".", "/etc/passwd", "a/b", "-rf", ".lock", "\0", "\x1b[31m", "", "%2E", "名", "x" * 9999],
)
def test_7_names_stay_inside(name: str, ocsvm_models: Path, tmp_path: Path) -> None:
    """A user's name is no path: its model comes back by the name, and nothing is written elsewhere."""
    stored = Store(ocsvm_models).load("alice")
    assert stored is not None
    model = stored.model
    card = type(model.card)(**{f: getattr(model.card, f) for f in model.card.__struct_fields__} | {"user": name})
    home = tmp_path / "home"
    store = Store(home / "models")
    assert store.save(name, UserModel(model.tokenizer, model.detector, model.calibration, card)) == 1
    found = store.load(name)
    assert found is not None
    assert found.model.card.user == name
    assert store.users() == [name]
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert [path.name for path in home.iterdir()] == ["models"]
    inside = [path for path in (home / "models").iterdir() if path.name != ".lock"]
    assert len(inside) == 1
    assert sorted(path.name for path in inside[0].iterdir()) == ["1.safetensors", "current"]


def test_7_controls_never_reach_a_terminal(
    trained: Trained, event: Event, scorer: Callable[[Path], Scorer]
) -> None:
    """An ESC, a newline or a bidirectional control in a log's text is never written raw, in text or in JSON."""
    hostile = "nc \x1b]0;owned\x07\x1b[2J\n\r\x9b31m\u202e\u2028 [/oops]"
    parser, mine = Parser(Identities(hostname="")), scorer(trained.models)
    scores: list[Score] = []
    lines = [
        event("alice", command=hostile),
        event(hostile, command=hostile),
        event("alice", **{hostile: hostile}),  # type: ignore[arg-type]
    ]
    for line in lines * 40:
        parsed = parser.parse(line)
        assert not isinstance(parsed, Skipped)
        scores += [score for score in run(mine, parsed) if score]
    assert any(score.reasons for score in scores)
    text, data = io.StringIO(), io.StringIO()
    TextSink(text, colour=False, width=200).write(scores)
    NdjsonSink(data).write(scores)
    for written in (text.getvalue(), data.getvalue()):
        assert all(character.isprintable() for character in written.replace("\n", ""))
    assert data.getvalue().isascii()
    assert data.getvalue().count("\n") == len(scores)
    assert json.loads(data.getvalue().splitlines()[0])["columns"]["command"] == hostile
