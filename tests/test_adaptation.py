"""What is learned while running, when, and how much: by a detector that only takes notes, and by a real one."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, pairwise
from math import log, nextafter
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomaly.adaptation import DRIFTED, REMEMBERED, STRANGE, Adaptation, Progress
from anomaly.calibration import Tail
from anomaly.detectors.interface import WINDOW, Algorithm, Arrays, Detector, Evidence, State
from anomaly.osquery import Action
from anomaly.records import ALARM
from anomaly.risk import START, Fusion, logit, probability
from anomaly.scoring import Scorer
from anomaly.store import Store
from anomaly.tokens import BUCKETS, Tokens

DAY = 86_400
MONDAY = 20_000
"""A day, counted from 1970."""

SIZE = 50
AS_IT_IS = Tail(np.zeros(1), np.ones(1), scale=10.0 / log(10.0), shape=0.0)
"""The risk of log-odds of x is x."""

JUST_STRANGE = STRANGE - logit(START)
"""The view of a window whose risk is STRANGE, where nothing is known of the windows before."""


class Notes(State):
    """What a detector was taught: the actions of each chunk, by their numbers, and the weight."""

    def __init__(self) -> None:
        self.taught: list[tuple[list[int], float]] = []

    def to_json(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


class Pupil(Detector):
    """Takes notes, and finds a window as strange as it is told to."""

    algorithm: ClassVar[Algorithm] = Algorithm.OCSVM
    view = 0.0

    def start(self) -> Notes:
        """Return an empty page."""
        return Notes()

    def resume(self, saved: Mapping[str, Any], learned: Mapping[str, NDArray[Any]] | None = None) -> Notes:
        """Resume nothing."""
        del saved, learned
        raise AssertionError("adaptation never asks for this")

    def judge(self, state: Notes, batch: Sequence[Tokens], admit: Sequence[bool]) -> Evidence:
        """Judge nothing."""
        del state, batch, admit
        raise AssertionError("adaptation never asks for this")

    def learn(self, state: Notes, chunk: Sequence[Tokens], weight: float) -> None:
        """Take a note."""
        state.taught.append(([tokens.marks[0] for tokens in chunk], weight))

    def as_trained(self, state: Notes) -> tuple[float, ...]:
        """Return what it is told to."""
        del state
        return (self.view,)

    def learned(self, state: Notes) -> Arrays:
        """Return nothing."""
        del state
        return {}

    def arrays(self) -> Arrays:
        """Return nothing."""
        return {}


class Chunk(NamedTuple):
    """A hundred actions: their worst moment and its place, the day, and what the model as trained makes of it."""

    odds: float = -60.0
    alarm: bool = False
    place: int = 0
    day: int = MONDAY
    strange: bool = False


class Course:
    """An adaptation and what it teaches."""

    def __init__(self, usual: float = 1e9, progress: Progress | None = None) -> None:
        self.pupil = Pupil()
        fusion = Fusion([1.0], 0.0, START, START)  # without memory: each chunk is strange or not by itself
        self.adaptation = Adaptation(self.pupil, fusion, AS_IT_IS, usual, progress)
        self.notes = self.pupil.start()
        self.count = 0

    @property
    def progress(self) -> Progress:
        """Return how far it has come."""
        return self.adaptation.progress

    def take(self, *chunks: Chunk) -> Course:
        """Observe chunks."""
        for chunk in chunks:
            for place in range(WINDOW):
                self.act((chunk, place))
        return self

    def act(self, *moments: tuple[Chunk, int]) -> None:
        """Observe actions, each a place in a chunk, all at once; an action's number is its mark."""
        batch, odds, risks = [], [], []
        for chunk, place in moments:
            self.pupil.view = JUST_STRANGE + (1e-9 if chunk.strange else -1e-9)
            worst = place == chunk.place
            odds.append(chunk.odds if worst else -60.0)
            risks.append(ALARM if worst and chunk.alarm else nextafter(ALARM, 0.0))
            batch.append(Tokens((1 + self.count % (SIZE - 1),), (self.count % BUCKETS,), (self.count,)))
            self.count += 1
        time = chunk.day * DAY + place if chunk.day else 0
        self.adaptation.observe(self.notes, batch, odds, risks, time)

    @property
    def weights(self) -> list[float]:
        """Return the weights taught by."""
        return [weight for _, weight in self.notes.taught]


