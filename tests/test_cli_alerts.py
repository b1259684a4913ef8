"""``anomaly alerts``, ``suppress`` and ``feedback`` as a person meets them: exit codes and exact words."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from anomaly import cli, cli_predict
from anomaly.alert_journal import AlertJournal
from anomaly.alerts import Alerting
from anomaly.osquery import Action
from anomaly.records import ModelRef, Reason, ReasonKind, Score, Severity
from tests.conftest import Event

END = 1_795_000_000
"""After the sample log's last line."""
BEGIN = int(datetime(2026, 10, 26, 12, tzinfo=UTC).timestamp())


def run(*words: object) -> Result:
    """Run ``anomaly`` with some words."""
    return CliRunner().invoke(cli.main, [str(word) for word in words])


def made(number: int, user: str, command: str) -> Score:
    """Make a score that alarms."""
    action = Action(BEGIN + 86_400 * number, "ws1", user, "shell_history", "added", {"command": command})
    reasons = (Reason(ReasonKind.NEW_VALUE, "command", command, (), 0, 900, 7.0),)
    return Score(f"9f2c41d07b3e5a68:{number}", action, 35.0, 35.0, 1.0, ModelRef("LSTM", 1, "ready"), reasons)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Give a directory of checkpoints with two alerts, the second from a hostile log."""
    scores = [made(0, "alice", "nmap -sS"), made(1, "bob\x1b[31m", "\x1b]0;x\x07" + "y" * 200)]
    AlertJournal(tmp_path, "log").write(Alerting.by(Severity.WARNING, None).take(scores))
    return tmp_path


def test_alerts_are_listed_for_people(state: Path) -> None:
    """Two lines each, in 80 columns, and nothing of the log reaches the terminal as it is."""
    result = run("alerts", "list", "--state", state)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:3] == [
        "last         user         severity  actions  state  id",
        "10-26 12:00  alice        warning         1  open   9f2c41d07b3e5a68:0",
        '  shell_history: command "nmap -sS"',
    ]
    assert len(lines) == 5
    assert all(line.isprintable() and len(line) <= 80 for line in lines)
    assert lines[3].startswith(r"10-27 12:00  bob\x1b[31m")


def test_alerts_are_listed_for_programs(state: Path) -> None:
    """A line of JSON each, with the worst action as `predict --format json` writes it."""
    rows = [
        json.loads(line)
        for line in run("alerts", "list", "--state", state, "--format", "json").stdout.splitlines()
    ]
    assert [row["user"] for row in rows] == ["alice", "bob\x1b[31m"]
    assert rows[0]["worst"]["columns"] == {"command": "nmap -sS"}
    assert (rows[0]["actions"], rows[0]["closed"], rows[1]["closed"]) == (1, False, False)


def test_alerts_are_chosen_by_user_and_time(state: Path) -> None:
    """``--user`` and ``--since`` leave the others out; none is no error."""
    for words, count in ((("--user", "alice"), 1), (("--since", "2026-10-27"), 1), (("--since", "2026-10-28"), 0)):
        result = run("alerts", "list", "--state", state, *words)
        assert result.exit_code == 0
        assert len(result.stdout.splitlines()) == (1 + 2 * count if count else 0)
    assert result.stderr == f"There is no such alert in {state}.\n"


def test_an_alert_of_many_hosts_is_found_by_its_worst_action(tmp_path: Path) -> None:
    """It names no host: a user on a host is asked for by its action's host, and shown by that action's id."""
    (alert,) = Alerting.by(Severity.WARNING, None).take([made(7, "alice", "nmap -sS")])
    host = alert.host
    AlertJournal(tmp_path, "log").write([msgspec.structs.replace(alert, id="f1:0", host="")])
    result = run("alerts", "list", "--state", tmp_path, "--user", f"alice@{host}")
    assert alert.worst.id in result.stdout
    assert "f1:0" not in result.stdout
    assert run("alerts", "list", "--state", tmp_path, "--user", "alice@other").stdout == ""


def test_what_other_queries_weigh_stands_apart(tmp_path: Path) -> None:
    """Behind the worst action's query are its own reasons; what else the burst had comes after them."""
    worst = made(0, "alice", "nmap -sS")
    action = msgspec.structs.replace(worst.action, query="user_events", columns={"name": "x"})
    other = msgspec.structs.replace(
        worst, score=31.0, action=action, reasons=(Reason(ReasonKind.NEW_VALUE, "name", "x", (), 0, 9, 9.0),)
    )
    AlertJournal(tmp_path, "log").write(Alerting.by(Severity.WARNING, None).take([other, worst, other, other]))
    lines = run("alerts", "list", "--state", tmp_path).stdout.splitlines()
    assert lines[2] == '  shell_history: command "nmap -sS"; also name "x"'


