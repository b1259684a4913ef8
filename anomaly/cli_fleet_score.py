"""``anomaly fleet score``: scoring the logs of many hosts on Spark."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from anomaly import option_types, options
from anomaly.advice import shell_word
from anomaly.cli_errors import Explained
from anomaly.errors import LogUnreadable, WorkerLost
from anomaly.terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyspark.sql import SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

    from anomaly.fleet.links import Watch
    from anomaly.fleet.score import Asked

_LOOK = 1  # seconds
_LATE = 10.0  # seconds that Spark may take to tell of the last batch
_REFUSALS = 30  # models that are named
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
    written exactly once: read it through Spark. SIGTERM or Ctrl-C ends the query within seconds, a second one at
    once; the same command goes on.

    \b
    Example:
      anomaly fleet score --from /in --models /srv/models --to /out \\
        --checkpoint /srv/checkpoint --trigger available-now
    """
    from anomaly.fleet.session import check_extra
    from anomaly.fleet.stopping import attended

    def work(stop: Event) -> None:
        check_extra()
        from anomaly.fleet.score import Asked
        from anomaly.fleet.worker import Order

        order = Order(models, key, adapt, min_score)
        _serve(Asked(source, to, checkpoint, order, trigger or None, files), metrics, stop)

    attended(work, _leave)


def _serve(asked: Asked, metrics: Path | None, stop: Event) -> None:
    """Run the query until it ends, or is to end."""
    from anomaly.fleet.links import Watch
    from anomaly.fleet.metrics import Listener
    from anomaly.fleet.score import check, log_folder, start
    from anomaly.fleet.session import session

    check(asked)
    with _explained(), ExitStack() as stack:
        tell = _teller(stack, metrics, asked)
        stack.callback(os.umask, os.umask(0o077))  # of Java, which inherits it
        spark = session("anomaly fleet score")
        watch = Watch(log_folder(spark, asked))
        if stop.is_set():
            return
        listener = Listener(tell)
        spark.streams.addListener(listener)
        stack.callback(spark.streams.removeListener, listener)
        _wait(spark, start(spark, asked, say), stop, watch)
        listener.ended.wait(_LATE)  # what is told of the last batch comes after its end


def _leave() -> None:
    """End at once, whatever Spark does: its checkpoint is whole at any moment."""
    from anomaly.fleet.session import end_java

    end_java()
    os._exit(0)


def _teller(stack: ExitStack, metrics: Path | None, asked: Asked) -> Callable[[dict[str, Any]], None]:
    """Return what tells of a batch: in a file, or to a person; of what was skipped or refused in any case."""
    file = None if metrics is None else stack.enter_context(metrics.open("a", encoding="ascii"))
    refusals = _Refusals(asked)

    def tell(row: dict[str, Any]) -> None:
        if file is None:
            say(_sentence(row))
        else:
            file.write(json.dumps(row) + "\n")
            file.flush()
        _name(row)
        refusals.tell(row)

    return tell


class _Refusals:
    """Names models that are refused: each once, and not all of thousands."""

    def __init__(self, asked: Asked) -> None:
        logs, models = (shell_word(one) for one in (asked.source, asked.order.models))
        self._command = f"Make a new one with: anomaly fleet train --from {logs} --models {models}"
        self._told: set[str] = set()

    def tell(self, row: dict[str, Any]) -> None:
        """Tell of a batch's."""
        for one in row["refusals"]:
            if one in self._told or len(self._told) > _REFUSALS:
                continue
            self._told.add(one)
            if len(self._told) > _REFUSALS:
                say("More models are refused than are named; the scores of who has one have model state 'none'.")
                return
            if " run: " in one:  # what is said at its end mends the file
                say(f"Refused until this is started again: the model of {one}")
            else:
                say(f"Refused: the model of {one} {self._command}")


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


def _wait(spark: SparkSession, query: StreamingQuery, stop: Event, watch: Watch) -> None:
    """Wait until the query ends, or is to be stopped; raises what the watch does."""
    from anomaly.fleet.session import end_java, hush

    try:
        while not query.awaitTermination(_LOOK) and not stop.is_set():
            watch.look()
        if stop.is_set():
            hush(spark)
        query.stop()
    except LogUnreadable:  # to stop the query would be to wait for its listing
        end_java()
        raise


@contextmanager
def _explained() -> Iterator[None]:
    """Say in one sentence what Spark says in a hundred lines; raises WorkerLost."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError, ConnectionError) as error:  # the last where Java is gone
        raise WorkerLost(
            f"The query has failed, and goes on from its checkpoint when it is started again: {_cause(str(error))}"
        ) from error


def _cause(text: str) -> str:
    """Return what says most in Spark's account of a failure: our own sentence, where there is one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith("anomaly.errors.")]
    return (ours[-1].partition(": ")[2] if ours else (lines or ["Spark says nothing."])[0])[:500]
