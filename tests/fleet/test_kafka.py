from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anomaly.errors import StateError

pytest.importorskip("pyspark", reason="without the extra: pip install '.[fleet]'")
pytest.importorskip("confluent_kafka", reason="without the extra: pip install '.[fleet-kafka]'")

from pyspark.sql.streaming.datasource import ReadAllAvailable

from anomaly.fleet.kafka_source import MOST, Reader, Span
from anomaly.fleet.score import Asked, start
from anomaly.fleet.worker import Order

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.fleet.conftest import Broker


def test_offsets_are_given_out_once(broker: Broker) -> None:
    """What a batch reads follows on what the one before read, and no more than one may have."""
    reader = Reader(f"127.0.0.1:{broker.servers.port}", "osquery")
    begin = reader.initialOffset()
    broker.send([b"a", b"b", b"c"])
    end = reader.latestOffset(begin, ReadAllAvailable())
    assert end["0"] == begin["0"] + 3
    assert reader.latestOffset(end, reader.getDefaultReadLimit()) == end
    (span,) = reader.partitions(begin, end)
    assert [value for batch in reader.read(span) for value in batch.column("value").to_pylist()] == [
        b"a",
        b"b",
        b"c",
    ]
    assert reader.partitions(end, end) == []
    reader.prepareForTriggerAvailableNow()
    broker.send([b"later"])
    assert reader.latestOffset(begin, ReadAllAvailable()) == end
    assert MOST > 3


def test_who_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is not there ends the query with a sentence that names it."""
    monkeypatch.setattr("anomaly.fleet.kafka_source.PATIENCE", 0.2)
    with pytest.raises(StateError, match=r"127\.0\.0\.1:1 cannot be asked"):
        Reader("127.0.0.1:1", "osquery").initialOffset()


def test_a_span_that_does_not_come_is_an_error(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offsets that the broker does not give are never passed over in silence."""
    monkeypatch.setattr("anomaly.fleet.kafka_source.PATIENCE", 3.0)
    reader = Reader(f"127.0.0.1:{broker.servers.port}", "osquery")
    high = reader.latestOffset({}, ReadAllAvailable())["0"]
    with pytest.raises(StateError, match="gives nothing from offset"):
        list(reader.read(Span(0, high, high + 2)))


def test_a_topic_is_scored(
    spark: SparkSession, broker: Broker, fleet_models: Path, lines: list[bytes], tmp_path: Path
) -> None:
    """Messages are scored as lines, each once, across a restart; their ids are topic, partition and offset."""
    broker.send(lines[:40])
    asked = Asked(
        broker.address,
        str(tmp_path / "out"),
        str(tmp_path / "checkpoint"),
        Order(str(fleet_models), "local", adapt=True, least=0.0),
    )
    start(spark, asked).awaitTermination()
    broker.send(lines[40:60])
    start(spark, asked).awaitTermination()
    found = [json.loads(row.value) for row in spark.read.text(asked.to).collect()]
    ids = {score["id"] for score in found}
    assert len(found) == len(ids) == 60
    assert all(one.startswith("osquery-0:") for one in ids)
