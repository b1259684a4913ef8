"""What a worker makes of the rows of its keys: models, and what everyone does.

Rows come sorted, key by key, the pairs of numbers and names before the actions. Each key's actions are held as the
numbers that local training holds; the rows themselves are never in memory together. Only the process beside
(:mod:`anomaly.fleet.aside`) learns of them, and only it imports what learning takes.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pyarrow as pa

from anomaly.corpus import Corpus
from anomaly.detectors.interface import Algorithm
from anomaly.fleet.aside import aside, reason
from anomaly.fleet.lines import PAIR, unpack
from anomaly.fleet.manifest import model_file
from anomaly.fleet.storage import FolderStorage
from anomaly.harvest import Harvest
from anomaly.identity import NUMBER, Identities
from anomaly.osquery import Action
from anomaly.sources.interface import Position

if TYPE_CHECKING:
    from anomaly.detectors.lstm_fit import LstmLearner

COLUMNS = ("key", "kind", "host", "user", "time", "baseline", "skip", "content")
"""What a lesson takes of each row; ``skip`` is how many of the key's oldest actions are left out."""

RESULT = (
    "key binary, file string, sha256 string, actions bigint, last bigint, seconds double, error string,"
    " data binary"
)
"""What comes back of each key: ``data`` where the driver has to write it, ``error`` where there is no model."""

_SCHEMA = pa.schema(
    [
        ("key", pa.binary()),
        ("file", pa.string()),
        ("sha256", pa.string()),
        ("actions", pa.int64()),
        ("last", pa.int64()),
        ("seconds", pa.float64()),
        ("error", pa.string()),
        ("data", pa.binary()),
    ]
)
_TEXT = ("utf-8", "surrogatepass")


class _Row(NamedTuple):
    """A row as :data:`COLUMNS` has it."""

    key: bytes
    kind: int
    host: bytes
    user: bytes
    time: int
    baseline: bool
    skip: int
    content: bytes

    def action(self) -> Action:
        """Return the action, by the name that the user has in the end."""
        query, verb, columns = unpack(self.content)
        host, user = self.host.decode(*_TEXT), self.user.decode(*_TEXT)
        return Action(self.time, host, user, query, verb, columns, self.baseline)


class Learned(NamedTuple):
    """What one key's rows held."""

    key: str
    corpus: Corpus
    names: dict[str, dict[str, str]]
    """Of the numbers on its hosts, where its rows brought them."""


class Lessons(msgspec.Struct, frozen=True):
    """Learns the keys of one part after another. Is sent to the workers."""

    algorithm: Algorithm
    seed: int
    version: int
    """Of the model files."""
    ends: tuple[Position, ...]
    folder: FolderStorage | None
    """Where to write; None where only the driver can."""
    identities: dict[str, dict[str, str]] | None
    """Names of numbers for every card; None where each key's rows bring those of its own hosts."""

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Learn every key of a part; what goes wrong with one is said in its row, and the next is learned."""
        begin = time.monotonic()
        for learned in keyed(batches):
            row = self._row(learned, begin)
            yield pa.RecordBatch.from_pylist([row], schema=_SCHEMA)
            begin = time.monotonic()

    def _row(self, learned: Learned, begin: float) -> dict[str, object]:
        row: dict[str, object] = {"key": learned.key.encode(*_TEXT), "actions": len(learned.corpus)}
        try:
            data, last = aside().do(self.learn, learned)
            file = model_file(learned.key, self.version)
            if self.folder is not None:
                self.folder.write(file, data)
            else:
                row["data"] = data
            row |= {"file": file, "sha256": hashlib.sha256(data).hexdigest(), "last": last}
        except Exception as error:  # noqa: BLE001 - whatever it is, the other keys are learned
            row["error"] = reason(error)
        return row | {"seconds": time.monotonic() - begin}

    def learn(self, learned: Learned) -> tuple[bytes, int]:
        """Learn a key; raises what ``anomaly train --user`` raises.

        Returns
        -------
        The model, byte for byte the one of ``anomaly train --user``, and the time of its last action.
        """
        # scikit-learn and tensorflow take seconds, and memory that the worker itself does not need.
        from anomaly.course import Course  # noqa: PLC0415 - see above
        from anomaly.training import check_enough  # noqa: PLC0415 - see above

        check_enough(learned.key, learned.corpus)
        found = Harvest({}, named=True, ends=self.ends, skipped=Counter(), lines=0)
        names = learned.names if self.identities is None else self.identities
        course = Course(self.algorithm, self.seed, (), found, Identities.from_dict(names), _network(self.seed))
        model = course.learn(learned.key, learned.corpus, None, lambda _fraction, _what: None)
        return model.to_bytes(), model.card.last


@cache
def _network(seed: int) -> LstmLearner:
    """Return the process's learner of networks: to compile a graph anew for each key takes seconds, and 30 MB."""
    from anomaly.detectors.lstm_fit import LstmLearner  # noqa: PLC0415 - only in the process beside

    return LstmLearner(seed)


def teach_background(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Learn what everyone does, of a sample's rows in log order; the row that it gives holds the file."""
    begin = time.monotonic()
    everyone: dict[str, Corpus] = {}
    seen: Counter[bytes] = Counter()
    for order, row in enumerate(_rows(batches)):
        seen[row.key] += 1
        if seen[row.key] > row.skip:
            everyone.setdefault(row.key.decode(*_TEXT), Corpus()).append(order, row.action())
    if not everyone:  # a part without rows
        return
    result: dict[str, object] = {"key": b"", "actions": sum(map(len, everyone.values()))}
    try:
        result["data"] = aside().do(in_common, dict(sorted(everyone.items())))
    except Exception as error:  # noqa: BLE001 - the users' models are of use without it
        result["error"] = reason(error)
    yield pa.RecordBatch.from_pylist([result | {"seconds": time.monotonic() - begin}], schema=_SCHEMA)


def in_common(everyone: dict[str, Corpus]) -> bytes:
    """Return what some users have in common, as a file."""
    from anomaly.background_fit import learn_background  # noqa: PLC0415 - only in the process beside
    from anomaly.population import Population  # noqa: PLC0415 - the same

    return learn_background(Population(everyone)).to_bytes()


def keyed(batches: Iterable[pa.RecordBatch]) -> Iterator[Learned]:
    """Yield what each key's rows hold, one key after the other."""
    for key, rows in groupby(_rows(batches), key=lambda row: row.key):
        corpus = Corpus()
        identities = Identities(hostname="", lookup=lambda _: None)
        seen = 0
        for row in rows:
            if row.kind == PAIR:
                number = row.user.decode(*_TEXT).removeprefix(NUMBER)
                identities.learn(row.host.decode(*_TEXT), number, row.content.decode(*_TEXT))
                continue
            seen += 1
            if seen > row.skip:
                corpus.append(seen, row.action())
        yield Learned(key.decode(*_TEXT), corpus, identities.to_dict())


def _rows(batches: Iterable[pa.RecordBatch]) -> Iterator[_Row]:
    for batch in batches:
        yield from map(_Row._make, zip(*(column.to_pylist() for column in batch.columns), strict=True))
