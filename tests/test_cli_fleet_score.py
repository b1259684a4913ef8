from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest
from click.testing import CliRunner

from anomaly.cli_fleet_score import _OF_FILES, _cause, _explained, _sentence, _teller, _wait, score
from anomaly.errors import LogUnreadable, WorkerLost
from anomaly.fleet.reading import OF_FILES

pytest.importorskip("pyspark", reason="without the extra: pip install '.[fleet]'")

from anomaly.fleet.links import Watch
from anomaly.fleet.score import Asked
from anomaly.fleet.worker import Order

ASKED = Asked("/in a", "/out", "/checkpoint", Order("/models", "local", adapt=True, least=0.0))
WORDS = {"--from": "/in", "--models": "/nowhere", "--to": "/out", "--checkpoint": "/checkpoint"}


@pytest.mark.parametrize(
    ("changed", "code", "words"),
    [
        ({}, 7, "/nowhere holds no models of a fleet: there is no manifest.json in it. Make models with:"),
        ({"--to": ""}, 2, "An address is empty: give a directory, kafka://HOST:PORT/TOPIC or https://HOST/PATH."),
        ({"--to": "kafka://x"}, 2, "'kafka://x' is no address of a topic: write kafka://HOST:PORT/TOPIC."),
        ({"--to": "https://"}, 2, "The webhook's address is not valid: write https://HOST/PATH."),
        ({"--from": "http://a/b"}, 2, "Logs come from a directory or from Kafka"),
        ({"--trigger": "soon"}, 2, "'soon' is neither available-now nor seconds from 0 to 86400."),
        ({"--trigger": "-1"}, 2, "'-1' is neither available-now nor seconds from 0 to 86400."),
        ({"--trigger": "nan"}, 2, "'nan' is neither available-now nor seconds from 0 to 86400."),
    ],
)
def test_what_is_wrong_is_said_before_spark_starts(changed: dict[str, str], code: int, words: str) -> None:
    """A command that cannot work ends at once, with one sentence and its exit code."""
    given = [word for pair in (WORDS | changed).items() for word in pair]
    ended = CliRunner().invoke(score, given)
    assert ended.exit_code == code
    assert words in ended.output


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not installed the extra is told how to."""
    monkeypatch.setattr("anomaly.fleet.session._found", lambda name: name != "pandas")
    ended = CliRunner().invoke(score, [word for pair in WORDS.items() for word in pair])
    assert ended.exit_code == 2
    assert "A fleet needs pandas. Install it" in ended.output


def test_a_batch_is_said_in_a_sentence() -> None:
    """Of a batch people are told how much, how long, and what is not as it should be."""
    row = {"batch": 3, "actions": 4000, "seconds": 0.51, "skipped": {"empty": 2}, "alarming": 7, "late": 0}
    assert _sentence(row) == "Batch 3: 4,000 actions in 0.5 s, 7 alarming, 2 lines skipped"
    row["skipped"] = {"unreadable_file": 2, "empty": 1}
    assert _sentence(row).endswith(", 7 alarming, 1 lines skipped, 2 files not read, or not to their end")


@pytest.mark.parametrize("metrics", [True, False])
def test_files_that_were_not_read_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, metrics: bool
) -> None:
    """Also where metrics go to a file; no name can look like a message, and the rest is counted."""
    row = {"batch": 3, "seconds": 1.0, "skipped": {"broken_archive": 1, "missing_file": 12, "empty": 5}}
    row |= {"files": ["broken_archive file:/in/a b.gz", "missing_file file:/in/\n\x1b[2J"], "refusals": []}
    with ExitStack() as stack:
        _teller(stack, tmp_path / "metrics" if metrics else None, ASKED)(row)
    said = capsys.readouterr().err.splitlines()
    assert said[-3:] == [
        "Batch 3: file:/in/a b.gz is cut or broken: it was read up to there",
        "Batch 3: file:/in/\\n\\x1b[2J was gone before it was read",
        "Batch 3: and so 11 more files",
    ]
    assert len(said) == 3 + (not metrics)


@pytest.mark.parametrize("metrics", [True, False])
def test_models_that_are_refused_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, metrics: bool
) -> None:
    """Each once, with what mends it, wherever metrics go; and not thousands of them."""
    row: dict[str, Any] = {"batch": 3, "seconds": 1.0, "skipped": {}, "files": []}
    row["refusals"] = ["al\nice: Model x is refused: it is cut.", "bob: x is not to be trusted. run: chmod go-w x"]
    with ExitStack() as stack:
        tell = _teller(stack, tmp_path / "metrics" if metrics else None, ASKED)
        tell(row)
        tell(row)
        said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Batch")]
        command = "anomaly fleet train --from '/in a' --models /models"
        assert said == [
            f"Refused: the model of al\\nice: Model x is refused: it is cut. Make a new one with: {command}",
            "Refused until this is started again: the model of bob: x is not to be trusted. run: chmod go-w x",
        ]
        tell(row | {"refusals": [f"u{number}: gone" for number in range(100)]})
        tell(row | {"refusals": ["eve: gone"]})
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Batch")]
    assert len(said) == 29
    assert said[-1].startswith("More models are refused than are named")


def test_every_reason_of_files_has_words() -> None:
    """What the reader may say of a file can be told to a person."""
    assert set(OF_FILES) == set(_OF_FILES)


def test_of_a_failure_our_own_sentence_is_said() -> None:
    """Out of a hundred lines of Spark's account the one that helps is told; without one, the first."""
    account = "[STREAM_FAILED] x\n  File y\nanomaly.errors.StateError: The store cannot be read.\n at z"
    assert _cause(account) == "The store cannot be read."
    assert _cause("first\nsecond") == "first"