def rule(chunks: Sequence[Chunk], most: float) -> tuple[list[float], Progress]:
    """Return the weight of each chunk but the last, and the counts, as the documentation has them."""
    weights, progress, by_day = [], Progress(), dict.fromkeys((chunk.day for chunk in chunks), 0)
    for chunk, after in pairwise(chunks):
        worst = max(1.0 if part.alarm else probability(part.odds) for part in (chunk, after))
        suspected, full = worst >= 1.0, by_day[chunk.day] + WINDOW > most
        weights.append(0.0 if suspected or full else 1.0 - worst)
        progress.generation += 1
        if suspected:
            progress.refused += WINDOW
        elif full:
            progress.capped += WINDOW
        else:
            by_day[chunk.day] += WINDOW
            progress.learned += WINDOW
            progress.first = progress.first or chunk.day * DAY + WINDOW - 1
            progress.last = chunk.day * DAY + WINDOW - 1
            progress.recent = [*progress.recent, chunk.strange][-REMEMBERED:]
    return weights, progress


def marked(number: int) -> Tokens:
    """Make an action of a number that no course reaches."""
    return Tokens((7,), (7,), (number,))


def test_what_was_expected_is_learned_amid_the_next_that_is() -> None:
    """Expected actions stand in the middle of the next hundred that is likelier the user's than not, once."""
    course = Course()
    course.adaptation.expect([marked(90_001), marked(90_002)])
    course.take(Chunk(alarm=True), Chunk(), Chunk(odds=1.0), Chunk(), Chunk(), Chunk())
    taught = [numbers for numbers, _ in course.notes.taught]
    assert [len(numbers) for numbers in taught] == [100, 100, 100, 102, 100]
    assert taught[3][49:53] == [349, 90_001, 90_002, 350]
    assert course.progress.learned == 402


def test_what_was_expected_is_bounded_and_saved() -> None:
    """As many as a window holds wait at most, and they wait across a restart."""
    course, other = Course(), Course()
    course.adaptation.expect([marked(n) for n in range(250)])
    saved = json.loads(json.dumps(course.adaptation.to_json()))
    assert len(saved["expected"]) == WINDOW
    other.adaptation.restore(saved, SIZE)
    other.take(Chunk(), Chunk())
    assert len(other.notes.taught[0][0]) == 2 * WINDOW
    del saved["expected"]  # as a version before wrote it
    other.adaptation.restore(saved, SIZE)
    with pytest.raises(ValueError, match="another vocabulary"):
        other.adaptation.restore(saved | {"expected": [[[SIZE], [1], [1]]]}, SIZE)


@pytest.mark.parametrize("acted", [50, 150, 250])
def test_what_waits_beside_an_incident_is_refused(acted: int) -> None:
    """The hundred that holds an action of an incident is not learned, nor the one before; those after are."""
    course = Course()
    for number in range(acted):
        course.act((Chunk(), number % WINDOW))
    course.adaptation.expect([marked(90_001)])
    course.adaptation.refuse([Tokens((1 + 20 % (SIZE - 1),), (20 % BUCKETS,), (20,)), marked(90_001)])
    for number in range(acted, 500):
        course.act((Chunk(), number % WINDOW))
    refused = {50: [0], 150: [0], 250: []}[acted]
    assert [number for number, weight in enumerate(course.weights) if weight == 0.0] == refused
    assert all(90_001 not in numbers for numbers, _ in course.notes.taught)


