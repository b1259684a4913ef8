"""From a user's actions to a model.

What the calibration rests on is out-of-fold: the actions are cut into contiguous parts, and each part is scored
by a tokenizer and a detector that never saw it. (One hold-out instead of folds did markedly worse.)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from anomaly import __version__
from anomaly.calibration import Calibration
from anomaly.calibration_fit import fit_tail
from anomaly.corpus import Corpus, Rows
from anomaly.detectors.interface import WINDOW, Algorithm, Detector, Learner, OutOfFold
from anomaly.errors import TooLittleData
from anomaly.harvest import MIN_ACTIONS, Harvest, Report
from anomaly.identity import NAMELESS, Identities, keys
from anomaly.model import Card, UserModel
from anomaly.tokenizer import Encoded, Tokenizer

_FEWEST_A_FOLD = 150
_LIBRARIES = {
    Algorithm.LSTM: ("tensorflow", "keras", "numpy", "scipy"),
    Algorithm.OCSVM: ("scikit-learn", "numpy", "scipy"),
}


def learner(algorithm: Algorithm, seed: int) -> Learner:
    """Return the learner of an algorithm; importing its framework may take seconds."""
    if algorithm is Algorithm.LSTM:
        with _hushed():
            from anomaly.detectors.lstm_fit import LstmLearner  # noqa: PLC0415 - tensorflow takes 6 s

        return LstmLearner(seed)
    from anomaly.detectors.ocsvm_fit import OcsvmLearner  # noqa: PLC0415 - scikit-learn takes 2 s

    return OcsvmLearner()


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep to itself what tensorflow's C++ prints while it is loaded: which GPUs it has not found."""
    if sys.stderr is None:  # closed: there is nothing to keep from
        yield
        return
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def claim(found: Harvest, user: str) -> Corpus | None:
    """Give a user's actions: by name, or all of them where the log names nobody."""
    for name, corpus in found.users.items():
        if user in {name, *(keys(host, name)[0] for host in corpus.hosts)}:
            return corpus
    if found.named or user.startswith(NAMELESS):
        return None
    nameless = [corpus for name, corpus in found.users.items() if name.startswith(NAMELESS)]
    return Corpus.merge(nameless) if len(nameless) > 1 else next(iter(nameless), None)


def enough(corpus: Corpus) -> int | None:
    """Return how many actions are missing for learning, None where there are enough."""
    missing = MIN_ACTIONS - int((~corpus.rows().baseline).sum())
    return missing if missing > 0 else None


def check_enough(user: str, corpus: Corpus) -> None:
    """Raise :class:`TooLittleData` where there are too few actions, saying how many are missing."""
    if (missing := enough(corpus)) is not None:
        raise TooLittleData(
            f"{user!r} has {MIN_ACTIONS - missing:,} actions to learn from, and {MIN_ACTIONS:,} are needed:"
            f" {missing:,} are missing. Let osquery log for longer, or give more logs with -l."
        )


