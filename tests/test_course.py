from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest

from anomaly.admission import MOST
from anomaly.corpus import Corpus
from anomaly.course import FEWEST, Course
from anomaly.detectors import lstm_fit
from anomaly.detectors.interface import WINDOW, Algorithm
from anomaly.detectors.lstm_fit import LstmLearner
from anomaly.errors import TooLittleData
from anomaly.features.levels import Features
from anomaly.harvest import Harvest
from anomaly.identity import Identities
from anomaly.model import UserModel
from anomaly.osquery import Action
from anomaly.population import Population
from anomaly.sources.interface import Position
from anomaly.together import Together
from tests.synthetic import BEGIN, USERS, actions_of, corpora_of, corpus_of

COUNTS = ("lstm",)
"""What is left out where no network has to be trained."""


def course_of(algorithm: Algorithm = Algorithm.OCSVM, *without: str, seed: int = 0, **given: Any) -> Course:  # noqa: ANN401
    """Make a course of a log."""
    found = Harvest({}, True, (Position("f1e2", 9, 8, 7),), Counter(), 1)  # noqa: FBT003 - a tuple
    return Course(algorithm, seed, without, found, Identities(hostname=""), **given)


def learned(course: Course, corpus: Corpus, together: Together | None = None, user: str = "ann") -> UserModel:
    """Learn a user."""
    return course.learn(user, corpus, None if together is None else together.shared(user), lambda *_: None)


def act(number: int, command: str, *, baseline: bool = False) -> Action:
    """Make an action, a minute after the one before."""
    columns = {"command": command}
    return Action(BEGIN + 60 * number, "ws1", "ann", "shell_history", "added", columns, baseline)


def usual(count: int = 600) -> list[Action]:
    """Make actions that go round."""
    return [act(number, f"c{number % 7} {number % 11}") for number in range(count)]


def known(model: UserModel) -> dict[int, float]:
    """Return how often a model's user did what."""
    profile = model.detector.profile
    return dict(zip(profile.keys.tolist(), profile.own.tolist(), strict=True))


def features_of(model: UserModel, action: Action) -> Features:
    """Return an action's features as a model has them."""
    return model.tokenizer.encode(action).features


@pytest.fixture(scope="module")
def together() -> Together:
    """Give what eight synthetic users have in common."""
    found = Together.fit(Population(corpora_of(600)), 0)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def own() -> Corpus:
    """Give what one of them does."""
    return corpora_of(600)["ann"]


class TestAlone:
    """A user who is learned alone."""

    @pytest.mark.parametrize(
        ("algorithm", "without", "parts"),
        [
            (Algorithm.OCSVM, (), ("svm", "neighbours")),
            (Algorithm.OCSVM, ("svm",), ("neighbours",)),
            (Algorithm.LSTM, COUNTS, ("sequence",)),
            (Algorithm.BOTH, COUNTS, ("svm", "neighbours")),
        ],
    )
    def test_learn_detector_has_the_algorithms_parts(
        self, own: Corpus, algorithm: Algorithm, without: tuple[str, ...], parts: tuple[str, ...]
    ) -> None:
        """A model holds what its algorithm is made of, less what was left out on purpose."""
        model = learned(course_of(algorithm, *without), own)
        found = [part for part in ("svm", "sequence", "neighbours") if getattr(model.detector, part) is not None]
        assert tuple(found) == parts
        assert (model.card.algorithm, model.card.without) == (algorithm, without)

    def test_learn_goes_on_from_the_last_actions(self, own: Corpus) -> None:
        """Scoring begins with the last hundred actions of training in the window."""
        model = learned(course_of(), own)
        assert list(model.detector.window) == model.tokenizer.features(own)[-WINDOW:]
        assert not model.detector.is_together
        assert model.card.others == 0

    def test_learn_scales_channels_by_the_users_own_figures(self, own: Corpus) -> None:
        """A user alone has two channels that are measured by the user's own figures."""
        fusion = learned(course_of(), own).fusion
        assert [(channel.start, channel.stay) for channel in fusion.channels] == [(0.0, 0.0)] * 2
        assert fusion.delay > 0

    def test_learn_both_is_judged_as_ocsvm(self, own: Corpus) -> None:
        """The network of BOTH explains; windows are judged by what a One-Class SVM alone is judged by."""
        one, both = learned(course_of(), own), learned(course_of(Algorithm.BOTH, *COUNTS), own)
        assert [a.tobytes() for a in one.fusion.arrays().values()] == [
            a.tobytes() for a in both.fusion.arrays().values()
        ]
        assert one.calibration.window.to_array().tobytes() == both.calibration.window.to_array().tobytes()

    def test_learn_salt_comes_from_the_actions(self) -> None:
        """Who has not seen the actions cannot choose names that share a feature."""
        one, two = (learned(course_of(), corpus_of(usual(count))) for count in (600, 601))
        assert one.tokenizer.salt == int(corpus_of(usual(600)).fingerprint()[:8], 16) != two.tokenizer.salt


