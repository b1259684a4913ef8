from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from anomaly.detectors.fusion import STAY
from anomaly.detectors.interface import Algorithm
from anomaly.enrolment import PARTS, Enrolled, Enrolment, Passed, enrol
from anomaly.errors import LogEmpty, LogMissing, TooLittleData, UnknownUser
from anomaly.harvest import Period, Watch, gather
from anomaly.model import Card, UserModel
from anomaly.store import Store
from anomaly.together import FEWEST
from tests.synthetic import USERS, actions_of

if TYPE_CHECKING:
    from tests.conftest import Event

Write = Callable[..., Path]
Learn = Callable[..., list[Enrolled | Passed]]
Crowd = Callable[[int], list[Path]]

COUNTS: dict[str, Any] = {"algorithm": Algorithm.LSTM, "without": ("lstm",)}  # no network has to be trained

DAY = 86_400
BEGIN = 1_793_000_000


@pytest.fixture
def write(tmp_path: Path, event: Event) -> Write:
    """Give the maker of logs: so many actions of a user, a minute apart."""

    def make(
        name: str, user: str | None = "alice", count: int = 600, begin: int = BEGIN, host: str = "ws1"
    ) -> Path:
        path = tmp_path / name
        with path.open("ab") as file:
            for number in range(count):
                line = event(user, time=begin + 60 * number, host=host, command=f"{name} {number % 9}")
                file.write(line + b"\n")
        return path

    return make


@pytest.fixture
def learn(tmp_path: Path, silent: Watch) -> Learn:
    """Give ``enrol`` with a directory of models."""

    def run(*logs: Path, **options: object) -> list[Enrolled | Passed]:
        asked: Any = {"algorithm": Algorithm.OCSVM, **options}
        return list(enrol(Enrolment(logs, tmp_path / "models", **asked), silent))

    return run


@pytest.fixture
def crowd(tmp_path: Path, event: Event) -> Crowd:
    """Give the maker of logs of several users, each with habits of their own."""

    def make(count: int) -> list[Path]:
        paths = []
        for user in USERS[:count]:
            paths.append(tmp_path / f"{user}.log")
            rows = [event(user, time=a.time, command=a.columns["command"]) for a in actions_of(user, 520)]
            paths[-1].write_bytes(b"".join(row + b"\n" for row in rows))
        return paths

    return make


def card(outcome: Enrolled | Passed) -> Card:
    """Return the card of a model that was made."""
    assert isinstance(outcome, Enrolled)
    return outcome.card


def model(models: Path, user: str) -> UserModel:
    """Return a stored model."""
    stored = Store(models).load(user)
    assert stored is not None
    return stored.model


def test_everyone_is_learned(log: Path, learn: Learn, tmp_path: Path) -> None:
    """Each user of a log gets a model of their own, which is stored and in use."""
    done = learn(log)
    assert [outcome.user for outcome in done] == ["alice", "bob"]
    assert [card(outcome).actions for outcome in done] == [1203, 1203]
    assert [Store(tmp_path / "models").current(user) for user in ("alice", "bob")] == [1, 1]
    assert str(done[0]).startswith("alice: model 1 (OCSVM) from 1,203 actions, 2026-")


def test_one_user_is_learned_as_among_all(log: Path, learn: Learn, ocsvm_models: Path, tmp_path: Path) -> None:
    """A user trained alone gets, byte for byte, the model that training everyone gives."""
    (done,) = learn(log, user="bob")
    assert done.user == "bob"
    name = "bob/1.safetensors"
    assert (tmp_path / "models" / name).read_bytes() == (ocsvm_models / name).read_bytes()
    assert not (tmp_path / "models" / "alice").exists()


def test_too_little_says_how_much_is_missing(write: Write, learn: Learn, tmp_path: Path) -> None:
    """Too few actions are an error that counts them and those that are missing, and no model is made."""
    with pytest.raises(
        TooLittleData, match=r"'alice' has 120 actions to learn from, and 500 are needed: 380 are missing"
    ):
        learn(write("X", count=120), user="alice")
    assert not (tmp_path / "models").exists()


