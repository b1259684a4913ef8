"""What is learned while running, when and how much: by a detector that only takes notes, and by a real one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, pairwise, product
from math import exp, inf, log
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.adaptation import (
    BEGIN,
    DRIFTED,
    EXPECTED,
    LAG,
    MOST_DAYS,
    MOST_EVIDENCE,
    QUARANTINE,
    REMEMBERED,
    SMOOTHED,
    STAY,
    STRANGE,
    SURE,
    Adaptation,
    Progress,
    smoothed,
)
from anomaly.calibration import Tail
from anomaly.cohort import Cohort, no_others
from anomaly.detectors.detector import Detector
from anomaly.detectors.fusion import START, Filter, logit
from anomaly.detectors.interface import WINDOW, Algorithm, Floats
from anomaly.detectors.ocsvm_fit import fit_svm
from anomaly.detectors.profile import LENGTHS, LEVELS, VIEWS
from anomaly.detectors.rarity import RANKS, Rarity
from anomaly.features.levels import Features
from anomaly.tokens import Tokens
from tests.detectors.drawn import actions
from tests.detectors.fusions import channel, fusion_of

DAY = 86_400
MONDAY = 20_000
"""A day, counted from 1970."""

SIZE = 50
AS_IT_IS = Tail(np.zeros(1), np.ones(1), scale=10.0 / log(10.0), shape=0.0)
"""The risk of a figure of x is x."""

CLEAR, UNSURE, ALARM = -8.0, -1.0, 8.0
"""Doubts of a chunk, in nats."""


class Pupil(Detector):
    """Takes notes of what it is taught, and finds a window as strange as it is told to."""

    def __init__(self) -> None:
        super().__init__(Algorithm.OCSVM, no_others(), Rarity(np.zeros((LEVELS, RANKS))), None, None)
        self.is_strange = False

    def learn(self, state: Any, chunk: Sequence[Tokens], weight: float) -> None:  # noqa: ANN401 - the notes
        """Take a note: the actions' numbers, and the weight."""
        state.append(([tokens.marks[0] for tokens in chunk], weight))

    def as_trained(self, state: Any) -> Floats:  # noqa: ANN401 - the notes
        """Return the view of a window whose risk is just STRANGE, or just below."""
        del state
        return np.full((1, 1), STRANGE - logit(START) + (1e-6 if self.is_strange else -1e-6))


class Chunk(NamedTuple):
    """A hundred actions: their highest doubt and its place, the day, and what the frozen model makes of them."""

    doubt: float = CLEAR
    place: int = 50
    day: int = MONDAY
    strange: bool = False


Moment = tuple[Chunk, int]