def train(
    user: str,
    corpus: Corpus,
    teacher: Learner,
    algorithm: Algorithm,
    found: Harvest,
    identities: Identities,
    *,
    seed: int = 0,
    report: Report = lambda _fraction, _what: None,
) -> UserModel:
    """Learn one user.

    Parameters
    ----------
    user
        The user's name.
    corpus
        The user's actions, from :func:`claim`.
    teacher, algorithm
        From :func:`learner`; the same one may teach many users.
    found, identities
        What the card says of the log.
    seed
        The same seed and actions give the same model, byte for byte.
    report
        Told how far it has come, in 0..1, and what it is at.

    Raises
    ------
    TooLittleData
        With how many actions are missing.
    """
    check_enough(user, corpus)
    teacher.begin()
    rows = corpus.rows()
    salt = int(corpus.fingerprint()[:8], 16)
    judged = np.flatnonzero(~rows.baseline)
    folds = min(teacher.folds, len(judged) // _FEWEST_A_FOLD)
    evidence = out_of_fold(corpus, rows, teacher, folds, salt, lambda done: report(done, "out-of-fold"))
    report(folds / (folds + 1), "final fit")
    tokenizer = Tokenizer.fit(corpus, rows, salt=salt)
    encoded = _judged(tokenizer.encode_all(corpus, rows), judged)
    everything = range(len(judged))
    detector = teacher.fit(tokenizer, encoded, [everything], everything[-WINDOW:])
    detector, evidence = teacher.finish(detector, encoded, evidence)
    report(1.0, "done")
    calibration = Calibration(
        fit_tail(evidence.action, teacher.least_action),
        fit_tail(evidence.window, teacher.least_window, independent=1.0 / WINDOW),
    )
    card = _card(user, corpus, rows, algorithm, found, identities, seed, folds, teacher.epochs)
    return UserModel(tokenizer, detector, calibration, card)


def out_of_fold(
    corpus: Corpus,
    rows: Rows,
    teacher: Learner,
    folds: int,
    salt: int,
    report: Callable[[float], None] = lambda _: None,
) -> OutOfFold:
    """Score every action by a tokenizer and a detector that never saw it or its neighbours.

    The last part goes first: what stops early stops on the most recent actions.
    """
    judged = np.flatnonzero(~rows.baseline)
    parts = [range(start, stop) for start, stop in pairwise(np.linspace(0, len(judged), folds + 1).astype(int))]
    actions, windows = [], []
    for done, part in enumerate(reversed(parts)):
        keep = np.ones(len(rows.kind), dtype=bool)
        keep[judged[part.start : part.stop]] = False
        tokenizer = Tokenizer.fit(corpus, rows, keep, salt)
        encoded = _judged(tokenizer.encode_all(corpus, rows), judged)
        learn = [piece for piece in (range(part.start), range(part.stop, len(judged))) if piece]
        before = range(max(part.start - WINDOW, 0), part.start)
        detector = teacher.fit(tokenizer, encoded, learn, before, part, _within(report, done, folds + 1))
        scored = np.array(_score(detector, encoded, part))
        actions.append(scored[:, 0])
        windows.append(scored[WINDOW - 1 :, 1])
    return OutOfFold(np.concatenate(actions[::-1]), np.concatenate(windows[::-1]), tuple(parts))


def _within(report: Callable[[float], None], done: int, parts: int) -> Callable[[float], None]:
    return lambda fraction: report((done + fraction) / parts)


def _score(detector: Detector, encoded: Encoded, part: range) -> list[tuple[float, float]]:
    state = detector.start()
    scored = [detector.score(state, encoded.tokens(action)) for action in part]
    return [(evidence.action, evidence.window) for evidence in scored]


def _judged(encoded: Encoded, judged: NDArray[np.intp]) -> Encoded:
    return Encoded(encoded.ids[judged], encoded.buckets[judged])


def _card(
    user: str,
    corpus: Corpus,
    rows: Rows,
    algorithm: Algorithm,
    found: Harvest,
    identities: Identities,
    seed: int,
    folds: int,
    epochs: int | None,
) -> Card:
    times = rows.time[(rows.time > 0) & ~rows.baseline]
    return Card(
        user=user,
        algorithm=algorithm,
        hosts=tuple(sorted(corpus.hosts)),
        actions=len(corpus),
        baseline=int(rows.baseline.sum()),
        first=int(times.min(initial=times[0])) if len(times) else 0,
        last=int(times.max(initial=0)),
        hours=tuple(np.bincount(times % 86_400 // 3600, minlength=24).tolist()),
        days=len(np.unique(times // 86_400)),
        fingerprint=corpus.fingerprint(),
        # Where a file lies on this disk is no part of what was learned: equal logs give equal models.
        ends=tuple(end.__class__(file=end.file, offset=end.offset) for end in found.ends),
        claims_host=not found.named and not user.startswith(NAMELESS),
        identities=identities.to_dict(),
        seed=seed,
        folds=folds,
        epochs=epochs,
        libraries={"anomaly": __version__, **_versions(algorithm)},
    )


def _versions(algorithm: Algorithm) -> dict[str, str]:
    found = {}
    for name in _LIBRARIES[algorithm]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # tensorflow has other names on some machines (tensorflow-cpu)
            found[name] = "unknown"
    return found
