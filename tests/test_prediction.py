"""What predict puts together: where it begins, who is scored by what, and what it remembers and learns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from anomaly.detectors.interface import Algorithm
from anomaly.enrolment import Enrolment, enrol
from anomaly.errors import LogMissing, ModelRefused, StateLocked, UnknownUser
from anomaly.harvest import Watch
from anomaly.prediction import prepare
from anomaly.records import Score, Severity
from anomaly.request import Prediction
from anomaly.sinks.interface import Sink
from anomaly.store import Store, Stored
from anomaly.tally import Tally

if TYPE_CHECKING:
    from tests.conftest import Event


class Kept(Sink):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.scores: list[Score] = []

    def write(self, scores: Sequence[Score]) -> None:
        """Take the scores."""
        self.scores += scores


class Setting:
    """A log, models of it, and runs of ``predict`` over it."""

    def __init__(self, log: Path, models: Path, state: Path) -> None:
        self.log, self.models, self.state = log, models, state
        self.said: list[str] = []
        self.tally = Tally()

    def append(self, *lines: bytes) -> None:
        """Write lines as osquery does."""
        with self.log.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))

    def run(self, user: str | None = None, **options: Any) -> list[Score]:  # noqa: ANN401 - a Prediction's
        """Score what is there, and stop."""
        sink = Kept()
        asked = Prediction(self.log, self.models, self.state, user, follow=False, **options)
        with prepare(asked, sink, self.said.append) as follower:
            self.tally = follower.run()
        return sink.scores


@pytest.fixture
def here(models: Path, log: Path, tmp_path: Path) -> Setting:
    """Give a log as it was at the end of training."""
    copy = tmp_path / "osqueryd.results.log"
    copy.write_bytes(log.read_bytes())
    return Setting(copy, models, tmp_path / "state")


def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return whose models are loaded from now on, as it happens."""
    loaded: list[str] = []
    load = Store.load

    def noted(store: Store, user: str, version: int | None = None) -> Stored | None:
        loaded.append(user)
        return load(store, user, version)

    monkeypatch.setattr(Store, "load", noted)
    return loaded


def users(scores: list[Score]) -> list[str]:
    """Return who acted."""
    return [score.action.user for score in scores]


def test_the_first_run_begins_where_training_stopped(here: Setting, event: Event) -> None:
    """No action falls between training and the first run, and none of training is scored."""
    assert here.run() == []
    here.append(event("alice", command="first"), event("bob", command="second"))
    assert [score.action.columns["command"] for score in here.run()] == ["first", "second"]


def test_the_second_run_begins_where_the_first_stopped(here: Setting, event: Event) -> None:
    """A run goes on where the last one stopped, and each user's state with it."""
    for command in ("one", "two", "three"):
        here.append(event("alice", command=command))
        assert [score.action.columns["command"] for score in here.run("alice")] == [command]
    assert here.run("alice") == []


def test_where_models_ended_at_different_places_the_earliest_counts(
    here: Setting, event: Event, silent: Watch
) -> None:
    """For all users the first run begins where the first of them was trained up to: no action falls between."""
    here.append(event("alice", command="before bob's training"))
    list(enrol(Enrolment((here.log,), here.models, Algorithm.OCSVM, user="bob"), silent))
    here.append(event("bob", command="after"))
    assert [score.action.columns["command"] for score in here.run()] == ["before bob's training", "after"]
    assert [score.action.columns["command"] for score in here.run("bob")] == ["after"]


def test_runs_of_other_users_have_their_own_place(here: Setting, event: Event) -> None:
    """What a run for one user has read, a run for another one, or for all, has not."""
    here.append(event("alice"), event("bob"))
    assert [users(here.run(user)) for user in ("alice", "bob", None, None)] == [
        ["alice"],
        ["bob"],
        ["alice", "bob"],
        [],
    ]


def test_after_a_rotation_training_s_end_is_found_again(here: Setting, event: Event) -> None:
    """The place is found by what the file is: in a log that was rotated since, the first run begins there."""
    here.append(event("alice", command="old file"))
    here.log.rename(here.log.with_name(here.log.name + ".1"))
    here.append(event("alice", command="new file"))
    assert [score.action.columns["command"] for score in here.run()] == ["old file", "new file"]


