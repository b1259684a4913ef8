"""Models in use, and what has changed since they were loaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from anomaly.errors import ModelRefused
from anomaly.registry import SETTLING, Registry
from anomaly.store import Store
from tests.test_tally import Clock


@pytest.fixture
def said() -> list[str]:
    """Give what was said."""
    return []


@pytest.fixture
def clock() -> Clock:
    """Give a clock."""
    return Clock()


@pytest.fixture
def registry(models: Path, said: list[str], clock: Clock) -> Registry:
    """Give the models of alice and bob."""
    return Registry(Store(models), said.append, clock)


def again(store: Store, user: str, name: str | None = None) -> int:
    """Store a user's model as another version."""
    stored = store.load(user)
    assert stored is not None
    return store.save(name or user, stored.model)


def test_what_did_not_change_is_not_loaded_again(registry: Registry) -> None:
    """A look finds nothing where nothing was trained."""
    assert registry.find("alice") is not None
    assert registry.changes() == ([], False, [])


def test_a_new_version_is_found_once(registry: Registry, models: Path) -> None:
    """Only the user whose model it is, and only if somebody has asked for it."""
    registry.find("alice")
    again(Store(models), "alice")
    again(Store(models), "bob")
    assert registry.changes().users == ["alice"]
    assert registry.changes().users == []
    stored = registry.load("alice")
    assert stored is not None
    assert stored.version == 2
    assert registry.changes().users == []


def test_a_new_user_is_found(registry: Registry, models: Path, clock: Clock) -> None:
    """For a while, since a model is written in steps; until then nobody looks for the user on disk."""
    assert registry.find("carol") is None
    (models / "carol").mkdir(mode=0o700)
    assert registry.changes().anyone
    assert registry.find("carol") is None
    for name in ("1.safetensors", "current"):
        (models / "carol" / name).write_bytes((models / "alice" / name).read_bytes())
    assert registry.find("carol") is None
    assert registry.changes().anyone
    assert registry.users() == {"alice", "bob", "carol"}
    clock.now += SETTLING
    assert not registry.changes().anyone


def test_who_is_gone_is_found_once(registry: Registry, models: Path) -> None:
    """A directory that is removed is noticed before its user acts; of whoever was loaded, the file tells."""
    registry.users()
    registry.find("alice")
    for user in ("alice", "bob"):
        shutil.rmtree(models / user)
    assert registry.changes() == (["alice"], True, ["bob"])
    assert registry.changes() == ([], True, [])
    assert registry.users() == frozenset()


def test_a_directory_that_is_not_to_be_trusted_names_nobody(registry: Registry, models: Path) -> None:
    """A look survives it, and says of nobody that the model is gone."""
    registry.users()
    shutil.rmtree(models / "bob")
    models.chmod(0o777)
    assert registry.changes() == ([], True, [])


def test_a_name_without_a_model_costs_no_look_at_the_disk(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are the log's to choose, and there is no end of them."""
    registry.users()

    def refuse(*_: object) -> None:
        raise AssertionError("it looked")

    monkeypatch.setattr(Store, "load", refuse)
    monkeypatch.setattr(Store, "mark", refuse)
    assert registry.find("mallory") is None


def test_what_was_loaded_ahead_is_given_once_and_while_it_is_in_use(registry: Registry, models: Path) -> None:
    """It is what ``find`` gives first, unless something newer was loaded since."""
    first = registry.ahead("alice")
    assert registry.find("alice") is first
    assert registry.find("alice") is not first
    registry.ahead("alice")
    again(Store(models), "alice")
    assert registry.changes().users == ["alice"]
    registry.load("alice")
    found = registry.find("alice")
    assert found is not None
    assert found.version == 2


def test_a_refused_model_is_said_once(registry: Registry, models: Path, said: list[str]) -> None:
    """It is no model, each time it is asked for."""
    file = models / "alice" / "1.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert registry.find("alice") is None
    assert registry.find("alice") is None
    assert [card.user for card in registry.cards()] == ["alice", "bob"]
    file.write_bytes(b"")
    for _ in range(2):
        assert [card.user for card in registry.cards()] == ["bob"]
    assert len(said) == 2
    assert said[0].startswith("'alice' is shown without scores. ")
    with pytest.raises(ModelRefused):
        registry.load("alice")


def test_of_many_refused_models_a_few_are_named(registry: Registry, models: Path, said: list[str]) -> None:
    """However much junk there is, a few lines and how much more there is are said, also when its users act."""
    for number in range(300):
        (models / f"junk{number}").mkdir(mode=0o700)
        (models / f"junk{number}" / "1.safetensors").write_bytes(b"junk")
    assert [card.user for card in registry.cards()] == ["alice", "bob"]
    assert [sentence.partition(" ")[0] for sentence in said[:-1]] == [f"'junk{n}'" for n in (0, 1, 10, 100, 101)]
    assert said[-1] == "295 more models are refused. To see why: anomaly models list"
    assert registry.find("junk299") is None
    assert len(said) == 6
