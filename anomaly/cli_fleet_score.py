"""``anomaly fleet score``: scoring the logs of many hosts on Spark."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from anomaly import option_types, options
from anomaly.cli_errors import Explained
from anomaly.errors import WorkerLost
from anomaly.terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql.streaming.query import StreamingQuery


_LOOK = 1  # seconds
_LATE = 10.0  # seconds that Spark may take to tell of the last batch
_OF_FILES = {
    "broken_archive": "is cut or broken: it was read up to there",
    "missing_file": "was gone before it was read",
    "unreadable_file": "cannot be read",
}  # of anomaly.fleet.reading's reasons those that are of files


class Trigger(click.ParamType[float]):
    """``available-now``, or seconds."""

    name = "trigger"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - click's
        """Return seconds, or 0 for ``available-now``."""
        if value == "available-now":
            return 0.0
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if not 0 < seconds <= 86_400:
            self.fail(f"{value!r} is neither available-now nor seconds from 0 to 86400.", param, ctx)
        return seconds


@click.command(cls=Explained)
@click.option(
    "--from", "source", required=True, metavar="FROM", help="Directory of logs, or kafka://HOST:PORT/TOPIC."
)
@click.option("--models", required=True, metavar="URI", help="Where `anomaly fleet train` wrote the models.")
@click.option(
    "--to", required=True, metavar="TO", help="Directory, kafka://HOST:PORT/TOPIC, or https://HOST/PATH."
)
@click.option("--checkpoint", required=True, metavar="URI", help="Where the query remembers how far it came.")
@click.option(
    "--trigger",
    type=Trigger(),
    default="10",
    show_default=True,
    metavar="WHEN",
    help="Seconds between batches; available-now scores what is there, and ends.",
)
@click.option(
    "--key",
    type=click.Choice(("local", "host", "user")),
    default="local",
    show_default=True,
    help="Whose model judges: user@host where there is one, else user; or the one alone, or the other.",
)
@click.option("--files", type=click.IntRange(1), default=1000, show_default=True, help="Files of one batch.")
@click.option("--metrics", type=option_types.Place(), help="Append a line of JSON for each batch to this file.")
@options.adapt
@options.min_score
def score(
    source: str,
    models: str,
    to: str,
    checkpoint: str,
    trigger: float,
    key: str,
    files: int,
    metrics: Path | None,
    adapt: bool,
    min_score: float,
) -> None:
    """Score logs on Spark as they arrive; resources are spark-submit's, or SPARK_REMOTE's.

    Files must arrive by renaming, whole; .gz, .zst, .bz2 and .xz are read. What is written to a directory is
    written exactly once: read it through Spark. On SIGTERM the query ends; the same command goes on.

    \b
    Example:
      anomaly fleet score --from /in --models /srv/models --to /out \\
        --checkpoint /srv/checkpoint --trigger available-now
    """
    from anomaly.fleet.session import check_extra, session

    check_extra()
    from anomaly.fleet.metrics import Listener
    from anomaly.fleet.score import Asked, check, start
    from anomaly.fleet.worker import Order

    asked = Asked(source, to, checkpoint, Order(models, key, adapt, min_score), trigger or None, files)
    check(asked)
    spark = session("anomaly fleet score")
    with ExitStack() as stack:
        listener = Listener(_teller(stack, metrics))
        spark.streams.addListener(listener)
        stack.callback(spark.streams.removeListener, listener)
        stop = Event()
        before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
        stack.callback(signal.signal, signal.SIGTERM, before)
        _wait(start(spark, asked), stop)
        listener.ended.wait(_LATE)  # what is told of the last batch comes after its end


def _teller(stack: ExitStack, metrics: Path | None) -> Callable[[dict[str, Any]], None]:
    """Return what tells of a batch: in a file, or to a person; of files that were skipped in any case."""
    if metrics is None:

        def speak(row: dict[str, Any]) -> None:
            say(_sentence(row))
            _name(row)

        return speak
    file = stack.enter_context(metrics.open("a", encoding="ascii"))

    def tell(row: dict[str, Any]) -> None:
        file.write(json.dumps(row) + "\n")
        file.flush()
        _name(row)

    return tell


def _name(row: dict[str, Any]) -> None:
    """Name files that were not read, or not to their end."""
    for one in row["files"]:
        reason, _, file = one.partition(" ")
        say(f"Batch {row['batch']}: {file} {_OF_FILES[reason]}")
    more = sum(row["skipped"].get(reason, 0) for reason in _OF_FILES) - len(row["files"])
    if more > 0:
        say(f"Batch {row['batch']}: and so {more:,} more files")


def _sentence(row: dict[str, Any]) -> str:
    """Say a batch as a sentence."""
    skipped = sum(row["skipped"].values())
    files = sum(row["skipped"].get(reason, 0) for reason in _OF_FILES)
    skipped -= files
    more = [f"{row[name]:,} {name}" for name in ("alarming", "refused", "late") if row.get(name)]
    more += [f"{skipped:,} lines skipped"] if skipped else []
    more += [f"{files:,} files not read, or not to their end"] if files else []
    return f"Batch {row['batch']}: {row.get('actions', 0):,} actions in {row['seconds']:.1f} s" + "".join(
        f", {one}" for one in more
    )


def _wait(query: StreamingQuery, stop: Event) -> None:
    """Wait until the query ends, or is to be stopped; raises WorkerLost where it failed."""
    from pyspark.errors import StreamingQueryException

    try:
        # A signal's handler must not call Spark itself: this thread may be waiting for an answer of Spark's.
        while not query.awaitTermination(_LOOK) and not stop.is_set():
            continue
        query.stop()
    except KeyboardInterrupt:
        query.stop()
    except StreamingQueryException as error:
        raise WorkerLost(
            f"The query has failed, and goes on from its checkpoint when it is started again: {_cause(str(error))}"
        ) from error


def _cause(text: str) -> str:
    """Return what says most in Spark's account of a failure: our own sentence, where there is one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith("anomaly.errors.")]
    return (ours[-1].partition(": ")[2] if ours else lines[0])[:500]
