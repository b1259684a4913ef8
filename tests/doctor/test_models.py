"""Checks of models."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from anomaly.adaptation import Progress
from anomaly.doctor.interface import State
from anomaly.learned import Learned, Origin
from anomaly.store import Store

if TYPE_CHECKING:
    from tests.conftest import Event
    from tests.doctor.conftest import Machine

NOW = 1_793_100_000


@pytest.fixture
def trained(machine: Machine, ocsvm_models: Path) -> Machine:
    """Give a machine with models of alice and bob."""
    shutil.copytree(ocsvm_models, machine.places.models)
    return machine


def train(machine: Machine, user: str) -> str:
    """Return the command that trains a user."""
    places = machine.places
    return f"anomaly train --user {user} --models {places.models} -l {places.log}"


def test_models_that_are_there(trained: Machine) -> None:
    """A directory with models is in order, and says whose."""
    verdict = trained.check("models")
    assert (verdict.state, verdict.found) == (
        State.OK,
        f"{trained.places.models} has models of 2 users: alice, bob.",
    )


def test_no_model_at_all(machine: Machine) -> None:
    """Without a model nobody is watched: a problem, with the command that makes them."""
    verdict = machine.check("models")
    assert verdict.state is State.PROBLEM
    assert verdict.remedy == (
        f"anomaly train --all-users --models {machine.places.models} -l {machine.places.log}",
    )


def test_models_that_others_could_write(trained: Machine) -> None:
    """A directory that everybody may write is a problem, with the command that mends it."""
    trained.places.models.chmod(0o777)
    verdict = trained.check("models")
    models = trained.places.models
    assert (verdict.state, verdict.found) == (
        State.PROBLEM,
        f"{models} is not to be trusted: everybody may write it.",
    )
    assert verdict.remedy == (f"chown -R $(id -un) {models} && chmod -R go-w {models}",)
    (models / "precious").touch()  # somebody's, of whom no command is to take it
    assert trained.check("models").remedy == (f"chown $(id -un) {models} && chmod go-w {models}",)


def test_models_of_the_service(trained: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root is told to ask as the service's user, who owns them; anybody else, that they are a stranger's."""
    models = trained.places.models
    owner = models.stat().st_uid
    monkeypatch.setattr("anomaly.trust.os.geteuid", lambda: owner + 4242)
    monkeypatch.setattr("anomaly.doctor.models.user_name", lambda _: "svc")
    if owner == 0:
        os.chown(models, 4243, -1)
        monkeypatch.setattr("anomaly.trust.os.geteuid", lambda: 4242)
    assert trained.check("models").state is State.PROBLEM
    monkeypatch.setattr("anomaly.trust.os.geteuid", lambda: 0)
    verdict = trained.check("models")
    assert (verdict.state, verdict.remedy) == (State.UNKNOWN, ("sudo -u svc anomaly doctor",))


def test_a_file_in_place_of_the_directory(machine: Machine) -> None:
    """What is no directory is a problem and no crash."""
    machine.write(machine.places.models, "x")
    assert machine.check("models").state is State.PROBLEM
    assert all(verdict.state is not None for verdict in machine.examine().values())


def test_models_that_can_be_read(trained: Machine) -> None:
    """Each model in use is loaded."""
    assert trained.check("model files").found == "The models in use of 2 users can be read."


def test_a_model_that_is_damaged(trained: Machine) -> None:
    """A changed byte anywhere is a problem, with the reason and the command that makes a new one."""
    path = trained.places.models / "alice" / "1.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    verdict = trained.check("model files")
    assert verdict.state is State.PROBLEM
    assert verdict.found == f"Model {path} is refused: its content does not match its SHA-256."
    assert verdict.remedy == (train(trained, "alice"),)


def test_a_model_of_another_version_of_the_program(trained: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schema that this program does not read is a problem; the others that are refused are named."""
    monkeypatch.setattr("anomaly.model.SCHEMA", 999)
    verdict = trained.check("model files")
    assert verdict.state is State.PROBLEM
    assert "this program reads 999" in verdict.found
    assert verdict.found.endswith("Others are refused too: bob.")


def test_pipes_and_links_among_models(trained: Machine) -> None:
    """A pipe in place of a model is refused and not waited for; so is a link."""
    for number, user in enumerate(("alice", "bob")):
        path = trained.places.models / user / "1.safetensors"
        path.unlink()
        os.mkfifo(path) if number else path.symlink_to("/dev/zero")
    verdict = trained.check("model files")
    assert verdict.state is State.PROBLEM
    assert verdict.found.endswith("Others are refused too: bob.")


def test_who_acts_and_has_no_model(trained: Machine, event: Event) -> None:
    """A user with enough actions at the log's end and no model is named, with the command; others are not."""
    trained.log([event("carol")] * 600 + [event("alice")] * 600 + [event("dave")] * 400)
    verdict = trained.check("model coverage")
    assert verdict.state is State.WARNING
    assert verdict.found == "carol: 500 actions or more at the log's end, and no model."
    assert verdict.remedy == (train(trained, "carol"),)
    trained.log([event("alice")] * 600)
    assert trained.check("model coverage").found == "Whoever has 500 actions at the log's end has a model: alice."
    trained.log([event("alice")])
    assert trained.check("model coverage").state is State.UNKNOWN


def test_models_that_are_refused_leave_it_open(trained: Machine, event: Event) -> None:
    """Where models must not be believed it is said once, and not that everybody lacks one."""
    trained.log([event("carol")] * 600)
    trained.places.models.chmod(0o777)
    assert trained.check("model coverage").state is State.UNKNOWN


def test_a_users_name_is_a_word_in_a_command(trained: Machine, event: Event) -> None:
    """A name that would be more than a name to a shell is quoted."""
    trained.log([event("$(reboot)\x1b")] * 600)
    (command,) = trained.check("model coverage").remedy
    assert command.startswith("anomaly train --user $'$(reboot)\\x1b' ")


def test_models_grow_old(trained: Machine, event: Event) -> None:
    """By the log's time, not the clock's: what was learned more than 90 days before the log's end is old."""
    trained.log([event(time=NOW + 3600)])
    assert trained.check("model age").state is State.OK
    trained.log([event(time=NOW + 120 * 86_400)])
    verdict = trained.check("model age")
    assert verdict.state is State.WARNING
    assert verdict.remedy == (train(trained, "alice"),)
    assert "was trained on what ended 1" in verdict.found


def test_models_that_have_drifted(trained: Machine) -> None:
    """What has led far from what was trained is named, with the command that undoes it."""
    assert trained.check("model drift").found == "0 models learned while running, and none has drifted."
    store = Store(trained.places.models)
    stored = store.load("alice")
    assert stored is not None
    origin = Origin("alice", "OCSVM", 1, stored.model.card.fingerprint, "log")
    for surprising in (False, True):
        progress = msgspec.structs.replace(Progress(), learned=9, recent=[surprising] * 20)
        store.write_learned("alice", 1, "log.0", Learned(origin, progress, {}).to_bytes())
        assert trained.check("model drift").state is (State.WARNING if surprising else State.OK)
    verdict = trained.check("model drift")
    assert verdict.remedy[1].startswith("anomaly models rollback --learned --user alice --models ")


def test_what_was_learned_may_be_broken(trained: Machine) -> None:
    """A file of what was learned that cannot be read is worth a word."""
    Store(trained.places.models).write_learned("alice", 1, "log.0", b"garbage")
    verdict = trained.check("model drift")
    assert verdict.state is State.WARNING
    assert verdict.found.startswith("What was learned of 'alice' is refused: ")
