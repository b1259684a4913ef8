"""The Spark session, and what can be wrong with it before anything is computed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from threading import Thread
from typing import TYPE_CHECKING

from anomaly.errors import ConfigError, WorkerLost
from anomaly.fleet.noise import mute, noise
from anomaly.fleet.workers import check_workers, take_along

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

_NEEDED = ("pyspark", "pandas", "pyarrow", "google.protobuf")
_LONGEST = 300  # characters of what Spark says
_PATIENCE = 2.0  # seconds for Spark to hear that it is to be quiet
_OTHERS = frozenset({"PYSPARK_GATEWAY_PORT", "SPARK_REMOTE"})  # the JVM is spark-submit's, or a server's
_DEFAULTS = "org/apache/spark/log4j2-defaults.properties"


def check_extra() -> None:
    """Raise :class:`ConfigError` where the extra is not installed."""
    missing = [name for name in _NEEDED if not _found(name)]
    if missing:
        raise ConfigError(
            f"A fleet needs {', '.join(missing)}. Install it, on the driver and on the workers, in a clone of"
            " the project, with: pip install -r requirements-fleet.txt -e '.[fleet]' (some 450 MB, and Java 17)."
        )


def session(name: str) -> SparkSession:
    """Return the session that there is, or one with the resources that spark-submit or SPARK_* ask for.

    Its log tells errors only, unless somebody has said what it is to tell; and its workers run this very package.

    Raises
    ------
    ConfigError
        The extra is not installed, Spark does not start, or its workers cannot run this package.
    """
    check_extra()
    from py4j.protocol import Py4JError  # noqa: PLC0415 - only with the extra
    from pyspark import SparkContext  # noqa: PLC0415 - the same
    from pyspark.errors import PySparkException  # noqa: PLC0415 - the same
    from pyspark.sql import SparkSession  # noqa: PLC0415 - the same

    is_new = SparkContext._active_spark_context is None  # noqa: SLF001 - what asks for it makes one
    is_ours = is_new and not _OTHERS & os.environ.keys()
    try:
        if is_ours:
            _start(name)
        spark = SparkSession.builder.appName(name).getOrCreate()
    except (PySparkException, Py4JError) as error:
        words = noise().last_words() if is_ours else ""
        last = f" Its last words: {words}." if words else ""
        raise ConfigError(
            f"Spark does not start: {_first_line(error)}{last} It needs Java 17 (JAVA_HOME)."
        ) from error
    is_quiet = is_new and _has_defaults(spark)
    if is_quiet:
        spark.sparkContext.setLogLevel("OFF")  # what is wrong with a worker is said in a sentence
    if is_ours:
        noise().release(told=not is_quiet)
    take_along(spark)
    check_workers(spark)
    if is_quiet:
        spark.sparkContext.setLogLevel("ERROR")
    return spark


def end_java() -> None:
    """End the Java that was started for this process, where there is one; nothing is waited for."""
    mute()  # it takes for failures what it is made to leave off
    context = getattr(sys.modules.get("pyspark"), "SparkContext", None)  # an import might wait for another
    process = getattr(getattr(context, "_gateway", None), "proc", None)
    active = getattr(context, "_active_spark_context", None)
    if process is None:  # it is spark-submit's, and ends after us
        if active is not None:
            telling = Thread(target=_silence, args=(active,), daemon=True)
            telling.start()
            telling.join(_PATIENCE)
    elif active is None:
        process.kill()  # amid its start it would end with a long account, and has nothing to tidy up
    else:
        process.terminate()


def hush(spark: SparkSession) -> None:
    """Let Spark say nothing from now on: what it is made to leave off it takes for failures."""
    mute()
    context = getattr(spark, "_sc", None)  # there is none with Spark Connect
    if context is not None:
        context.setLogLevel("OFF")


def _silence(context: SparkContext) -> None:
    with suppress(Exception):  # it is only just being made, or is at its end
        context.setLogLevel("OFF")


def _start(name: str) -> None:
    """Start a JVM of our own, whose words are ours to tell."""
    from pyspark import SparkConf, SparkContext  # noqa: PLC0415 - only with the extra
    from pyspark.java_gateway import launch_gateway  # noqa: PLC0415 - the same

    _check_java()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # the workers are this machine's
    conf = SparkConf().setAppName(name)
    if not sys.stderr.isatty():
        conf.set("spark.ui.showConsoleProgress", "false")
    try:
        gateway = launch_gateway(conf, {"stderr": noise()})  # type: ignore[no-untyped-call]
    finally:
        noise().close()
    SparkContext(conf=conf, gateway=gateway)


def _check_java() -> None:
    """Raise :class:`ConfigError` where there is no Java: Spark's own scripts say it at length."""
    home = os.environ.get("JAVA_HOME")
    if shutil.which(f"{home}/bin/java" if home else "java") is None:
        where = f"in JAVA_HOME ({home})" if home else "in PATH, and JAVA_HOME is not set"
        raise ConfigError(f"Spark does not start: there is no java {where}. It needs Java 17 (JAVA_HOME).")


def _has_defaults(spark: SparkSession) -> bool:
    """Say whether nobody has said what Spark is to log."""
    context = getattr(spark, "_sc", None)  # there is none with Spark Connect
    if context is None or context.getConf().contains("spark.log.level"):
        return False
    log4j = context._jvm.org.apache.logging.log4j.LogManager  # noqa: SLF001 - pyspark has no other way to it
    place = log4j.getContext(False).getConfiguration().getConfigurationSource().getLocation()  # noqa: FBT003 - Java's
    return str(place).endswith(_DEFAULTS)


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
        raise WorkerLost(
            f"Spark has failed: {_first_line(error)} No model in use was changed. Its log says more; where a"
            " worker was ended, give it more memory (docs/fleet.md)."
        ) from error


def _first_line(error: Exception) -> str:
    java = getattr(error, "java_exception", None)
    return str(java.toString() if java is not None else error).splitlines()[0][:_LONGEST]


def _found(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of a package within one that is not there
        return False