class Query:
    """A query that ends when it has been waited for so often, with an error or without."""

    def __init__(self, turns: int, error: Exception | None = None) -> None:
        self.turns, self.error, self.stopped = turns, error, False

    def awaitTermination(self, _: float) -> bool:  # noqa: N802 - Spark's name
        """Wait."""
        self.turns -= 1
        if self.turns < 0 and self.error is not None:
            raise self.error
        return self.turns < 0

    def stop(self) -> None:
        """Stop."""
        self.stopped = True


def test_a_query_is_stopped_when_that_is_asked_for() -> None:
    """A query that goes on for ever is stopped by the signal, and one that ends is waited for."""
    stop = Event()
    levels: list[str] = []
    ends, goes_on = Query(3), Query(10**9)
    spark = SimpleNamespace(_sc=SimpleNamespace(setLogLevel=levels.append))
    _wait(cast("Any", spark), cast("Any", ends), stop, Watch(None))
    assert (ends.turns, levels) == (-1, [])
    stop.set()
    _wait(cast("Any", spark), cast("Any", goes_on), stop, Watch(None))
    assert (goes_on.stopped, levels) == (True, ["OFF"])


def test_a_link_among_the_logs_ends_the_query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an error; the query itself is not waited for, since it may be listing for ever."""
    watch = Watch(tmp_path)
    (tmp_path / "a").symlink_to(".")
    monkeypatch.setattr("anomaly.fleet.links.time.monotonic", lambda: 1e9)
    killed: list[bool] = []
    monkeypatch.setattr("anomaly.fleet.session.end_java", lambda: killed.append(True))
    goes_on = Query(10**9)
    with pytest.raises(LogUnreadable, match="is a link to a directory"):
        _wait(cast("Any", None), cast("Any", goes_on), Event(), watch)
    assert (goes_on.stopped, killed) == (False, [True])


def test_a_query_that_fails_is_said_to_go_on() -> None:
    """Of a failure the cause is said, and that the same command goes on."""
    from pyspark.errors import StreamingQueryException  # noqa: PLC0415 - an extra

    error = StreamingQueryException("anomaly.errors.StateError: No broker.")
    with pytest.raises(WorkerLost, match=r"goes on from its checkpoint .* No broker\."), _explained():
        _wait(cast("Any", None), cast("Any", Query(1, error)), Event(), Watch(None))
    with pytest.raises(WorkerLost, match="refused"), _explained():
        raise ConnectionRefusedError(111, "Connection refused")
