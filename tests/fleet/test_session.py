"""What is wrong with Spark is one sentence."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from pyspark import SparkContext
from pyspark.errors import PySparkRuntimeError

from anomaly.errors import ConfigError, WorkerLost
from anomaly.fleet import session as room
from anomaly.fleet.session import explained, session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_the_session_that_there_is_is_used(spark: SparkSession) -> None:
    """As under spark-submit, or in a notebook."""
    assert session("another") is spark


def test_where_spark_does_not_start_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spark's own words are kept, in one line, and Java's last."""

    def fail(_: str) -> None:
        raise PySparkRuntimeError("[JAVA_GATEWAY_EXITED] Java gateway process exited.\n at ...")

    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)
    monkeypatch.setattr(SparkContext, "_active_spark_context", None)
    monkeypatch.setattr(room, "_start", fail)
    monkeypatch.setattr(room, "noise", lambda: SimpleNamespace(last_words=lambda: "Error: too old"))
    said = r"^Spark does not start: \[JAVA_.* process exited\. Its last words: Error: too old\. It needs Java 17"
    with pytest.raises(ConfigError, match=said):
        session("fleet")


@pytest.mark.parametrize(
    ("home", "said"),
    [("/nowhere", r"no java in JAVA_HOME \(/nowhere\)"), (None, "no java in PATH, and JAVA_HOME is not set")],
)
def test_without_java_it_is_not_even_tried(monkeypatch: pytest.MonkeyPatch, home: str | None, said: str) -> None:
    """Spark's scripts would say a hundred words before."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("JAVA_HOME", home)
    with pytest.raises(ConfigError, match=f"^Spark does not start: there is {said}. It needs Java 17"):
        room._check_java()


@pytest.mark.parametrize(("begun", "how"), [(True, "terminate"), (False, "kill")])
def test_java_is_ended_or_silenced(monkeypatch: pytest.MonkeyPatch, how: str, *, begun: bool) -> None:
    """It may tidy up, but not amid its start, of whose end it would tell at length; spark-submit's is not ours."""
    done: list[str] = []
    process = SimpleNamespace(terminate=lambda: done.append("terminate"), kill=lambda: done.append("kill"))
    monkeypatch.setattr(SparkContext, "_gateway", SimpleNamespace(proc=process))
    context = SimpleNamespace(setLogLevel=done.append)
    monkeypatch.setattr(SparkContext, "_active_spark_context", context if begun else None)
    room.end_java()
    assert done == [how]
    monkeypatch.setattr(SparkContext, "_gateway", None)  # before it was started, and with spark-submit
    room.end_java()
    assert done == [how, *(["OFF"] if begun else [])]


def test_a_job_that_fails_is_one_sentence(spark: SparkSession) -> None:
    """Of a hundred lines the first is told."""
    with (
        pytest.raises(WorkerLost, match=r"^Spark has failed: .*No model in use was changed\.") as raised,
        explained(),
    ):
        spark.sql("select raise_error('it is' || id) from range(2)").collect()
    assert "\n" not in str(raised.value)
