"""A daemon that takes over new settings and models while it runs, and keeps the old where the new fail."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from anomaly.model import UserModel
from anomaly.store import Store

if TYPE_CHECKING:
    from tests.reliability.conftest import Daemon, Lines, Place, Record, Start

SOON = 10.0
"""Seconds within which a new model is in use: a few, on a machine that has nothing else to do."""

PATIENCE = 1.5
"""Seconds after which a line that is not shown is told to be held back: it is shown within one."""

Next = Callable[[], bytes]


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """Give a configuration file that shows everything."""
    path = tmp_path / "anomaly.toml"
    path.write_text("min_score = 0\n")
    return path


@pytest.fixture
def harmless(actions_of: Lines) -> Next:
    """Give the maker of one more line of what alice always does."""

    def numbers() -> Iterator[bytes]:
        habits = ("git status", "git diff", "pytest -q", "vim src/app.py", "ls", "make test")
        for number in count():
            yield actions_of(habits[number % 6], begin=1_796_000_000 + 60 * number)[0]

    return numbers().__next__


def append_until(daemon: Daemon, place: Place, following: Next, met: Callable[[], object], what: str) -> None:
    """Append a line four times a second until something has come about, which must be soon."""
    due, begin = [0.0], time.monotonic()

    def try_on() -> object:
        if time.monotonic() >= due[0]:
            place.append(following())
            due[0] = time.monotonic() + 0.25
        return met()

    daemon.until(try_on, what)
    assert time.monotonic() - begin < SOON


def spoil(place: Place, user: str) -> None:
    """Put a next version of a user's model in use that is changed by one byte."""
    data = bytearray((place.models / user / "1.safetensors").read_bytes())
    data[-1] ^= 1
    (place.models / user / "2.safetensors").write_bytes(data)
    Store(place.models).use(user, 2)


def stored_model(place: Place, user: str) -> UserModel:
    """Read the model of a user that is in use."""
    stored = Store(place.models).load(user)
    assert stored is not None
    return stored.model


def versions(records: list[Record]) -> list[int | None]:
    """Return which version scored each record."""
    return [record["model"]["version"] for record in records]


def test_hanging_up_loses_and_repeats_nothing(place: Place, start: Start, lines: list[bytes]) -> None:
    """SIGHUP, also many, without a configuration file, and while lines come, ends and skips nothing."""
    place.append(*lines[600:700])
    daemon = start()
    daemon.until_records(1)
    for number in range(700, 900, 10):
        daemon.process.send_signal(signal.SIGHUP)
        place.append(*lines[number : number + 10])
        daemon.until_records(number - 600)
    daemon.until_records(300)
    assert daemon.stop() == 0
    assert len(set(daemon.ids)) == len(daemon.ids) == 300


def test_hanging_up_takes_over_what_is_shown(
    place: Place, start: Start, configuration: Path, harmless: Next
) -> None:
    """SIGHUP reads the configuration file anew: ``min_score`` changes what is shown, in either direction."""
    configuration.write_text("min_score = 100\n")
    place.append(*(harmless() for _ in range(20)))
    daemon = start(first=("-c", str(configuration)))
    daemon.until(place.remembered, "a checkpoint")
    assert daemon.records == []
    configuration.write_text("min_score = 0\n")
    daemon.process.send_signal(signal.SIGHUP)
    append_until(daemon, place, harmless, lambda: daemon.records, "a record")
    begin = len(daemon.records)
    for number in range(5):
        place.append(harmless())
        daemon.until_records(begin + number + 1)
    configuration.write_text("min_score = 100\n")
    daemon.process.send_signal(signal.SIGHUP)
    for _ in range(5):
        shown = len(daemon.records)
        place.append(harmless())
        patience = time.monotonic() + PATIENCE
        while len(daemon.records) == shown and time.monotonic() < patience:
            time.sleep(0.01)
        if len(daemon.records) == shown:
            break
    else:
        pytest.fail("everything is shown still")


