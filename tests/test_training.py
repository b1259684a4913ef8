from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from anomaly.calibration_fit import fit_tail
from anomaly.corpus import Corpus
from anomaly.detectors.interface import WINDOW, Algorithm, Detector, Evidence, OutOfFold, State
from anomaly.detectors.lstm import Lstm
from anomaly.detectors.ocsvm import OneClassSvm
from anomaly.errors import TooLittleData
from anomaly.fusion_fit import STAY_ALONE, by_likelihood, weigh_against_others
from anomaly.harvest import Harvest
from anomaly.identity import Identities
from anomaly.model import UserModel
from anomaly.osquery import Action
from anomaly.population import Population
from anomaly.risk import START, STAY, Filter, Fusion
from anomaly.sources.interface import Position
from anomaly.store import Store
from anomaly.study import Study, Trial, study
from anomaly.tokenizer import Tokenizer
from anomaly.tokens import Tokens
from anomaly.training import adapting_odds, check_enough, claim, conclude, enough, filtered_odds, learner, weigh
from tests.conftest import judge_one

OCSVM = learner(Algorithm.OCSVM, 0)
NOBODY = Identities(hostname="").to_dict()
PLAIN = Fusion([1.0], 0.0, START, STAY)

Floats = NDArray[np.float64]


def act(number: int, command: str, *, baseline: bool = False, time: int | None = None) -> Action:
    """Make an action, a minute after the one before."""
    at = 1_793_000_000 + 60 * number if time is None else time
    return Action(at, "ws1", "alice", "shell_history", "added", {"command": command}, baseline)


def corpus_of(*actions: Action) -> Corpus:
    """Gather actions."""
    corpus = Corpus()
    for number, action in enumerate(actions):
        corpus.append(number, action)
    return corpus


def usual(count: int = 600) -> list[Action]:
    """Make actions that go round."""
    return [act(number, f"c{number % 7}") for number in range(count)]


def harvested(**users: Corpus) -> Harvest:
    """Make what reading a log would give."""
    named = any(not name.startswith("host:") for name in users)
    return Harvest(users, named, (Position("f1e2", 9, 8, 7),), Counter(), 1)


def learned(*actions: Action) -> UserModel:
    """Learn alice from actions."""
    corpus = corpus_of(*actions)
    check_enough("alice", corpus)
    studied = study("alice", corpus, OCSVM)
    return conclude(studied, *weigh([studied], OCSVM), OCSVM, harvested(alice=corpus), NOBODY)