class Course:
    """An adaptation and what it teaches."""

    def __init__(self, usual: float = 1e9, progress: Progress | None = None, delay: int = 0) -> None:
        self.pupil = Pupil()
        fusion = fusion_of(channel(), delay=delay)
        self.adaptation = Adaptation(self.pupil, fusion, AS_IT_IS, usual, progress)
        self.taught: list[tuple[list[int], float]] = []
        self.when: list[int] = []
        """Actions observed when each of them was taught."""
        self.count = 0

    @property
    def progress(self) -> Progress:
        """Return how far it has come."""
        return self.adaptation.progress

    def take(self, *chunks: Chunk) -> Course:
        """Observe chunks, action by action."""
        for moment in moments(chunks):
            self.act([moment])
        return self

    def act(self, batch: Sequence[Moment]) -> None:
        """Observe actions, each a place in a chunk, all at once; an action's number is its mark."""
        assert 0 < len(batch) <= self.adaptation.room
        doubts = [chunk.doubt if place == chunk.place else CLEAR for chunk, place in batch]
        tokens = [action(self.count + number) for number in range(len(batch))]
        self.count += len(batch)
        chunk, place = batch[-1]
        self.pupil.is_strange = chunk.strange
        time = chunk.day * DAY + place if chunk.day else 0
        self.adaptation.observe(self.taught, tokens, doubts, -inf, time)
        self.when += [self.count] * (len(self.taught) - len(self.when))

    def restarted(self, usual: float = 1e9, delay: int = 0) -> Course:
        """Return a course that goes on from what this one saves."""
        saved = json.loads(msgspec.json.encode([self.adaptation.to_json(), self.progress]))
        again = Course(usual, msgspec.convert(saved[1], Progress), delay)
        again.adaptation.restore(saved[0], SIZE)
        again.count, again.taught, again.when = self.count, self.taught, self.when
        return again

    @property
    def chunks(self) -> list[int]:
        """Return the numbers of the chunks taught, in that order."""
        return [numbers[0] // WINDOW for numbers, _ in self.taught]


def action(number: int) -> Tokens:
    """Return an action by its number."""
    return Tokens((1 + number % (SIZE - 1),), (8 * number, 8 * number + 7), (number,))


def moments(chunks: Sequence[Chunk]) -> list[Moment]:
    """Return the actions of chunks."""
    return [(chunk, place) for chunk in chunks for place in range(WINDOW)]


def clear(count: int) -> list[Chunk]:
    """Return chunks that nobody doubts."""
    return [Chunk()] * count


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-MOST_EVIDENCE, MOST_EVIDENCE), min_size=1, max_size=8))
def test_smoothed_equals_sum_over_all_histories(evidence: list[float]) -> None:
    """A chunk's probability is the share of all ways to take turns in which it was another person's."""
    begins, moves = [1.0 - BEGIN, BEGIN], [[1.0 - BEGIN, BEGIN], [1.0 - STAY, STAY]]
    total, other = 0.0, np.zeros(len(evidence))
    for path in product((0, 1), repeat=len(evidence)):
        likelihood = begins[path[0]]
        for before, after in pairwise(path):
            likelihood *= moves[before][after]
        likelihood *= exp(sum(one for one, state in zip(evidence, path, strict=True) if state))
        total += likelihood
        other += likelihood * np.array(path)
    assert smoothed(evidence) == pytest.approx((other / total).tolist(), abs=1e-9)


@given(st.lists(st.floats(-MOST_EVIDENCE, MOST_EVIDENCE), max_size=SMOOTHED))
def test_smoothed_is_a_probability_of_each_chunk(evidence: list[float]) -> None:
    """However certain the evidence, each chunk has a probability."""
    found = smoothed(evidence)
    assert len(found) == len(evidence)
    assert all(0.0 <= one <= 1.0 for one in found)


@given(st.lists(st.floats(-7.0, 7.0), min_size=2, max_size=SMOOTHED), st.data())
def test_smoothed_more_evidence_raises_all_probabilities(evidence: list[float], data: st.DataObject) -> None:
    """What speaks against one chunk speaks against all others too."""
    place = data.draw(st.integers(0, len(evidence) - 1))
    more = [*evidence[:place], evidence[place] + 1.0, *evidence[place + 1 :]]
    assert all(b >= a - 1e-12 for a, b in zip(smoothed(evidence), smoothed(more), strict=True))


def test_clear_chunk_is_learned_lag_actions_after_its_end() -> None:
    """Up to the LAG-th action after a chunk nothing is learned; then the chunk is, by nearly all its weight."""
    course, every = Course(), moments(clear(4))
    for number, moment in enumerate(every[: WINDOW + LAG - 1]):
        course.act([moment])
        assert course.taught == [], number
    course.act([every[WINDOW + LAG - 1]])
    assert course.chunks == [0]
    assert course.taught[0][0] == list(range(WINDOW))
    assert course.taught[0][1] > 1.0 - SURE
    for moment in every[WINDOW + LAG :]:
        course.act([moment])
    assert course.when == [WINDOW + LAG, 2 * WINDOW + LAG, 3 * WINDOW + LAG]


@pytest.mark.parametrize("doubt", [0.0, UNSURE])
def test_doubtful_chunk_waits_and_is_learned_by_its_probability(doubt: float) -> None:
    """A chunk with doubt waits QUARANTINE actions, and then weighs 1 less the probability of another person."""
    course = Course().take(*clear(3), Chunk(doubt), *clear(10))
    waited = course.chunks.index(3)
    evidence = [CLEAR] * 3 + [doubt] + [CLEAR] * 6
    if doubt >= 0.0:
        assert course.when[waited] == 4 * WINDOW + LAG + QUARANTINE
        assert course.chunks == [0, 1, 2, 4, 5, 6, 7, 8, 3, 9, 10, 11, 12]
        assert course.taught[waited][1] == pytest.approx(1.0 - smoothed(evidence)[3])
    else:  # what came after it clears it
        assert course.chunks == list(range(13))
    assert course.progress.learned == 13 * WINDOW