class TestTogether:
    """A user who is learned together with others."""

    @pytest.mark.parametrize("algorithm", [Algorithm.LSTM, Algorithm.BOTH])
    def test_learn_takes_what_users_share(self, together: Together, own: Corpus, algorithm: Algorithm) -> None:
        """Fusion and risk are the cohort's, salt and silent columns everybody's, and nobody has neighbours."""
        model = learned(course_of(algorithm, *COUNTS), own, together)
        assert model.fusion is together.fitted.fusion
        assert model.calibration.window is together.fitted.risk
        assert (model.tokenizer.salt, model.tokenizer.silent) == (together.salt, together.silent)
        assert model.detector.is_together
        assert model.detector.neighbours is None
        assert model.card.others == len(USERS) - 1

    def test_learn_profile_knows_the_others(self, together: Together, own: Corpus) -> None:
        """The others of a user's profile are those of the cohort without the user."""
        model, shared = learned(course_of(Algorithm.BOTH, *COUNTS), own, together), together.shared("ann")
        assert shared is not None
        expected = shared.profile.others
        assert model.detector.profile.others.totals.tolist() == expected.totals.tolist()
        assert model.detector.profile.others.counts.sum() == expected.counts.sum()

    def test_learn_stranger_has_higher_risk(self, together: Together, own: Corpus) -> None:
        """The user's next windows hardly alarm, and those of somebody whom nobody has seen all do in the end."""
        model = learned(course_of(Algorithm.BOTH, *COUNTS), own, together)

        def excesses(user: str) -> list[float]:
            encode = model.tokenizer.encode
            actions = [
                Action(a.time, a.host, "ann", a.query, a.verb, a.columns) for a in actions_of(user, 400, first=600)
            ]
            batch = [encode(action) for action in actions]
            evidence = model.detector.judge(model.detector.start(), batch, [True] * len(batch))
            return [max(model.fusion.evidence(views)) for views in evidence.views]

        assert min(excesses("zoe")[-20:]) > max(excesses("ann")[-20:])


class TestActions:
    """What is learned from."""

    def test_learn_baseline_rows_are_known_and_not_in_the_window(self) -> None:
        """What ran when osquery was first asked is the user's own, and no part of how the user goes on."""
        inventory = [act(0, "installed", baseline=True)] * 40
        actions = [*usual(300), *inventory, *usual(300), *inventory]
        model = learned(course_of(), corpus_of(actions))
        assert (model.card.actions, model.card.baseline) == (680, 80)
        assert model.tokenizer.seen("shell_history", "command", "installed") == 80
        features = features_of(model, inventory[0])
        assert features not in model.detector.window
        assert all(known(model).get(feature, 0.0) >= 80.0 for feature in features)

    def test_learn_flood_is_learned_as_far_as_it_is_admitted(self) -> None:
        """Of ten thousand equal rows ``MOST`` are learned from, as no more are admitted when running."""
        model = learned(course_of(), corpus_of([*usual(300), *[act(300, "spam")] * 10_000, *usual(300)]))
        features = set(features_of(model, act(300, "spam")))
        only = features - {one for a in usual(80) for one in features_of(model, a)}
        assert only
        assert {known(model)[one] for one in only} == {float(MOST)}

    @pytest.mark.parametrize("different", [1, 2])
    def test_learn_too_little_that_differs_is_refused(self, different: int) -> None:
        """A user who repeats the same few actions cannot be learned, and the error counts them."""
        corpus = corpus_of(act(number, f"c{number % different}") for number in range(2000))
        assert different * MOST < FEWEST
        with pytest.raises(TooLittleData, match=f"'ann' repeats .* only {different * MOST} of 2,000 can be"):
            learned(course_of(), corpus)

    def test_learn_log_without_times_is_dated_nothing(self) -> None:
        """A log that never says the time is learned like any other."""
        actions = [Action(0, "ws1", "ann", a.query, a.verb, a.columns) for a in usual(600)]
        card = learned(course_of(), corpus_of(actions)).card
        assert (card.first, card.last, card.days) == (0, 0, 0)


