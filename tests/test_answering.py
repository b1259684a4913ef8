"""Answering an alert: what is suppressed, what is handed on to be learned, and what somebody says in advance."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import msgspec
import pytest

from anomaly import suppression_edit
from anomaly.alert_journal import AlertJournal
from anomaly.alerts import Alerting
from anomaly.answering import answer
from anomaly.errors import ConfigError
from anomaly.feedback import Verdict, load
from anomaly.feedback_edit import forget
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
    return Score(
        f"f1:{number}", action, 35.0 + number, 30.0, 1.0, ModelRef("LSTM", 1, "ready"), reasons or default
    )


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Give a directory of checkpoints with nothing in it."""
    return tmp_path


def happen(state: Path, *scores: Score, name: str = "log") -> None:
    """Tell of some scores."""
    AlertJournal(state, name).write(Alerting.by(Severity.WARNING, None).take(scores))


def say(state: Path, identity: str, verdict: Verdict, **more: bool | str | int) -> list[str]:
    """Answer, for thirty days of the log's unless ``days`` are given."""
    note, dry_run = str(more.get("note", "")), bool(more.get("dry_run"))
    expires = int(more["days"]) if "days" in more else date(2090, 3, 31)
    return list(answer(state, state / "suppressions.toml", identity, verdict, expires, note, dry_run=dry_run))


def test_expected_is_suppressed_in_its_scope_and_handed_on(state: Path) -> None:
    """The user, the query and the value that weighed most raise no more alerts; what was told of is learned."""
    happen(state, *(made(number) for number in range(5)))
    happen(state, *(made(number) for number in range(5)), name="another")
    said = say(state, "f1:0", Verdict.EXPECTED, note="scans of ours")
    (entry,) = suppressions(state / "suppressions.toml")
    assert (entry.user, entry.query, entry.field, entry.value) == ("alice", "shell_history", "command", "nmap -sS")
    assert entry.expires == date(2090, 3, 31)
    assert entry.note == "scans of ours"
    assert said == [
        f"{entry.id}: user alice, query shell_history, command = nmap -sS raises no alert before 2090-03-31.",
        "Action f1:0 is learned with the next hundred of alice's own.",
        "This does not answer the worst action of its alert, f1:3.",
    ]
    assert Suppressions([entry]).silences(made(7).action)
    assert not Suppressions([entry]).silences(made(7, "nc").action)
    (given,) = load(state / "feedback.toml")
    assert (given.id, given.verdict, given.suppression) == ("f1:0", Verdict.EXPECTED, entry.id)
    assert given.checkpoints == ["another", "log"]
    assert given.performed() == [made(0).action]


def test_an_incident_is_written_down_and_takes_back_what_was_expected(state: Path) -> None:
    """Whoever errs can say so: the suppression goes, and the answer is the new one."""
    happen(state, made(0))
    say(state, "f1:0", Verdict.EXPECTED)
    said = say(state, "f1:0", Verdict.INCIDENT)
    assert said[0] == "1 of its actions is never learned, nor what waits to be learned beside it."
    assert said[1].endswith("anomaly models rollback --user alice --learned")
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


def test_only_the_action_that_is_named_is_expected(state: Path) -> None:
    """A worse action that joined the burst before the answer is neither suppressed nor learned by it."""
    happen(state, made(0, "newtool"), *(made(number, "insmod /tmp/rootkit.ko") for number in (20, 21, 22)))
    say(state, "f1:0", Verdict.EXPECTED)
    (entry,) = suppressions(state / "suppressions.toml")
    assert entry.value == "newtool"
    assert [one.columns["command"] for one in load(state / "feedback.toml")[0].performed()] == ["newtool"]
    said = say(state, "f1:22", Verdict.EXPECTED)
    assert said[0].endswith("command = insmod /tmp/rootkit.ko raises no alert before 2090-03-31.")
    assert len(said) == 2
    assert [one.id for one in load(state / "feedback.toml")] == ["f1:0", "f1:22"]
    said = say(state, "f1:22", Verdict.INCIDENT)  # of an alert, whole
    assert said[0] == "3 of its actions are never learned, nor what waits to be learned beside them."
    assert sum(line.endswith("that suppression is gone.") for line in said) == 2
    (given,) = load(state / "feedback.toml")
    assert (given.id, given.verdict, len(given.performed())) == ("f1:0", Verdict.INCIDENT, 3)
    say(state, "f1:22", Verdict.EXPECTED)
    assert [one.id for one in load(state / "feedback.toml")] == ["f1:22"]


