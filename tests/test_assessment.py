"""A user's models, judged by logs of which it is known who acted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anomaly.assessment import Assessment, Outcome, assess, row, sheet
from anomaly.detectors.interface import Algorithm
from anomaly.errors import ConfigError, LogEmpty, UnknownUser
from anomaly.records import ALARM
from anomaly.store import Store

if TYPE_CHECKING:
    from anomaly.harvest import Watch
    from tests.conftest import Event


@pytest.fixture
def logs(lines: list[bytes], event: Event, tmp_path: Path) -> tuple[Path, Path]:
    """Return a log of 300 actions such as alice does, and one of 200 of somebody else's."""
    strange = ["nmap -sS 10.0.0.0/24", "nc -l 4444", "hydra -l root", "curl http://198.51.100.7/x"]
    own = [line for line in lines if b'"alice"' in line and b'"counter": 0' not in line][-300:]
    other = [event("eve", time=1_795_000_000 + 60 * n, command=f"{strange[n % 4]} {n}") for n in range(200)]
    paths = tmp_path / "own.log", tmp_path / "other.log"
    for path, written in zip(paths, (own, other), strict=True):
        path.write_bytes(b"\n".join(written) + b"\n")
    return paths


def judged(asked: Assessment, silent: Watch) -> list[Outcome]:
    """Return all outcomes."""
    return list(assess(asked, silent))


def test_a_named_log_is_taken_as_somebody_elses(models: Path, logs: tuple[Path, Path], silent: Watch) -> None:
    """Whoever acts in ``--other`` is judged as if at alice's keyboard, and everything of it is foreign."""
    (outcome,) = judged(Assessment("alice", models, own=logs[:1], other=logs[1:]), silent)
    assert (outcome.figures.own, outcome.figures.other) == (3, 2)
    assert outcome.figures.auc == 1.0
    assert (outcome.visits, outcome.found, outcome.figures.hits) == (1, 1, 1.0)
    assert outcome.delay is not None
    assert 0 < outcome.delay <= 100


def test_labels_say_which_lines_are_somebody_elses(
    models: Path, logs: tuple[Path, Path], silent: Watch, tmp_path: Path
) -> None:
    """A labelled log of alice's with eve's lines under her name gives what two named logs give."""
    lines = logs[0].read_bytes().splitlines() + logs[1].read_bytes().replace(b"eve", b"alice").splitlines()
    mixed, labels = tmp_path / "mixed.log", tmp_path / "labels.csv"
    mixed.write_bytes(b"not json\n" + b"\n".join(lines) + b"\n")
    labels.write_text("line,what\n" + "".join(f"{n},x\n" for n in range(302, 502)))
    (outcome,) = judged(Assessment("alice", models, own=(mixed,), labels=labels), silent)
    assert (outcome.figures.own, outcome.figures.other, outcome.figures.auc) == (3, 2, 1.0)


def test_nothing_is_kept(models: Path, logs: tuple[Path, Path], silent: Watch) -> None:
    """Judging twice gives the same, and leaves no file beside the models."""
    before = sorted(models.rglob("*"))
    asked = Assessment("alice", models, own=logs[:1], other=logs[1:])
    assert judged(asked, silent) == judged(asked, silent)
    assert sorted(models.rglob("*")) == before


def test_every_algorithm_that_is_asked_for(models: Path, logs: tuple[Path, Path], silent: Watch) -> None:
    """The newest model of an algorithm is judged, also where another is in use; a missing one is told."""
    algorithm = next(stored.model.card.algorithm for stored in [Store(models).load("alice")] if stored)
    (outcome,) = judged(Assessment("alice", models, own=logs[:1], algorithms=(algorithm,)), silent)
    assert (outcome.algorithm, outcome.version) == (algorithm, 1)
    missing = next(other for other in Algorithm if other is not algorithm)
    with pytest.raises(UnknownUser, match=f"no {missing.value} model. Make one with: anomaly train"):
        judged(Assessment("alice", models, own=logs[:1], algorithms=(missing,)), silent)


def test_what_cannot_be_judged_says_what_is_needed(
    models: Path, logs: tuple[Path, Path], silent: Watch, tmp_path: Path
) -> None:
    """No logs, no model, too short a log and bad labels each say so."""
    with pytest.raises(ConfigError, match="--own LOG, --other LOG"):
        judged(Assessment("alice", models), silent)
    with pytest.raises(UnknownUser, match="no model of 'mallory'"):
        judged(Assessment("mallory", models, own=logs[:1]), silent)
    with pytest.raises(LogEmpty, match="fewer than 100 actions"):
        judged(Assessment("alice", models, own=logs[1:]), silent)
    labels = tmp_path / "labels.csv"
    labels.write_text("\ufeffline\n99999\n")
    with pytest.raises(ConfigError, match="None of the lines"):
        judged(Assessment("alice", models, own=logs[:1], labels=labels), silent)
    with pytest.raises(ConfigError, match="speaks of lines of --own"):
        judged(Assessment("alice", models, other=logs[1:], labels=labels), silent)
    for text in ("number\n1\n", "line\none\n", "line\n\x00\n"):
        labels.write_text(text)
        with pytest.raises(ConfigError, match="needs a column 'line'"):
            judged(Assessment("alice", models, own=logs[:1], labels=labels), silent)
    with pytest.raises(ConfigError, match=r"none.csv cannot be read: there is no such file\.$"):
        judged(Assessment("alice", models, own=logs[:1], labels=tmp_path / "none.csv"), silent)
    with pytest.raises(ConfigError, match=r"^/dev/zero cannot be read: it is no regular file\.$"):
        judged(Assessment("alice", models, own=logs[:1], labels=Path("/dev/zero")), silent)


def test_rows_and_sheet_say_the_same(models: Path, logs: tuple[Path, Path], silent: Watch) -> None:
    """For programs a row a model, None where there is nothing to tell; for people a column a model, ``-``."""
    outcomes = judged(Assessment("alice", models, own=logs[:1]), silent)
    found = row(outcomes[0])
    assert (found["auc"], found["delay"], found["own_blocks"]) == (None, None, 3)
    table = sheet(outcomes, ALARM)
    assert {"figure": "AUC", f"{found['algorithm']} 1": "-"} in table
    assert [line["figure"] for line in table][6] == "own blocks at risk 25 or more, %"
