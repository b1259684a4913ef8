"""Where a query reads and writes, as people write it."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import NamedTuple

from anomaly.errors import ConfigError

_ADDRESS = re.compile(r"kafka://([A-Za-z0-9._:,\[\]-]+)/([A-Za-z0-9._-]{1,249})")


def address_kind(address: str) -> str:
    """Return ``kafka``, ``webhook`` or ``files``.

    Raises
    ------
    ConfigError
        It is empty.
    """
    if not address:
        raise ConfigError("An address is empty: give a directory, kafka://HOST:PORT/TOPIC or https://HOST/PATH.")
    if address.startswith("kafka:"):
        return "kafka"
    return "webhook" if address.startswith(("http:", "https:")) else "files"


class Topic(NamedTuple):
    """A topic, and brokers to ask for it."""

    servers: str
    name: str


def topic(address: str) -> Topic:
    """Read ``kafka://HOST:PORT/TOPIC``; further brokers follow the first after commas.

    Raises
    ------
    ConfigError
        It is no such address.

    Examples
    --------
    >>> topic("kafka://k1:9092,k2:9092/osquery")
    Topic(servers='k1:9092,k2:9092', name='osquery')
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ConfigError(f"{address!r} is no address of a topic: write kafka://HOST:PORT/TOPIC.")
    return Topic(match[1], match[2])


def check_client() -> None:
    """Raise ConfigError where nothing can speak to Kafka."""
    if find_spec("confluent_kafka") is None:
        raise ConfigError(
            "Kafka needs confluent-kafka; in a clone of the project: pip install -r requirements-fleet.txt -e"
            " '.[fleet-kafka]'. To read from it, Spark's own connector does as well: spark-submit --packages"
            " org.apache.spark:spark-sql-kafka-0-10_2.13:4.3.0"
        )
