"""What was learned since training, as a file of its own: its content, its place, and what scoring makes of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.adaptation import REMEMBERED, Progress
from anomaly.detectors.interface import WINDOW
from anomaly.errors import StoreUnwritable
from anomaly.learned import EmbeddedKeeper, Learned, Origin, StoreKeeper
from anomaly.osquery import Action
from anomaly.records import Score
from anomaly.scoring import Scorer
from anomaly.standing import as_trained
from anomaly.store import Store

Later = Callable[[int, int], list[Action]]
ORIGIN = Origin("alice", "OCSVM", 1, "f1e2", "/var/log/osquery/osqueryd.results.log")
LOG = "osqueryd.results.log-0011223344556677"
MODEL = "alice/1.safetensors"

progresses = st.builds(
    Progress,
    **dict.fromkeys(("generation", "learned", "refused", "capped", "first", "last"), st.integers(0, 10**11 - 1)),
    recent=st.lists(st.booleans(), max_size=REMEMBERED),
)


def example() -> Learned:
    """Make something that was learned."""
    return Learned(ORIGIN, Progress(generation=3, learned=300, recent=[True]), {"own": np.arange(5.0)})


@settings(max_examples=60, deadline=None)
@given(progresses, st.text(max_size=30), st.lists(st.floats(allow_nan=False), max_size=9), st.binary(max_size=9))
def test_round_trip(progress: Progress, user: str, numbers: list[float], raw: bytes) -> None:
    """A file gives back whose it is, how far it went, and its arrays to the last bit."""
    arrays = {"own": np.array(numbers), "pool": np.frombuffer(raw, np.uint8).reshape(-1, 1)}
    origin = msgspec.structs.replace(ORIGIN, user=user.encode("utf-8", "replace").decode())
    data = Learned(origin, progress, arrays).to_bytes()
    found = Learned.from_bytes(data)
    assert (found.origin, found.progress) == (origin, progress)
    assert found.arrays.keys() == arrays.keys()
    assert all(found.arrays[name].tobytes() == arrays[name].tobytes() for name in arrays)
    assert all(found.arrays[name].dtype == arrays[name].dtype for name in arrays)
    assert found.to_bytes() == data


def crafted(change: Callable[[dict[str, Any]], Any]) -> bytes:
    """Change the header of a file."""
    data = example().to_bytes()
    length = int.from_bytes(data[:8], "little")
    outer = json.loads(data[8 : 8 + length])
    header = json.loads(outer["__metadata__"]["anomaly"])
    change(header)
    outer["__metadata__"]["anomaly"] = json.dumps(header)
    text = json.dumps(outer).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another schema": lambda header: header.update(schema=2),
    "no schema": lambda header: header.pop("schema"),
    "no origin": lambda header: header.pop("origin"),
    "origin of another kind": lambda header: header.update(origin=[]),
    "no user": lambda header: header["origin"].pop("user"),
    "no progress": lambda header: header.pop("progress"),
    "a time before all time": lambda header: header["progress"].update(last=-(10**15)),
    "a count beyond any": lambda header: header["progress"].update(learned=10**17),
    "a count that is none": lambda header: header["progress"].update(learned="many"),
    "too long a memory": lambda header: header["progress"].update(recent=[True] * (REMEMBERED + 1)),
    "a memory of numbers": lambda header: header["progress"].update(recent=[1.5]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_crafted_header_is_a_value_error(change: Callable[[dict[str, Any]], Any]) -> None:
    """A header with anything missing or of another kind is a ValueError, and one left alone is read."""
    assert Learned.from_bytes(crafted(lambda _: None)).progress == example().progress
    with pytest.raises(ValueError):  # noqa: PT011 - any will do
        Learned.from_bytes(crafted(change))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 300), st.integers(1, 255), st.booleans())
def test_other_bytes_are_a_value_error(noise: bytes, place: int, change: int, cut: bool) -> None:  # noqa: FBT001
    """Any bytes, a file cut short, and one with a byte changed are read or are a ValueError, and nothing else."""
    good = bytearray(example().to_bytes())
    good[place % len(good)] ^= change
    for data in (noise, len(noise).to_bytes(8, "little") + noise, bytes(good[:place] if cut else good)):
        try:
            Learned.from_bytes(data)
        except ValueError:
            continue


@given(st.binary(max_size=50))
def test_embedded_is_kept_in_the_reference(data: bytes) -> None:
    """What is kept in a reference comes out of its JSON again."""
    keeper = EmbeddedKeeper()
    reference = json.loads(json.dumps(keeper.keep("alice", 1, data, None)))
    assert keeper.fetch("alice", 1, reference) == data
    assert not keeper.forgotten("alice", 1, reference)


REFERENCES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e300, 1e300) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["slot", "sha256", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(REFERENCES)
def test_a_reference_that_is_none_finds_nothing(ocsvm_models: Path, reference: Any) -> None:  # noqa: ANN401
    """Whatever a checkpoint has for a reference, it finds nothing, or bytes; it raises nothing."""
    for keeper in (EmbeddedKeeper(), StoreKeeper(Store(ocsvm_models), LOG)):
        assert isinstance(keeper.fetch("alice", 1, reference), bytes | None)


def test_two_places_by_turns(models: Path) -> None:
    """What the last reference names is still there once the next was kept; users, versions and logs are apart."""
    keeper, other = StoreKeeper(Store(models), LOG), StoreKeeper(Store(models), "another")
    first = keeper.keep("alice", 1, b"1", None)
    second = keeper.keep("alice", 1, b"2", first)
    assert [keeper.fetch("alice", 1, reference) for reference in (first, second)] == [b"1", b"2"]
    keeper.keep("alice", 1, b"3", second)
    assert [keeper.fetch("alice", 1, reference) for reference in (first, second)] == [None, b"2"]
    strangers = [keeper.fetch("bob", 1, second), keeper.fetch("alice", 2, second), other.fetch("alice", 1, second)]
    assert strangers == [None] * 3
    assert len(Store(models).learned("alice", 1)) == 2


def test_what_is_not_what_was_kept_is_not_found(models: Path) -> None:
    """A file that was changed, is gone, or is a link is not found."""
    keeper = StoreKeeper(Store(models), LOG)
    reference = keeper.keep("alice", 1, b"learned", None)
    file = models / f"alice/1.{LOG}.{reference['slot']}.learned"
    assert reference["sha256"] == hashlib.sha256(b"learned").hexdigest()
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(b"Learned")
    assert keeper.fetch("alice", 1, reference) is None
    file.unlink()
    assert keeper.fetch("alice", 1, reference) is None
    (models / "elsewhere").write_bytes(b"learned")
    file.symlink_to(models / "elsewhere")
    assert keeper.fetch("alice", 1, reference) is None


def test_forgotten_is_when_both_are_gone(models: Path) -> None:
    """What a log has taught is forgotten when neither place holds it, whatever another log has taught."""
    keeper, other = StoreKeeper(Store(models), LOG), StoreKeeper(Store(models), "another")
    reference = keeper.keep("alice", 1, b"one", None)
    another = other.keep("alice", 1, b"other", None)
    assert not keeper.forgotten("alice", 1, reference)
    (models / f"alice/1.{LOG}.{reference['slot']}.learned").unlink()
    assert keeper.forgotten("alice", 1, reference)
    assert not other.forgotten("alice", 1, another)
    assert Store(models).forget_learned("alice", 1) == 1
    assert other.forgotten("alice", 1, another)
    assert not other.forgotten("alice", 1, "kept in the checkpoint")


class Full(Store):
    """A store without room."""

    def write_learned(self, user: str, version: int, name: str, data: bytes) -> None:  # noqa: ARG002
        """Raise."""
        raise StoreUnwritable("There is no room.")


class Life:
    """A scorer of alice that is stopped and started again."""

    def __init__(self, models: Path, actions: list[Action], store: type[Store] = Store) -> None:
        self.models, self.store, self.actions = models, store, actions
        self.said: list[str] = []
        self.saved: dict[str, Any] = {}
        self.begin()

    def begin(self) -> None:
        """Start from the checkpoint."""
        store = self.store(self.models)
        self.keeper = StoreKeeper(store, LOG, self.said.append)
        self.scorer = Scorer(store.load, only="alice", keeper=self.keeper, log=LOG, say=self.said.append)
        self.scorer.restore(self.saved)

    def score(self, start: int, stop: int) -> list[Score | None]:
        """Score some of alice's actions."""
        return [self.scorer.score("1", action) for action in self.actions[start:stop]]

    def save(self) -> dict[str, Any]:
        """Write a checkpoint."""
        self.saved = json.loads(json.dumps(self.scorer.export()))
        self.scorer.saved()
        reference: dict[str, Any] = self.saved["alice"]["learned"]
        return reference

    def file(self, reference: dict[str, Any]) -> Path:
        """Return the file that a reference names."""
        return self.models / f"alice/1.{LOG}.{reference['slot']}.learned"

    def progress(self) -> Progress:
        """Return how far learning has come."""
        adaptation = self.scorer._users["alice"].adaptation
        assert adaptation is not None
        return adaptation.progress


