"""Whose actions are learned, whether they are enough, and what stands on a model's card."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from anomaly import __version__
from anomaly.corpus import Corpus, Rows
from anomaly.detectors.interface import Algorithm
from anomaly.errors import TooLittleData
from anomaly.harvest import MIN_ACTIONS, Harvest
from anomaly.identity import NAMELESS, keys
from anomaly.model import Card

_LIBRARIES = {
    Algorithm.LSTM: ("tensorflow", "keras", "scikit-learn", "numpy", "scipy"),
    Algorithm.OCSVM: ("scikit-learn", "numpy", "scipy"),
    Algorithm.BOTH: ("tensorflow", "keras", "scikit-learn", "numpy", "scipy"),
}


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


def card_of(
    user: str,
    algorithm: Algorithm,
    corpus: Corpus,
    rows: Rows,
    found: Harvest,
    identities: dict[str, dict[str, str]],
    *,
    seed: int,
    others: int,
    without: Sequence[str],
    epochs: int | None,
) -> Card:
    """Return a model's card; ``found`` and ``identities`` (:meth:`Identities.to_dict`) are of the logs."""
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
        ends=tuple(end.__class__(file=end.file, offset=end.offset, before=end.before) for end in found.ends),
        claims_host=not found.named and not user.startswith(NAMELESS),
        identities=identities,
        seed=seed,
        folds=1,
        others=others,
        without=tuple(without),
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