def test_what_alarmed_is_not_learned() -> None:
    """Chunks that alarm wait, and are refused for good if nothing takes the suspicion back."""
    course = Course().take(*clear(3), *[Chunk(ALARM)] * 4, *clear(12))
    assert not {3, 4, 5, 6} & set(course.chunks)
    assert course.progress.refused == 4 * WINDOW
    assert course.progress.learned == 14 * WINDOW


def test_one_unsure_chunk_between_alarms_is_refused_with_them() -> None:
    """What looks like the user amid an incident is not learned: the chunks beside it count too."""
    course = Course().take(*clear(3), *[Chunk(ALARM), Chunk(UNSURE), Chunk(ALARM)], *clear(12))
    assert 4 not in course.chunks
    assert course.progress.refused == 3 * WINDOW


@pytest.mark.parametrize(("place", "expected"), [(0, {3, 4}), (LAG - 1, {3, 4}), (LAG, {4}), (WINDOW - 1, {4})])
def test_doubt_of_the_next_actions_counts_for_the_chunk_before(place: int, expected: set[int]) -> None:
    """An alarm within LAG actions after a chunk keeps that chunk back too, a later one its own chunk alone."""
    course = Course().take(*clear(4), Chunk(ALARM, place=place), *clear(3))
    assert set(range(7)) - set(course.chunks) == expected


@pytest.mark.parametrize("delay", [300, 1000])
def test_delay_of_the_model_postpones_learning(delay: int) -> None:
    """A clear chunk is learned once as many actions have followed as the fusion's delay says."""
    course = Course(delay=delay).take(*clear(14))
    late = WINDOW + LAG + delay
    assert course.when == list(range(late, 14 * WINDOW + 1, WINDOW))
    assert course.chunks == list(range(len(course.when)))


def test_expect_learns_actions_amid_the_next_chunk_once() -> None:
    """Expected actions stand in the middle of the next chunk that is learned."""
    course = Course()
    course.adaptation.expect([action(90_001), action(90_002)])
    course.take(Chunk(ALARM), *clear(4))
    sizes = [len(numbers) for numbers, _ in course.taught]
    first = course.taught[0][0]
    assert sizes == [102, *[WINDOW] * (len(sizes) - 1)]
    assert first[49:53] == [first[0] + 49, 90_001, 90_002, first[0] + 50]
    assert course.progress.learned == sum(sizes)


def test_expect_releases_what_waits_beside_the_actions() -> None:
    """A chunk in quarantine that holds an expected action is learned with the next one."""
    course = Course().take(*clear(3), Chunk(3.0), *clear(2))
    assert 3 not in course.chunks
    course.adaptation.expect([action(355)])
    course.take(*clear(2))
    assert course.chunks == [0, 1, 2, 4, 3, 5, 6]
    assert course.taught[4][1] > 1.0 - SURE


def test_expect_is_bounded_and_survives_a_restart() -> None:
    """The last EXPECTED actions wait, also across a restart."""
    course = Course()
    course.adaptation.expect([action(number) for number in range(250)])
    course = course.restarted()
    course.take(*clear(2))
    assert len(course.taught[0][0]) == WINDOW + EXPECTED
    assert course.taught[0][0][50 : 50 + EXPECTED] == list(range(150, 250))


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("acted", [130, 199, 200, 210, 219])
def test_refuse_never_learns_chunk_of_the_action(acted: int, restart: bool) -> None:  # noqa: FBT001 - a parameter
    """The chunk with an action of an incident is never learned, complete or not, whatever comes after."""
    course = Course()
    every = moments(clear(20))
    for moment in every[:acted]:
        course.act([moment])
    course.adaptation.refuse([action(120)])
    course = course.restarted() if restart else course
    for moment in every[acted:]:
        course.act([moment])
        assert course.progress.refused == (WINDOW if course.count >= 2 * WINDOW + LAG else 0)
    assert 1 not in course.chunks
    assert set(course.chunks) == set(range(19)) - {1}


