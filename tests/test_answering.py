"""Answering an alert: what is suppressed, what is handed on to be learned, and what somebody says in advance."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from anomaly import answering, suppression_edit
from anomaly.alert_journal import AlertJournal
from anomaly.alerts import Alerting
from anomaly.answering import answer, forget
from anomaly.errors import ConfigError, StateError
from anomaly.feedback import Verdict, load
from anomaly.osquery import Action
from anomaly.records import ModelRef, Reason, ReasonKind, Score, Severity
from anomaly.suppression import Suppressions
from anomaly.suppression import load as suppressions

BEGIN = int(datetime(2090, 3, 1, 12, tzinfo=UTC).timestamp())


def reason(field: str, value: str, bits: float) -> Reason:
    """Make a reason."""
    return Reason(ReasonKind.NEW_VALUE, field, value, (), 0, 900, bits)


def made(number: int, command: str = "nmap -sS", *reasons: Reason) -> Score:
    """Make a score that alarms."""
    columns = {"command": command, "pid": str(number)}
    action = Action(BEGIN + number, "ws1", "alice", "shell_history", "added", columns)
    default = (reason("time", "02:00 UTC", 9.0), reason("pid", "1", 2.0), reason("command", command[:120], 7.0))
    return Score(f"f1:{number}", action, 35.0 + number, 3.0, 1.0, ModelRef("LSTM", 1, "ready"), reasons or default)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Give a directory of checkpoints with nothing in it."""
    return tmp_path


def happen(state: Path, *scores: Score, name: str = "log") -> None:
    """Tell of some scores."""
    AlertJournal(state, name).write(Alerting.by(Severity.WARNING, None).take(scores))


def say(state: Path, identity: str, verdict: Verdict, **more: bool | str | int) -> list[str]:
    """Answer, for thirty days."""
    days, note, dry_run = int(more.get("days", 30)), str(more.get("note", "")), bool(more.get("dry_run"))
    return list(answer(state, state / "suppressions.toml", identity, verdict, days, note, dry_run=dry_run))


def test_expected_is_suppressed_in_its_scope_and_handed_on(state: Path) -> None:
    """The user, the query and the value that weighed most raise no more alerts; what was told of is learned."""
    happen(state, *(made(number) for number in range(5)))
    happen(state, *(made(number) for number in range(5)), name="another")
    said = say(state, "f1:0", Verdict.EXPECTED, note="scans of ours")
    (entry,) = suppressions(state / "suppressions.toml")
    assert (entry.user, entry.query, entry.field, entry.value) == ("alice", "shell_history", "command", "nmap -sS")
    assert entry.expires == date(2090, 3, 31)  # the log's days, where it is ahead of the clock
    assert entry.note == "scans of ours"
    assert said == [
        f"{entry.id}: user alice, query shell_history, command = nmap -sS raises no alert before 2090-03-31.",
        "2 of its actions are learned with the next hundred of alice's own.",
    ]
    assert Suppressions([entry]).silences(made(7).action)
    assert not Suppressions([entry]).silences(made(7, "nc").action)
    (given,) = load(state / "feedback.toml")
    assert (given.id, given.verdict, given.suppression) == ("f1:0", Verdict.EXPECTED, entry.id)
    assert given.checkpoints == ["another", "log"]
    assert given.performed() == [made(0).action, made(3).action]


def test_an_incident_is_written_down_and_takes_back_what_was_expected(state: Path) -> None:
    """Whoever errs can say so: the suppression goes, and the answer is the new one."""
    happen(state, made(0))
    say(state, "f1:0", Verdict.EXPECTED)
    said = say(state, "f1:0", Verdict.INCIDENT)
    assert said[0] == "1 of its actions are never learned, nor what waits to be learned beside them."
    assert said[-1].endswith("it was called expected before; that suppression is gone.")
    assert suppressions(state / "suppressions.toml") == []
    (given,) = load(state / "feedback.toml")
    assert (given.verdict, given.suppression) == (Verdict.INCIDENT, None)
    assert len(say(state, "f1:0", Verdict.INCIDENT)) == 2


def test_a_dry_run_does_nothing(state: Path) -> None:
    """It says what would be done, and the files are not there afterwards."""
    happen(state, made(0))
    for verdict in Verdict:
        assert say(state, "f1:0", verdict, dry_run=True)[0].startswith("Would be done: ")
    assert sorted(path.name for path in state.iterdir()) == ["log.alerts.ndjson"]