def test_no_alert_at_all(tmp_path: Path) -> None:
    """Where nothing was told, nothing was asked for in vain."""
    result = run("alerts", "list", "--state", tmp_path)
    assert (result.exit_code, result.stderr) == (0, f"No alert has been told in {tmp_path}.\n")


def test_suppress_add_list_rm(tmp_path: Path) -> None:
    """What is added is listed, by its id taken out, and said each time in a sentence."""
    scope = ("--user", "alice", "--query", "shell_history", "--field", "command", "--pattern", "make *")
    result = run("suppress", "add", *scope, "--until", "2099-01-01", "--note", "builds", "--state", tmp_path)
    assert result.exit_code == 0, result.output
    identity, _, rest = result.stderr.partition(":")
    what = "user alice, query shell_history, command like make *"
    assert rest == f" {what} raises no alert before 2099-01-01.\n"
    assert run("suppress", "list", "--state", tmp_path).stdout.splitlines() == [
        "id        expires     state     note",
        f"{identity}  2099-01-01  in force  builds",
        f"  {what}",
    ]
    (row,) = run("suppress", "list", "--state", tmp_path, "--format", "json").stdout.splitlines()
    assert json.loads(row)["pattern"] == "make *"
    result = run("suppress", "rm", identity, "--state", tmp_path)
    assert (result.exit_code, result.stderr) == (0, f"{identity}: {what} raises alerts again.\n")
    assert run("suppress", "list", "--state", tmp_path).stderr == "Nothing is suppressed.\n"


def test_suppress_adds_nothing_twice(tmp_path: Path) -> None:
    """What suppresses just the same for as long is named; longer, or of another value, is added."""
    scope = ("suppress", "add", "--state", tmp_path, "--user", "alice", "--field", "command", "--value")
    first = run(*scope, "make", "--until", "2099-01-01").stderr
    for day in ("2099-01-01", "2098-12-31"):
        result = run(*scope, "make", "--until", day, "--note", "again")
        said = first.replace("2099-01-01.", "2099-01-01 already; nothing was added.")
        assert (result.exit_code, result.stderr) == (0, said)
    assert "already" not in run(*scope, "make", "--until", "2099-01-02").stderr
    assert "already" not in run(*scope, "make all", "--until", "2099-01-01").stderr
    assert len(run("suppress", "list", "--state", tmp_path, "--format", "json").stdout.splitlines()) == 3


def test_suppress_says_what_has_expired_from_the_start(tmp_path: Path) -> None:
    """A day that is over is taken, for an older log, and is not passed over in silence."""
    over = " By the clock it has expired: it is of use for older logs alone.\n"
    for day, said in (("2020-01-01", over), ("2099-01-01", "\n")):
        result = run("suppress", "add", "--user", "bob", "--until", day, "--state", tmp_path)
        assert result.exit_code == 0
        assert result.stderr.endswith(f"raises no alert before {day}.{said}")


