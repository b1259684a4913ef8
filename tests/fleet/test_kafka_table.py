"""What a topic holds is learned as the log that was sent to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

pytest.importorskip("pyspark", reason="without the extra: pip install '.[fleet]'")
pytest.importorskip("confluent_kafka", reason="without the extra: pip install '.[fleet-kafka]'")

from anomaly.detectors.interface import Algorithm
from anomaly.enrolment import Enrolment, enrol
from anomaly.errors import ConfigError, LogEmpty, LogUnreadable
from anomaly.fleet import kafka_table
from anomaly.fleet.kafka_source import KafkaSource, Reader, TableReader
from anomaly.fleet.train import Request, train
from anomaly.harvest import Watch
from anomaly.model import UserModel

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.fleet.conftest import Broker


def values(reader: TableReader) -> list[tuple[int, bytes]]:
    """Return partition and value of all that a table has."""
    return [
        (row["partition"], row["value"])
        for span in reader.partitions()
        for batch in reader.read(span)
        for row in batch.to_pylist()
    ]


def test_a_table_is_what_there_was_when_it_was_asked_for(broker: Broker) -> None:
    """In parts, of every partition; what comes later is not of it."""
    reader = Reader(f"127.0.0.1:{broker.servers.port}", "osquery")
    assert reader.spans(3) == []
    broker.send([b"a", b"b", b"c", b"d"], 2)
    broker.send([b"e"], 0)
    spans = reader.spans(3)
    broker.send([b"later"], 2)
    assert spans == [(0, 0, 1), (2, 0, 3), (2, 3, 4)]
    options = {
        "servers": f"127.0.0.1:{broker.servers.port}",
        "topic": "osquery",
        "spans": json.dumps(spans),
    }
    table = KafkaSource(options).reader(None)
    assert isinstance(table, TableReader)
    assert values(table) == [(0, b"e"), (2, b"a"), (2, b"b"), (2, b"c"), (2, b"d")]


def of(user: str, models: Path, file: str) -> UserModel:
    """Return a model without where its log ended, which is nowhere to go on from in a topic."""
    model = UserModel.from_bytes((models / user / file).read_bytes(), "it")
    model.card = replace(model.card, ends=())
    return model


def test_models_of_a_topic_are_those_of_the_log(
    spark: SparkSession,
    broker: Broker,
    lines: list[bytes],
    silent: Watch,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one partition the order is the log's, also where its times are not; over several it is that of time."""
    alice = [line for line in lines if b'"alice"' in line]
    alice[700], alice[900] = alice[900], alice[700]
    bob = [line for line in lines if b'"bob"' in line]
    broker.send([*alice[:100], b"no result", None, *alice[100:]], 1)
    broker.send([*bob[:10], *bob[10::2]], 0)  # the first are of one time, and that tells nothing of their order
    broker.send(bob[11::2], 2)
    monkeypatch.setattr(kafka_table, "SPAN", 500)
    outcome = train(Request((broker.address,), str(tmp_path / "models"), Algorithm.OCSVM), spark)
    (tmp_path / "r.log").write_bytes(b"\n".join([*alice, *bob]))
    list(enrol(Enrolment((tmp_path / "r.log",), tmp_path / "local", Algorithm.OCSVM), silent))
    for user in ("alice", "bob"):
        expected = of(user, tmp_path / "local", "1.safetensors")
        assert of(user, tmp_path / "models", "1.safetensors").to_bytes() == expected.to_bytes()
    assert (outcome.lines, outcome.skipped) == (len(alice) + len(bob) + 2, {"not_json": 1, "empty": 1})


def test_what_cannot_be_read_is_told_before_anything_is_computed(
    spark: SparkSession, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that is none, brokers that do not answer, and a topic in which there is nothing."""

    def learned(address: str) -> None:
        train(Request((address,), str(tmp_path / "models"), Algorithm.OCSVM), spark)

    with pytest.raises(
        ConfigError, match=r"^'kafka:osquery' is no address of a topic: write kafka://HOST:PORT/TOPIC"
    ):
        learned("kafka:osquery")
    with pytest.raises(LogEmpty, match=r"/osquery holds no message yet"):
        learned(broker.address)
    monkeypatch.setattr("anomaly.fleet.kafka_source.PATIENCE", 0.2)
    with pytest.raises(LogUnreadable, match=r"^kafka://127\.0\.0\.1:1/osquery cannot be read: .* cannot be asked"):
        learned("kafka://127.0.0.1:1/osquery")