def test_baseline_rows_are_not_enough(write: Write, learn: Learn, event: Event) -> None:
    """Baseline rows are state and not behaviour: they do not count towards what is needed."""
    log = write("X", count=499)
    with log.open("ab") as file:
        file.write(b"".join(event("alice", counter=0, command=f"b{n}") + b"\n" for n in range(100)))
    with pytest.raises(TooLittleData, match="1 are missing"):
        learn(log, user="alice")
    write("X", count=1)
    assert card(learn(log, user="alice")[0]).baseline == 100


def test_who_has_too_little_is_named_and_the_others_learned(write: Write, learn: Learn) -> None:
    """Of all users, those with too few actions are passed over by name; it is an error if nobody has enough."""
    log = write("X", "carol", count=20)
    with pytest.raises(TooLittleData, match="anomaly users"):
        learn(log)
    write("X")
    made, passed = learn(log)
    assert isinstance(made, Enrolled)
    assert made.user == "alice"
    assert isinstance(passed, Passed)
    assert passed.user == "carol"


def test_an_unknown_user(log: Path, learn: Learn) -> None:
    """A user who is not in the log is an error that names who is."""
    with pytest.raises(UnknownUser, match=r"No action of 'alcie' is in .*\. Did you mean 'alice'\?"):
        learn(log, user="alcie")
    with pytest.raises(UnknownUser, match="There is: alice, bob"):
        learn(log, user="zoe")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello\n", r"has 1 line and no action to learn from \(not_json 1"),
        (b"hello\n\n", r"has 2 lines and no action to learn from \(.*not_json 1"),
        (b'{"log_type": "status"}\n' * 3, "status 3"),
    ],
)
@pytest.mark.parametrize("user", [None, "alice"])
def test_an_empty_log(content: bytes, message: str, user: str | None, learn: Learn, tmp_path: Path) -> None:
    """A log without an action is an error that says what was in it instead."""
    (tmp_path / "X").write_bytes(content)
    with pytest.raises(LogEmpty, match=message):
        learn(tmp_path / "X", user=user)


def test_a_missing_log(log: Path, learn: Learn, tmp_path: Path) -> None:
    """One of several logs that is not there is an error: training must not be silent about half of it."""
    with pytest.raises(LogMissing, match="nowhere"):
        learn(log, tmp_path / "nowhere")


def test_keep_leaves_models_alone(write: Write, learn: Learn, tmp_path: Path) -> None:
    """With ``keep`` only users without a model are learned; without it everyone is, again."""
    log = write("X")
    learn(log)
    write("X", "carol")
    kept, made = learn(log, keep=True)
    assert isinstance(kept, Passed)
    assert str(kept).startswith("alice: no new model: keeps model 1")
    assert isinstance(made, Enrolled)
    assert (made.user, made.version) == ("carol", 1)
    assert all(isinstance(outcome, Passed) for outcome in learn(log, keep=True))
    again = learn(log)
    assert [getattr(outcome, "version", None) for outcome in again] == [2, 2]
    assert Store(tmp_path / "models").versions("alice") == [1, 2]


def test_keep_learns_another_algorithm(write: Write, learn: Learn) -> None:
    """A model of the other algorithm is not kept: the algorithm asked for is what the user gets."""
    learn(write("X"), **COUNTS)
    (made,) = learn(write("X"), keep=True)
    assert isinstance(made, Enrolled)
    assert (made.card.algorithm, made.version) == (Algorithm.OCSVM, 2)


