"""The peers, one action at a time, on the same lines and (where they have any) with our own models' weights.

    python -m benchmarks.speed_peers LOG COUNT USER LSTM_MODELS OCSVM_MODELS EPOCHS

is a worker (:mod:`benchmarks.speed_worker`). How far a network's log-probabilities, or a machine's scores, are
from ours is measured before anything is timed. A peer that is not there is told with the reason.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.detector import Detector
from anomaly.detectors.lstm import Lstm, SequenceEvidence
from anomaly.detectors.ocsvm import OneClassSvm
from anomaly.osquery import Parser, Skipped
from anomaly.store import Store
from anomaly.tokens import Tokens
from benchmarks import speed_models, speed_networks
from benchmarks.speed_networks import Step, Weights
from benchmarks.speed_stages import judged
from benchmarks.speed_worker import Sample, Subject, each, serve

LENGTH = 512
"""Actions of a call where a backlog is given at once."""

CHECKED = 200
"""Actions over which agreement is measured."""


class Peer(NamedTuple):
    """Something that takes one item after another."""

    make: Callable[[], Callable[[Any], object]]
    """Builds it and returns what takes an item; raises where it is not installed."""
    items: list[Any]
    """Taken in turn, from the start when there are no more."""
    number: int
    """Items that are taken in one measurement."""
    actions: int = 1
    """Actions in an item."""


class Walk:
    """A step that carries its state from one action to the next."""

    def __init__(self, step: Step, weights: Weights) -> None:
        self._step = step
        self.hidden, self.cell = weights.hidden, weights.cell

    def __call__(self, ids: NDArray[np.int32]) -> Any:  # noqa: ANN401 - an array or a tensor
        """Return the logarithms of the tokens' probabilities."""
        found, self.hidden, self.cell = self._step(ids, self.hidden, self.cell)
        return found


def padded(tokens: list[Tokens]) -> NDArray[np.int32]:
    """Return actions' ids, shape (actions, 1, tokens)."""
    ids = np.zeros((len(tokens), 1, max(len(token.ids) for token in tokens)), dtype=np.int32)
    for row, token in zip(ids, tokens, strict=True):
        row[0, : len(token.ids)] = token.ids
    return ids


def logarithms(lstm: Lstm, tokens: list[Tokens]) -> list[NDArray[np.float64]]:
    """Return what our numpy scorer gives each token by the network alone, without the counts."""
    bare = Lstm.from_arrays(lstm.arrays() | {"share": np.zeros(1)})
    return [np.log(np.array(evidence.details.shares[0])) for evidence in in_order(bare, tokens)]


def in_order(lstm: Lstm, tokens: list[Tokens]) -> list[SequenceEvidence]:
    """Let a sequence model judge actions, one at a time."""
    state = lstm.start()
    return [lstm.judge(state, [token], [True]) for token in tokens]


def networks(lstm: Lstm, tokens: list[Tokens]) -> tuple[dict[str, Peer], Callable[[str, Peer], float]]:
    """Return the same network in the frameworks, and what tells how far one is from ours."""
    weights, ids = Weights.of(lstm.arrays()), padded(tokens)
    width = ids.shape[2]
    rows = list(ids)
    stretches = [ids[at : at + LENGTH].reshape(1, LENGTH, width) for at in range(0, len(ids) - LENGTH + 1, LENGTH)]
    ours = logarithms(lstm, tokens[: max(CHECKED, LENGTH)])

    def by(make: Callable[[Any], Step], length: int | None = None) -> Callable[[], Walk]:
        return lambda: Walk(make(speed_networks.keras_network(weights, width, length)), weights)

    peers = {
        "Keras model.predict": Peer(by(speed_networks.predicted), rows, 10),
        "Keras model(x)": Peer(by(speed_networks.called), rows, 60),
        "tf.function": Peer(by(speed_networks.traced), rows, 1_000),
        "LiteRT": Peer(by(speed_networks.litert), rows, 5_000),
        "ONNX Runtime": Peer(lambda: Walk(speed_networks.onnx_runtime(weights), weights), rows, 5_000),
        f"Keras model.predict, {LENGTH} actions a call": Peer(
            by(speed_networks.predicted, LENGTH), stretches, 4, LENGTH
        ),
        f"tf.function, {LENGTH} actions a call": Peer(by(speed_networks.traced, LENGTH), stretches, 4, LENGTH),
    }

    def apart(name: str, peer: Peer) -> float:
        walk, many = peer.make(), peer.actions > 1
        items = peer.items[:1] if many else peer.items[: min(peer.number, CHECKED)]
        found = np.concatenate([np.asarray(walk(item)).reshape(-1, width) for item in items])
        if not np.isfinite(found).all():
            raise ArithmeticError(f"{name} gives no numbers")
        pairs = zip(found, ours, strict=False)
        return max(float(np.abs(theirs[: len(mine)] - mine).max()) for theirs, mine in pairs)

    return peers, apart