class Learning(State):
    """What was learned, and how many actions were seen."""

    def __init__(self) -> None:
        self.seen = 0
        self.learned: list[tuple[int, int, float]] = []

    def to_json(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


class Drifting(Detector):
    """Has a view that is its user's action's bucket, and goes down as it learns."""

    algorithm: ClassVar[Algorithm] = Algorithm.OCSVM

    def __init__(self) -> None:
        self.states: list[Learning] = []

    def start(self) -> State:
        """Begin."""
        self.states.append(Learning())
        return self.states[-1]

    def judge(self, state: Any, batch: Sequence[Tokens], admit: Sequence[bool]) -> Evidence:  # noqa: ANN401 - any state
        """Judge."""
        state.seen += sum(admit)
        views = [(tokens.buckets[1] / 1024.0 - 0.01 * len(state.learned),) for tokens in batch]
        return Evidence(np.zeros(len(batch)), np.zeros(len(batch)), np.array(views), ())

    def learn(self, state: Any, chunk: Sequence[Tokens], weight: float) -> None:  # noqa: ANN401 - any state
        """Learn."""
        state.learned.append((state.seen, len(chunk), weight))

    def as_trained(self, state: Any) -> tuple[float, ...]:  # noqa: ANN401 - any state
        """Return a view."""
        return (float(state.seen),)

    def _never(self, *given: Any, **named: Any) -> Any:  # noqa: ANN401 - stands for any method
        raise AssertionError(given, named)

    resume = learned = arrays = _never  # weighing asks for none of these


def study_of(views: Floats, folds: int = 2, strangers: Floats | None = None) -> Study:
    """Make the study of a user from the views of the user's windows."""
    corpus = corpus_of(*usual(len(views)))
    rows = corpus.rows()
    tokenizer = Tokenizer.fit(corpus, rows)
    bounds = np.linspace(0, len(views), folds + 1).astype(int).tolist()
    parts = tuple(range(start, stop) for start, stop in pairwise(bounds))
    for part in parts:
        views[part.start : part.start + WINDOW - 1] = np.nan
    encoded = tokenizer.encode_all(corpus, rows)
    trials = tuple(
        Trial(Drifting(), encoded.chosen(slice(part.start, part.stop)), rows.time[part.start : part.stop])
        for part in reversed(parts)
    )
    evidence = OutOfFold(np.arange(len(views), dtype=np.float64), views, parts)
    others = np.empty((0, views.shape[1])) if strangers is None else strangers
    return Study("alice", corpus, rows, tokenizer, trials[0].detector, evidence, others, trials, 3, folds)


def normal(seed: int, size: int, *means: float) -> Floats:
    """Draw views of windows, shape (size, views)."""
    return np.random.default_rng(seed).normal(means, 1.0, (size, len(means)))


@pytest.mark.parametrize(("count", "missing"), [(0, 500), (1, 499), (499, 1)])
def test_too_little_data(count: int, missing: int) -> None:
    """Below 500 actions nothing is learned, and what is missing is counted."""
    with pytest.raises(TooLittleData, match=f"has {count} actions .* {missing} are missing"):
        check_enough("alice", corpus_of(*usual(count)))
    assert enough(corpus_of(*usual(count))) == missing
    assert enough(corpus_of(*usual(count), *[act(0, "b", baseline=True)] * 100)) == missing
    check_enough("alice", corpus_of(*usual(500)))
    assert enough(corpus_of(*usual(500))) is None


def test_claims() -> None:
    """A user's actions are those by that name; all of a log's only where it names nobody, in the log's order."""
    alice, bob = corpus_of(*usual(3)), corpus_of(*usual(2))
    assert claim(harvested(alice=alice, bob=bob), "alice") is alice
    assert claim(harvested(alice=alice), "bob") is None
    one, two = Corpus(), Corpus()
    for number, action in enumerate(usual(6)):
        (one, two)[number % 2].append(number, action)
    whole = claim(harvested(**{"host:a": one, "host:b": two}), "alice")
    assert whole is not None
    assert [action.columns["command"] for _, action in whole.actions()] == [f"c{n}" for n in range(6)]
    assert claim(harvested(**{"host:a": one}), "host:b") is None
    assert claim(harvested(), "alice") is None


def test_baseline_rows_are_known_and_not_learned() -> None:
    """What ran when osquery was first asked is on the card, and no part of what the model takes for usual."""
    inventory = [act(0, "installed", baseline=True)] * 40
    model = learned(*usual(300), *inventory, *usual(300), *inventory)
    assert (model.card.actions, model.card.baseline) == (680, 80)
    assert model.tokenizer.seen("shell_history", "command", "installed") == 80
    detector = model.detector
    assert isinstance(detector, OneClassSvm)
    (bucket,) = {model.tokenizer.encode(action).buckets[1] for action in inventory}
    assert not detector.vectors.support[:, bucket].any()
    assert bucket not in detector.window


def test_the_card_is_the_logs() -> None:
    """The card says when, how much and from what was learned, all by the log; rows without a time date nothing."""
    baseline = act(0, "installed", baseline=True, time=5)
    actions = [*usual(600), act(0, "c1", time=0), baseline]
    model = learned(*actions)
    card = model.card
    assert (card.user, card.hosts, card.algorithm) == ("alice", ("ws1",), Algorithm.OCSVM)
    assert (card.first, card.last) == (1_793_000_000, 1_793_000_000 + 60 * 599)
    assert (card.days, sum(card.hours)) == (len({a.time // 86_400 for a in usual()}), 600)
    assert card.fingerprint == corpus_of(*actions).fingerprint()
    assert card.ends == (Position("f1e2", 9),)
    assert card.libraries["scikit-learn"] != "unknown"
    assert "tensorflow" not in card.libraries


def test_a_log_without_times() -> None:
    """A log that never says the time is learned like any other, and dated nothing."""
    model = learned(*(act(0, f"c{number % 7}", time=0) for number in range(600)))
    assert (model.card.first, model.card.last, model.card.days) == (0, 0, 0)


class TestWeigh:
    """Weighing what was found about users."""

    def test_together_by_their_strangers(self) -> None:
        """Users are weighed by all their windows against all strangers', save those that no fold holds."""
        own = [normal(1, 1000, 0.0, 0.0), normal(2, 1200, 0.0, 0.5)]
        studies = [study_of(views, strangers=normal(3 + n, 40, 2.0, 1.0)) for n, views in enumerate(own)]
        fusion, risk = weigh(studies, OCSVM)
        windows = np.concatenate([views[~np.isnan(views[:, 0])] for views in own])
        assert len(windows) == 2200 - 4 * (WINDOW - 1)
        strangers = np.concatenate([found.strangers for found in studies])
        expected = weigh_against_others(windows[::25], strangers)
        assert fusion.weights == pytest.approx(expected.weights)
        assert fusion.bias == pytest.approx(expected.bias)
        assert (fusion.start, fusion.stay) == (START, STAY)
        odds = np.concatenate([filtered_odds(found.evidence, fusion) for found in studies])
        assert risk.to_array().tolist() == by_likelihood(fusion, odds).to_array().tolist()

    def test_alone_by_models_that_learn(self) -> None:
        """Without strangers a user is weighed alone, and calibrated by models that go on learning as they will."""
        found = study_of(normal(5, 1600, 1.0), folds=2)
        fusion, risk = weigh([found], OCSVM)
        assert (len(fusion.tails), fusion.start, fusion.stay) == (1, START, STAY_ALONE)
        detectors = [trial.detector for trial in found.trials if isinstance(trial.detector, Drifting)]
        assert all(state.learned for detector in detectors for state in detector.states)
        assert [len(detector.states) for detector in detectors] == [1, 1]
        assert len(risk.figures) > 1

    @pytest.mark.parametrize("strangers", [None, normal(6, 40, 3.0)])
    def test_unfiltered(self, strangers: Floats | None) -> None:
        """Without the filter no window's suspicion reaches into another."""
        fusion, _ = weigh([study_of(normal(7, 800, 0.0), strangers=strangers)], OCSVM, filtered=False)
        assert (fusion.start, fusion.stay) == (START, START)

    def test_each_fold_is_filtered_anew(self) -> None:
        """A fold's windows follow none of another fold's: another model saw those."""
        found = study_of(normal(8, 900, 0.0), folds=3)
        expected = []
        for part in found.evidence.folds:
            passed, views = Filter(PLAIN), found.evidence.views[part.start + WINDOW - 1 : part.stop, 0]
            expected += passed.steps(views.tolist())
        assert filtered_odds(found.evidence, PLAIN).tolist() == expected
        assert len(expected) == 3 * (300 - WINDOW + 1)

    def test_folds_that_were_left_out_have_no_odds(self) -> None:
        """Where only the last fold was judged, the odds are of its windows."""
        evidence = study_of(normal(9, 900, 0.0), folds=3).evidence
        last = evidence._replace(folds=evidence.folds[-1:])
        assert len(filtered_odds(last, PLAIN)) == 300 - WINDOW + 1

    def test_trials_learn_as_running_does(self) -> None:
        """A trial's model learns a hundred actions once the next hundred is judged, and starts from training."""
        found = study_of(normal(10, 1000, 0.0), folds=2)
        odds = adapting_odds(found, PLAIN, fit_tail(normal(11, 1000, 5.0)[:, 0], 0.5))
        assert len(odds) == 2 * (500 - WINDOW + 1)
        for trial in found.trials:
            assert isinstance(trial.detector, Drifting)
            (state,) = trial.detector.states
            assert [(seen, count) for seen, count, _ in state.learned] == [
                (n, WINDOW) for n in (200, 300, 400, 500)
            ]
            assert all(0.0 < weight < 1.0 for *_, weight in state.learned)


class TestConclude:
    """From what was found to a model."""

    def test_says_how_it_was_made(self) -> None:
        """The card holds the seed, the folds, the epochs, what was left out, and how many others there were."""
        found = study_of(normal(12, 800, 0.0), folds=2)
        population = Population(dict.fromkeys(("alice", "bob", "carol"), found.corpus))
        fusion, risk = weigh([found], OCSVM)
        log, made = harvested(alice=found.corpus), []
        for others in (population, None):
            how: dict[str, Any] = {"population": others, "seed": 7, "without": ["lstm", "filter"]}
            model = conclude(found, fusion, risk, OCSVM, log, NOBODY, **how)
            assert (model.card.seed, model.card.folds, model.card.epochs) == (7, 2, 3)
            assert model.card.without == ("lstm", "filter")
            assert (model.fusion, model.calibration.window, model.detector) == (fusion, risk, found.detector)
            made.append(model.card.others)
        assert made == [2, 0]

    def test_actions_are_calibrated_by_what_was_heard(self) -> None:
        """How rare an action is, is told by the actions that were judged; those of folds left out say nothing."""
        found = study_of(normal(13, 800, 0.0), folds=2)
        action = found.evidence.action
        action[:400] = np.nan
        fusion, risk = weigh([found], OCSVM)
        model = conclude(found, fusion, risk, OCSVM, harvested(alice=found.corpus), NOBODY)
        expected = fit_tail(action[400:], OCSVM.least_action)
        assert model.calibration.action.to_array().tolist() == expected.to_array().tolist()


@pytest.mark.parametrize(("without", "network"), [((), True), (("lstm",), False), (("filter", "folds"), True)])
def test_learners(without: tuple[str, ...], *, network: bool) -> None:
    """Each algorithm has its learner, with or without a network; imported only when asked for."""
    from anomaly.detectors.both_fit import BothLearner  # noqa: PLC0415 - tensorflow takes 6 s
    from anomaly.detectors.lstm_fit import LstmLearner  # noqa: PLC0415 - the same

    one, both = (learner(algorithm, 5, without) for algorithm in (Algorithm.LSTM, Algorithm.BOTH))
    assert isinstance(one, LstmLearner)
    assert isinstance(both, BothLearner)
    assert (one.network, both.sequence.network) == (network, network)
    assert (one.seed, both.sequence.seed) == (5, 5)
    assert both.least_views == (*one.least_views, *OCSVM.least_views)


def test_calibration_fits_the_actions_to_come(
    trained_models: dict[Algorithm, UserModel], actions: list[Action]
) -> None:
    """Ten points are one action in ten: of the user's own actions no more than some pass 10, and few pass 20."""
    for model in trained_models.values():
        state = model.detector.start()
        own = [action for action in actions if action.user == "alice" and not action.baseline]
        evidence = [judge_one(model.detector, state, model.tokenizer.encode(action)) for action in own]
        scores = np.array([model.calibration.action.score(found.action) for found in evidence])
        assert (scores >= 10).mean() < 0.2
        assert (scores >= 20).mean() < 0.05


def test_one_learner_teaches_many(log: Path, ocsvm_models: Path, lstm_models: Path) -> None:
    """A learner remembers nothing of the user before: epochs are each user's own, and folds the learner's."""
    del log
    for models in (ocsvm_models, lstm_models):
        for user in ("alice", "bob"):
            stored = Store(models).load(user)
            assert stored is not None
            card = stored.model.card
            if card.algorithm is Algorithm.LSTM:
                assert isinstance(stored.model.detector, Lstm)
                assert card.epochs in (1, 2)
                assert card.folds == 4
            else:
                assert card.epochs is None
                assert card.folds == 8


@pytest.fixture
def trained_models(ocsvm_models: Path, lstm_models: Path) -> dict[Algorithm, UserModel]:
    """Give alice's model by each algorithm."""
    found = {}
    for models in (ocsvm_models, lstm_models):
        stored = Store(models).load("alice")
        assert stored is not None
        found[stored.model.card.algorithm] = stored.model
    return found