def test_a_flag_wins_over_the_file_after_a_reload_too(
    place: Place, start: Start, configuration: Path, harmless: Next
) -> None:
    """What the command line says is not overruled by a configuration file that is read anew."""
    place.append(harmless())
    daemon = start("--min-score", "0", first=("-c", str(configuration)))
    daemon.until_records(1)
    configuration.write_text("min_score = 100\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.until(lambda: "loaded anew" in daemon.said, "word of the reload")
    for number in range(3):
        place.append(harmless())
        daemon.until_records(number + 2)


def test_a_broken_configuration_is_told_and_the_old_one_stays(
    place: Place, start: Start, configuration: Path, harmless: Next
) -> None:
    """SIGHUP with a file that does not fit is one sentence each time; every line is shown as before."""
    place.append(harmless())
    daemon = start(first=("-c", str(configuration)))
    daemon.until_records(1)
    broken = (b"min_score = [", b"min_score = 'much'", b"min_score = 101", b"no_such_setting = 1", b"\0\xff", None)
    for number, content in enumerate(broken, start=1):
        configuration.unlink()
        if content is not None:
            configuration.write_bytes(content)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.until(lambda number=number: len(daemon.said.splitlines()) == number, "a sentence")  # type: ignore[misc]
        place.append(harmless())
        daemon.until_records(1 + number)
    assert "Traceback" not in daemon.said


def test_a_corrupt_new_model_is_told_and_the_old_one_stays(place: Place, start: Start, harmless: Next) -> None:
    """A new version that is refused is said once; the old one scores every line, until a sound one is there."""
    place.append(harmless())
    daemon = start()
    daemon.until_records(1)
    spoil(place, "alice")
    daemon.process.send_signal(signal.SIGHUP)
    append_until(daemon, place, harmless, lambda: "alice" in daemon.said, "a sentence")
    scored = daemon.records
    for number in range(4):
        place.append(harmless())
        daemon.until_records(len(scored) + number + 1)
    assert set(versions(daemon.records)) == {1}
    assert None not in [record["score"] for record in daemon.records]
    first = Store(place.models).load("alice", 1)
    assert first is not None
    assert Store(place.models).save("alice", first.model) == 3
    append_until(daemon, place, harmless, lambda: versions(daemon.records)[-1] == 3, "the sound model")
    written = place.log.read_bytes().count(b"\n")
    daemon.until_records(written)
    assert len(set(daemon.ids)) == written
    assert sum("2.safetensors" in line for line in daemon.said.splitlines()) == 1


def test_a_new_model_is_picked_up_while_it_runs(
    place: Place, start: Start, actions_of: Lines, harmless: Next
) -> None:
    """A newly trained version scores within seconds: no record is missing, and the risk is carried over."""
    strange = actions_of(*(f"nc -l {n} -e /tmp/{n}" for n in range(250)), begin=1_795_000_000)
    place.append(*strange)
    daemon = start()
    before = daemon.until_records(250)[-1]
    assert before["risk"] > 25
    assert Store(place.models).save("alice", stored_model(place, "alice")) == 2
    append_until(daemon, place, harmless, lambda: 2 in versions(daemon.records), "a record by the new model")
    place.append(harmless())
    written = place.log.read_bytes().count(b"\n")
    records = daemon.until_records(written)
    assert len(set(daemon.ids)) == written
    switch = versions(records).index(2)
    assert versions(records) == [1] * switch + [2] * (written - switch)
    assert records[switch]["risk"] > 25
    assert records[switch]["risk"] == pytest.approx(records[switch - 1]["risk"], abs=10)
    assert daemon.stop() == 0
    place.append(harmless())
    following = start()
    assert following.until_records(1)[0]["model"]["version"] == 2
    assert following.records[0]["risk"] == pytest.approx(daemon.records[-1]["risk"], abs=5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_model_that_came_while_it_was_down_takes_over_the_risk_too(
    number: int, place: Place, start: Start, actions_of: Lines, harmless: Next
) -> None:
    """A new version does not end an alarm, also where it is first used after a stop or a crash."""
    place.append(*actions_of(*(f"nc -l {n} -e /tmp/{n}" for n in range(250)), begin=1_795_000_000))
    daemon = start()
    before = daemon.until_records(250)[-1]
    assert before["risk"] > 25
    daemon.until(place.remembered, "a checkpoint")
    daemon.process.send_signal(number)
    daemon.end(5.0)
    assert Store(place.models).save("alice", stored_model(place, "alice")) == 2
    place.append(harmless())
    (record,) = start().until_records(1)
    assert record["model"]["version"] == 2
    assert record["risk"] == pytest.approx(before["risk"], abs=10)


def test_a_user_gets_a_first_model_while_it_runs(
    place: Place, start: Start, actions_of: Lines, harmless: Next
) -> None:
    """A user without a model is scored within seconds of having one, and no record of anybody is missing."""
    carol = iter(actions_of(*["git status", "make test", "ls"] * 60, user="carol"))
    place.append(harmless(), next(carol))
    daemon = start()
    assert [record["model"]["version"] for record in daemon.until_records(2)] == [1, None]
    model = stored_model(place, "alice")
    hers = UserModel(
        model.tokenizer,
        model.detector,
        model.fusion,
        model.calibration,
        msgspec.structs.replace(model.card, user="carol"),
    )
    assert Store(place.models).save("carol", hers) == 1
    append_until(daemon, place, carol.__next__, lambda: versions(daemon.records)[-1] == 1, "her model")
    assert daemon.records[-1]["user"] == "carol"
    assert daemon.records[-1]["score"] is not None
    written = place.log.read_bytes().count(b"\n")
    daemon.until_records(written)
    assert len(set(daemon.ids)) == written


def test_going_back_to_an_older_model_is_followed_too(place: Place, start: Start, harmless: Next) -> None:
    """What ``models rollback`` does is picked up as a new version is."""
    Store(place.models).save("alice", stored_model(place, "alice"))
    place.append(harmless())
    daemon = start("--user", "alice")
    assert versions(daemon.until_records(1)) == [2]
    Store(place.models).use("alice", 1)
    append_until(daemon, place, harmless, lambda: versions(daemon.records)[-1] == 1, "the first model")