def answering(peer: Peer) -> Subject:
    """Build a peer, warm it up, and return what measures it; it goes on where it stopped."""
    take = peer.make()
    items: Iterator[Any] = cycle(peer.items)
    for item in islice(items, 3):
        take(item)

    def measure() -> Sample:
        sample = each(take, islice(items, peer.number))
        return Sample(sample.actions * peer.actions, sample.seconds)

    return measure


def our_own(lstm: Detector, tokens: list[Tokens], svm: Detector, bags: list[Tokens]) -> dict[str, Subject]:
    """Return our own detectors, and of each the part that the peers rebuild, over the same actions."""
    sequence, windows = parts(lstm, svm)

    def timed(work: Callable[[], object], count: int) -> Sample:
        begin = time.perf_counter()
        work()
        return Sample(count, time.perf_counter() - begin)

    calls: dict[str, Callable[[], object]] = {
        "LSTM detector": lambda: judged(lstm, tokens),
        "OCSVM detector": lambda: judged(svm, bags),
        "sequence model alone": lambda: in_order(sequence, tokens),
        "window model alone, after each action": lambda: speed_models.margins(windows, svm.window, bags),
    }
    return {f"ours: {name}, numpy": partial(timed, call, len(tokens)) for name, call in calls.items()}


def parts(lstm: Detector, svm: Detector) -> tuple[Lstm, OneClassSvm]:
    """Return the sequence model of the one and the window model of the other; exit if one is missing."""
    if lstm.sequence is None or svm.svm is None:
        raise SystemExit("The models were not trained with -a LSTM and -a OCSVM")
    return lstm.sequence, svm.svm


def main() -> None:
    """Be a worker."""
    path, count, user, lstm_models, ocsvm_models, epochs = sys.argv[1:]
    stored, windows = Store(Path(lstm_models)).load(user), Store(Path(ocsvm_models)).load(user)
    if stored is None or windows is None:
        raise SystemExit(f"There is no model of {user}")
    parser, lines = Parser(), Path(path).read_bytes().splitlines()[: int(count)]
    actions = [found[0] for found in map(parser.parse, lines) if not isinstance(found, Skipped)]
    encode = stored.model.tokenizer.encode
    tokens = [encode(action) for action in actions]
    lstm, svm = stored.model.detector, windows.model.detector
    sequence, machine = parts(lstm, svm)
    found, apart = networks(sequence, tokens)
    told: dict[str, Any] = {"apart": {}, "skipped": {}}
    bags = [windows.model.tokenizer.encode(action) for action in actions]
    others = {
        "scikit-learn OneClassSVM.score_samples": Peer(
            partial(speed_models.one_class, machine, svm.window), bags, 1_000
        ),
        "river HalfSpaceTrees": Peer(partial(speed_models.half_space, stored.model.tokenizer.size), tokens, 1_000),
        "river OneClassSVM": Peer(speed_models.online_one_class, bags, 1_000),
    }
    original = speed_models.windows(tokens)
    for name, peers_epochs, number in (("1 epoch", 1, 4), (f"{epochs} epochs", int(epochs), 1)):
        others[f"the original's loop, {name}"] = Peer(
            partial(speed_models.original, peers_epochs), original, number
        )
    subjects: dict[str, Subject] = {}
    for name, peer in (found | others).items():
        try:
            if name in found:
                told["apart"][name] = apart(name, peer)
            subjects[name] = answering(peer)
        except Exception as error:  # noqa: BLE001 - whatever keeps a peer from running is its row of the table
            told["skipped"][name] = f"{type(error).__name__}: {error}"[:200]
    if "scikit-learn OneClassSVM.score_samples" in subjects:
        told["apart"]["scikit-learn OneClassSVM.score_samples"] = speed_models.apart(
            machine, svm.window, bags[:CHECKED]
        )
    serve(subjects | our_own(lstm, tokens, svm, bags), told)


if __name__ == "__main__":
    main()