def test_refuse_ends_the_quarantine_of_a_chunk_and_raises_doubt_beside_it() -> None:
    """A chunk that waits is refused with the next one; a doubtful chunk beside it is then another person's too."""
    chunks = [*clear(3), Chunk(0.5), Chunk(1.0), *clear(2)]
    quiet, told = Course().take(*chunks), Course().take(*chunks)
    told.adaptation.refuse([action(301)])
    assert told.progress.refused == 0
    told.take(Chunk())
    assert told.progress.refused == WINDOW
    for course in (quiet, told):
        course.take(*clear(8))
    assert {3, 4} <= set(quiet.chunks)
    assert not {3, 4} & set(told.chunks)
    assert told.progress.refused == 2 * WINDOW


def test_refuse_takes_back_what_was_expected() -> None:
    """An action that is called an incident after it was expected is not learned."""
    course = Course()
    course.adaptation.expect([action(90_001), action(90_002)])
    course.adaptation.refuse([action(90_001)])
    course.take(*clear(3))
    assert [number for numbers, _ in course.taught for number in numbers if number >= 90_000] == [90_002]


def test_day_adds_two_usual_days_at_most() -> None:
    """What a day brings beyond two usual days is left out and counted; the next day has a share of its own."""
    days = [Chunk(day=MONDAY)] * 6 + [Chunk(day=MONDAY + 1)] * 7
    course = Course(usual=220.0).take(*days)
    assert course.chunks == [0, 1, 2, 3, 6, 7, 8, 9]
    assert (course.progress.learned, course.progress.capped, course.progress.refused) == (800, 400, 0)


def test_day_of_a_chunk_from_quarantine_does_not_reset_todays_count() -> None:
    """Chunks of yesterday that are learned in between leave today no more than its share."""
    doubtful = [Chunk(0.5), Chunk(CLEAR)] * 3
    days = [chunk._replace(day=MONDAY) for chunk in doubtful] + [Chunk(day=MONDAY + 1)] * 12
    course = Course(usual=100.0).take(*days)
    today = [number for number in course.chunks if number >= len(doubtful)]
    assert len(today) == 2
    assert len(course.chunks) == 4


def test_day_without_event_time_has_no_cap() -> None:
    """If the log has no times there are no days, and all that is clear is learned."""
    progress = Course(usual=1.0).take(*[Chunk(day=0)] * 9).progress
    assert (progress.learned, progress.capped, progress.first, progress.last) == (800, 0, 0, 0)


def test_days_that_are_counted_are_bounded() -> None:
    """Counts of the last MOST_DAYS days are kept, also across a restart."""
    course = Course().take(*[Chunk(day=MONDAY + number) for number in range(MOST_DAYS + 10)]).restarted()
    assert len(course.adaptation.to_json()["learned_on"]) == MOST_DAYS


def test_progress_counts_and_dates_what_was_learned() -> None:
    """First and last are the event times of the first and the last chunk learned."""
    progress = Course().take(Chunk(day=MONDAY), Chunk(day=MONDAY + 1), Chunk(day=MONDAY + 2)).progress
    assert (progress.learned, progress.generation) == (200, 2)
    assert (progress.first, progress.last) == (MONDAY * DAY + 99, (MONDAY + 1) * DAY + 99)


def test_drift_is_the_share_of_the_last_twenty() -> None:
    """Eight of the last twenty learned chunks that surprise the frozen model are drift, seven are not."""
    course = Course().take(Chunk(strange=True))
    found = [course.take(Chunk(strange=number < 7)).progress.drift for number in range(20)]
    assert found == [*((1 + number) / REMEMBERED for number in range(8)), *[DRIFTED] * 12]
    assert course.progress.drifted
    assert course.take(Chunk()).progress.drift == 7 / REMEMBERED
    assert not course.progress.drifted


