"""What people answer to alerts: who takes it over, once, and what is done with a file that does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.errors import AnomalyError, ConfigError
from anomaly.feedback import Answers, Verdict, load, parse
from anomaly.osquery import Action

ENTRY = """
[[feedback]]
id = "f1:7"
verdict = "expected"
user = "alice"
host = "ws1"
checkpoints = ["log"]
given = 2026-10-26T12:00:00Z

[[feedback.actions]]
time = 1793000000
query = "shell_history"
verb = "added"

[feedback.actions.columns]
command = "nmap"
"""
ACTION = Action(1_793_000_000, "ws1", "alice", "shell_history", "added", {"command": "nmap"})


class Pupil:
    """Notes what it is told, unless it does not learn."""

    def __init__(self, *, learns: bool = True) -> None:
        self.learns = learns
        self.told: list[tuple[list[Action], bool]] = []

    def feedback(self, actions: Sequence[Action], *, expected: bool) -> bool:
        """Take a note."""
        if self.learns:
            self.told.append((list(actions), expected))
        return self.learns


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the path of a file that is not there yet."""
    return tmp_path / "feedback.toml"


def test_an_answer_is_taken_over_once(path: Path) -> None:
    """What a run has taken over it does not again: not at the next look, nor after a change or a restart."""
    pupil, taken, said = Pupil(), list[str](), list[str]()
    answers = Answers(path, "log", pupil, taken, said.append)
    assert not answers.look()
    path.write_text(ENTRY)
    assert answers.look()
    assert pupil.told == [([ACTION], True)]
    assert taken == ["expected f1:7"]
    assert not answers.look()
    path.write_text(ENTRY + "# looked at\n")
    assert not answers.look()
    assert not Answers(path, "log", pupil, taken, said.append).look()
    assert len(pupil.told) == 1
    assert said == ["Action f1:7 of 'alice' was expected: it is learned."]
    assert Answers(path, "log", pupil, [], said.append).look()  # killed before its checkpoint was written


def test_another_answer_to_the_same_alert_is_taken_over(path: Path) -> None:
    """Whoever changes his mind is heard, and heard again when he changes it back; marks do not add up."""
    pupil, taken, said = Pupil(), list[str](), list[str]()
    answers = Answers(path, "log", pupil, taken, said.append)
    for number, verdict in enumerate(("expected", "incident", "expected")):
        path.write_text(ENTRY.replace("expected", verdict) + "\n" * number)
        assert answers.look()
        assert taken == [f"{verdict} f1:7"]
    assert [expected for _, expected in pupil.told] == [True, False, True]
    assert said[1] == "Alert f1:7 of 'alice' was an incident: what it told of is never learned."


def test_what_another_run_told_of_is_its_own(path: Path) -> None:
    """Each run takes over the answers to its own alerts."""
    path.write_text(ENTRY)
    pupil = Pupil()
    assert not Answers(path, "another", pupil, [], lambda _: None).look()
    assert pupil.told == []


def test_what_cannot_be_learned_waits(path: Path) -> None:
    """A run that does not learn, or has no such model, leaves an answer for one that does, and says so."""
    path.write_text(ENTRY)
    taken, said = list[str](), list[str]()
    assert not Answers(path, "log", Pupil(learns=False), taken, said.append).look()
    assert said == ["The answer to alert f1:7 waits: 'alice' has no model here that learns."]
    assert Answers(path, "log", Pupil(), taken, said.append).look()


def test_a_file_that_does_not_fit_is_left_aside(path: Path) -> None:
    """A run goes on with what it has, and says once that there is something wrong."""
    said: list[str] = []
    taken = ["expected f1:7"]
    answers = Answers(path, "log", Pupil(), taken, said.append)
    path.write_text(ENTRY + "x = [")
    assert not answers.look()
    assert not answers.look()
    assert taken == ["expected f1:7"]
    (sentence,) = said
    assert sentence.startswith(f"What was answered to alerts is left aside. {path} is not valid TOML")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("expected", "fine"), "feedback 1 does not fit: Invalid enum value 'fine' - at `$.verdict`"),
        (("host =", "hots ="), "feedback 1 has an unknown key 'hots'. Did you mean 'host'?"),
        (("verb =", "verbs ="), "feedback 1 does not fit: Object contains unknown field `verbs`"),
        (("1793000000", "'now'"), "`$.actions[0].time`"),
        (('["log"]', '"log"'), "`$.checkpoints`"),
    ],
)
def test_a_file_that_does_not_fit_is_an_error(path: Path, change: tuple[str, str], words: str) -> None:
    """The file and the key are named."""
    path.write_text(ENTRY.replace(*change))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: ENTRY.encode() + text.encode()))
def test_whatever_a_file_holds_is_read_or_refused(data: bytes) -> None:
    """Nothing in a file raises anything else."""
    try:
        entries = parse(data, Path("f.toml"))
    except AnomalyError:
        return
    assert all(isinstance(entry.verdict, Verdict) for entry in entries)
