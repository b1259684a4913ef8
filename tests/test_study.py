from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomaly.admission import MOST
from anomaly.corpus import Corpus
from anomaly.detectors.interface import WINDOW, Algorithm, Detector, Evidence, Learner, OutOfFold, State
from anomaly.errors import TooLittleData
from anomaly.osquery import Action
from anomaly.population import Population
from anomaly.study import Study, study
from anomaly.tokenizer import Tokenizer
from anomaly.tokens import Encoded, Tokens

BEGIN = 1_793_000_000


def act(number: int, command: str, *, baseline: bool = False, time: int | None = None) -> Action:
    """Make an action, a minute after the one before."""
    at = BEGIN + 60 * number if time is None else time
    return Action(at, "ws1", "alice", "shell_history", "added", {"command": command}, baseline)


def corpus_of(*actions: Action) -> Corpus:
    """Gather actions."""
    corpus = Corpus()
    for number, action in enumerate(actions):
        corpus.append(number, action)
    return corpus


def usual(count: int = 600, name: str = "c") -> list[Action]:
    """Make actions that go round."""
    return [act(number, f"{name}{number % 7}") for number in range(count)]


class Seen(State):
    """How many actions were seen."""

    count = 0

    def to_json(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


class Spy(Detector):
    """Scores an action by the bucket of its column, and a window by how many actions it has seen."""

    algorithm: ClassVar[Algorithm] = Algorithm.OCSVM

    def __init__(self, part: range | None, others: NDArray[np.float64] | None = None) -> None:
        self.part, self.others = part, others
        self.rivals: list[NDArray[np.float64]] = []
        self.asked: list[Tokens] = []
        self.adopted: tuple[Detector, list[int]] | None = None

    def start(self) -> State:
        """Begin."""
        return Seen()

    def judge(self, state: Any, batch: Sequence[Tokens], admit: Sequence[bool]) -> Evidence:  # noqa: ANN401 - any state
        """Count."""
        assert all(admit)
        assert len(admit) == len(batch)
        views = [(state.count + number, -1.0) for number in range(1, len(batch) + 1)]
        state.count += len(batch)
        self.asked += batch
        buckets = np.array([float(tokens.buckets[1]) for tokens in batch])
        return Evidence(np.zeros(len(batch)), buckets, np.array(views, dtype=np.float64), ())

    def against(self, others: NDArray[np.float64]) -> Detector:
        """Take note."""
        self.rivals.append(others)
        return Spy(self.part, others)

    def _never(self, *given: Any, **named: Any) -> Any:  # noqa: ANN401 - stands for any method
        raise AssertionError(given, named)

    resume = learn = as_trained = learned = arrays = _never  # studying asks for none of these


class SpyLearner(Learner):
    """Remembers what it was given to learn from."""

    folds: ClassVar[int] = 4
    least_action: ClassVar[float] = 0.5
    least_views = (0.5, 0.5)

    def __init__(self) -> None:
        self.begun = 0
        self.detectors: list[Spy] = []
        self.tokenizers: list[Tokenizer] = []
        self.learned: list[list[int]] = []
        self.windows: list[range] = []
        self.heard: list[float] = []

    def begin(self) -> None:
        """Take note."""
        self.begun += 1

    def fit(
        self,
        tokenizer: Tokenizer,
        encoded: Encoded,  # noqa: ARG002 - as the interface has it
        learn: list[range],
        window: range,
        held_out: range | None = None,
        others: NDArray[np.float64] | None = None,
        report: Callable[[float], None] = lambda _: None,
    ) -> Detector:
        """Take note."""
        report(1.0)
        self.tokenizers.append(tokenizer)
        self.learned.append([number for part in learn for number in part])
        self.windows.append(window)
        self.detectors.append(Spy(held_out, others))
        return self.detectors[-1]

    def finish(self, detector: Any, encoded: Encoded, evidence: OutOfFold) -> tuple[Detector, OutOfFold]:  # noqa: ANN401
        """Take note, and double the evidence."""
        assert len(encoded.ids) == len(evidence.action)
        self.heard = evidence.action.tolist()
        return detector, evidence._replace(action=2.0 * evidence.action)

    def adopt(self, detector: Any, finished: Any, places: list[int]) -> Detector:  # noqa: ANN401 - any detector
        """Take note."""
        adopting: Spy = detector
        adopting.adopted = finished, places
        return adopting


class Drawn(Population):
    """Remembers the stretches that were drawn."""

    def __init__(self, corpora: Mapping[str, Corpus]) -> None:
        super().__init__(corpora)
        self.found: list[dict[str, range]] = []

    def strangers(self, user: str, length: int, draw: np.random.Generator) -> dict[str, range]:
        """Take note."""
        self.found.append(super().strangers(user, length, draw))
        return self.found[-1]


def studied(*actions: Action, population: Population | None = None) -> tuple[SpyLearner, Study]:
    """Study alice."""
    spy = SpyLearner()
    return spy, study("alice", corpus_of(*actions), spy, population=population)


def crowd(**users: Corpus) -> Population:
    """Make alice and four others, who say some words of their own."""
    others = {name: corpus_of(*usual(400, name)) for name in ("bob", "carol", "dan", "eve")}
    return Population({"alice": corpus_of(*usual()), **others, **users})


class TestFolds:
    """What is found out about actions by models that have not learned from them."""

    def test_evidence_is_out_of_fold(self) -> None:
        """Each action is scored once, by a tokenizer and a detector that saw nothing of its part."""
        spy, found = studied(*(act(number, f"only{number // 2}") for number in range(800)))
        parts = (range(200), range(200, 400), range(400, 600), range(600, 800))
        assert found.evidence.folds == parts
        assert [detector.part for detector in spy.detectors] == [*reversed(parts), None]
        learned = zip(reversed(parts), spy.tokenizers, spy.learned, spy.windows, strict=False)
        for part, tokenizer, learn, window in learned:
            assert learn == [number for number in range(800) if number not in part]
            assert list(window) == list(range(max(part.start - WINDOW, 0), part.start))
            for number in range(0, 800, 2):
                seen = tokenizer.seen("shell_history", "command", f"only{number // 2}")
                assert seen == (0 if number in part else 2)
        assert all(len(detector.asked) == 200 for detector in spy.detectors[:-1])

    def test_the_model_learns_from_everything(self) -> None:
        """The model that is kept learns from all actions, and goes on from the last of them."""
        spy, found = studied(*usual(800))
        assert found.detector is spy.detectors[-1]
        assert spy.learned[-1] == list(range(800))
        assert spy.windows[-1] == range(700, 800)
        assert found.tokenizer is spy.tokenizers[-1]
        assert found.tokenizer.seen("shell_history", "command", "c1") == 114 + 1
        assert spy.begun == 1

    def test_evidence_is_in_the_order_of_the_actions(self) -> None:
        """Parts are learned last first, and their evidence is put together first to last."""
        spy, found = studied(*usual(640))
        encoded = found.tokenizer.encode_all(found.corpus, found.rows)
        assert spy.heard == encoded.buckets[:, 1].tolist()

    def test_windows_lie_within_a_fold(self) -> None:
        """The views of a window that begins before its fold are NaN: its model has learned from what it holds."""
        _, found = studied(*usual(800))
        views = found.evidence.views
        assert views.shape == (800, 2)
        for part in found.evidence.folds:
            fold = views[part.start : part.stop]
            assert np.isnan(fold[: WINDOW - 1]).all()
            assert fold[WINDOW - 1 :, 0].tolist() == list(range(WINDOW, 201))

    def test_the_learner_finishes(self) -> None:
        """What the learner makes of the evidence is what goes on, and each fold's detector adopts from it."""
        spy, found = studied(*usual(640))
        assert found.evidence.action.tolist() == [2.0 * figure for figure in spy.heard]
        for trial in found.trials:
            assert isinstance(trial.detector, Spy)
            assert trial.detector.adopted == (found.detector, [0, 1])

    def test_kinds_are_found_again(self) -> None:
        """Adopting says where a fold's kinds stand in the finished model; a fold may not know them all."""
        actions = [*usual(450), *(act(450 + n, f"x{n % 9}") for n in range(150))]
        late = [Action(a.time, a.host, a.user, "processes", a.verb, a.columns) for a in actions[450:]]
        _, found = studied(*actions[:450], *late)
        places = [trial.detector.adopted[1] for trial in found.trials if isinstance(trial.detector, Spy)]  # type: ignore[index]
        assert places == [[0, 1], *[[0, 1, 2]] * 3]  # the last fold is all that has processes, and goes first

    def test_trials_are_the_folds(self) -> None:
        """The design is tried on each fold's own actions and times, by the model that did not learn from them."""
        spy, found = studied(*usual(800))
        encoded, parts = found.tokenizer.encode_all(found.corpus, found.rows), reversed(found.evidence.folds)
        for trial, detector, part in zip(found.trials, spy.detectors, parts, strict=False):
            assert trial.detector is detector
            assert trial.times.tolist() == [BEGIN + 60 * number for number in part]
            assert trial.encoded.buckets.tolist() == encoded.buckets[part.start : part.stop].tolist()

    def test_one_fold(self) -> None:
        """Judged by the last fold alone, there is no evidence of what came before it."""
        spy = SpyLearner()
        found = study("alice", corpus_of(*usual(800)), spy, one_fold=True)
        assert len(found.trials) == 1
        assert found.evidence.folds == (range(600, 800),)
        assert np.isnan(found.evidence.action).tolist() == [True] * 600 + [False] * 200
        assert np.isnan(found.evidence.views[: 600 + WINDOW - 1]).all()
        assert spy.learned == [list(range(600)), list(range(800))]

    @settings(max_examples=20, deadline=None)
    @given(st.integers(300, 900))
    def test_folds_are_not_too_small(self, count: int) -> None:
        """There are as many folds as the learner asks for, of at least 150 actions, and two at least."""
        _, found = studied(*usual(count))
        folds = found.evidence.folds
        assert len(folds) == min(4, count // 150) >= 2
        assert all(len(part) >= 150 for part in folds)
        assert [number for part in folds for number in part] == list(range(count))


class TestAdmitted:
    """What is learned from at all."""

    def test_baseline_rows_are_in_the_vocabulary_and_not_in_the_sequences(self) -> None:
        """What ran when osquery was first asked is known, and no part of how the user goes on."""
        inventory = [act(0, "installed", baseline=True)] * 40
        spy, _ = studied(*usual(300), *inventory, *usual(300), *inventory)
        assert spy.learned[-1] == list(range(600))
        assert all(tokenizer.seen("shell_history", "command", "installed") == 80 for tokenizer in spy.tokenizers)

    def test_a_flood_is_learned_as_far_as_it_is_admitted(self) -> None:
        """Of ten thousand equal lines MOST are learned from, as no more would be admitted when running."""
        flood = [act(300, "spam")] * 10_000
        spy, found = studied(*usual(300), *flood, *usual(300))
        assert spy.learned[-1] == list(range(600 + MOST))
        assert len(found.evidence.action) == 600 + MOST

    @pytest.mark.parametrize("different", [1, 2])
    def test_too_little_that_differs(self, different: int) -> None:
        """Who repeats the same few actions cannot be learned, and is told so."""
        with pytest.raises(TooLittleData, match=f"'alice' repeats .* only {different * MOST} of 2,000 can be"):
            studied(*(act(number, f"c{number % different}") for number in range(2000)))

    def test_usual_is_by_the_days_of_the_log(self) -> None:
        """What a user does in a day is told by the days on which the log shows anything."""
        days = [act(0, f"c{n % 7}", time=BEGIN + 60 * n + 86_400 * 5 * (n >= 300)) for n in range(600)]
        assert studied(*days)[1].usual == pytest.approx(300.0)
        assert studied(*(act(0, f"c{n % 7}", time=0) for n in range(600)))[1].usual == 600.0

    def test_the_salt_comes_from_the_actions(self) -> None:
        """Who has not seen the actions cannot choose names that share a bucket: other actions, other hashes."""
        (_, one), (_, two) = studied(*usual(600)), studied(*usual(601))
        assert one.tokenizer.salt == int(one.corpus.fingerprint()[:8], 16) != two.tokenizer.salt


class TestOthers:
    """A user among users."""

    def test_alone_there_are_none(self) -> None:
        """Who is learned alone is measured against nobody."""
        spy, found = studied(*usual())
        assert all(detector.others is None for detector in spy.detectors)
        assert found.strangers.shape == (0, 2)

    def test_the_background_is_without_the_user(self) -> None:
        """Every model is measured against all users but the one it is of, by the vocabulary of all."""
        population = crowd()
        spy, found = studied(*usual(), population=population)
        for detector, tokenizer in zip(spy.detectors, spy.tokenizers, strict=True):
            assert detector.others is not None
            assert detector.others.tolist() == population.without("alice").tolist()
            assert [head.start for head in tokenizer.heads] == [h.start for h in population.tokenizer.heads]
        assert found.tokenizer.seen("shell_history", "command", "bob1") == 0

    def test_folds_do_not_see_their_part(self) -> None:
        """Among others too, a fold's tokenizer counts nothing of its part, and has no token that is only of it."""
        actions = [act(number, f"only{number // 2}") for number in range(800)]
        spy, _ = studied(*actions, population=crowd(alice=corpus_of(*actions)))
        for tokenizer, detector in zip(spy.tokenizers[:-1], spy.detectors, strict=False):
            assert detector.part is not None
            exact = {token.text for head in tokenizer.heads for token in head.tokens if token.exact}
            for number in range(0, 800, 2):
                text = f"only{number // 2}"
                assert tokenizer.seen("shell_history", "command", text) == (0 if number in detector.part else 2)
                assert (text in exact) is (number not in detector.part)

    def test_strangers_windows(self) -> None:
        """Two windows of each of the others are seen by each fold's model, each when WINDOW more actions came."""
        _, found = studied(*usual(), population=crowd())
        assert found.strangers.shape == (4 * 4 * 2, 2)
        assert found.strangers[:, 0].tolist() == [WINDOW, 2 * WINDOW] * 16

    def test_strangers_are_left_out_of_the_background(self) -> None:
        """Whoever plays the stranger is measured against users that are neither of the two."""
        population = crowd()
        spy, _ = studied(*usual(), population=population)
        expected = sorted(population.without("alice", other).tolist() for other in population.users[1:])
        for detector in spy.detectors[:-1]:
            assert sorted(rival.tolist() for rival in detector.rivals) == expected

    def test_the_seed_draws_the_strangers(self) -> None:
        """The same seed and actions give the same study, and another seed other stretches."""
        others = {f"u{n}": corpus_of(*usual(2000, f"u{n}")) for n in range(4)}
        starts = []
        for seed in (1, 1, 2):
            population = Drawn({"alice": corpus_of(*usual()), **others})
            study("alice", corpus_of(*usual()), SpyLearner(), population=population, seed=seed)
            starts.append(population.found)
        assert starts[0] == starts[1] != starts[2]


def test_progress_goes_up_to_its_end() -> None:
    """Studying reports how far it has come, never backwards, from the folds to the end."""
    seen: list[tuple[float, str]] = []
    study("alice", corpus_of(*usual()), SpyLearner(), report=lambda done, what: seen.append((done, what)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert 0.0 < fractions[0] <= fractions[-1] == 1.0
    assert list(dict.fromkeys(what for _, what in seen)) == ["out-of-fold", "final fit", "done"]
