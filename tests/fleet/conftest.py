"""One Spark session for all of the fleet's tests, and a store as `anomaly fleet train` writes it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from anomaly.store import Store
from anomaly.store_layout import encode_user

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MISSING = [name for name in ("pyspark", "pandas", "pyarrow") if find_spec(name) is None]
collect_ignore_glob = ["test_*.py"] if MISSING else []


def pytest_report_header() -> str | None:
    """Say that nothing of the fleet is tested."""
    return f"the fleet is not tested: {', '.join(MISSING)} not installed (the extra 'fleet')" if MISSING else None


@pytest.fixture(autouse=True)
def _no_leaked_thread() -> Iterator[None]:
    """Fail a test that leaves a thread behind, but for the session's, by which Spark calls Python."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 2.0
    while (left := {t for t in threading.enumerate() if t not in before and not _of_the_gateway(t)}) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.01)
    assert not left


def _of_the_gateway(thread: threading.Thread) -> bool:
    owner = getattr(getattr(thread, "_target", None), "__self__", None)
    return any(type(one).__module__.startswith(("py4j.", "pyspark.")) for one in (owner, thread))


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """Start Spark on two cores of this machine, in as little memory as it takes."""
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("there is no Java here (Debian's package: openjdk-17-jre-headless)")
    from pyspark.sql import SparkSession  # noqa: PLC0415 - only with the extra

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        session = (
            SparkSession.builder.master("local[2]")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .config("spark.driver.memory", "1g")
            .config("spark.sql.shuffle.partitions", "2")
            .config("spark.local.dir", str(tmp_path_factory.mktemp("spark")))
            .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
            .getOrCreate()
        )
        session.sparkContext.setLogLevel("OFF")
        yield session
        session.stop()


def publish(models: Path, to: Path, version: int = 1) -> Path:
    """Write a local store's models as a fleet's."""
    store, entries = Store(models), {}
    to.mkdir(mode=0o700, exist_ok=True)
    for user in store.users():
        file = f"{encode_user(user)}/{store.current(user)}.safetensors"
        (to / encode_user(user)).mkdir(mode=0o700, exist_ok=True)
        shutil.copy(models / file, to / file)
        entries[user] = named(to, file) | {"actions": 1, "last": 1}
    background = None
    if (models / "background.safetensors").exists():
        shutil.copy(models / "background.safetensors", to / "background.1.safetensors")
        background = named(to, "background.1.safetensors")
    manifest = {"schema": 1, "version": version, "algorithm": "OCSVM", "models": entries}
    write_manifest(to, manifest | {"background": background, "failed": {}})
    return to


def named(store: Path, file: str) -> dict[str, Any]:
    """Return how a manifest names a file."""
    return {"file": file, "sha256": hashlib.sha256((store / file).read_bytes()).hexdigest()}


def write_manifest(store: Path, manifest: dict[str, Any]) -> None:
    """Replace a store's manifest."""
    temporary = store / ".manifest"
    temporary.write_text(json.dumps(manifest))
    temporary.rename(store / "manifest.json")


@pytest.fixture
def publisher() -> Callable[..., Path]:
    """Give what writes a local store's models as a fleet's."""
    return publish


@pytest.fixture
def fleet_models(ocsvm_models: Path, tmp_path: Path) -> Path:
    """Give a fleet's store of both users' One-Class SVMs."""
    return publish(ocsvm_models, tmp_path / "fleet")


@pytest.fixture
def manifest_writer() -> Callable[[Path, dict[str, Any]], None]:
    """Give what replaces a store's manifest."""
    return write_manifest


class Broker:
    """librdkafka's broker for tests, which lives in a producer."""

    def __init__(self) -> None:
        from confluent_kafka import Producer  # noqa: PLC0415 - an extra

        self.producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "", "log_level": 0})
        self.servers = next(iter(self.producer.list_topics("osquery", 10).brokers.values()))
        self.address = f"kafka://127.0.0.1:{self.servers.port}/osquery"

    def send(self, lines: Iterable[bytes | None], partition: int = 0) -> None:
        """Send lines to one partition."""
        for line in lines:
            self.producer.produce("osquery", line, partition=partition)
        assert self.producer.flush(10) == 0


@pytest.fixture
def broker() -> Broker:
    """Give a broker."""
    return Broker()
