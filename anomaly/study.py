"""Studying a user: what a detector makes of actions that it has not learned from.

The actions are cut into contiguous parts, and each part is scored by a tokenizer and a detector that never saw it.
(One hold-out instead of folds did markedly worse.)
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.admission import admitted
from anomaly.corpus import Corpus, Rows
from anomaly.detectors.interface import WINDOW, Detector, Learner, OutOfFold
from anomaly.errors import TooLittleData
from anomaly.harvest import Report
from anomaly.personal import personal
from anomaly.population import Population
from anomaly.tokenizer import Tokenizer
from anomaly.tokens import Encoded

_FEWEST_A_FOLD = 150
_FEWEST_FOLDS = 2
_PIECE = 256  # actions judged at one go

Floats = NDArray[np.float64]


class Trial(NamedTuple):
    """A part of a user's actions, and a detector that has not learned from it."""

    detector: Detector
    encoded: Encoded
    times: NDArray[np.int64]


class Study(NamedTuple):
    """One user, learned and not yet weighed."""

    user: str
    corpus: Corpus
    rows: Rows
    tokenizer: Tokenizer
    detector: Detector
    evidence: OutOfFold
    strangers: Floats
    """Views of other users' windows by this user's fold models, shape (windows, views)."""
    trials: tuple[Trial, ...]
    """What to try the finished design on, one for each fold."""
    epochs: int | None
    folds: int
    """Into how many parts the actions were cut that were judged."""

    def to_send(self) -> Study:
        """Return it without the actions, and without the trials: users who are weighed together need none."""
        nothing = Corpus()
        return self._replace(corpus=nothing, rows=nothing.rows(), trials=())

    @property
    def usual(self) -> float:
        """Actions that the user does in a day."""
        days = len(np.unique(self.rows.time[self.rows.time > 0] // 86_400))
        return len(self.corpus) / max(days, 1)


def study(
    user: str,
    corpus: Corpus,
    teacher: Learner,
    *,
    population: Population | None = None,
    seed: int = 0,
    one_fold: bool = False,
    report: Report = lambda _fraction, _what: None,
) -> Study:
    """Learn one user.

    Parameters
    ----------
    user
        The user's name.
    corpus
        The user's actions, from :func:`claim`.
    teacher
        From :func:`learner`; the same one may teach many users.
    population
        The users of the log, this one among them; None to learn the user alone.
    seed
        The same seed and actions give the same model, byte for byte.
    one_fold
        Judge by the last fold alone: to see what the folds bring.
    report
        Told how far it has come, in 0..1, and what it is at.

    Raises
    ------
    TooLittleData
        With how many actions are missing.
    """
    teacher.begin()
    rows = corpus.rows()
    salt = int(corpus.fingerprint()[:8], 16)
    if population is None:
        tokenizer = Tokenizer.fit(corpus, rows, salt=salt)
    else:
        tokenizer = personal(population.tokenizer, corpus, rows)
    judged = np.flatnonzero(admitted(corpus, rows, tokenizer.silent))
    if len(judged) < _FEWEST_FOLDS * _FEWEST_A_FOLD:
        raise TooLittleData(
            f"{user!r} repeats the same few actions: only {len(judged):,} of {len(corpus):,} can be learned from."
            " Let osquery log for longer, or give more logs with -l."
        )
    folds = max(min(teacher.folds, len(judged) // _FEWEST_A_FOLD), 1)
    fold = _Folds(user, corpus, rows, judged, teacher, population, salt)
    draw = np.random.default_rng([seed, salt])
    evidence, strangers, trials = fold.out_of_fold(
        folds, draw, lambda done: report(done, "out-of-fold"), one_fold=one_fold
    )
    report(folds / (folds + 1), "final fit")
    encoded = tokenizer.encode_all(corpus, rows).chosen(judged)
    everything = range(len(judged))
    others = None if population is None else population.without(user)
    detector = teacher.fit(tokenizer, encoded, [everything], everything[-WINDOW:], others=others)
    detector, evidence = teacher.finish(detector, encoded, evidence)
    finished = tuple(
        Trial(teacher.adopt(trial, detector, _places(known, tokenizer)), acts, times)
        for trial, acts, times, known in trials
    )
    report(1.0, "done")
    return Study(
        user, corpus, rows, tokenizer, detector, evidence, strangers, finished, teacher.epochs, len(finished)
    )


class _Folds:
    """Scores every action by a tokenizer and a detector that never saw it or its neighbours."""

    def __init__(
        self,
        user: str,
        corpus: Corpus,
        rows: Rows,
        judged: NDArray[np.intp],
        teacher: Learner,
        population: Population | None,
        salt: int,
    ) -> None:
        self.user, self.corpus, self.rows, self.judged = user, corpus, rows, judged
        self.teacher, self.population, self.salt = teacher, population, salt

    def out_of_fold(
        self,
        folds: int,
        draw: np.random.Generator,
        report: Callable[[float], None],
        *,
        one_fold: bool,
    ) -> tuple[OutOfFold, Floats, list[tuple[Detector, Encoded, NDArray[np.int64], Tokenizer]]]:
        """Return the evidence of the user's own actions, the views of strangers' windows, and the trials.

        The last part goes first: what stops early stops on the most recent actions.
        """
        count = len(self.judged)
        parts = [range(start, stop) for start, stop in pairwise(np.linspace(0, count, folds + 1).astype(int))]
        actions, views, strangers, trials = [], [], [], []
        for done, part in enumerate(reversed(parts)):
            if one_fold and done:
                break
            detector, encoded, tokenizer = self._fit(part, _within(report, done, folds + 1))
            heard, seen = _score(detector, encoded, part)
            actions.append(heard)
            seen[: WINDOW - 1] = np.nan
            views.append(seen)
            strangers += self._strangers(detector, draw)
            times = self.rows.time[self.judged[part.start : part.stop]]
            trials.append((detector, encoded.chosen(slice(part.start, part.stop)), times, tokenizer))
        parts = parts[len(parts) - len(views) :]
        missing = parts[0].start
        action = np.concatenate([np.full(missing, np.nan), *actions[::-1]])
        width = views[0].shape[1]
        view = np.concatenate([np.full((missing, width), np.nan), *views[::-1]])
        return OutOfFold(action, view, tuple(parts)), np.array(strangers).reshape(-1, width), trials

    def _fit(self, part: range, report: Callable[[float], None]) -> tuple[Detector, Encoded, Tokenizer]:
        keep = np.ones(len(self.rows.kind), dtype=bool)
        keep[self.judged[part.start : part.stop]] = False
        others = None
        if self.population is None:
            tokenizer = Tokenizer.fit(self.corpus, self.rows, keep, self.salt)
        else:
            tokenizer = personal(self.population.tokenizer, self.corpus, self.rows, keep)
            others = self.population.without(self.user)
        encoded = tokenizer.encode_all(self.corpus, self.rows).chosen(self.judged)
        learn = [piece for piece in (range(part.start), range(part.stop, len(self.judged))) if piece]
        before = range(max(part.start - WINDOW, 0), part.start)
        return self.teacher.fit(tokenizer, encoded, learn, before, part, others, report), encoded, tokenizer

    def _strangers(self, detector: Detector, draw: np.random.Generator) -> list[Floats]:
        """Return the views of two windows of each of some other users, who are left out of the background."""
        if self.population is None:
            return []
        found = []
        for other, stretch in self.population.strangers(self.user, 2 * WINDOW, draw).items():
            unknown = detector.against(self.population.without(self.user, other))
            _, seen = _score(unknown, self.population.as_stranger(other), stretch)
            found += [seen[WINDOW - 1], seen[2 * WINDOW - 1]]
        return found


def _within(report: Callable[[float], None], done: int, parts: int) -> Callable[[float], None]:
    return lambda fraction: report((done + fraction) / parts)


def _score(detector: Detector, encoded: Encoded, part: range) -> tuple[Floats, Floats]:
    """Return the actions' figures, shape (actions,), and their windows' views, shape (actions, views)."""
    state = detector.start()
    pieces = [part[begin : begin + _PIECE] for begin in range(0, len(part), _PIECE)]
    scored = [detector.judge(state, encoded.batch(piece), [True] * len(piece)) for piece in pieces]
    return np.concatenate([one.action for one in scored]), np.concatenate([one.views for one in scored])


def _places(known: Tokenizer, tokenizer: Tokenizer) -> list[int]:
    """Return where each kind of one tokenizer stands among those of another; 0, the unknown, where it does not."""
    places = {token.text: place for place, token in enumerate(tokenizer.heads[0].tokens)}
    return [places.get(token.text, 0) for token in known.heads[0].tokens]