def test_drift_does_not_count_what_is_not_learned() -> None:
    """Chunks that were refused, or came beyond the day's share, say nothing of where the model went."""
    assert Course().take(*[Chunk(ALARM, strange=True)] * 30).progress.drift == 0.0
    assert Course(usual=1.0).take(*[Chunk(strange=True)] * 30).progress.drift == 2 / REMEMBERED


@st.composite
def histories(draw: st.DrawFn) -> list[Chunk]:
    """Draw what a user does over some days, in order."""
    one = st.builds(
        Chunk,
        doubt=st.sampled_from([CLEAR, CLEAR, CLEAR, -3.0, -1.0, 0.0, 2.0, ALARM, 30.0]),
        place=st.integers(0, WINDOW - 1),
        day=st.sampled_from([0, 0, 0, 1, 3]),
        strange=st.booleans(),
    )
    day, found = MONDAY, []
    for chunk in draw(st.lists(one, min_size=1, max_size=14)):
        day += chunk.day
        found.append(chunk._replace(day=day))
    return found


def rule(chunks: Sequence[Chunk], most: float) -> tuple[list[tuple[int, float]], Progress]:
    """Return which chunks are learned, in order and by what weight, and the counts, as documented."""
    found: list[tuple[int, float]] = []
    progress, by_day, waiting, evidence = Progress(), dict[int, int](), list[int](), list[float]()
    for newest in range(len(chunks) - 1):
        after = chunks[newest + 1]
        worst = max(chunks[newest].doubt, after.doubt if after.place < LAG else CLEAR)
        evidence.append(min(max(worst, -MOST_EVIDENCE), MOST_EVIDENCE))
        waiting.append(newest)
        suspicion = smoothed(evidence)
        for number in list(waiting):
            after_it = chunks[number + 1]
            doubt = max(chunks[number].doubt, after_it.doubt if after_it.place < LAG else CLEAR)
            is_clear = doubt < 0.0 and suspicion[number] < SURE
            if not is_clear and (newest - number) * WINDOW < QUARANTINE:
                continue
            waiting.remove(number)
            progress.generation += 1
            weight, chunk = 1.0 - suspicion[number], chunks[number]
            time, today = chunk.day * DAY + WINDOW - 1, by_day.get(chunk.day, 0)
            if weight <= 0.5:
                progress.refused += WINDOW
            elif today + WINDOW > most:
                progress.capped += WINDOW
            else:
                found.append((number, weight))
                by_day[chunk.day] = today + WINDOW
                progress.learned += WINDOW
                progress.first, progress.last = progress.first or time, max(progress.last, time)
                progress.recent = [*progress.recent, chunk.strange][-REMEMBERED:]
    return found, progress


@settings(max_examples=60, deadline=None)
@given(histories(), st.sampled_from([110.0, 150.0, 1e9]))
def test_what_is_learned_follows_the_rule(chunks: list[Chunk], usual: float) -> None:
    """Which chunks are learned, when, by what weight, and what is counted is as documented."""
    course = Course(usual).take(*chunks)
    expected, progress = rule(chunks, max(2.0 * usual, 2.0 * WINDOW))
    assert course.chunks == [number for number, _ in expected]
    assert [weight for _, weight in course.taught] == pytest.approx([weight for _, weight in expected])
    assert course.progress == progress
    assert all(when % WINDOW == LAG for when in course.when)


@settings(max_examples=60, deadline=None)
@given(histories(), st.lists(st.integers(1, WINDOW), min_size=1, max_size=30), st.data())
def test_batches_and_restarts_change_nothing(chunks: list[Chunk], sizes: list[int], data: st.DataObject) -> None:
    """However many actions are observed at once, as far as there is room, also after a restart, it is the same."""
    every = moments(chunks)
    whole, course = Course(usual=110.0), Course(usual=110.0)
    marked = data.draw(st.none() | st.tuples(st.integers(0, len(every) - 1), st.booleans()))
    restart, pieces = data.draw(st.integers(0, len(every))), cycle(sizes)
    for moment in every:
        whole.act([moment])
        if marked is not None and whole.count == marked[0]:
            tell(whole, marked)
    while course.count < len(every):
        begin = course.count
        stop = marked[0] if marked is not None and begin < marked[0] else len(every)
        course.act(every[begin : min(begin + min(next(pieces), course.adaptation.room), stop)])
        if marked is not None and course.count == marked[0]:
            tell(course, marked)
        if begin <= restart < course.count:
            course = course.restarted(usual=110.0)
    assert course.taught == whole.taught
    assert course.when == whole.when
    assert course.progress == whole.progress
    assert course.adaptation.to_json() == whole.adaptation.to_json()