def test_a_damaged_model_is_not_overwritten_in_silence(write: Write, learn: Learn, tmp_path: Path) -> None:
    """With ``keep`` a refused model is said to be, and not replaced by what the log holds now."""
    log = write("X")
    learn(log)
    (tmp_path / "models" / "alice" / "1.safetensors").write_bytes(b"damaged")
    outcomes = learn(log, keep=True)
    assert "is refused" in next(str(outcome) for outcome in outcomes if outcome.user == "alice")
    assert [path.name for path in (tmp_path / "models" / "alice").glob("*.safetensors")] == ["1.safetensors"]


@pytest.mark.parametrize(
    ("since", "until"), [(BEGIN + 6000, None), (None, BEGIN + 48_000), (BEGIN + 60, BEGIN + 36_060)]
)
def test_a_period(write: Write, learn: Learn, since: int | None, until: int | None) -> None:
    """Only actions of the period are learned from: from its first second on, up to and without its last."""
    (made,) = learn(write("X", count=1000), period=Period(since, until))
    first, last = since or BEGIN, (until or BEGIN + 60_000) - 60
    assert (card(made).first, card(made).last, card(made).actions) == (first, last, (last - first) // 60 + 1)


def test_an_empty_period(write: Write, learn: Learn) -> None:
    """A period that holds nothing is an error."""
    with pytest.raises(LogEmpty, match="lines, and no action in the period that was asked for"):
        learn(write("X"), period=Period(since=BEGIN + 40 * DAY))


def test_several_logs(write: Write, learn: Learn) -> None:
    """Several logs make one model, which knows where each of them ended."""
    one, two = write("X", count=300), write("Y", count=300, begin=BEGIN + DAY)
    (made,) = learn(one, two)
    assert card(made).actions == 600
    assert [end.offset for end in card(made).ends] == [one.stat().st_size, two.stat().st_size]
    assert len({end.file for end in card(made).ends}) == 2


def test_archives_are_read_with_their_log(write: Write, learn: Learn) -> None:
    """A rotated file is part of its log, and what is older comes first."""
    write("X.1", count=300)
    (made,) = learn(write("X", count=300, begin=BEGIN + DAY))
    assert (card(made).actions, len(card(made).ends)) == (600, 1)


def test_hosts_do_not_mix(write: Write, learn: Learn, tmp_path: Path) -> None:
    """Where logs mix hosts, a user of one host is not the same user of another."""
    write("X", host="ws1")
    done = learn(write("X", host="ws2"))
    assert [outcome.user for outcome in done] == ["alice@ws1", "alice@ws2"]
    assert [card(outcome).hosts for outcome in done] == [("ws1",), ("ws2",)]
    assert Store(tmp_path / "models").users() == ["alice@ws1", "alice@ws2"]


def test_a_log_without_users_is_claimed_whole(write: Write, learn: Learn) -> None:
    """Where the log names nobody, all of it is the user's who is asked for, and the model says so."""
    log = write("X", None)
    (made,) = learn(log, user="alice")
    assert (made.user, card(made).actions, card(made).claims_host) == ("alice", 600, True)
    (host,) = learn(log)
    assert (host.user, card(host).claims_host) == ("host:ws1", False)


def test_a_log_with_users_is_not_claimed(write: Write, learn: Learn) -> None:
    """One named row is enough: then rows that name nobody are nobody's."""
    write("X", None)
    log = write("X", "carol", count=1)
    with pytest.raises(UnknownUser, match="No action of 'alice'"):
        learn(log, user="alice")


def test_a_number_gets_its_name_later(tmp_path: Path, learn: Learn, event: Event) -> None:
    """Rows that show a number before the log shows its name are that user's, in the order of the log."""
    log = tmp_path / "X"
    with log.open("wb") as file:
        for number in range(600):
            user = None if number < 300 else "alice"
            file.write(event(user, time=BEGIN + number, command=f"c{number % 9}", uid="1000") + b"\n")
    for user in (None, "alice"):
        (made,) = learn(log, user=user)
        assert (made.user, card(made).actions) == ("alice", 600)
        assert (card(made).first, card(made).last) == (BEGIN, BEGIN + 599)


def test_each_is_stored_as_soon_as_it_is_done(log: Path, tmp_path: Path, silent: Watch) -> None:
    """Whoever interrupts training of many users keeps the models that are done."""
    outcomes = enrol(Enrolment((log,), tmp_path / "models", Algorithm.OCSVM), silent)
    next(outcomes)
    assert Store(tmp_path / "models").users() == ["alice"]


def test_progress_goes_up_to_its_end(log: Path, tmp_path: Path) -> None:
    """Reading and each user's training report how far they have come, never backwards, to the end."""
    seen: dict[str, list[float]] = {}

    @contextmanager
    def bar(title: str) -> Iterator[Callable[[float, str], None]]:
        yield lambda fraction, _: seen.setdefault(title, []).append(fraction)

    list(enrol(Enrolment((log,), tmp_path / "models", Algorithm.OCSVM), bar))
    assert list(seen) == ["reading", "everyone", "alice", "bob"]
    for title, fractions in seen.items():
        assert fractions == sorted(fractions)
        assert title == "everyone" or fractions[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("algorithm", [Algorithm.LSTM, Algorithm.BOTH])
def test_enrol_enough_users_are_learned_together(
    crowd: Crowd, learn: Learn, tmp_path: Path, algorithm: Algorithm
) -> None:
    """From FEWEST users on, all have one fusion and one scale of risk, and are compared with all others."""
    done = learn(*crowd(FEWEST), **COUNTS | {"algorithm": algorithm})
    assert {(card(outcome).others, card(outcome).algorithm) for outcome in done} == {(FEWEST - 1, algorithm)}
    models = [model(tmp_path / "models", user) for user in USERS]
    arrays = [{name: array.tobytes() for name, array in one.fusion.arrays().items()} for one in models]
    assert arrays == arrays[:1] * FEWEST
    assert len({one.calibration.window.to_array().tobytes() for one in models}) == 1
    assert {channel.stay for channel in models[0].fusion.channels} == {STAY}
    # The network alone has no window model: its margin, which is 0, weighs nothing.
    assert bool(models[0].fusion.weights[:, -1].any()) is (algorithm is Algorithm.BOTH)


ALONE = [
    (FEWEST - 1, COUNTS),
    (FEWEST, COUNTS | {"without": ("lstm", "background")}),
    (FEWEST, {"algorithm": Algorithm.OCSVM}),
]


@pytest.mark.parametrize(("count", "options"), ALONE)
def test_enrol_others_are_learned_alone(
    crowd: Crowd, learn: Learn, tmp_path: Path, count: int, options: dict[str, Any]
) -> None:
    """Fewer users are learned each alone; so are all by a One-Class SVM, and if the background is left out."""
    done = learn(*crowd(count), **options)
    assert [card(outcome).others for outcome in done] == [0] * count
    fusions = [model(tmp_path / "models", outcome.user).fusion for outcome in done]
    assert all(channel.start == 0.0 for fusion in fusions for channel in fusion.channels)


def test_enrol_alike_users_are_learned_alone(crowd: Crowd, learn: Learn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users whom nothing tells apart have models all the same."""
    monkeypatch.setattr("anomaly.together.fit_cohort", lambda *_: None)
    assert [card(outcome).others for outcome in learn(*crowd(FEWEST), **COUNTS)] == [0] * FEWEST


def test_enrol_user_with_too_few_actions_is_passed_over(crowd: Crowd, learn: Learn, write: Write) -> None:
    """The others are learned together, and whoever has too few is named."""
    *done, passed = learn(*crowd(FEWEST), write("short", "zoe", count=499), **COUNTS)
    assert [card(outcome).others for outcome in done] == [FEWEST - 1] * FEWEST
    assert isinstance(passed, Passed)
    assert str(passed).startswith("zoe: no new model: fewer than the 500 actions")


def test_enrol_user_who_repeats_a_few_actions_is_passed_over(
    crowd: Crowd, learn: Learn, event: Event, tmp_path: Path
) -> None:
    """A user of whom hardly anything is admitted has no model; the others are learned together."""
    same = b"".join(event("zoe", time=BEGIN + 60 * n, command=f"c{n % 2}") + b"\n" for n in range(600))
    (tmp_path / "same.log").write_bytes(same)
    done = learn(*crowd(FEWEST), tmp_path / "same.log", **COUNTS)
    assert [outcome.user for outcome in done] == [*USERS, "zoe"]
    assert [card(outcome).others for outcome in done[:-1]] == [FEWEST - 1] * FEWEST
    assert "'zoe' repeats the same few actions" in str(done[-1])


def test_the_background_is_of_several_users(crowd: Crowd, learn: Learn, write: Write, tmp_path: Path) -> None:
    """What all do is kept where several have enough actions, and not for one who is asked for."""
    store, logs, path = Store(tmp_path / "models"), crowd(2), tmp_path / "models" / "background.safetensors"
    learn(logs[0], write("short", "user9", count=20))
    learn(*logs, write("nobody", None), user="ben")
    learn(*logs, without=("background",))
    assert not path.exists()
    learn(*logs, tmp_path / "short")
    data, found = path.read_bytes(), store.load_background()
    assert found is not None
    assert (found.users, found.to_bytes()) == (2, data)
    learn(*logs, user="ben")
    assert path.read_bytes() == data
    assert store.users() == ["ann", "ben"]


@pytest.mark.parametrize("without", [(), *((part,) for part in PARTS), PARTS])
def test_enrol_what_was_left_out_is_on_the_card(
    crowd: Crowd, learn: Learn, tmp_path: Path, without: tuple[str, ...]
) -> None:
    """Whatever was left out on purpose is on the card, and is what is missing."""
    without = (*dict.fromkeys(("lstm", *without)),)  # no network has to be trained
    done = learn(*crowd(FEWEST), algorithm=Algorithm.BOTH, without=without)
    found = model(tmp_path / "models", "ann")
    assert card(done[0]).without == without
    assert found.detector.sequence is None
    assert (found.detector.svm is None) is ("svm" in without)
    assert found.detector.is_together is ("background" not in without)
    if found.detector.is_together:
        assert all((channel.stay == channel.start) is ("filter" in without) for channel in found.fusion.channels)


def test_who_keeps_a_model_is_among_the_others(crowd: Crowd, learn: Learn) -> None:
    """A user who is new to a log of many is measured against those too who keep their models."""
    logs = crowd(FEWEST)
    learn(*logs[:2], **COUNTS)
    outcomes = learn(*logs, keep=True, **COUNTS)
    assert [type(outcome) for outcome in outcomes] == [Passed] * 2 + [Enrolled] * (FEWEST - 2)
    assert {card(outcome).others for outcome in outcomes[2:]} == {FEWEST - 1}


def test_the_machine_is_nobody_to_be_like(crowd: Crowd, learn: Learn, write: Write) -> None:
    """Rows that name nobody make no user of the crowd; with enough others, the host is learned alone."""
    host = write("nobody.log", None)
    assert {card(outcome).others for outcome in learn(*crowd(FEWEST - 1), host, **COUNTS)} == {0}
    together = {card(outcome).user: card(outcome).others for outcome in learn(*crowd(FEWEST), host, **COUNTS)}
    assert together.pop("host:ws1") == 0
    assert set(together.values()) == {FEWEST - 1}


def test_gathering_keeps_what_may_be_the_users(log: Path, silent: Watch) -> None:
    """Asked for one user, only that one's actions are held."""
    found, parser = gather((log,), silent, user="bob", period=Period())
    assert list(found.users) == ["bob"]
    assert found.named
    assert parser.identities.to_dict() == {"ws1": {"1000": "alice", "1001": "bob"}}
