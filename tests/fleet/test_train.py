"""A fleet's models are those of local training, byte for byte, and the manifest says what there is."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from backports import zstd

from anomaly.background import Background
from anomaly.detectors import lstm_fit
from anomaly.detectors.interface import Algorithm
from anomaly.enrolment import Enrolment, enrol
from anomaly.errors import (
    ConfigError,
    LogEmpty,
    LogMissing,
    LogUnreadable,
    StoreUnwritable,
    TooLittleData,
    WorkerLost,
)
from anomaly.fleet import train as room
from anomaly.fleet.keys import Rule
from anomaly.fleet.lessons import Learned, Lessons
from anomaly.fleet.manifest import Manifest
from anomaly.fleet.storage import FolderStorage, HadoopStorage
from anomaly.fleet.train import Outcome, Request, load, train
from anomaly.harvest import Period, Watch
from anomaly.model import UserModel
from anomaly.sources.interface import MAX_LINE
from anomaly.store import Store
from tests.conftest import BEGIN, Event

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Trained(NamedTuple):
    """A log with its archives, and what a fleet's training made of it."""

    log: Path
    models: Path
    outcome: Outcome


def asked(log: Path, models: Path, rule: Rule = Rule.LOCAL, **changes: object) -> Request:
    """Ask for One-Class SVMs."""
    return Request((str(log),), str(models), Algorithm.OCSVM, rule, **changes)  # type: ignore[arg-type]


def local(log: Path, models: Path, silent: Watch, user: str | None = None) -> Path:
    """Train without Spark."""
    list(enrol(Enrolment((log,), models, Algorithm.OCSVM, user=user), silent))
    return models