def test_from_start_and_end(here: Setting, lines: list[bytes], event: Event) -> None:
    """``--from start`` scores all there is, again and again; ``--from end`` nothing that is there."""
    here.append(event("alice"))
    assert len(here.run(begin="start")) == len(lines) + 1
    assert len(here.run(begin="start")) == len(lines) + 1
    here.append(event("alice"))
    assert here.run(begin="end") == []


def test_a_run_from_the_start_that_is_killed_at_once_is_gone_on_with(here: Setting, lines: list[bytes]) -> None:
    """Where a run was to begin is remembered before its first line, or the next would begin after training."""
    asked = Prediction(here.log, here.models, here.state, None, follow=False, begin="start")
    with prepare(asked, Kept(), here.said.append):
        pass  # killed before anything was read
    assert len(here.run()) == len(lines)


def test_from_start_begins_with_the_end_of_training(here: Setting) -> None:
    """A run from the start does not go on from the state of the run before: its scores are the same again."""
    assert here.run(begin="start") == here.run(begin="start")


@pytest.mark.parametrize(("name", "hint"), [("alcie", "Did you mean 'alice'?"), ("zoe", "There is: alice, bob.")])
def test_an_unknown_user(here: Setting, name: str, hint: str) -> None:
    """A user without a model is an error that names the nearest one with a model, and what to do."""
    with pytest.raises(UnknownUser) as caught:
        here.run(name)
    assert f"There is no model of {name!r}" in str(caught.value)
    assert hint in str(caught.value)
    assert "anomaly train --user" in str(caught.value)


def test_no_models_at_all(here: Setting, tmp_path: Path) -> None:
    """Without any model there is nothing to do, and the command that makes some is said."""
    here.models = tmp_path / "none"
    with pytest.raises(UnknownUser, match="anomaly train --all-users"):
        here.run()
    with pytest.raises(UnknownUser, match="anomaly train --user"):
        here.run("alice")


def test_everyone_gets_a_record(here: Setting, event: Event) -> None:
    """For all users every action is a record, of those without a model too; for one user only that one's."""
    here.append(event("alice"), event("mallory"), event(None, command="x"), event("bob"))
    scores = here.run()
    assert users(scores) == ["alice", "mallory", "host:ws1", "bob"]
    assert [score.model.state for score in scores] == ["ready", "learning", "learning", "ready"]
    assert [score.score is None for score in scores] == [False] * 4
    assert [score.risk is None for score in scores] == [False, True, True, False]
    assert here.tally.worst() is Severity.of(max(score.score or 0.0 for score in scores[::3]))
    assert users(here.run("bob")) == ["bob"]


@pytest.mark.parametrize("damage", [None, b"damaged"])
def test_without_a_background_strangers_are_shown(here: Setting, event: Event, damage: bytes | None) -> None:
    """Where nobody has learned what everyone does, users without a model have no score; a damaged one is said."""
    background = here.models / "background.safetensors"
    background.unlink()
    if damage is not None:
        background.write_bytes(damage)
        background.chmod(0o600)
    here.append(event("mallory"), event("alice"))
    scores = here.run()
    assert [score.model.state for score in scores] == ["none", "ready"]
    assert [score.score is None for score in scores] == [True, False]
    assert len(here.said) == (damage is not None)
    assert all("anomaly train --all-users" in text for text in here.said)


def test_min_score_shows_less_and_scores_all(here: Setting, lines: list[bytes]) -> None:
    """Only actions with the score asked for are shown, none without a score, and all are scored."""
    every = here.run(begin="start")
    some = here.run(begin="start", min_score=15)
    assert some == [score for score in every if score.score is not None and score.score >= 15]
    assert 0 < len(some) < len(every)
    assert here.tally.actions == len(lines)


def test_a_refused_model_stops_only_its_user(here: Setting, event: Event) -> None:
    """One damaged model does not end the watch over all others: it is said once, with what to do."""
    (here.models / "bob" / "1.safetensors").write_bytes(b"damaged")
    here.append(event("alice"), event("bob"), event("bob"))
    scores = here.run()
    assert users(scores) == ["alice", "bob", "bob"]
    assert [score.model.state for score in scores] == ["ready", "learning", "learning"]
    assert len(here.said) == 1
    assert "anomaly train --user bob" in here.said[0]
    with pytest.raises(ModelRefused):
        here.run("bob")