def test_an_alert_goes_by_any_action_that_it_told_of(state: Path) -> None:
    """The id of its worst action names an alert too; one that is not known is an error."""
    happen(state, *(made(number) for number in range(5)))
    say(state, "f1:3", Verdict.INCIDENT)
    assert load(state / "feedback.toml")[0].id == "f1:0"
    with pytest.raises(ConfigError, match=r"There is no alert 'f1:4' in .*\. See: anomaly alerts list"):
        say(state, "f1:4", Verdict.INCIDENT)


def test_a_value_that_was_cut_is_suppressed_by_its_beginning(state: Path) -> None:
    """What the journal holds of a huge value is its beginning: a pattern, whose own stars stand for themselves."""
    command = "rm *" + "x" * 2000
    happen(state, made(0, command))
    say(state, "f1:0", Verdict.EXPECTED)
    found = Suppressions(suppressions(state / "suppressions.toml"))
    assert found.silences(made(1, command).action)
    assert not found.silences(made(1, "rm").action)


def test_without_a_value_the_query_is_the_scope(state: Path) -> None:
    """Where only the hour or the kind of an action was odd, the user and the query are all there is to name."""
    happen(state, made(0, "ls", reason("action", "shell_history added", 7.0)))
    say(state, "f1:0", Verdict.EXPECTED, days=3650)
    (entry,) = suppressions(state / "suppressions.toml")
    assert entry.scope() == "user alice, query shell_history"
    assert entry.expires - date(2090, 3, 1) == timedelta(days=3650)


def test_the_largest_answers_do_not_fill_the_file(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of actions and of answers the last ones are kept that there is room for, and one of each in any case."""
    monkeypatch.setattr(answering, "ACTION_BYTES", 1000)
    monkeypatch.setattr(answering, "MOST_BYTES", 4000)
    for number in range(5):
        begin = number * 100_000
        happen(state, *(made(begin + n, f"{n} " + "x" * 400) for n in range(0, 9, 2)), name=f"log{number}")
        say(state, f"f1:{begin}", Verdict.EXPECTED)
    given = load(state / "feedback.toml")
    assert 1 < len(given) < 5
    assert given[-1].id == "f1:400000"
    assert {len(one.actions) for one in given} == {2}
    assert (state / "feedback.toml").stat().st_size < 4000 + 200
    monkeypatch.setattr(answering, "ACTION_BYTES", 100)
    monkeypatch.setattr(answering, "MOST_BYTES", 100)
    happen(state, made(900_000, "y" * 1000))
    say(state, "f1:900000", Verdict.EXPECTED)
    (only,) = load(state / "feedback.toml")
    assert (only.id, len(only.actions)) == ("f1:900000", 1)


def test_an_answer_that_cannot_be_kept_suppresses_nothing(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails leaves no suppression behind that no answer explains."""

    def fail(*_: object) -> None:
        raise StateError("It would become too large.")

    happen(state, made(0))
    monkeypatch.setattr(answering, "edit", fail)
    with pytest.raises(StateError, match="too large"):
        say(state, "f1:0", Verdict.EXPECTED)
    assert suppressions(state / "suppressions.toml") == []


def test_hostile_values_are_written_as_text(state: Path) -> None:
    """Whatever the log says stays a value in the files, and is read again as it was."""
    command = 'x"\n[[suppression]]\nid = "evil"\nuser = "alice"\n\x1b[31m\u202e'
    happen(state, made(0, command))
    say(state, "f1:0", Verdict.EXPECTED, note='"""')
    (entry,) = suppressions(state / "suppressions.toml")
    assert entry.value == command
    (given,) = load(state / "feedback.toml")
    assert given.performed()[0].columns["command"] == command


def test_answers_and_suppressions_of_a_user_can_be_forgotten(state: Path) -> None:
    """Nothing that was answered or suppressed of a user is left; files that are missing are no error."""
    assert forget(state / "feedback.toml", "alice") == suppression_edit.forget(state / "s.toml", "alice") == 0
    happen(state, made(0))
    say(state, "f1:0", Verdict.EXPECTED)
    path = state / "suppressions.toml"
    for user in ("alice@ws1", "alicia"):
        suppression_edit.add(path, suppression_edit.new(date(2100, 1, 1), user=user))
    assert forget(state / "feedback.toml", "bob") == 0
    assert forget(state / "feedback.toml", "alice") == 1
    assert suppression_edit.forget(path, "alice") == 2
    assert [entry.user for entry in suppressions(path)] == ["alicia"]
    assert b"alice" not in (state / "feedback.toml").read_bytes() + path.read_bytes()
