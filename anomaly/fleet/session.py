"""The Spark session, and what can be wrong with it before anything is computed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from anomaly.errors import ConfigError, WorkerLost

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_NEEDED = ("pyspark", "pandas", "pyarrow", "google.protobuf")
_LONGEST = 300  # characters of what Spark says


def check_extra() -> None:
    """Raise :class:`ConfigError` where the extra is not installed."""
    missing = [name for name in _NEEDED if not _found(name)]
    if missing:
        raise ConfigError(
            f"A fleet needs {', '.join(missing)}. Install it, on the driver and on the workers, with:"
            " pip install 'osquery-anomaly[fleet]' (some 450 MB; it also needs Java 17)."
        )


def session(name: str) -> SparkSession:
    """Return the session that there is, or one with the resources that spark-submit or SPARK_* ask for.

    Raises
    ------
    ConfigError
        The extra is not installed, or Spark does not start.
    """
    check_extra()
    from pyspark.errors import PySparkException  # noqa: PLC0415 - only with the extra
    from pyspark.sql import SparkSession  # noqa: PLC0415 - the same

    if "PYSPARK_GATEWAY_PORT" not in os.environ:  # not by spark-submit: the workers are this machine's
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        return SparkSession.builder.appName(name).getOrCreate()
    except PySparkException as error:
        text = str(error).splitlines()[0]
        raise ConfigError(f"Spark does not start: {text} It needs Java 17 (JAVA_HOME).") from error


def end_java() -> None:
    """End the Java that was started for this process, where there is one; nothing is waited for."""
    context = getattr(sys.modules.get("pyspark"), "SparkContext", None)  # an import might wait for another
    process = getattr(getattr(context, "_gateway", None), "proc", None)
    if process is None:
        return
    if getattr(context, "_active_spark_context", None) is None:
        process.kill()  # amid its start it would end with a long account, and has nothing to tidy up
    else:
        process.terminate()


def hush(spark: SparkSession) -> None:
    """Let Spark say nothing from now on: what it is made to leave off it takes for failures."""
    context = getattr(spark, "_sc", None)  # there is none with Spark Connect
    if context is not None:
        context.setLogLevel("OFF")


@contextmanager
def explained() -> Iterator[None]:
    """Say in one sentence what Spark says in a hundred lines; those are in its own log.

    Raises
    ------
    WorkerLost
        A job of Spark failed.
    """
    from py4j.protocol import Py4JError  # noqa: PLC0415 - only with the extra
    from pyspark.errors import PySparkException  # noqa: PLC0415 - the same

    try:
        yield
    except (PySparkException, Py4JError) as error:
        java = getattr(error, "java_exception", None)
        text = str(java.toString() if java is not None else error).splitlines()[0][:_LONGEST]
        raise WorkerLost(
            f"Spark has failed: {text} No model in use was changed. Its log says more; where a worker was ended,"
            " give it more memory (docs/fleet.md)."
        ) from error


def _found(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of a package within one that is not there
        return False