@pytest.mark.parametrize("everyone", ["known", "never learned", "damaged"])
@pytest.mark.parametrize("cut", [0, -1])
def test_what_becomes_of_a_refused_user_is_said(everyone: str, cut: int, here: Setting, event: Event) -> None:
    """It is said to be judged by what everyone does exactly where it is, at the start as well as later on."""
    file = here.models / "bob" / "1.safetensors"
    file.write_bytes(file.read_bytes()[:cut])  # cut by a byte, it is found out when bob acts
    background = here.models / "background.safetensors"
    if everyone == "never learned":
        background.unlink()
    if everyone == "damaged":
        background.write_bytes(b"damaged")
    here.append(event("bob"))
    (score,) = here.run()
    judged = score.score is not None
    assert judged is (everyone == "known")
    told = "'bob' is judged by what everyone does. " if judged else "'bob' is shown without scores. "
    assert [sentence.startswith(told) for sentence in here.said] == [False] * (everyone == "damaged") + [True]


def test_a_model_is_loaded_when_its_user_acts(
    here: Setting, event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start reads cards alone; damage beyond a card is said once, when its user acts, and survived."""
    file = here.models / "bob" / "1.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    loaded = loads(monkeypatch)
    here.append(event("alice"), event("alice"))
    assert [score.model.state for score in here.run()] == ["ready", "ready"]
    assert (loaded, here.said) == (["alice"], [])
    here.append(event("bob"), event("bob"), event("alice"))
    assert [score.model.state for score in here.run()] == ["learning", "learning", "ready"]
    assert len(here.said) == 1
    assert "does not match its SHA-256" in here.said[0]
    assert "anomaly train --user bob" in here.said[0]


def test_one_user_is_loaded_once(here: Setting, event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model that is looked at before anything is read is the one that scores."""
    loaded = loads(monkeypatch)
    here.append(event("alice"))
    assert users(here.run("alice")) == ["alice"]
    assert loaded == ["alice"]


@pytest.mark.parametrize("change", ["open", "file"])
def test_a_refused_directory_stops_only_its_user(here: Setting, event: Event, change: str) -> None:
    """One user's directory that is not to be trusted, or a stray file, does not end the watch over all others."""
    if change == "open":
        (here.models / "bob").chmod(0o777)
    else:
        (here.models / "README").write_bytes(b"")
    here.append(event("alice"))
    assert users(here.run()) == ["alice"]


def test_no_usable_model_is_an_error(here: Setting, event: Event) -> None:
    """Where every model is refused nothing could be scored: that is said, and the log is not passed over."""
    for user in ("alice", "bob"):
        (here.models / user).chmod(0o777)
    here.append(event("alice"))
    with pytest.raises(ModelRefused, match=r"None of the models in .* can be used"):
        here.run()
    (here.models / "alice").chmod(0o700)
    assert users(here.run()) == ["alice"]


@pytest.fixture
def nameless(tmp_path: Path, event: Event, silent: Watch) -> Setting:
    """Give a log that names nobody, and alice's model of it."""
    log = tmp_path / "nameless.log"
    setting = Setting(log, tmp_path / "claimed", tmp_path / "state")
    setting.append(*(event(None, command=f"c{n % 7}", time=1_793_000_000 + n) for n in range(700)))
    list(enrol(Enrolment((log,), setting.models, Algorithm.OCSVM, user="alice"), silent))
    return setting


def test_a_nameless_log_is_the_users(nameless: Setting, event: Event) -> None:
    """A model that claimed a log without users goes on claiming it: its actions are shown as the user's."""
    nameless.append(event(None, command="c1"))
    (score,) = nameless.run("alice")
    assert score.action.user == "alice"
    assert score.score is not None


def test_another_log_that_names_nobody_is_claimed_and_said(here: Setting, nameless: Setting) -> None:
    """A model of a named log, asked to judge one that names nobody, takes all of it, and says so."""
    nameless.models = here.models
    scores = nameless.run("alice", begin="start")
    assert set(users(scores)) == {"alice"}
    assert len(scores) == 700
    assert nameless.said == [f"{nameless.log} names no user: all of it is taken as that of 'alice'."]


def test_a_log_with_names_is_not_claimed(here: Setting, event: Event) -> None:
    """Where the log names anybody, rows that name nobody are nobody's."""
    here.append(event(None, command="cron"))
    assert here.run("alice") == []


def test_a_missing_log(here: Setting) -> None:
    """A log that is not there is an error unless it is to be followed."""
    here.log.unlink()
    with pytest.raises(LogMissing):
        here.run()


def test_two_runs_at_once(here: Setting) -> None:
    """A second run over the same log and users is refused while the first goes on, and not after it."""
    asked = Prediction(here.log, here.models, here.state, None, follow=False)
    with prepare(asked, Kept(), here.said.append), pytest.raises(StateLocked):
        here.run()
    assert here.run() == []


def test_a_damaged_checkpoint_is_said(here: Setting, event: Event) -> None:
    """A checkpoint that cannot be read is put aside and said, and the run begins where training stopped."""
    here.append(event("alice"))
    here.run()
    (file,) = here.state.glob("*[0-9a-f].json")
    file.write_bytes(b"{")
    assert users(here.run()) == ["alice"]
    assert any("could not be read" in text for text in here.said)


def test_following_waits_for_a_missing_log(here: Setting) -> None:
    """A log to be followed may be absent: it is said, and waited for."""
    here.log.unlink()
    asked = Prediction(here.log, here.models, here.state, None, follow=True)
    with prepare(asked, Kept(), here.said.append) as follower:
        assert not follower.source.ended
    assert here.said == [f"{here.log} is not there yet; waiting for it."]


def test_the_version_in_use_scores(here: Setting, event: Event) -> None:
    """After a rollback the earlier version scores."""
    store = Store(here.models)
    stored = store.load("alice")
    assert stored is not None
    store.save("alice", stored.model)
    here.append(event("alice"), event("alice"))
    assert {score.model.version for score in here.run(begin="start") if score.action.user == "alice"} == {2}
    store.rollback("alice")
    assert {score.model.version for score in here.run(begin="start") if score.action.user == "alice"} == {1}


def learned(here: Setting) -> dict[str, bytes]:
    """Return the files of what was learned."""
    return {path.name: path.read_bytes() for path in (here.models / "alice").glob("*.learned")}


def test_it_learns_beside_the_model_and_from_run_to_run(here: Setting, lines: list[bytes]) -> None:
    """What a run learns is a file beside the model, named after the log; the next run goes on from it."""
    model = (here.models / "alice/1.safetensors").read_bytes()
    log = here.log.read_bytes()
    here.append(*lines)
    whole = here.run("alice")
    (name,) = learned(here)
    assert name.startswith(f"1.{here.log.name}-")
    assert (here.models / "alice/1.safetensors").read_bytes() == model
    Store(here.models).forget_learned("alice", 1)
    for file in here.state.iterdir():
        file.unlink()
    here.log.write_bytes(log)
    found: list[Score] = []
    for start in range(0, len(lines), 500):
        here.append(*lines[start : start + 500])
        found += here.run("alice")
    assert found == whole
    assert learned(here)
    assert here.said == []


def test_what_is_forgotten_between_two_runs_is_said(here: Setting, lines: list[bytes], event: Event) -> None:
    """Where what was learned was deleted since, the next run says so, and scores as trained."""
    here.append(*lines[:1000])
    here.run("alice")
    assert Store(here.models).forget_learned("alice", 1) > 0
    here.append(event("alice"))
    assert users(here.run("alice")) == ["alice"]
    assert here.said == ["What was learned of 'alice' since training is gone; it is learned anew."]
    assert learned(here) == {}


def test_it_need_not_learn(here: Setting, lines: list[bytes]) -> None:
    """A run that is told not to learn writes nothing beside the models, and leaves what is there as it was."""
    here.append(*lines[:700])
    assert here.run("alice", adapt=False)
    assert learned(here) == {}
    here.append(*lines[700:1900])
    here.run("alice")
    before = learned(here)
    assert before
    here.append(*lines[1900:])
    here.run("alice", adapt=False)
    assert learned(here) == before
