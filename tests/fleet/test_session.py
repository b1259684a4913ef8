"""What is wrong with Spark is one sentence."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from pyspark import SparkContext
from pyspark.errors import PySparkRuntimeError
from pyspark.sql import SparkSession as Session

from anomaly.errors import ConfigError, WorkerLost
from anomaly.fleet.session import end_java, explained, session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_the_session_that_there_is_is_used(spark: SparkSession) -> None:
    """As under spark-submit, or in a notebook."""
    assert session("another") is spark


def test_without_java_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spark's own words are kept, in one line."""

    def fail(_: object) -> None:
        raise PySparkRuntimeError("[JAVA_GATEWAY_EXITED] Java gateway process exited.\n at ...")

    monkeypatch.setenv("PYSPARK_PYTHON", "python")
    monkeypatch.setattr(Session.Builder, "getOrCreate", fail)
    with pytest.raises(
        ConfigError, match=r"^Spark does not start: \[JAVA_GATEWAY_EXITED\].*needs Java 17 \(JAVA_HOME\)\.$"
    ):
        session("fleet")


@pytest.mark.parametrize(("begun", "how"), [(True, "terminate"), (False, "kill")])
def test_java_is_ended(monkeypatch: pytest.MonkeyPatch, how: str, *, begun: bool) -> None:
    """It may tidy up, but not amid its start, of whose end it would tell at length."""
    done: list[str] = []
    process = SimpleNamespace(terminate=lambda: done.append("terminate"), kill=lambda: done.append("kill"))
    monkeypatch.setattr(SparkContext, "_gateway", SimpleNamespace(proc=process))
    monkeypatch.setattr(SparkContext, "_active_spark_context", object() if begun else None)
    end_java()
    assert done == [how]
    monkeypatch.setattr(SparkContext, "_gateway", None)  # before it was started, and with spark-submit
    end_java()
    assert done == [how]


def test_a_job_that_fails_is_one_sentence(spark: SparkSession) -> None:
    """Of a hundred lines the first is told."""
    with (
        pytest.raises(WorkerLost, match=r"^Spark has failed: .*No model in use was changed\.") as raised,
        explained(),
    ):
        spark.sql("select raise_error('it is' || id) from range(2)").collect()
    assert "\n" not in str(raised.value)