@st.composite
def histories(draw: st.DrawFn) -> list[Chunk]:
    """Draw what a user does over some days, in order."""
    one = st.builds(
        Chunk,
        odds=st.floats(-70, 70) | st.just(-60.0),
        alarm=st.sampled_from([False, False, False, True]),
        place=st.integers(0, WINDOW - 1),
        day=st.sampled_from([0, 0, 0, 1, 3]),
        strange=st.booleans(),
    )
    day, found = MONDAY, []
    for chunk in draw(st.lists(one, max_size=25)):
        day += chunk.day
        found.append(chunk._replace(day=day))
    return found


@settings(max_examples=40, deadline=None)
@given(histories(), st.floats(1, 400))
def test_what_is_learned_when_and_how_much(chunks: list[Chunk], usual: float) -> None:
    """A chunk is learned after the next one, weighs 1 less the worst probability in both, and is counted."""
    course = Course(usual).take(*chunks)
    weights, progress = rule(chunks, max(2 * usual, 2 * WINDOW))
    assert course.weights == weights
    assert course.progress == progress
    taught = [number for numbers, _ in course.notes.taught for number in numbers]
    assert taught == list(range(WINDOW * max(len(chunks) - 1, 0)))


@settings(max_examples=40, deadline=None)
@given(histories().filter(bool), st.lists(st.integers(1, WINDOW), min_size=1, max_size=30), st.data())
def test_several_at_once_are_as_one_by_one(chunks: list[Chunk], sizes: list[int], data: st.DataObject) -> None:
    """However many are observed at once, as far as there is room, also after a restart, the same is learned."""
    whole, course = Course(usual=110.0).take(*chunks), Course(usual=110.0)
    moments = [(chunk, place) for chunk in chunks for place in range(WINDOW)]
    restart, pieces = data.draw(st.integers(0, len(moments))), cycle(sizes)
    while course.count < len(moments):
        room = course.adaptation.room
        assert room == WINDOW - course.count % WINDOW
        begin = course.count
        course.act(*moments[begin : begin + min(next(pieces), room)])
        if begin <= restart < course.count:
            saved = json.loads(msgspec.json.encode([course.adaptation.to_json(), course.progress]))
            again = Course(110.0, msgspec.convert(saved[1], Progress))
            again.adaptation.restore(saved[0], SIZE)
            again.count, again.notes = course.count, course.notes
            course = again
    assert course.notes.taught == whole.notes.taught
    assert course.progress == whole.progress
    assert course.adaptation.to_json() == whole.adaptation.to_json()


def test_nothing_is_learned_before_the_next_chunk_is_judged() -> None:
    """Up to the 199th action nothing is learned, and with the 200th the first hundred."""
    course = Course()
    for place in range(2 * WINDOW - 1):
        course.act((Chunk(), place))
    assert course.notes.taught == []
    course.act((Chunk(), 0))
    assert [numbers for numbers, _ in course.notes.taught] == [list(range(WINDOW))]


@pytest.mark.parametrize("place", [0, 57, WINDOW - 1])
def test_an_alarm_keeps_two_chunks_from_being_learned(place: int) -> None:
    """One action at ALARM refuses its own chunk and the one before it, wherever it is; the next is learned."""
    course = Course().take(Chunk(), Chunk(), Chunk(alarm=True, place=place), Chunk(), Chunk())
    assert [weight > 0.99 for weight in course.weights] == [True, False, False, True]
    assert course.weights[1:3] == [0.0, 0.0]
    assert (course.progress.learned, course.progress.refused) == (200, 200)


def test_suspicion_makes_it_weigh_less() -> None:
    """Even odds that it was somebody else, once in two hundred actions, halve the weight; nothing else does."""
    assert Course().take(Chunk(odds=0.0), Chunk()).weights == [0.5]
    assert Course().take(Chunk(), Chunk(odds=0.0, place=99)).weights == [0.5]
    assert Course().take(Chunk(), Chunk(), Chunk(odds=0.0)).weights[0] > 0.99


