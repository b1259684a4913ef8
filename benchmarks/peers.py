"""The detectors that pip installs, beside ours: the same result lines, users, blocks and figures.

    pip install -r benchmarks/requirements.txt
    OPENBLAS_NUM_THREADS=1 python benchmarks/peers.py --sea OUT --labels labels.csv

OUT holds SEA (Schonlau et al. 2001, "Computer intrusion: detecting masquerades") as osquery result lines:
``train.log``, every user's own, and a ``UserNN.test.log`` each; the labels are the columns user, block (a
hundred lines of the test log, from 0) and masquerade (0 or 1). No peer learns from other users or from labels.

The figures of a user are standardised, (figure - mean) / deviation of scores of training windows that the
scoring model had not learned from, so that one threshold is fair to all. Higher is more anomalous.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import json
import multiprocessing
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomaly.evaluation import auc

Row = dict[str, Any]
"""An action: name, action and columns of a result line."""
Figures = NDArray[np.float64]
Scorer = Callable[[list[list[Row]]], Figures]
"""From windows of actions to a raw score each, shape (windows,)."""
Learner = Callable[[list[list[Row]]], Scorer]
"""From stretches of training actions to what scores windows."""
Peer = Callable[[list[Row], list[list[Row]]], list[float]]
"""From a user's training actions and one or more later blocks to a figure per block."""

WINDOW, STRIDE, FOLDS, FEATURES, PROCESSES = 100, 25, 5, 256, 2


def cut(stretches: list[list[Row]], stride: int) -> list[list[Row]]:
    """Return the windows of each stretch, one beginning at every ``stride``-th action; none spans two."""
    return [
        actions[begin : begin + WINDOW]
        for actions in stretches
        for begin in range(0, len(actions) - WINDOW + 1, stride)
    ]


def check(actions: list[Row]) -> None:
    """Raise ValueError where training is too short to hold out a window in each fold."""
    if len(actions) < FOLDS * WINDOW:
        raise ValueError(f"{len(actions)} training actions are too few: a peer needs {FOLDS * WINDOW}")


def standardise(held: Figures, figures: Figures) -> list[float]:
    """Express figures in deviations from the mean of the held-out scores; shapes (windows,) and (blocks,)."""
    return [float(figure) for figure in (figures - held.mean()) / (held.std() or 1.0)]


class Bag:
    """Windows as log(1 + how often each of the user's commonest (query, column, value) occurs).

    The last of the FEATURES + 1 features counts everything that is not among those.
    """

    def __init__(self, stretches: list[list[Row]]) -> None:
        counts = Counter(pair for actions in stretches for pair in self._pairs(actions))
        self.place = {pair: at for at, (pair, _) in enumerate(counts.most_common(FEATURES))}

    def __call__(self, windows: list[list[Row]]) -> Figures:
        """Return the features, shape (windows, FEATURES + 1)."""
        bags = np.zeros((len(windows), FEATURES + 1))
        for bag, actions in zip(bags, windows, strict=True):
            for pair, count in Counter(self._pairs(actions)).items():
                bag[self.place.get(pair, FEATURES)] += count
        return np.log1p(bags)

    @staticmethod
    def _pairs(actions: list[Row]) -> Iterator[tuple[str, str, str]]:
        for row in actions:
            for column, value in row["columns"].items():
                yield row["name"], column, str(value)


def ecod(stretches: list[list[Row]]) -> Scorer:
    """Learn PyOD's ECOD (Li et al. 2022, "ECOD: Unsupervised Outlier Detection Using Empirical CDFs").

    It ranks what it scores together with the training windows and the rest of the batch, so each window goes
    alone: later blocks must not change an earlier figure.
    """
    # It takes the skewness of features that never vary, too; there the sign changes no score.
    warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
    library, bag = importlib.import_module("pyod.models.ecod"), Bag(stretches)
    model = library.ECOD().fit(bag(cut(stretches, STRIDE)))
    return lambda windows: np.array([model.decision_function(row[None])[0] for row in bag(windows)])


def isolation_forest(stretches: list[list[Row]]) -> Scorer:
    """Learn PyOD's IForest, 100 trees (Liu et al. 2008, "Isolation Forest")."""
    library, bag = importlib.import_module("pyod.models.iforest"), Bag(stretches)
    forest = library.IForest(random_state=0).fit(bag(cut(stretches, STRIDE)))
    return lambda windows: np.asarray(forest.decision_function(bag(windows)), dtype=np.float64)


def raw_ids(stretches: list[list[Row]]) -> Scorer:
    """Learn scikit-learn's OneClassSVM on vocabulary ids, the idea of the system of 2017 that ours re-creates.

    An action is a vector of the ids of its query, its verb and its column values in the line's order, numbered
    as they first occur in training; 0 is an unseen or absent one. Its length is that of the longest of training.
    A window's score is the mean over its actions.
    """
    training = [row for actions in stretches for row in actions]
    ids = {word: at for at, word in enumerate(dict.fromkeys(w for row in training for w in _words(row)), 1)}
    width = max(len(_words(row)) for row in training)

    def vectors(actions: list[Row]) -> Figures:
        known = [[ids.get(word, 0) for word in _words(row)[:width]] for row in actions]
        return np.array([row + [0] * (width - len(row)) for row in known], dtype=np.float64)

    model = importlib.import_module("sklearn.svm").OneClassSVM(nu=0.1, gamma=0.1).fit(vectors(training))
    return lambda windows: np.array([-model.decision_function(vectors(window)).mean() for window in windows])