@pytest.fixture
def life(models: Path, later: Later) -> Life:
    """Give alice's life after training."""
    return Life(models, [action for action in later(1400, 5) if action.user == "alice"])


def test_the_model_itself_is_never_touched(life: Life) -> None:
    """What is learned is a file beside the model, which stays as it was, byte for byte."""
    before = (life.models / MODEL).read_bytes()
    names = {path.name for path in (life.models / "alice").iterdir()}
    life.score(0, 1300)
    reference = life.save()
    assert (life.models / MODEL).read_bytes() == before
    name = f"{LOG}.{reference['slot']}"
    assert {path.name for path in (life.models / "alice").iterdir()} - names == {f"1.{name}.learned"}
    data = Store(life.models).read_learned("alice", 1, name)
    assert data is not None
    assert reference["sha256"] == hashlib.sha256(data).hexdigest()
    learned = Learned.from_bytes(data)
    assert learned.progress == life.progress()
    assert learned.progress.learned == 900  # of 13 chunks, the last three wait, and one is not complete yet
    card = Store(life.models).load("alice")
    assert card is not None
    assert learned.origin == Origin("alice", "OCSVM", 1, card.model.card.fingerprint, LOG)


def test_nothing_is_written_before_something_is_learned(life: Life) -> None:
    """Until the first chunk is learned there is no file, and without news it is not written again."""
    life.score(0, 419)
    assert life.save() is None
    assert Store(life.models).learned("alice", 1) == []
    life.score(419, 420)
    first = life.save()
    life.file(first).write_bytes(b"")
    life.score(420, 460)
    assert life.save() == first
    assert life.file(first).read_bytes() == b""