def test_a_day_adds_two_usual_days_at_most() -> None:
    """What a day of the log brings beyond two usual days is left out and counted, and the next day begins anew."""
    days = [Chunk(day=MONDAY)] * 6 + [Chunk(day=MONDAY + 1)] * 7
    course = Course(usual=220.0).take(*days)
    assert [weight > 0 for weight in course.weights] == [True] * 4 + [False] * 2 + [True] * 4 + [False] * 2
    assert (course.progress.learned, course.progress.capped, course.progress.refused) == (800, 400, 0)


def test_without_a_time_there_is_no_cap() -> None:
    """Where the log does not say the time there are no days, and all that is not suspected is learned."""
    progress = Course(usual=1.0).take(*[Chunk(day=0)] * 9).progress
    assert (progress.learned, progress.capped, progress.first, progress.last) == (800, 0, 0, 0)


def test_drift_is_the_share_of_the_last_twenty() -> None:
    """Eight of the last twenty learned chunks that surprise the model as trained are drift, seven are none."""
    course = Course()
    found = [course.take(Chunk(strange=number < 8)).progress.drift for number in range(21)]
    assert found == [*(learned / REMEMBERED for learned in range(9)), *[DRIFTED] * 12]
    assert course.progress.drifted
    assert course.take(Chunk()).progress.drift == 7 / REMEMBERED
    assert not course.progress.drifted


def test_what_is_not_learned_is_no_drift() -> None:
    """Chunks that were refused or came beyond the day's share say nothing of where the model went."""
    alarmed = [Chunk(strange=True, alarm=True)] * 30
    assert Course().take(*alarmed).progress.drift == 0.0
    assert Course(usual=1.0).take(*[Chunk(strange=True)] * 30).progress.drift == 2 / REMEMBERED


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_it_goes_on_exactly_after_a_round_trip(data: st.DataObject) -> None:
    """Saved as JSON after any action and restored, what is learned and counted is the same from there on."""
    chunks = data.draw(histories().filter(lambda found: 1 < len(found) < 8))
    whole = Course(usual=110.0).take(*chunks)
    places = [(chunk, place) for chunk in chunks for place in range(WINDOW)]
    cut = data.draw(st.integers(0, len(places)))
    first = Course(usual=110.0)
    for chunk, place in places[:cut]:
        first.act((chunk, place))
    saved = json.loads(msgspec.json.encode([first.adaptation.to_json(), first.progress]))
    second = Course(110.0, msgspec.convert(saved[1], Progress))
    second.adaptation.restore(saved[0], SIZE)
    second.count = cut
    for chunk, place in places[cut:]:
        second.act((chunk, place))
    assert first.notes.taught + second.notes.taught == whole.notes.taught
    assert second.progress == whole.progress
    assert second.adaptation.to_json() == whole.adaptation.to_json()


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(-1e300, 1e300) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PLACES: tuple[tuple[str | int, ...], ...] = (
    *((name,) for name in ("actions", "worst", "waiting", "day")),
    *(("waiting", place) for place in range(4)),
    *(("day", place) for place in range(2)),
    *(("actions", 0, place) for place in range(3)),
    *(("waiting", 0, 0, place) for place in range(3)),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PLACES), JSON)
def test_hostile_values_are_refused_or_go_on(place: tuple[str | int, ...], value: Any) -> None:  # noqa: ANN401
    """Whatever stands in a saved state, it is a ValueError, KeyError or TypeError, or else it works."""
    saved = json.loads(json.dumps(Course().take(Chunk()).adaptation.to_json() | {"actions": [[[1], [2], [3]]]}))
    inner = saved
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    course = Course()
    try:
        course.adaptation.restore(saved, SIZE)
    except (ValueError, KeyError, TypeError):
        return
    course.take(Chunk(), Chunk())


