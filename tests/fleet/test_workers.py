"""Workers run the package that the driver runs, or nothing is run at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from subprocess import run
from types import SimpleNamespace
from typing import TYPE_CHECKING, NoReturn

import pytest

import anomaly
from anomaly.errors import ConfigError
from anomaly.fleet import workers
from anomaly.fleet.workers import check_workers, take_along

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PLACE = str(Path(anomaly.__file__).parents[1])


def found(master: str, **environment: str) -> dict[str, str]:
    """Return what a worker's environment becomes."""
    context = SimpleNamespace(environment=environment, master=master)
    for _ in range(2):  # a session may be asked for twice
        take_along(SimpleNamespace(_sc=context))  # type: ignore[arg-type]
    return environment


def test_workers_look_where_the_driver_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """And never into the directory that they happen to be in; other machines have places of their own."""
    monkeypatch.setenv("PYTHONPATH", "/of/driver")
    assert found("local[2]") == {"PYTHONSAFEPATH": "1", "PYTHONPATH": f"{PLACE}{os.pathsep}/of/driver"}
    assert found("local[2]", PYTHONPATH="/a")["PYTHONPATH"] == f"{PLACE}{os.pathsep}/a"
    assert found("yarn") == {"PYTHONSAFEPATH": "1"}
    monkeypatch.setattr(anomaly, "__file__", "/usr/lib/python3/dist-packages/anomaly/__init__.py")
    assert found("local[2]") == {"PYTHONSAFEPATH": "1"}


def test_a_clone_where_a_worker_is_started_is_not_taken_for_the_package(tmp_path: Path) -> None:
    """Be it one without a package at its top, or another package of that name."""
    (tmp_path / "anomaly").mkdir()
    code = "import anomaly; print(anomaly.__file__)"
    for name in (None, "__init__.py"):
        if name is not None:
            (tmp_path / "anomaly" / name).touch()
        words = [sys.executable, "-c", code]
        asked = run(words, cwd=tmp_path, env=found("local[2]"), capture_output=True, text=True, check=True)
        assert asked.stdout == f"{anomaly.__file__}\n"


def missing(_: object) -> NoReturn:
    """Do as a worker does that has no such package."""
    raise ModuleNotFoundError("No module named 'anomaly'")


def test_who_cannot_run_it_is_told_at_once(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version, or none."""
    check_workers(spark)
    monkeypatch.setattr(anomaly, "__version__", "99")
    with pytest.raises(ConfigError, match=r"^Spark's workers have anomaly .*, and the driver has 99\. Install"):
        check_workers(spark)
    monkeypatch.setattr(workers, "versions", missing)
    said = (
        r"^Spark's workers cannot run anomaly: ModuleNotFoundError: No module named 'anomaly'\. Install 99 there,"
    )
    with pytest.raises(ConfigError, match=said):
        check_workers(spark)


def test_the_line_of_pythons_is_what_is_said() -> None:
    """Out of the trace that Spark hands on."""
    text = """An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "x.py", line 1, in <module>
ModuleNotFoundError: No module named 'anomaly'
JVM stacktrace:
"""
    assert workers._cause(text) == "ModuleNotFoundError: No module named 'anomaly'."
    assert workers._cause("Job aborted.\n") == "Job aborted."
