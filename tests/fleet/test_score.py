"""The whole query, from files to files."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from click.testing import CliRunner

from anomaly.cli_fleet_score import score
from anomaly.errors import ConfigError, LogMissing
from anomaly.osquery import Parser, Skipped
from anomaly.scoring import Scorer
from anomaly.sinks.ndjson import encode
from anomaly.store import Store

pytest.importorskip("pyspark", reason="without the extra: pip install '.[fleet]'")

from anomaly.fleet.score import Asked, _keep_private, _parts, start
from anomaly.fleet.worker import Order

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.conftest import Event


def locally(models: Path, parts: list[list[bytes]]) -> dict[str, dict[str, Any]]:
    """Score a log in one pass, and name its events as the parts do."""
    store, parser = Store(models), Parser()
    scorer = Scorer(store.load, background=store.load_background())
    found = []
    for part in parts:
        name, offset = hashlib.sha256(part[0]).hexdigest()[:16], 0
        for line in part:
            parsed = parser.parse(line)
            if not isinstance(parsed, Skipped):
                found += scorer.score_all([(f"{name}:{offset}", action) for action in parsed])
            offset += len(line) + 1
    return {score["id"]: score for score in map(json.loads, encode(found).splitlines())}


def arrive(folder: Path, name: str, lines: list[bytes]) -> None:
    """Let a file arrive as it must: under its name when it is whole."""
    folder.mkdir(exist_ok=True)
    (folder / f".{name}").write_bytes(b"".join(line + b"\n" for line in lines))
    (folder / f".{name}").rename(folder / name)


def test_a_log_scores_on_spark_as_it_does_locally(
    spark: SparkSession,
    ocsvm_models: Path,
    fleet_models: Path,
    lines: list[bytes],
    event: Event,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However a log is cut, and though the query is restarted: no score differs, none is lost or twice."""
    log = [*lines[:700], event("mallory", command="id"), b"no JSON", b"", *lines[700:1500]]
    parts = [log[:333], log[333:900], log[900:]]
    asked = Asked(
        str(tmp_path / "in"),
        str(tmp_path / "out"),
        str(tmp_path / "checkpoint"),
        Order(str(fleet_models), "local", adapt=True, least=0.0),
    )
    # As of a store: the first file is read by Spark, and the others, which are larger, by the workers.
    monkeypatch.setattr("anomaly.fleet.score.is_mounted", lambda *_: False)
    monkeypatch.setattr("anomaly.fleet.score.LARGEST", 120_000)
    spark.conf.set("spark.sql.sources.binaryFile.maxLength", "120000")  # to read a larger one would be an error
    arrive(tmp_path / "in", "1.log", parts[0])
    start(spark, asked).awaitTermination()
    arrive(tmp_path / "in", "2.log", parts[1])
    arrive(tmp_path / "in", "3.log", parts[2])
    words = [
        "--from",
        asked.source,
        "--to",
        asked.to,
        "--checkpoint",
        asked.checkpoint,
        "--models",
        str(fleet_models),
    ]
    words += ["--trigger", "available-now", "--files", "1", "--metrics", str(tmp_path / "metrics")]
    before = signal.getsignal(signal.SIGTERM)
    ended = CliRunner().invoke(score, words)
    assert ended.exit_code == 0, ended.output
    assert signal.getsignal(signal.SIGTERM) is before
    spark.conf.unset("spark.sql.sources.binaryFile.maxLength")
    assert spark.conf.get("spark.sql.sources.parallelPartitionDiscovery.parallelism") == "2"  # parts, not files
    found = [json.loads(row.value) for row in spark.read.text(asked.to).collect()]
    rows = [json.loads(line) for line in (tmp_path / "metrics").read_text().splitlines()]
    for place in (tmp_path / "out", tmp_path / "checkpoint"):  # Spark asks nobody's umask
        assert {path for path in [place, *place.rglob("*")] if path.stat().st_mode & 0o077} == set()
    with pytest.raises(ConfigError, match="holds the scores of the query whose checkpoint is"):
        start(spark, asked._replace(checkpoint=str(tmp_path / "new")))
    with pytest.raises(LogMissing, match="/gone is not there"):
        start(spark, Asked(f"{tmp_path}/gone", f"{tmp_path}/out2", f"{tmp_path}/checkpoint2", asked.order))

    expected = locally(ocsvm_models, parts)
    assert len(found) == len(expected) == 1501
    assert {score["id"]: score for score in found} == expected
    assert [row["batch"] for row in rows] == [1, 2]
    assert sum(row["actions"] for row in rows) == 1501 - 333
    assert sum(row["strangers"] for row in rows) == 1
    skipped = [row["skipped"] for row in rows if row["skipped"]]
    assert skipped == [{"empty": 1, "not_json": 1}]


def imported(_: object) -> list[tuple[str]]:
    """Say which of the heavy libraries a worker has imported."""
    import sys  # noqa: PLC0415 - runs in a worker

    import anomaly.fleet.processor  # noqa: F401, PLC0415 - the same

    return [(name,) for name in ("tensorflow", "sklearn", "scipy", "plotly") if name in sys.modules]


@pytest.mark.parametrize(("said", "parts"), [({}, "8"), ({"spark.sql.shuffle.partitions": "5"}, "5")])
def test_parts_are_two_a_core_where_nobody_says(said: dict[str, str], parts: str) -> None:
    """Spark's 200 are not taken over; what was asked for is."""
    set_so: dict[str, str] = {"spark.sql.shuffle.partitions": "200"} | said
    session = SimpleNamespace(
        _sc=SimpleNamespace(getConf=lambda: said, defaultParallelism=4),
        conf=SimpleNamespace(get=set_so.get, set=set_so.__setitem__),
    )
    assert _parts(cast("SparkSession", session)) == parts
    assert set_so["spark.sql.shuffle.partitions"] == parts


def test_who_wants_files_to_be_for_others_is_heard() -> None:
    """Files are for their owner alone, unless Spark was told of another umask."""
    name, set_so = "fs.permissions.umask-mode", dict[str, str]()
    for said in ({f"spark.hadoop.{name}": "027"}, {}):
        session = SimpleNamespace(
            _sc=SimpleNamespace(getConf=lambda said=said: said), conf=SimpleNamespace(set=set_so.__setitem__)
        )
        _keep_private(cast("SparkSession", session))
        assert set_so == ({} if said else {name: "077"})


def test_a_worker_is_light(spark: SparkSession) -> None:
    """What a worker imports to score is neither tensorflow nor scikit-learn."""
    assert spark.sparkContext.parallelize([1], 1).mapPartitions(imported).collect() == []
