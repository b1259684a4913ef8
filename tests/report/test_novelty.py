"""What is new of late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from anomaly.osquery import Action
from anomaly.records import ModelRef, Reason, ReasonKind, Score
from anomaly.report.novelty import DAYS, Novelties, Thing
from anomaly.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from anomaly.tokenizer import Tokenizer

DAY = 86_400
NOW = 20_000 * DAY + 5


def did(command: str, time: int = NOW, *reasons: ReasonKind) -> Score:
    """Let alice do something; each reason speaks of the command."""
    action = Action(time, "ws1", "alice", "shell_history", "added", {"command": command, "username": "alice"})
    told = tuple(Reason(kind, "command", command, (), 0, 9, 5.0) for kind in reasons)
    return Score("x:1", action, 20.0, 1.0, 3.0, ModelRef("OCSVM", 1, "ready"), told)


@pytest.fixture(scope="module")
def tokenizer(ocsvm_models: Path) -> Tokenizer:
    """Give alice's vocabulary."""
    stored = Store(ocsvm_models).load("alice")
    assert stored is not None
    return stored.model.tokenizer


def test_what_training_never_saw_is_counted(tokenizer: Tokenizer) -> None:
    """Each time counts, whether or not a reason speaks of it; what training saw does not."""
    news = Novelties(10)
    for command in ("git status", "nmap", "nmap", "nc"):
        news.note(did(command), tokenizer)
    assert [(new.thing.value, new.times) for new in news.week(NOW)] == [("nmap", 2), ("nc", 1)]


def test_without_the_vocabulary_the_reasons_say_it() -> None:
    """Reasons of kind new_value are what is left where the model is not in memory."""
    news = Novelties(10)
    news.note(did("nmap", NOW, ReasonKind.NEW_VALUE), None)
    news.note(did("ls", NOW, ReasonKind.RARE_VALUE), None)
    assert [new.thing for new in news.week(NOW)] == [Thing("shell_history", "command", "nmap")]


def test_only_the_last_week_counts(tokenizer: Tokenizer) -> None:
    """What was new before that is not told, nor what has no time; what comes again is counted from then on."""
    news = Novelties(10)
    for time in (0, NOW - 30 * DAY, NOW - 20 * DAY, NOW - 2 * DAY, NOW):
        news.note(did("nmap", time), tokenizer)
    news.note(did("nc", NOW - (DAYS + 2) * DAY), tokenizer)
    assert [(new.thing.value, new.times) for new in news.week(NOW)] == [("nmap", 2)]


def test_a_flood_of_values_takes_no_more_room(tokenizer: Tokenizer) -> None:
    """No more things are kept than allowed; old ones make room, and what had none is told."""
    news = Novelties(5)
    for number in range(5):
        news.note(did(f"old {number}", NOW - 30 * DAY), tokenizer)
    for number in range(50):
        news.note(did(f"flood {number}"), tokenizer)
    assert [new.thing.value for new in news.week(NOW)] == [f"flood {number}" for number in range(5)]
    assert news.missed


def test_a_value_may_come_for_years(tokenizer: Tokenizer) -> None:
    """Days that are long past are not kept."""
    news = Novelties(5)
    for day in range(1000):
        news.note(did("nmap", NOW + day * DAY), tokenizer)
    (seen,) = news._seen.values()
    assert len(seen.days) <= DAYS + 1