def test_suppress_shows_what_has_expired(tmp_path: Path) -> None:
    """What does not apply any more is shown as such; by default thirty days are given."""
    file = tmp_path / "ours.toml"
    file.write_text('[[suppression]]\nid = "old"\nexpires = 2020-01-01\nuser = "alice"\n')
    assert run("suppress", "add", "--user", "bob", "--suppressions", file).exit_code == 0
    lines = run("suppress", "list", "--suppressions", file).stdout.splitlines()
    assert lines[1] == "old       2020-01-01  expired"
    days = {str((datetime.now(UTC) + timedelta(days=days)).date()) for days in (29, 30)}
    assert re.split(" +", lines[3])[1] in days


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Error: This suppression does not fit: it has no scope: give 'user', 'query' or 'field'.\n"),
        (
            ("--user", ""),
            "Error: This suppression does not fit: an empty 'user', 'query' or 'field' is to be left",
        ),
        (("--field", "a"), "Error: This suppression does not fit: 'field' needs either 'value' or 'pattern'.\n"),
        (("--user", "a", "--for", "3", "--until", "2030-01-01"), "Error: Give either --for or --until.\n"),
        (("--user", "a", "--for", "0"), "0 is not in the range 1<=x<=3650"),
    ],
)
def test_suppress_refuses_what_says_nothing(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """A suppression without a scope is a usage error, and nothing is written."""
    result = CliRunner().invoke(cli.main, ["suppress", "add", *words, "--state", str(tmp_path)])
    assert said in ended(result)
    assert list(tmp_path.iterdir()) == []


def ended(result: Result) -> str:
    """Return what an unsuccessful command said."""
    assert result.exit_code == 2, result.output
    return result.stderr


def test_a_file_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    """The file and the key are named, with a suggestion; a file that others may write has another exit code."""
    file = tmp_path / "suppressions.toml"
    file.write_text('[[suppression]]\nid = "x"\nexpires = 2030-01-01\nusr = "alice"\n')
    said = f"Error: {file}: suppression 1 has an unknown key 'usr'. Did you mean 'user'?\n"
    for words in (("list",), ("add", "--user", "bob"), ("rm", "x")):
        assert ended(run("suppress", *words, "--state", tmp_path)) == said
    file.chmod(0o666)
    assert run("suppress", "list", "--state", tmp_path).exit_code == 9


def test_rm_of_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    """The nearest id is proposed."""
    run("suppress", "add", "--user", "bob", "--state", tmp_path)
    assert "has no suppression 'nope'. There is: " in ended(run("suppress", "rm", "nope", "--state", tmp_path))


def test_feedback_says_what_it_does_and_does_it(state: Path) -> None:
    """The scope is shown, first without doing anything; then it is suppressed and written down."""
    identity = "9f2c41d07b3e5a68:0"
    result = run("feedback", identity, "--expected", "--dry-run", "--state", state)
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("Would be done: f")
    assert not (state / "feedback.toml").exists()
    result = run("feedback", identity, "--expected", "--for", 90, "--note", "new job", "--state", state)
    first, second = result.stderr.splitlines()
    assert "user alice, query shell_history, command = nmap -sS raises no alert before " in first
    assert second == f"Action {identity} is learned with the next hundred of alice's own."
    assert "new job" in run("suppress", "list", "--state", state).stdout
    result = run("feedback", identity, "--incident", "--state", state)
    assert result.stderr.splitlines()[0] == (
        "1 of its actions is never learned, nor what waits to be learned beside it."
    )
    assert run("suppress", "list", "--state", state).stderr == "Nothing is suppressed.\n"


def test_feedback_needs_a_verdict_and_an_alert(state: Path) -> None:
    """Neither is guessed."""
    said = f"Error: There is no alert 'x' in {state}. See: anomaly alerts list\n"
    assert ended(run("feedback", "x", "--incident", "--state", state)) == said
    for verdicts in ((), ("--expected", "--incident"), ("--incident", "--expected")):
        said = ended(run("feedback", "9f2c41d07b3e5a68:0", *verdicts, "--state", state))
        assert "Say what it was: either --expected or --incident." in said
    assert not (state / "feedback.toml").exists()
    words = ("feedback", "x", "--incident", "--for", "3", "--state", state)
    assert "--for is for what was --expected." in ended(run(*words))
    words = ("feedback", "9f2c41d07b3e5a68:0", "--expected", "--until", "2100-01-01", "--state", state)
    assert "Give either --for or --until." in ended(run(*words, "--for", "3"))
    assert " raises no alert before 2100-01-01." in run(*words).stderr


def test_help_is_light() -> None:
    """The help of these commands needs neither numpy nor tomlkit; predict does not need tomlkit."""
    code = (
        "import sys; from click.testing import CliRunner; from anomaly import cli;"
        "[CliRunner().invoke(cli.main, [*words, '--help']) for words in (['suppress'], ['alerts'], ['feedback'])];"
        "assert not {'numpy', 'tomlkit'} & set(sys.modules);"
        "import anomaly.prediction; assert 'tomlkit' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_alerts_among_the_scores(log: Path, models: Path, event: Event, tmp_path: Path) -> None:
    """``--alert -`` shows alerts on standard output, between the lines of the scores."""
    strange = [
        event("alice", command=f"tool{number} --steal /srv/{number}", time=END + number) for number in range(99)
    ]
    path = tmp_path / "results.log"
    path.write_bytes(log.read_bytes() + b"".join(line + b"\n" for line in strange))
    words = ("--all-users", "-l", path, "--models", models, "--state", tmp_path, "--no-follow", "--from", "start")
    result = run("predict", *words, "--alert-on", "notice", "--alert", "-", "--min-score", 100)
    assert result.exit_code == 0, result.output
    (journal,) = tmp_path.glob("*.alerts.ndjson")
    told = [json.loads(line)["update"] for line in journal.read_text().splitlines()]
    assert told
    assert result.stdout.count("--expected") == len(told)


@pytest.mark.parametrize("form", ["json", "ecs"])
def test_alerts_do_not_mix_with_scores_for_programs(form: str, log: Path, tmp_path: Path) -> None:
    """A line of text between lines of JSON is refused before anything is learned, as is what is no address."""
    words = ["-l", str(log), "--models", str(tmp_path / "m"), "--state", str(tmp_path / "s"), "--format", form]
    error = (
        f"Error: Alerts to - would stand among scores in {form}. Send them elsewhere, or show scores by"
        " --format text.\n"
    )
    for given in (
        CliRunner().invoke(cli.main, ["predict", "--all-users", *words, "--alert", "-"]),
        CliRunner().invoke(cli_predict.run, words, env={"ANOMALY_ALERTS": "syslog: -"}),
    ):
        assert (given.exit_code, given.stdout, given.stderr) == (2, "", error)
    given = CliRunner().invoke(cli_predict.run, [*words, "--alert", "sylog:"])
    assert (given.exit_code, given.stdout) == (2, "")
    assert not list(tmp_path.iterdir())