@pytest.mark.parametrize("token", [0, -1, SIZE])
def test_actions_of_another_vocabulary_are_refused(token: int) -> None:
    """A token that the vocabulary does not have is refused, and so are too many actions and a missing mark."""
    good: dict[str, Any] = {
        "actions": [[[1], [2], [3]]],
        "worst": 0.0,
        "waiting": None,
        "day": [0, 0],
        "as_trained": -4.0,
    }
    Course().adaptation.restore(good, SIZE)
    unfit: list[Any] = [[[[token], [2], [3]]], [[[1], [BUCKETS], [3]]], [[[1], [2], []]], [[[], [], []]]]
    for actions in unfit:
        with pytest.raises(ValueError, match="what was to be learned"):
            Course().adaptation.restore(good | {"actions": actions}, SIZE)
    with pytest.raises(ValueError, match="more actions are waiting"):
        Course().adaptation.restore(good | {"actions": [[[1], [2], [3]]] * WINDOW}, SIZE)


GOOD: dict[str, Any] = {"actions": [], "worst": 0.0, "waiting": None, "day": [0, 0], "as_trained": -4.0}


@pytest.mark.parametrize(
    "change",
    [{"day": [float("inf"), 0]}, {"worst": 10**400}, {"day": [0, float("inf")]}],
)
def test_numbers_beyond_any_are_value_errors(change: dict[str, Any]) -> None:
    """Restore documents ValueError, KeyError and TypeError; it raises OverflowError (10**400 passes msgspec)."""
    with pytest.raises(ValueError, match="holds no"):
        Course().adaptation.restore(GOOD | change, 50)


def test_nan_is_no_probability() -> None:
    """'nan', as text, is taken for the worst probability: then the weight is NaN, and so are the counts."""
    with pytest.raises(ValueError, match="holds no probability"):
        Course().adaptation.restore(GOOD | {"worst": "nan"}, 50)


DAYS = 40  # of the boiling frog's life


def lived(scorer: Scorer, own: list[Action], guest: list[Action], draw: random.Random) -> tuple[float, float]:
    """Let a guest do more of the user's actions each day; return his share at the first alarm and drift, or 2."""
    alarm = drift = 2.0
    begin = own[0].time // DAY
    for mine, foreign in zip(own, guest, strict=False):
        share = (mine.time // DAY - begin) / (DAYS - 1) if guest is not own else 0.0
        if mine.time // DAY - begin >= DAYS:
            break
        acted = msgspec.structs.replace(foreign if draw.random() < share else mine, user="alice", time=mine.time)
        score = scorer.score("1", acted)
        assert score is not None
        alarm = min(alarm, share) if (score.risk or 0.0) >= ALARM else alarm
        drift = min(drift, share) if score.model.state == "drifted" else drift
    return alarm, drift


@pytest.mark.parametrize("seed", [1, 2])
def test_a_boiling_frog_is_told_of(
    seed: int, ocsvm_models: Path, later: Callable[[int, int], list[Action]]
) -> None:
    """Who does more of a user's actions each day alarms, or is drift, before half are his; the user never."""
    actions = later(DAYS * 150, seed)
    own, guest = ([action for action in actions if action.user == user] for user in ("alice", "bob"))
    said: list[str] = []
    frog = Scorer(Store(ocsvm_models).load, say=said.append)
    alarm, drift = lived(frog, own, guest, random.Random(seed))  # noqa: S311 - sample data
    assert min(alarm, drift) < 0.5
    assert len(said) >= (drift < 1.0)
    said.clear()
    quiet = Scorer(Store(ocsvm_models).load, say=said.append)
    assert min(lived(quiet, own, own, random.Random(seed))) > 1.0  # noqa: S311 - sample data
    assert said == []
    adaptation = quiet._users["alice"].adaptation
    assert adaptation is not None
    assert adaptation.progress.learned > 5000
