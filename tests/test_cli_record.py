"""``anomaly record`` as a person meets it, up to a model that is learned from it."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from anomaly import cli, cli_record
from anomaly.identity import Identities
from anomaly.osquery import Parser, Skipped
from anomaly.recording.accounts import Accounts
from anomaly.recording.output import Recording
from anomaly.recording.pack import queries
from anomaly.recording.processes import Program
from anomaly.recording.recorder import Clock, Recorder

ROOT = Path(__file__).parents[1]


def run(*words: object) -> Result:
    """Run ``anomaly`` with some words."""
    return CliRunner().invoke(cli.main, [str(word) for word in words])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where to record."""
    return tmp_path / "recorded.results.log"


def test_one_look_is_a_baseline(path: Path) -> None:
    """It says what it is not, and what it wrote; every line is an action of the baseline."""
    result = run("record", "--once", "--no-history", "-l", path)
    assert result.exit_code == 0, result.output
    warning, more, summary = result.stderr.splitlines()
    assert warning == "No substitute for osquery: one look is a baseline, and nobody's behaviour;"
    assert re.fullmatch("it sees (everybody|you and what others do not hide), and can be fooled.", more)
    lines = path.read_bytes().splitlines()
    assert summary == f"{path}: {len(lines):,} lines, 1 look."
    parser = Parser(Identities(hostname=""))
    for line in lines:
        found = parser.parse(line)
        assert not isinstance(found, Skipped)
        assert all(action.baseline for action in found)


def test_help_says_that_it_is_no_substitute() -> None:
    """Whoever reads the help knows."""
    assert "It is no substitute for osquery" in run("record", "--help").output


def test_another_log_is_refused(path: Path) -> None:
    """With the words that say what to do, and the code of a command line that does not fit."""
    path.write_text("{}\n")
    result = run("record", "--once", "-l", path)
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: {path} was not recorded by this program on this machine; it may be osquery's own log."
        " Name another file, or say --force to append all the same.\n"
    )
    assert run("record", "--once", "--no-history", "--force", "-l", path).exit_code == 0


def test_osquerys_log_is_never_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent_recorder: list[Path]
) -> None:
    """Neither ANOMALY_LOG nor the setting of that name says where to record: they name what osquery writes."""
    monkeypatch.setenv("ANOMALY_LOG", str(tmp_path / "osquery.log"))
    (tmp_path / "anomaly.toml").write_text(f'log = "{tmp_path}/osquery.log"\n')
    monkeypatch.chdir(tmp_path)
    assert run("-c", tmp_path / "anomaly.toml", "record", "--once").exit_code == 0
    assert silent_recorder == [Path("recorded.results.log")]


@pytest.fixture
def silent_recorder(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Let nothing be looked at, and collect where it would be recorded."""
    monkeypatch.setattr("anomaly.recording.pack.queries", lambda *_, **__: [])
    places: list[Path] = []

    class Spy(Recording):
        def __init__(self, path: Path, host: str, *, force: bool = False) -> None:
            places.append(path)
            super().__init__(path, host, force=force)

    monkeypatch.setattr("anomaly.recording.output.Recording", Spy)
    return places


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-l", "-"), "A recording is a file; - is none."),
        (("-l", ""), "the path is empty."),
        (("--interval", "0"), "0 is not in the range 1<=x<=3600."),
    ],
)
def test_what_does_not_fit_is_a_usage_error(words: tuple[str, ...], message: str) -> None:
    """Before anything is looked at."""
    result = run("record", *words)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_recording_without_room_ends_with_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch, silent_recorder: list[Path]
) -> None:
    """What could not be written is not passed over in silence."""
    monkeypatch.setattr(Recording, "waiting", 7)
    result = run("record", "--once", "-l", path)
    assert silent_recorder == [path]
    assert result.exit_code == 1
    assert result.stderr.endswith(f"Error: {path} is incomplete: there was no room for all lines.\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_between_two_looks(path: Path, number: signal.Signals) -> None:
    """It ends at once, with code 0 and whole lines; SIGHUP does not end it."""
    command = [sys.executable, "-m", "anomaly", "record", "--interval", "3600", "--no-history", "-l", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stderr is not None
        warning = [process.stderr.readline() for _ in range(2)]
        process.send_signal(signal.SIGHUP)
        process.send_signal(number)
        said = process.stderr.read()
        assert process.wait(30) == 0
    assert warning[0] == "No substitute for osquery: it looks every 3600 s, misses what is shorter,\n"
    assert warning[1].endswith(", and can be fooled. Ctrl-C ends it.\n")
    assert max(map(len, warning)) <= 80
    assert said == f"{path}: {len(path.read_bytes().splitlines()):,} lines, 1 look.\n"
    assert path.read_bytes().endswith(b"}\n")


def test_a_hang_up_opens_the_file_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was moved away is left at SIGHUP, before the next look."""
    accounts, recording = Accounts(), Recording(path, "ws1")
    recorder = Recorder([], accounts, recording, "ws1", pytest.fail)
    old = path.rename(path.with_suffix(".1"))

    class Signals:
        stopped = False

        def hung_up(self) -> bool:
            return True

    def sleep(_: float) -> None:
        assert path.exists()
        Signals.stopped = True

    monkeypatch.setattr("anomaly.cli_record.time.sleep", sleep)
    cli_record._run(recorder, Signals(), 3600, once=False)  # type: ignore[arg-type]
    recording.close()
    assert recorder.rounds == 1
    assert old.exists()


def activity(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let alice work: a few programs a round, by her own habits. Return what moves on to the next round."""
    draw = random.Random(3)  # noqa: S311 - habits
    names = ("git", "vim", "make", "cc1", "ls", "pytest")
    shown: list[Program] = []

    def step() -> None:
        first = len(shown) + 100
        picked = draw.choices(names, weights=(6, 5, 4, 3, 2, 1), k=2)
        shown[:] = [Program(1, 0, 1.0, "init", "/sbin/init", 0, 0)]
        shown.extend(
            Program(first + number, 1, draw.random(), name, f"/usr/bin/{name}", 1000, 1000)
            for number, name in enumerate(picked)
        )

    monkeypatch.setattr("anomaly.recording.processes.programs", lambda: list(shown))
    monkeypatch.setattr("anomaly.recording.processes._cmdline", lambda _: "")
    monkeypatch.setattr("anomaly.recording.processes._login", lambda _: 1000)
    return step


def test_what_was_recorded_can_be_learned(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a recording to a model to scores, by the commands of the documentation."""
    step = activity(monkeypatch)
    accounts, recording = Accounts(), Recording(path, "ws1")
    monkeypatch.setattr(accounts, "name", lambda uid: "alice" if uid == 1000 else "root")
    now = 1_793_585_624

    def clock() -> float:
        return now

    asked = [query for query in queries(accounts, history=False) if query.name.startswith("process")]
    recorder = Recorder(asked, accounts, recording, "ws1", pytest.fail, Clock(clock))
    for _ in range(400):
        step()
        recorder.round()
        now += 5
    recording.close()
    models = ("--models", tmp_path / "models")
    listed = run("users", "-l", path, *models)
    assert "alice" in listed.stdout
    trained = run("train", "--user", "alice", "-a", "ocsvm", "-l", path, *models)
    assert trained.exit_code == 0, trained.output
    scored = run(
        *("predict", "--user", "alice", "--no-follow", "--from", "start", "-l", path, *models),
        *("--state", tmp_path / "state", "--format", "json"),
    )
    assert scored.exit_code == 0, scored.output
    assert scored.stdout.count('"model":') > 500