def test_an_alert_that_told_of_several_is_not_expected_as_a_whole(state: Path) -> None:
    """An id that is of none of the actions told of does where there is one of them; else one is asked for."""
    (alert,) = Alerting.by(Severity.WARNING, None).take([made(1)])
    journal = AlertJournal(state, "log")
    journal.write([msgspec.structs.replace(alert, id="f1:0")])
    assert say(state, "f1:0", Verdict.EXPECTED, dry_run=True)[1].startswith(
        "Would be done: Action f1:1 is learned"
    )
    journal.write([msgspec.structs.replace(alert, id="f1:0", count=4, worst=made(3))])
    with pytest.raises(ConfigError, match=r"say which was expected, by its id: f1:1, f1:3$"):
        say(state, "f1:0", Verdict.EXPECTED)
    assert len(say(state, "f1:0", Verdict.INCIDENT)) == 2


def test_a_value_that_was_cut_suppresses_nothing(state: Path) -> None:
    """What the journal holds of a huge value is its beginning: what else begins so is not known to be fine."""
    command = "rm *" + "x" * 2000
    happen(state, made(0, command, reason("command", command[:120], 7.0)))
    assert say(state, "f1:0", Verdict.EXPECTED)[0].startswith("Nothing is suppressed: ")
    assert suppressions(state / "suppressions.toml") == []
    happen(state, made(9, "nc " + "x" * 2000, reason("command", "nc x", 7.0), reason("pid", "9", 2.0)), name="b")
    say(state, "f1:9", Verdict.EXPECTED)
    (entry,) = suppressions(state / "suppressions.toml")
    assert entry.scope() == "user alice, query shell_history, pid = 9"


def test_what_was_odd_is_kept_of_a_huge_row(state: Path) -> None:
    """The columns that the reasons name are in the journal, however much stands before them."""
    odd = made(0)
    columns = {f"c{n}": "x" * 1000 for n in range(20)} | {"command": "nmap -sS"}
    happen(state, msgspec.structs.replace(odd, action=msgspec.structs.replace(odd.action, columns=columns)))
    say(state, "f1:0", Verdict.EXPECTED)
    (entry,) = suppressions(state / "suppressions.toml")
    assert entry.scope() == "user alice, query shell_history, command = nmap -sS"
    (done,) = load(state / "feedback.toml")[0].actions
    assert list(done.columns) == [*(f"c{n}" for n in range(8)), "command"]


COMMAND = "anomaly suppress add --user alice --query shell_history --field command --value ls --until 2090-03-31"
USUAL = Reason(ReasonKind.UNEXPECTED_NEXT, "command", "ls", ("git",), 101, 1000, 9.0)


@pytest.mark.parametrize(
    "reasons",
    [
        (),
        (reason("action", "shell_history added", 9.0),),
        (Reason(ReasonKind.UNUSUAL_MIX, "action", "shell_history added", (), 9, 10, 9.0),),
        (Reason(ReasonKind.UNUSUAL_HOUR, "time", "02:00 UTC", (), 0, 900, 9.0),),
        (Reason(ReasonKind.UNUSUAL_HOUR, "time", "1", (), 0, 900, 9.0),),  # as the column of that name begins
        (reason("gone", "ls", 9.0), reason("empty", "", 5.0)),
        (USUAL,),
    ],
)
def test_without_a_value_that_names_it_nothing_is_suppressed(state: Path, reasons: tuple[Reason, ...]) -> None:
    """A whole query is never suppressed, nor most of it; a person is told what could be done."""
    columns = {"action": "UPDATED", "time": "1700000000", "uid": "0", "empty": "", "command": "ls"}
    odd = msgspec.structs.replace(made(0), reasons=reasons)
    odd = msgspec.structs.replace(odd, action=msgspec.structs.replace(odd.action, columns=columns))
    happen(state, odd)
    assert say(state, "f1:0", Verdict.EXPECTED) == [
        "Nothing is suppressed: no reason names a value that would not hide much else of alice's shell_history.",
        "If one column says it, suppress that, after a thought of what could hide there; perhaps: " + COMMAND,
        "Action f1:0 is learned with the next hundred of alice's own.",
    ]
    assert suppressions(state / "suppressions.toml") == []
    (given,) = load(state / "feedback.toml")
    assert (given.suppression, given.performed()) == (None, [odd.action])


