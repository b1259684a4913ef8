"""That Spark's workers run the package that the driver runs.

A worker of Python's finds its packages by itself, and looks into the directory that it is started in first: a
clone of this very project there (``./anomaly``) would be taken for the package.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import anomaly
from anomaly.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

_LONGEST = 300  # characters of what a worker says
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_SAFE, _PATH = "PYTHONSAFEPATH", "PYTHONPATH"


def take_along(spark: SparkSession) -> None:
    """Have workers look for packages where the driver does, whatever directory they are started in.

    On other machines it is their own installation that they find; through Spark Connect it is the server's matter.
    """
    context = getattr(spark, "_sc", None)  # there is none with Spark Connect
    if context is None:
        return
    context.environment[_SAFE] = "1"
    place = Path(anomaly.__file__).parents[1]
    # What is installed is found without; if named, it would come before Python's own library.
    if context.master.startswith("local") and place.name not in _INSTALLED:
        before = context.environment.get(_PATH) or os.environ.get(_PATH, "")
        paths = dict.fromkeys((str(place), *filter(None, before.split(os.pathsep))))
        context.environment[_PATH] = os.pathsep.join(paths)


def check_workers(spark: SparkSession) -> None:
    """Ask a worker which version it has; it will have to start in any case.

    Raises
    ------
    ConfigError
        It cannot import the package, or has another version of it.
    """
    from py4j.protocol import Py4JError  # noqa: PLC0415 - only with the extra
    from pyspark.errors import PySparkException  # noqa: PLC0415 - the same

    try:
        (row,) = spark.range(0, 1, 1, 1).mapInArrow(versions, "version string").collect()
    except (PySparkException, Py4JError) as error:
        raise ConfigError(
            f"Spark's workers cannot run anomaly: {_cause(str(error))} Install {anomaly.__version__} there, with"
            " its extra, as docs/fleet.md says."
        ) from error
    if row.version != anomaly.__version__:
        raise ConfigError(
            f"Spark's workers have anomaly {row.version}, and the driver has {anomaly.__version__}. Install the"
            " same on both."
        )


def versions(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Give a worker's version: what ``mapInArrow`` is given."""
    import pyarrow as pa  # noqa: PLC0415 - only with the extra

    from anomaly import __version__  # noqa: PLC0415 - a clone that was taken for the package has none

    for batch in batches:
        yield pa.RecordBatch.from_pylist([{"version": __version__}] * len(batch))


def _cause(text: str) -> str:
    """Return the line of Python's that says what went wrong; Spark's own where there is none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.partition(":")[0].endswith("Error") and not line.startswith("[")]
    return f"{(errors or lines or ['it does not say why'])[-1 if errors else 0][:_LONGEST].rstrip('.')}."
