"""``anomaly fleet`` as a person meets it: exit codes and exact words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from anomaly import cli
from anomaly.detectors.interface import Algorithm
from anomaly.fleet import session
from anomaly.harvest import Period

if TYPE_CHECKING:
    from anomaly.fleet.train import Outcome

WORDS = ("--from", "/logs", "--models", "/models", "-a", "OCSVM")
DIGEST = "ab" * 32
needs_extra = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("pyspark", "pyarrow")), reason="the extra 'fleet' is not installed"
)


def run(*words: str) -> Result:
    """Run ``anomaly fleet train`` with some words."""
    return CliRunner().invoke(cli.main, ["fleet", "train", *words])


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, before anything of Spark is imported."""
    monkeypatch.setattr(session, "find_spec", lambda name: None if name in ("pyspark", "pyarrow") else name)
    result = run(*WORDS)
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: A fleet needs pyspark, pyarrow. Install it, on the driver and on the workers, in a clone of"
        " the project, with: pip install -r requirements-fleet.txt -e '.[fleet]' (some 450 MB, and Java 17).\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--models", "/models"), "Missing option '--from'"),
        (("--from", "/logs"), "Missing option '--models'"),
        ((*WORDS, "--users-at-least", "100"), "100 is not in the range x>=500"),
        ((*WORDS, "--key", "both"), "'both' is not one of 'local', 'host', 'user'"),
    ],
)
def test_what_does_not_fit_is_a_usage_error(words: tuple[str, ...], said: str) -> None:
    """The word that does not fit is named."""
    result = run(*words)
    assert result.exit_code == 2
    assert said in result.stderr


TABLE = {"version": 2, "new": 1, "too_few": 7, "models": 1, "background": False, "lines": 910, "skipped": 3}
BROKEN = {"root": "MemoryError: "} | {f"z{number:02}": "it is broken" for number in range(21)}


@needs_extra
@pytest.mark.parametrize("lost", [{}, BROKEN])
def test_what_came_of_it_is_a_row_and_reasons(monkeypatch: pytest.MonkeyPatch, lost: dict[str, str]) -> None:
    """Errors are named, who has too few actions is counted, and the exit code says that not all was well."""
    from anomaly.fleet import train as room  # noqa: PLC0415 - only with the extra
    from anomaly.fleet.keys import Rule  # noqa: PLC0415 - the same

    asked = []

    def train(request: room.Request, *_: object) -> room.Outcome:
        asked.append(request)
        return outcome(lost)

    monkeypatch.setattr(room, "train", train)
    monkeypatch.setattr(session, "session", lambda _: None)
    result = run(*WORDS, "--key", "host", "--since", "2026-10-05", "--format", "json")
    assert asked == [
        room.Request(
            ("/logs",),
            "/models",
            Algorithm.OCSVM,
            Rule.HOST,
            Period(1_791_158_400, None),
        )
    ]
    assert json.loads(result.stdout) == TABLE | {"failed": len(lost)}
    said = [line.rstrip() for line in result.stderr.splitlines()]
    named = [f"{key}: no new model: {reason}".rstrip() for key, reason in lost.items()][:20]
    assert said[: len(named)] == named
    assert said[len(named) :] == [
        *(["2 more could not be learned; why is in /models/manifest.json"] if lost else []),
        "7 have too few actions; who is in /models/manifest.json",
        "Skipped: 3 empty",
        *(
            ["Error: 22 users could not be learned, 1 have new models. Why is said above, and in the manifest."]
            if lost
            else []
        ),
    ]
    assert result.exit_code == (12 if lost else 0)


def outcome(lost: dict[str, str]) -> Outcome:
    """Give what comes of a training."""
    from anomaly.fleet.manifest import Entry, Manifest  # noqa: PLC0415 - only with the extra
    from anomaly.fleet.train import Outcome  # noqa: PLC0415 - the same

    short = {f"u{number}": "3 actions to learn from, and 500 are needed" for number in range(7)}
    models = {"alice": Entry("alice/2.safetensors", DIGEST, 900, 7)}
    return Outcome(Manifest(2, "OCSVM", models, None, lost, short), 1, lost, 910, {"empty": 3}, {"alice": 1.0})


@needs_extra
def test_the_row_may_go_to_a_file_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where standard output is not ours alone; a file that cannot be written is an error before all work."""
    from anomaly.fleet import train as room  # noqa: PLC0415 - only with the extra

    monkeypatch.setattr(room, "train", lambda *_: outcome({}))
    monkeypatch.setattr(session, "session", lambda _: None)
    result = run(*WORDS, "--format", "json", "--output", str(tmp_path / "came"))
    assert (result.exit_code, result.stdout) == (0, "")
    assert json.loads((tmp_path / "came").read_text()) == TABLE | {"failed": 0}
    result = run(*WORDS, "--output", str(tmp_path / "no" / "came"))
    assert result.exit_code == 1
    assert result.stderr == f"Error: {tmp_path}/no/came: No such file or directory\n"


STOPPED = "Stopped. The models in use are those that were; the same command begins anew.\n"


@needs_extra
@pytest.mark.skipif(which("java") is None, reason="there is no Java here")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_sentence(number: signal.Signals, tmp_path: Path) -> None:
    """While Spark starts, by a signal to all of its processes, as a terminal sends it."""
    words = [sys.executable, "-c", STARTING, "fleet", "train", *WORDS]
    with subprocess.Popen(
        words,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "SPARK_LOCAL_DIRS": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "starting\n"
        os.killpg(process.pid, number)
        assert process.communicate(timeout=30) == ("", STOPPED)
    assert process.returncode == 1


STARTING = """
import signal, subprocess
from anomaly.cli import main
from anomaly.fleet import session
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
start = subprocess.Popen.__init__
def told(self, *args, **kwargs):
    start(self, *args, **kwargs)
    print("starting", flush=True)
subprocess.Popen.__init__ = told
main()
"""