def test_the_next_weightiest_value_is_bound(state: Path) -> None:
    """Where what weighs most names no value, or a usual one, the next one that does is suppressed."""
    columns = reason("action", "shell_history added", 12.0), USUAL, reason("command", "ls", 3.0)
    happen(state, made(0, "ls", *columns))
    say(state, "f1:0", Verdict.EXPECTED)
    (entry,) = suppressions(state / "suppressions.toml")
    assert entry.scope() == "user alice, query shell_history, command = ls"


@pytest.mark.parametrize(("ahead", "days"), [(-40, 30), (0, 30), (1, 31), (2, 31), (60_000, 31)])
def test_the_log_does_not_choose_how_long(state: Path, ahead: int, days: int) -> None:
    """Days are counted from the alert's, or today, but from tomorrow at most; what that cannot reach is said."""
    today = datetime.now(UTC).date()
    seen = datetime.combine(today, time(12), UTC) + timedelta(days=ahead)
    odd = msgspec.structs.replace(made(0).action, time=int(seen.timestamp()))
    happen(state, msgspec.structs.replace(made(0), action=odd))
    said = say(state, "f1:0", Verdict.EXPECTED, days=30)
    (entry,) = suppressions(state / "suppressions.toml")
    assert entry.expires - today == timedelta(days=days)
    over = f"By the log's days that is over: its last is {seen.date()}. Say --until if they are right."
    assert (over in said) is (ahead == 60_000)


def test_what_a_query_was_suppressed_for_by_an_earlier_answer_goes(state: Path) -> None:
    """Answered again, an alert that no value names loses the suppression of its whole query."""
    happen(state, made(0, "ls", reason("action", "shell_history added", 7.0)))
    name = "f" + hashlib.sha256(b"f1:0").hexdigest()[:8]
    wide = suppression_edit.new(date(2100, 1, 1), user="alice", query="shell_history", name=name)
    suppression_edit.add(state / "suppressions.toml", wide)
    assert say(state, "f1:0", Verdict.EXPECTED)[-1].endswith("expected before; that suppression is gone.")
    assert suppressions(state / "suppressions.toml") == []


def test_the_oldest_answers_make_room(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large actions are, an answer has room: the oldest ones go, and of a huge one its oldest actions."""
    monkeypatch.setattr("anomaly.feedback_edit.MOST_BYTES", 40_000)
    monkeypatch.setattr("anomaly.answering.LARGEST", 25_000)
    for number in range(6):
        happen(state, made(number, "\x01" * 1000, reason("pid", str(number), 3.0)), name=f"log{number}")
        say(state, f"f1:{number}", Verdict.EXPECTED)
    assert (state / "feedback.toml").stat().st_size < 45_000
    assert [one.id for one in load(state / "feedback.toml")] == [f"f1:{number}" for number in range(6)]
    columns = {f"c{n}": "\x01" * 1000 for n in range(2)}
    for number in range(10, 15):
        odd = made(number, "nc", reason("pid", str(number), 3.0))
        odd = msgspec.structs.replace(odd, action=msgspec.structs.replace(odd.action, columns=columns))
        happen(state, odd, name=f"log{number}")
        say(state, f"f1:{number}", Verdict.EXPECTED)
    assert (state / "feedback.toml").stat().st_size < 45_000
    assert [one.id for one in load(state / "feedback.toml")] == ["f1:12", "f1:13", "f1:14"]
    (alert,) = Alerting.by(Severity.WARNING, None).take([odd])
    journal = AlertJournal(state, "huge")
    for number in range(30, 38):
        worst = msgspec.structs.replace(alert.worst, id=f"f1:{number}", score=60.0)
        journal.write([msgspec.structs.replace(alert, id="f1:30", count=number, worst=worst)])
    say(state, "f1:30", Verdict.INCIDENT)
    assert [len(one.actions) for one in load(state / "feedback.toml")] == [1, 2]


def test_nothing_is_suppressed_that_cannot_be_written_down(state: Path) -> None:
    """Where the answer has no place, its suppression does not come into force."""
    happen(state, made(0))
    (state / "feedback.toml").write_text("nonsense")
    with pytest.raises(ConfigError):
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
