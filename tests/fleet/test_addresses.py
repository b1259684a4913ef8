from __future__ import annotations

import pytest

from anomaly.errors import ConfigError
from anomaly.fleet.addresses import address_kind, check_client, topic


def test_a_topic_has_brokers() -> None:
    """A topic's address names brokers and the topic, and nothing else passes for one."""
    assert topic("kafka://a:1,b:2/t.x-1") == ("a:1,b:2", "t.x-1")
    for wrong in ("kafka://", "kafka://a:1", "kafka://a:1/", "kafka://a:1/a/b", "kafka://a b/c", "kafka:a/b"):
        with pytest.raises(ConfigError, match="write kafka://HOST:PORT/TOPIC"):
            topic(wrong)


def test_addresses_are_told_apart() -> None:
    """A topic and a webhook are known by how they begin; all else is a directory, and nothing is none."""
    kinds = {"kafka://a/b": "kafka", "https://a/b": "webhook", "s3a://a/b": "files", "/srv/out": "files"}
    assert {address: address_kind(address) for address in kinds} == kinds
    with pytest.raises(ConfigError, match="An address is empty"):
        address_kind("")


def test_without_a_client_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has nothing that speaks to Kafka is told what does."""
    check_client()
    monkeypatch.setattr("anomaly.fleet.addresses.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="fleet-kafka"):
        check_client()