@pytest.mark.parametrize(("algorithm", "alone"), [(Algorithm.OCSVM, True), (Algorithm.BOTH, False)])
def test_learn_same_actions_give_the_same_bytes(
    together: Together, own: Corpus, algorithm: Algorithm, *, alone: bool
) -> None:
    """The same actions and seed give the same file; it can be read back."""
    shared = None if alone else together
    one, two = (learned(course_of(algorithm, *COUNTS), own, shared).to_bytes() for _ in range(2))
    assert one == two
    assert UserModel.from_bytes(one, "").to_bytes() == one


@pytest.mark.parametrize("algorithm", [Algorithm.LSTM, Algorithm.BOTH])
def test_learn_network_does_not_depend_on_who_came_before(
    own: Corpus, algorithm: Algorithm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A learner of networks serves one user after another; each has epochs of their own."""
    monkeypatch.setattr(lstm_fit, "MAX_EPOCHS", 2)
    course = course_of(algorithm, network=LstmLearner(0))
    learned(course, corpus_of(actions_of("ben", 520)), user="ben")
    after = learned(course, own)
    assert after.detector.sequence is not None
    assert after.card.epochs in {1, 2}
    assert after.to_bytes() == learned(course_of(algorithm), own).to_bytes()


def test_learn_progress_goes_from_0_to_1(own: Corpus) -> None:
    """Progress is reported in order."""
    seen: list[float] = []
    course_of().learn("ann", own, None, lambda fraction, _: seen.append(fraction))
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0.0, 1.0)


@pytest.mark.parametrize("alone", [True, False])
def test_learn_scores_fit_the_actions_to_come(together: Together, own: Corpus, *, alone: bool) -> None:
    """Ten points are one action in ten: of the user's next actions no more than some pass 10, and few pass 20."""
    algorithm = Algorithm.OCSVM if alone else Algorithm.BOTH
    model = learned(course_of(algorithm, *COUNTS), own, None if alone else together)
    batch = [model.tokenizer.encode(action) for action in actions_of("ann", 1000, first=600)]
    evidence = model.detector.judge(model.detector.start(), batch, [True] * len(batch))
    scores = np.array(model.calibration.action.scores(evidence.action.tolist()))
    assert (scores >= 10).mean() < 0.2
    assert (scores >= 20).mean() < 0.05


def test_course_sent_to_another_process_leaves_the_network_behind(own: Corpus) -> None:
    """Each process has a learner of its own, which makes the same models."""
    course = course_of(Algorithm.LSTM, *COUNTS, seed=5, network=LstmLearner(5, network=False))
    sent = pickle.loads(pickle.dumps(course))  # noqa: S301 - our own
    assert "network" not in vars(sent)
    assert (sent.network.seed, sent.network.network) == (5, False)
    assert learned(sent, own).to_bytes() == learned(course, own).to_bytes()


def test_course_card_says_how_the_model_was_made(own: Corpus) -> None:
    """The card holds the seed, what was left out, the epochs, and where the logs ended."""
    card = learned(course_of(Algorithm.BOTH, "lstm", "filter", seed=7), own).card
    assert (card.user, card.seed, card.without, card.epochs) == ("ann", 7, ("lstm", "filter"), None)
    assert (card.ends, card.fingerprint) == ((Position("f1e2", 9),), own.fingerprint())
