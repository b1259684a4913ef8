"""From users' actions to models.

A user is first studied, then the views are weighed, by all users of a log together where there are enough, and at
last they are calibrated, on what was found out-of-fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from numpy.typing import NDArray

from anomaly import __version__
from anomaly.adaptation import Adaptation
from anomaly.calibration import Calibration, Tail
from anomaly.calibration_fit import fit_tail
from anomaly.corpus import Corpus
from anomaly.detectors.interface import WINDOW, Algorithm, Learner, OutOfFold
from anomaly.detectors.lstm_fit import LstmLearner
from anomaly.errors import TooLittleData
from anomaly.fusion_fit import by_likelihood, weigh_against_others, weigh_alone
from anomaly.harvest import MIN_ACTIONS, Harvest
from anomaly.identity import NAMELESS, keys
from anomaly.model import Card, UserModel
from anomaly.population import Population
from anomaly.risk import Filter, Fusion
from anomaly.study import Study

_LEAST_ODDS = 0.5  # nats: differences in log-odds that may be due to the fit alone
_EVERY = 25  # actions between one window that the views are weighed by and the next
_LIBRARIES = {
    Algorithm.LSTM: ("tensorflow", "keras", "scikit-learn", "numpy", "scipy"),
    Algorithm.OCSVM: ("scikit-learn", "numpy", "scipy"),
    Algorithm.BOTH: ("tensorflow", "keras", "scikit-learn", "numpy", "scipy"),
}

Floats = NDArray[np.float64]


def learner(algorithm: Algorithm, seed: int, without: Sequence[str] = ()) -> Learner:
    """Return the learner of an algorithm; its framework, which takes seconds, is imported when it is needed."""
    sequence = LstmLearner(seed, network="lstm" not in without, cache="cache" not in without)
    if algorithm is Algorithm.LSTM:
        return sequence
    from anomaly.detectors.ocsvm_fit import OcsvmLearner  # noqa: PLC0415 - scikit-learn takes 2 s

    if algorithm is Algorithm.OCSVM:
        return OcsvmLearner()
    from anomaly.detectors.both_fit import BothLearner  # noqa: PLC0415 - it needs the two others

    return BothLearner(sequence, OcsvmLearner())


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


def weigh(studies: Sequence[Study], teacher: Learner, *, filtered: bool = True) -> tuple[Fusion, Tail]:
    """Weigh the views of users who were studied together, or of one who was studied alone.

    Returns
    -------
    The weights, and how rare log-odds are among the users' own windows.
    """
    views = [study.evidence.views for study in studies]
    own = np.concatenate([view[~np.isnan(view).any(axis=1)] for view in views])
    strangers = np.concatenate([study.strangers for study in studies])
    if len(strangers):
        fusion = weigh_against_others(own[::_EVERY], strangers, filtered=filtered)
        return fusion, by_likelihood(fusion, np.concatenate([filtered_odds(s.evidence, fusion) for s in studies]))
    fusion = weigh_alone(own, teacher.least_views, filtered=filtered)
    # At first as if nothing were learned while running: that gives what decides whether to learn. Then as it is.
    frozen = np.concatenate([filtered_odds(study.evidence, fusion) for study in studies])
    learning = fit_tail(frozen, _LEAST_ODDS, independent=1.0 / WINDOW)
    odds = np.concatenate([adapting_odds(study, fusion, learning) for study in studies])
    return fusion, fit_tail(odds, _LEAST_ODDS, independent=1.0 / WINDOW)


def filtered_odds(evidence: OutOfFold, fusion: Fusion) -> Floats:
    """Return the log-odds that the filter gives to out-of-fold windows, shape (windows,), each fold anew."""
    found: list[float] = []
    for part in evidence.folds:
        views = evidence.views[part.start : part.stop]
        passed = Filter(fusion)
        found += passed.steps(fusion.evidences(views[~np.isnan(views).any(axis=1)]))
    return np.array(found)


def adapting_odds(study: Study, fusion: Fusion, learning: Tail) -> Floats:
    """Return the same where each fold's detector goes on learning, as it will when it runs.

    Calibrated by models that stand still, risk would be too mild by all that learning saves.
    """
    found: list[float] = []
    for detector, encoded, times in study.trials:
        state, passed = detector.start(), Filter(fusion)
        adaptation = Adaptation(detector, fusion, learning, study.usual)
        odds: list[float] = []
        while len(odds) < len(times):
            part = range(len(odds), min(len(odds) + adaptation.room, len(times)))
            batch = encoded.batch(part)
            new = passed.steps(fusion.evidences(detector.judge(state, batch, [True] * len(batch)).views))
            adaptation.observe(state, batch, new, learning.scores(new), int(times[part[-1]]))
            odds += new
        found += odds[WINDOW - 1 :]
    return np.array(found)


def conclude(
    study: Study,
    fusion: Fusion,
    risk: Tail,
    teacher: Learner,
    found: Harvest,
    identities: dict[str, dict[str, str]],
    *,
    population: Population | None = None,
    seed: int = 0,
    without: Sequence[str] = (),
) -> UserModel:
    """Make the model of a user who was studied and weighed.

    ``found`` and ``identities`` (:meth:`Identities.to_dict`) are for its card.
    """
    heard = study.evidence.action[~np.isnan(study.evidence.action)]
    calibration = Calibration(fit_tail(heard, teacher.least_action), risk)
    others = 0 if population is None else len(population.users) - 1
    card = _card(study, found, identities, seed=seed, others=others, without=without)
    return UserModel(study.tokenizer, study.detector, fusion, calibration, card)


def _card(
    study: Study,
    found: Harvest,
    identities: dict[str, dict[str, str]],
    *,
    seed: int,
    others: int,
    without: Sequence[str],
) -> Card:
    user, corpus, rows, algorithm = study.user, study.corpus, study.rows, study.detector.algorithm
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
        folds=study.folds,
        others=others,
        without=tuple(without),
        epochs=study.epochs,
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