def tell(course: Course, marked: tuple[int, bool]) -> None:
    """Give feedback on an action a while ago."""
    number, expected = marked
    feedback = course.adaptation.expect if expected else course.adaptation.refuse
    feedback([action(max(number - 70, 0))])


def real() -> Callable[..., Iterator[tuple[str, bytes]]]:
    """Return the maker of a run of a real detector, in batches as they are asked for."""
    histories = {f"user{number}": actions(600, number, first=3 * number) for number in range(4)}
    cohort, own = Cohort(histories), histories["user1"]
    profile, unused = cohort.profile("user1", own), Rarity(np.zeros((LEVELS, RANKS)))
    detector = Detector(Algorithm.OCSVM, profile, unused, fit_svm(own), None, window=own[-WINDOW:])
    weights = np.zeros((len(LENGTHS), VIEWS + 1))
    weights[:, 3:8] = 2.0
    fusion = fusion_of(*(channel(length, bias=-1.0, threshold=3.0) for length in LENGTHS), weights=weights)
    stretch: list[Features] = [*actions(450, 7, first=3), *actions(150, 8, first=30), *actions(500, 9, first=4)]

    def run(*sizes: int) -> Iterator[tuple[str, bytes]]:
        state, filtered, adaptation = detector.start(), Filter(fusion), Adaptation(detector, fusion, AS_IT_IS, 1e9)
        done, pieces = 0, cycle(sizes)
        while done < len(stretch):
            piece = stretch[done : done + min(next(pieces), adaptation.room)]
            batch = [Tokens((1,), features, (0,)) for features in piece]
            evidence = detector.judge(state, batch, [True] * len(batch))
            verdicts = [filtered.step(fusion.evidence(views)) for views in evidence.views]
            doubts = [verdict.doubt for verdict in verdicts]
            chunk_doubt = verdicts[-1].chunk_doubt if verdicts else -inf
            adaptation.observe(state, batch, doubts, chunk_doubt, 0)
            done += len(batch)
        yield "progress", msgspec.json.encode([adaptation.progress, adaptation.to_json(), filtered.to_json()])
        yield from ((name, array.tobytes()) for name, array in detector.learned(state).items())

    return run


def test_real_detector_learns_the_same_in_any_batches() -> None:
    """A user's model after a thousand actions is the same, to the bit, however the actions were cut."""
    run = real()
    one_by_one = dict(run(1))
    assert json.loads(one_by_one["progress"])[0]["learned"] > 300
    for sizes in ((WINDOW,), (7, 13, 64), (3, 100, 1)):
        assert dict(run(*sizes)) == one_by_one


def good() -> dict[str, Any]:
    """Return what an adaptation saves that has chunks of each kind."""
    course = Course().take(*clear(2), Chunk(1.0), Chunk(ALARM), *clear(1))
    for moment in moments(clear(1))[:10]:
        course.act([moment])
    course.adaptation.expect([action(1)])
    saved: dict[str, Any] = json.loads(json.dumps(course.adaptation.to_json()))
    assert len(saved["waiting"]) == 2
    assert saved["complete"] is not None
    return saved


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["nan", "AAAA", "AQAAAA==", 2**63, -1, 10**400, float("inf")]),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PARTS = ("ids", "marks", "id_sizes", "features", "feature_sizes")
PLACES: tuple[tuple[str | int, ...], ...] = (
    *((name,) for name in good()),
    *(("actions", part) for part in PARTS),
    *(("expected", part) for part in PARTS),
    *(("complete", place) for place in range(6)),
    *(("waiting", 1, place) for place in range(6)),
    *(("waiting", 0, 0, part) for part in PARTS),
    ("waiting", 1),
    ("learned_on", 0),
    ("learned_on", 0, 0),
    ("learned_on", 0, 1),
    ("evidence", 0),
    ("evidence", 3),
)


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(PLACES), JSON)
def test_restore_hostile_values_are_refused_or_work(place: tuple[str | int, ...], value: Any) -> None:  # noqa: ANN401
    """Whatever is in a saved state, it is a ValueError, KeyError or TypeError, or else adaptation continues."""
    saved = good()
    inner: Any = saved
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    course = Course()
    try:
        course.adaptation.restore(saved, SIZE)
    except (ValueError, KeyError, TypeError):
        return
    course.count = 510
    course.adaptation.refuse([action(505)])
    course.adaptation.expect([action(405)])
    while course.count < 2000:
        course.act([(Chunk(), course.count % WINDOW)] * min(course.adaptation.room, 2000 - course.count))
    assert all(0.5 < weight <= 1.0 for _, weight in course.taught)
    json.dumps(course.adaptation.to_json(), allow_nan=False)
    msgspec.json.encode(course.progress)


