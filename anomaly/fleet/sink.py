"""Where a fleet's scores go: files, exactly once; Kafka or a webhook, at least once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from anomaly.errors import StateError
from anomaly.fleet.addresses import address_kind
from anomaly.sinks.http_post import Post, receiver, secret_from

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.streaming.readwriter import DataStreamWriter

    from anomaly.fleet.score import Asked

POSTED = 1000
"""Lines of one post."""

TOKEN = "ANOMALY_FLEET_TOKEN"  # noqa: S105 - the variable's name
"""Environment variable of the executors with the value of the header Authorization."""


def write_to(lines: DataFrame, asked: Asked) -> DataStreamWriter:
    """Return what writes the lines: to files through Spark's own sink, which alone commits with the batch."""
    kind = address_kind(asked.to)
    writer = lines.writeStream.option("checkpointLocation", asked.checkpoint).outputMode("append")
    writer = (
        writer.trigger(availableNow=True)
        if asked.trigger is None
        else writer.trigger(processingTime=f"{asked.trigger} seconds")
    )
    if kind == "files":
        return writer.format("text").option("path", asked.to)
    if kind == "webhook":
        return writer.foreachBatch(_Each(Posting(asked.to)))
    from anomaly.fleet.kafka import Producing  # noqa: PLC0415 - another extra

    return writer.foreachBatch(_Each(Producing(asked.to)))


class _Each:
    """Hands each batch's partitions to what sends them: a batch that failed comes again, with the same lines."""

    def __init__(self, send: Any) -> None:  # noqa: ANN401 - Spark carries it to the workers
        self._send = send

    def __call__(self, batch: DataFrame, _number: int) -> None:
        batch.foreachPartition(self._send)


class Posting:
    """Posts lines to a webhook as JSON lines; how often that was tried, the header Idempotency-Key tells."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, rows: Iterator[Any]) -> None:
        """Post a partition; raises StateError, and so ends the query, where the receiver does not take it."""
        variable = TOKEN if os.environ.get(TOKEN) else None
        secret = secret_from(variable=variable, environ=os.environ)
        post = Post(receiver(self._url), secret=secret, authorities=None, content="application/x-ndjson")
        try:
            for lines in pieces(rows):
                body = "".join(f"{line}\n" for line in lines).encode("ascii")
                answer = post.send(body, hashlib.sha256(body).hexdigest())
                if not 200 <= answer.status < 300:
                    raise StateError(
                        f"{receiver(self._url).label} answers {answer.status}; the batch comes again."
                    )
        except OSError as error:
            raise StateError(f"{receiver(self._url).label} cannot be reached: {error}.") from error
        finally:
            post.close()


def pieces(rows: Iterator[Any]) -> Iterator[list[str]]:
    """Give single lines, some at a time."""
    held: list[str] = []
    for row in rows:
        held += str(row["lines"]).split("\n")
        while len(held) >= POSTED:
            yield held[:POSTED]
            del held[:POSTED]
    if held:
        yield held