def of_carol(event: Event) -> list[bytes]:
    """Give what a third user does: at first only her number is there, later a name, and then another's name."""
    found = []
    for number in range(520):
        named = "carol" if number == 300 else "mallory" if number == 400 else None
        copies = f"cp /home/carol/a{number % 7} /home/bob/b"
        command = (f"make step{number % 7}", copies, f"ssh carol@ws{number % 5}")[number % 9 // 4]
        line = event(named, time=BEGIN + 60 * number, command=command, uid="1007")
        found.append(line.replace(b'"1999"', b'"1007"'))
    return found


@pytest.fixture(scope="module")
def trained(
    spark: SparkSession, lines: list[bytes], event: Event, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """Train three users, one who has nothing to be learned from, and some with too few actions."""
    folder = tmp_path_factory.mktemp("a fleet's")
    erin = [event("erin", time=BEGIN + number, command="ls") for number in range(500)]
    mixed = sorted([*lines[:2000], *of_carol(event), *erin], key=lambda line: json.loads(line)["unixTime"])
    log = folder / "logs" / "r.log"
    log.parent.mkdir()
    third = len(mixed) // 3
    parts = [b"".join(line + b"\n" for line in part) for part in (mixed[:third], mixed[third : 2 * third])]
    (log.parent / "r.log.2.zst").write_bytes(zstd.compress(parts[0]))
    (log.parent / "r.log.1.gz").write_bytes(gzip.compress(parts[1]))
    log.write_bytes(b"\n".join([*mixed[2 * third :], b"x" * (MAX_LINE + 1), b"no result"]))
    spark.conf.set("spark.sql.files.maxPartitionBytes", "100000")  # the log itself is read in pieces
    outcome = train(asked(log.parent, folder / "models"), spark)
    return Trained(log, folder / "models", outcome)


@pytest.mark.parametrize("user", ["alice", "bob", "carol"])
def test_models_are_byte_for_byte_those_of_local_training(
    trained: Trained, user: str, silent: Watch, tmp_path: Path
) -> None:
    """Out of pieces and archives, and where a number has its name from a later line."""
    expected = local(trained.log, tmp_path, silent, user) / user / "1.safetensors"
    entry = trained.outcome.manifest.models[user]
    data = (trained.models / entry.file).read_bytes()
    assert data == expected.read_bytes()
    assert (entry.file, entry.sha256) == (f"{user}/1.safetensors", hashlib.sha256(data).hexdigest())
    card = UserModel.from_bytes(data, "it").card
    assert (entry.actions, entry.last) == (card.actions, card.last)


def test_a_local_store_has_what_a_fleets_has(trained: Trained) -> None:
    """Where it is a directory, the other commands read it."""
    store = Store(trained.models)
    assert store.users() == ["alice", "bob", "carol"]
    stored = store.load("carol")
    assert stored is not None
    assert stored.model.card.identities == {
        "ws1": {"1000": "alice", "1001": "bob", "1007": "carol", "1999": "erin"}
    }


def test_everyone_is_the_background(trained: Trained) -> None:
    """It is made of those who have enough actions."""
    common = trained.outcome.manifest.background
    assert common is not None
    data = (trained.models / common.file).read_bytes()
    assert hashlib.sha256(data).hexdigest() == common.sha256
    assert Background.from_bytes(data, "it").users == 4


def test_who_has_no_model_is_told_with_the_reason(trained: Trained) -> None:
    """A worker's error and too few actions; the lines that are no results are counted."""
    outcome = trained.outcome
    assert outcome.made == len(outcome.manifest.models) == 3
    assert list(outcome.lost) == ["erin"]
    assert outcome.manifest.failed["erin"].startswith("'erin' repeats the same few actions: only 50 of 500")
    assert outcome.manifest.too_few["mallory"] == "1 actions to learn from, and 500 are needed"
    assert (set(outcome.manifest.failed), set(outcome.manifest.too_few)) == ({"erin"}, {"mallory"})
    assert outcome.skipped == {"not_json": 1, "too_long": 1}
    assert Manifest.from_bytes((trained.models / "manifest.json").read_bytes(), "it") == outcome.manifest


def test_training_again_adds_versions_and_then_moves_the_manifest(
    trained: Trained, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it has moved, all is as it was; who is not learned this time keeps the model there was."""
    models = shutil.copytree(trained.models, tmp_path / "models")
    new = ["alice/2.safetensors", "bob/2.safetensors", "background.2.safetensors"]
    write = FolderStorage.write
    seen = []

    def look(self: FolderStorage, name: str, data: bytes) -> None:
        if name == "manifest.json":
            assert all((models / file).exists() for file in new)
            seen.append((models / name).read_bytes())
        write(self, name, data)

    monkeypatch.setattr(FolderStorage, "write", look)
    manifest = train(asked(trained.log.parent, models, least=900), spark).manifest
    assert seen == [(trained.models / "manifest.json").read_bytes()]
    assert manifest.version == 2
    assert {key: entry.file for key, entry in manifest.models.items()} == {
        "alice": "alice/2.safetensors",
        "bob": "bob/2.safetensors",
        "carol": "carol/1.safetensors",
    }
    assert manifest.too_few["carol"] == "519 actions to learn from, and 900 are needed"
    assert (models / "alice/1.safetensors").read_bytes() == (models / "alice/2.safetensors").read_bytes()
    assert load(FolderStorage(models)) == manifest


class Deadly(Lessons, frozen=True):
    """Lessons that no process survives which learns alice."""

    def learn(self, learned: Learned) -> tuple[bytes, int]:
        """Die as a process does that the system ends."""
        if learned.key == "alice":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().learn(learned)


def test_who_kills_each_process_is_told_and_the_others_are_learned(
    trained: Trained, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that does not suffice for one takes no worker of Spark's, where a task is tried but once."""
    monkeypatch.setattr(room, "Lessons", Deadly)
    outcome = train(asked(trained.log, tmp_path / "models"), spark)  # the newest part, for it is done sooner
    died = "its process was killed (SIGKILL), as the system does where memory is short; what a worker needs is in"
    assert outcome.lost == {"alice": f"{died} docs/fleet.md"}
    assert outcome.manifest.failed["alice"] == outcome.lost["alice"]
    assert list(outcome.manifest.models) == Store(tmp_path / "models").users() == ["bob"]


class Vain(Lessons, frozen=True):
    """Lessons of which nothing comes."""

    def learn(self, learned: Learned) -> tuple[bytes, int]:
        """Fail as where a package is missing."""
        raise ImportError(f"no luck with {learned.key}")


def test_where_nobody_can_be_learned_there_is_no_new_manifest(
    trained: Trained, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ails them all is said, with the first of them."""
    monkeypatch.setattr(room, "Lessons", Vain)
    said = r"^None of 2 users could be learned, and no .* Of alice: ImportError: no luck with alice\.$"
    with pytest.raises(WorkerLost, match=said):
        train(asked(trained.log, tmp_path / "models"), spark)
    assert not (tmp_path / "models" / "manifest.json").exists()


class Hasty(Lessons, frozen=True):
    """Lessons in which networks are learned hastily."""

    def learn(self, learned: Learned) -> tuple[bytes, int]:
        """Learn with two epochs at most, in whatever process this is."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lstm_fit, "MAX_EPOCHS", 2)
            return super().learn(learned)


def test_networks_are_byte_for_byte_those_of_local_training(
    spark: SparkSession, lines: list[bytes], silent: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tensorflow is as determined in a worker as here."""
    bob = [line for line in lines if b'"bob"' in line][:560]
    (tmp_path / "r.log").write_bytes(b"".join(line + b"\n" for line in bob))
    monkeypatch.setattr(lstm_fit, "MAX_EPOCHS", 2)
    monkeypatch.setattr(room, "Lessons", Hasty)
    train(Request((str(tmp_path / "r.log"),), str(tmp_path / "models"), Algorithm.BOTH), spark)
    list(enrol(Enrolment((tmp_path / "r.log",), tmp_path / "local", Algorithm.BOTH), silent))
    there, here = ((tmp_path / store / "bob" / "1.safetensors").read_bytes() for store in ("models", "local"))
    assert there == here


def test_two_trainings_at_once_do_not_mix(tmp_path: Path) -> None:
    """The one that ends last is told, and the manifest stays."""
    store = FolderStorage(tmp_path)
    store.write("manifest.json", Manifest(2, "OCSVM").to_bytes())
    with pytest.raises(StoreUnwritable, match=r"^Another training has written to .* meanwhile"):
        room._publish(store, Manifest(1, "OCSVM"), Manifest(2, "OCSVM"))


def test_a_user_of_several_hosts_is_one_through_hadoop(
    spark: SparkSession, lines: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where workers cannot write, the driver does; of many numbers and names, a card holds its own hosts'."""
    for host in ("ws1", "ws2"):
        alice = [line.replace(b'"ws1"', b'"%s"' % host.encode()) for line in lines[:1000] if b"alice" in line]
        (tmp_path / "logs" / host).mkdir(parents=True)
        (tmp_path / "logs" / host / "r.log").write_bytes(b"\n".join(alice))
    monkeypatch.setattr("anomaly.fleet.dealing.PAIRS", 1)
    monkeypatch.setattr(room, "storage", HadoopStorage)
    uri = (tmp_path / "models").as_uri()
    outcome = train(Request((str(tmp_path / "logs"),), uri, Algorithm.OCSVM, Rule.USER), spark)
    data = (tmp_path / "models" / "alice" / "1.safetensors").read_bytes()
    card = UserModel.from_bytes(data, "it").card
    assert outcome.manifest.models["alice"].sha256 == hashlib.sha256(data).hexdigest()
    assert (card.hosts, card.identities) == (("ws1", "ws2"), {host: {"1000": "alice"} for host in ("ws1", "ws2")})
    assert outcome.manifest.background is None


def test_what_cannot_be_trained_says_what_to_do(spark: SparkSession, event: Event, tmp_path: Path) -> None:
    """No log, an empty place, too few actions, and a store of another algorithm."""
    store = FolderStorage(tmp_path / "models")
    with pytest.raises(LogMissing, match=r"nothing cannot be read: .*PATH_NOT_FOUND"):
        train(asked(tmp_path / "nothing", tmp_path / "models"), spark)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "again").symlink_to(".")
    with pytest.raises(LogUnreadable, match=r"^.*/logs/again is a link to a directory"):
        train(asked(tmp_path / "logs", tmp_path / "models"), spark)
    (tmp_path / "logs" / "again").unlink()
    with pytest.raises(LogEmpty, match="holds no file"):
        train(asked(tmp_path / "logs", tmp_path / "models"), spark)
    (tmp_path / "logs" / "r.log").write_bytes(event())
    with pytest.raises(TooLittleData, match=r"^None of the 1 users in .* has enough actions"):
        train(asked(tmp_path / "logs", tmp_path / "models"), spark)
    with pytest.raises(LogEmpty, match="has 1 lines, and none of them is an action in the period"):
        train(asked(tmp_path / "logs", tmp_path / "models", period=Period(until=BEGIN)), spark)
    store.write("manifest.json", Manifest(1, "BOTH").to_bytes())
    with pytest.raises(ConfigError, match="holds models by BOTH"):
        train(asked(tmp_path / "logs", tmp_path / "models"), spark)