@pytest.mark.parametrize("name", good())
def test_restore_without_a_part_raises_key_error(name: str) -> None:
    """Each part of a saved state is needed."""
    with pytest.raises(KeyError):
        Course().adaptation.restore({other: part for other, part in good().items() if other != name}, SIZE)


def packed(ids: Sequence[int], sizes: Sequence[int] | None = None) -> dict[str, str]:
    """Return saved actions of one token and one feature each, or as ``sizes`` says."""
    kinds = (np.int32, np.uint32, np.int32, np.uint64, np.int32)
    ones = [1] * len(ids)
    parts = (list(ids), ones, ones if sizes is None else list(sizes), ones, ones)
    arrays = [np.array(part, dtype=kind) for part, kind in zip(parts, kinds, strict=True)]
    return dict(zip(PARTS, (base64.b64encode(one.tobytes()).decode() for one in arrays), strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": packed([0])}, "another vocabulary"),
        ({"actions": packed([-1])}, "another vocabulary"),
        ({"actions": packed([SIZE])}, "another vocabulary"),
        ({"actions": packed([1] * 201)}, "pair up"),
        ({"actions": packed([1, 1], [2, 0])}, "add up"),
        ({"actions": packed([1, 1], [1, 2])}, "add up"),
        ({"actions": packed([1] * LAG)}, "too many actions"),
        ({"complete": None, "actions": packed([1] * WINDOW)}, "too many actions"),
        ({"doubt": "nan"}, "not finite"),
        ({"doubt": 10**400}, "out of range"),
        ({"evidence": [float("inf")] * 4}, "not finite"),
        ({"evidence": []}, "not in order"),
        ({"chunks": 3}, "not in order"),
        ({"chunks": 7}, "another number"),
        ({"chunks": -1}, "out of range"),
        ({"chunks": float("inf")}, "out of range"),
        ({"learned_on": [[-1, 5]]}, "out of range"),
        ({"learned_on": [[day, 1] for day in range(MOST_DAYS + 1)]}, "too many days"),
    ],
)
def test_restore_impossible_state_raises_value_error(change: dict[str, Any], message: str) -> None:
    """Tokens of another vocabulary, more actions than can wait, and chunks out of order are refused."""
    with pytest.raises(ValueError, match=message):
        Course().adaptation.restore(good() | change, SIZE)


def test_restore_evidence_beyond_the_bounds_is_clipped() -> None:
    """Saved evidence is no stronger than what one chunk can be."""
    course = Course()
    course.adaptation.restore(good() | {"evidence": [1e6, -1e6, 1e6, 1e6]}, SIZE)
    assert course.adaptation.to_json()["evidence"] == [MOST_EVIDENCE, -MOST_EVIDENCE, MOST_EVIDENCE, MOST_EVIDENCE]


def test_restore_chunks_of_equal_number_raise_value_error() -> None:
    """No chunk waits twice."""
    saved = good()
    saved["waiting"] = [saved["waiting"][0]] * 2
    with pytest.raises(ValueError, match="not in order"):
        Course().adaptation.restore(saved, SIZE)