@pytest.mark.parametrize("damage", ["changed", "removed", "another's"])
def test_what_is_gone_is_learned_anew(life: Life, damage: str) -> None:
    """Where the file is not the one that was written it is said, and scoring goes on as trained, where it was."""
    life.score(0, 1300)
    file = life.file(life.save())
    if damage == "changed":
        file.write_bytes(file.read_bytes()[:-1] + b"\0\0")
    elif damage == "removed":
        file.unlink()
    else:
        data = Learned.from_bytes(file.read_bytes())
        other = data._replace(origin=msgspec.structs.replace(data.origin, fingerprint="0")).to_bytes()
        file.write_bytes(other)
        life.saved["alice"]["learned"]["sha256"] = hashlib.sha256(other).hexdigest()
    plain = Life(life.models, life.actions)
    state = life.saved["alice"]
    stored = Store(life.models).load("alice")
    assert stored is not None
    plain.saved = {"alice": {**as_trained(state, stored), "learned": None}}
    assert plain.saved["alice"]["filter"]["scales"] != state["filter"]["scales"]
    plain.begin()
    life.begin()
    assert life.score(1300, 1400) == plain.score(1300, 1400)
    assert life.said == ["What was learned of 'alice' since training is gone; it is learned anew."]
    assert plain.said == []
    assert life.progress() == Progress()


def test_what_is_taken_away_while_it_runs_is_forgotten(life: Life) -> None:
    """Once the files are deleted the running scorer says so at its next checkpoint, and goes on as trained."""
    life.score(0, 1300)
    life.save()
    assert Store(life.models).forget_learned("alice", 1) == 1
    assert life.save() is None
    assert life.said == ["What was learned of 'alice' since training was taken away; it is learned anew."]
    assert life.progress() == Progress()
    assert Store(life.models).learned("alice", 1) == []
    plain = Life(life.models, life.actions)
    plain.saved = life.saved
    plain.begin()
    assert life.score(1300, 1400) == plain.score(1300, 1400)
    life.score(0, 420)
    assert life.save() is not None


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_a_crash_between_the_file_and_the_checkpoint(life: Life, tries: int) -> None:
    """Where the file was written and the checkpoint was not, however often, the older one still finds its own."""
    life.score(0, 1050)
    life.save()
    expected = life.score(1050, 1150)
    life.scorer.export()
    for more in range(1, tries):
        life.score(1050 + 100 * more, 1150 + 100 * more)
        life.scorer.export()
    assert len(Store(life.models).learned("alice", 1)) == 2
    life.begin()
    assert life.score(1050, 1150) == expected
    assert life.said == []


def test_a_store_without_room_keeps_it_in_the_checkpoint(models: Path, later: Later) -> None:
    """Where models cannot be written, what was learned is in the checkpoint, and a restart goes on from there."""
    actions = [action for action in later(1400, 5) if action.user == "alice"]
    whole, life = Life(models, actions, Full), Life(models, actions, Full)
    expected = whole.score(0, 1400)
    for stop in range(100, 1400, 100):
        life.score(stop - 100, stop)
        life.save()
    assert isinstance(life.saved["alice"]["learned"], str)
    assert life.said == ["What is learned is kept in the checkpoint, not beside the model. There is no room."]
    assert Store(models).learned("alice", 1) == []
    life.begin()
    assert life.score(1300, 1400) == expected[1300:]
    assert len(life.said) == 1
    assert life.progress() == whole.progress()


def test_a_new_model_starts_without_it(life: Life) -> None:
    """After a new training nothing of what the old model learned is gone on from, nor said to be lost."""
    life.score(0, 500)
    life.save()
    store = Store(life.models)
    stored = store.load("alice")
    assert stored is not None
    store.save("alice", stored.model)
    life.begin()
    life.score(500, 500 + WINDOW)
    assert life.progress() == Progress()
    assert life.said == []


def test_two_logs_teach_apart(life: Life) -> None:
    """What one log has taught is not what another has: each keeps, and forgets, its own."""
    life.score(0, 450)
    mine = life.save()
    store = Store(life.models)
    other = Scorer(store.load, only="alice", keeper=StoreKeeper(store, "other"), log="other")
    for action in life.actions[:450]:
        other.score("1", action)
    theirs = other.export()["alice"]["learned"]
    assert store.learned("alice", 1) == sorted([f"{LOG}.{mine['slot']}", f"other.{theirs['slot']}"])