def _words(row: Row) -> list[tuple[str, str]]:
    columns = [(column, str(value)) for column, value in row["columns"].items()]
    return [("name", row["name"]), ("action", row["action"]), *columns]


def by_folds(learn: Learner, actions: list[Row], blocks: list[list[Row]]) -> list[float]:
    """Score blocks by a model of all training actions, standardised by the scores of contiguous folds left out."""
    check(actions)
    edges = [len(actions) * fold // FOLDS for fold in range(FOLDS + 1)]
    folds = [actions[begin:end] for begin, end in pairwise(edges)]
    held = [learn(folds[:at] + folds[at + 1 :])(cut([fold], STRIDE)) for at, fold in enumerate(folds)]
    return standardise(np.concatenate(held), learn([actions])(blocks))


def half_space_trees(actions: list[Row], blocks: list[list[Row]]) -> list[float]:
    """Score one window after another by river's HalfSpaceTrees, which then learns it, suspected or not.

    Tan et al. 2011, "Fast Anomaly Detection for Streaming Data"; their 25 trees, river's height. Training
    windows do not overlap, as the blocks do not. The trees score by the last full window of theirs, and
    river's 250 would never fill: it is half of the training. The second half's scores standardise. Features are
    scaled to 0..1 by their training maxima. With so few windows, another seed is another result.
    """
    check(actions)
    training, bag = cut([actions], WINDOW), Bag([actions])
    features = bag(training)
    top = np.where(features.any(axis=0), features.max(axis=0), 1.0)
    half = len(training) // 2
    library = importlib.import_module("river.anomaly")
    trees = library.HalfSpaceTrees(n_trees=25, window_size=half, seed=0)
    scores = []
    for row in np.concatenate([features, bag(blocks)]) / top:
        named = dict(enumerate(row.tolist()))
        scores.append(float(trees.score_one(named)))
        trees.learn_one(named)
    return standardise(np.array(scores[half : len(training)]), np.array(scores[len(training) :]))


PEERS: dict[str, Peer] = {
    "PyOD ECOD": partial(by_folds, ecod),
    "PyOD IForest": partial(by_folds, isolation_forest),
    "river HalfSpaceTrees": half_space_trees,
    "OneClassSVM on raw ids": partial(by_folds, raw_ids),
}


def read(log: Path) -> Iterator[tuple[str, Row]]:
    """Yield the user and the action of each result line."""
    with log.open(encoding="utf-8") as file:
        for line in map(json.loads, file):
            yield line["decorations"]["username"], {key: line[key] for key in ("name", "action", "columns")}


def cases(sea: Path, labels: Path) -> tuple[list[tuple[list[Row], list[list[Row]]]], list[bool]]:
    """Return what a peer takes for each user with labels, and of all their blocks whether masqueraded."""
    with labels.open(newline="", encoding="utf-8") as file:
        foreign = {(row["user"], int(row["block"])): row["masquerade"] == "1" for row in csv.DictReader(file)}
    training: defaultdict[str, list[Row]] = defaultdict(list)
    for user, row in read(sea / "train.log"):
        training[user].append(row)
    names = sorted({user for user, _ in foreign})
    blocks = [cut([[row for _, row in read(sea / f"{user}.test.log")]], WINDOW) for user in names]
    truth = [foreign[user, at] for user, mine in zip(names, blocks, strict=True) for at in range(len(mine))]
    return [(training[user], mine) for user, mine in zip(names, blocks, strict=True)], truth


def summary(figures: list[float], truth: list[bool]) -> str:
    """Return AUC, hits % at no more than 1 and 5 % false alarms, and the lowest 6 x false alarms % + misses %."""
    own, foreign = np.array(figures)[~np.array(truth)], np.array(figures)[np.array(truth)]
    edges = np.unique([*figures, np.inf])[:, None]  # an alarm is at or above; at infinity there is none
    alarms, hits = 100 * (own >= edges).mean(axis=1), 100 * (foreign >= edges).mean(axis=1)
    at = [hits[alarms <= most].max() for most in (1, 5)]
    area = auc(own.tolist(), foreign.tolist())
    return f"{area:5.3f}  {at[0]:7.1f}  {at[1]:7.1f}  {(6 * alarms + 100 - hits).min():9.1f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sea", type=Path, required=True, metavar="OUT", help="SEA as osquery result lines")
    parser.add_argument("--labels", type=Path, required=True, help="who did which block: user,block,masquerade")
    asked = parser.parse_args()
    users, truth = cases(asked.sea, asked.labels)
    print(f"{len(users)} users, {len(truth)} blocks, {sum(truth)} masqueraded; {PROCESSES} processes")
    print(f"{'peer':22}    AUC  hits@1%  hits@5%  best cost  seconds")
    with multiprocessing.Pool(PROCESSES) as pool:
        for name, peer in PEERS.items():
            begin = time.monotonic()
            try:
                scored = pool.starmap(peer, users, chunksize=1)
            except ModuleNotFoundError as error:
                print(f"{name:22}  skipped: {error.name} is not installed", flush=True)
                continue
            text = summary([figure for figures in scored for figure in figures], truth)
            print(f"{name:22}  {text}  {time.monotonic() - begin:7.0f}", flush=True)


if __name__ == "__main__":
    main()
