"""The commands as a person meets them: exit codes and exact words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from anomaly import cli, cli_predict, options
from anomaly.detectors.interface import Algorithm
from anomaly.errors import AnomalyError
from anomaly.records import Severity
from anomaly.store import Store

ROOT = Path(__file__).parents[1]
DEFAULT = "/var/log/osquery/osqueryd.results.log"


def line(user: str, number: int, command: str = "ls") -> str:
    """Make one result line."""
    return json.dumps(
        {
            "name": "pack_user_behavior_shell_history",
            "hostIdentifier": "ws1",
            "calendarTime": "-",
            "unixTime": 1_790_000_000 + 60 * number,
            "epoch": 0,
            "counter": 1 + number,
            "numerics": False,
            "columns": {"command": command, "uid": "1000", "username": user},
            "action": "added",
        }
    )


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a log in which alice has enough actions to learn from and bob has not."""
    path = tmp_path_factory.mktemp("log") / "osqueryd.results.log"
    words = ("ls", "git status", "make", "vim a.c", "cd src")
    rows = [line("alice", number, words[number * number % 5]) for number in range(700)]
    rows += [line("bob", 700 + number) for number in range(30)]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def models(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a model of alice."""
    folder = tmp_path_factory.mktemp("models") / "models"
    result = run("train", "--user", "alice", "-a", "ocsvm", "-l", log, "--models", folder)
    assert result.exit_code == 0, result.output
    return folder


def run(*words: object) -> Result:
    """Run ``anomaly`` with some words."""
    return CliRunner().invoke(cli.main, [str(word) for word in words])


def commands(command: click.Command = cli.main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every command."""
    yield path
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, (*path, name))


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_every_command_explains_itself_with_an_example(path: tuple[str, ...]) -> None:
    """Each command's help has an example that names it."""
    result = run(*path, "--help")
    assert result.exit_code == 0
    example = result.output.partition("Example:")[2]
    assert " ".join(("anomaly", *path)) in example


@pytest.mark.parametrize("path", [path for path in commands() if path], ids=" ".join)
def test_readme_names_every_command(path: tuple[str, ...]) -> None:
    """No command is missing from README."""
    readme = (ROOT / "README.md").read_text()
    assert f"`{path[-1]}`" in readme or f"anomaly {' '.join(path)}" in readme


def test_the_words_for_algorithms_and_severities_are_the_programs() -> None:
    """What the command line offers is what there is (it names them without importing numpy)."""
    assert list(options.ALGORITHMS) == [algorithm.value for algorithm in Algorithm]
    assert list(options.SEVERITIES) == [severity.value for severity in Severity if severity.rank]


def test_every_error_has_an_exit_code_of_its_own_that_readme_lists() -> None:
    """Errors that can be raised have different codes, each with a row in README."""

    def leaves(error: type[AnomalyError]) -> Iterator[type[AnomalyError]]:
        for inner in error.__subclasses__():
            yield from leaves(inner)
        if not error.__subclasses__():
            yield error

    codes = [error.exit_code for error in leaves(AnomalyError)]
    assert len(set(codes)) == len(codes)
    readme = (ROOT / "README.md").read_text()
    assert all(f"| {code} |" in readme for code in (0, 1, *codes, cli_predict.EXIT_FOUND))


def test_training_needs_to_know_whom() -> None:
    """Neither or both of --user and --all-users is a usage error."""
    for words in ((), ("--user", "alice", "--all-users")):
        result = run("train", *words)
        assert result.exit_code == 2
        assert "Error: Give either --user NAME or --all-users." in result.stderr


def test_a_missing_log_says_what_to_do(tmp_path: Path, models: Path) -> None:
    """A log that is not there ends with 3 and asks for the right path."""
    missing = tmp_path / "no.log"
    for words in (
        ("train", "--user", "alice"),
        ("predict", "--user", "alice", "--no-follow", "--state", tmp_path / "s"),
    ):
        result = run(*words, "-l", missing, "--models", models)
        assert result.exit_code == 3
        assert result.stderr.startswith(f"Error: {missing} does not exist;")
    assert not (tmp_path / "s").exists()  # nothing is left of a run that could not begin, not even a lock


def test_a_log_that_is_a_directory_is_not_read(tmp_path: Path) -> None:
    """What is no regular file ends with 4."""
    result = run("users", "-l", tmp_path)
    assert result.exit_code == 4
    assert "regular file" in result.stderr


def test_an_empty_log_says_so(tmp_path: Path) -> None:
    """An empty log ends with 5, and so does one without a single action."""
    empty = tmp_path / "osqueryd.results.log"
    empty.touch()
    for command in (("train", "--all-users"), ("train", "--user", "alice"), ("users",)):
        result = run(*command, "-l", empty, "--models", tmp_path / "m")
        assert result.exit_code == 5
        assert result.stderr.startswith(f"Error: {empty} is empty.")
    empty.write_text("not json\nseverity=0 location=init.cpp:190 message=started\n")
    result = run("users", "-l", empty)
    assert result.exit_code == 5
    assert "2 lines and no action to learn from (not_json 1, status 1)" in result.stderr


def test_predicting_on_an_empty_log_says_so(tmp_path: Path, models: Path) -> None:
    """Nothing to score in the whole log is an error; nothing new is not."""
    empty = tmp_path / "osqueryd.results.log"
    empty.touch()
    result = run(
        "predict", "--user", "alice", "--no-follow", "-l", empty, "--models", models, "--state", tmp_path / "s"
    )
    assert result.exit_code == 5
    assert result.stderr.startswith(f"Error: {empty} is empty.")


def test_too_little_data_says_how_many_actions_are_missing(log: Path, tmp_path: Path) -> None:
    """Thirty actions are 470 too few, and the exit code is 6."""
    result = run("train", "--user", "bob", "-a", "OCSVM", "-l", log, "--models", tmp_path)
    assert result.exit_code == 6
    assert "'bob' has 30 actions to learn from, and 500 are needed: 470 are missing." in result.stderr


def test_an_unknown_user_is_met_with_the_nearest(log: Path, models: Path, tmp_path: Path) -> None:
    """A misspelt name ends with 7 and is told what was probably meant, by training and by prediction."""
    trained = run("train", "--user", "alcie", "-l", log, "--models", tmp_path / "m")
    predicted = run("predict", "--user", "alcie", "-l", log, "--models", models, "--state", tmp_path / "s")
    for result in (trained, predicted):
        assert result.exit_code == 7
        assert "Did you mean 'alice'?" in result.stderr


def test_no_model_at_all_says_how_to_make_one(log: Path, tmp_path: Path) -> None:
    """Prediction before any training ends with 7 and the command to run."""
    result = run("predict", "--all-users", "-l", log, "--models", tmp_path / "m", "--state", tmp_path / "s")
    assert result.exit_code == 7
    assert "anomaly train --all-users" in result.stderr


def test_a_directory_that_everybody_may_write_is_refused(log: Path, models: Path, tmp_path: Path) -> None:
    """A world-writable models directory ends with 8 and the command that mends it."""
    models.chmod(0o777)
    try:
        result = run("predict", "--user", "alice", "-l", log, "--models", models, "--state", tmp_path / "s")
    finally:
        models.chmod(0o700)
    assert result.exit_code == 8
    mends = f"chown -R $(id -un) {models} && chmod -R go-w {models}"
    said = f"{models} is not to be trusted: everybody may write it. If what is in it is yours, run: {mends}"
    assert said in result.stderr


def test_training_everyone_passes_over_who_has_too_little(log: Path, tmp_path: Path) -> None:
    """With --all-users a user with too few actions is named, and the others are learned."""
    result = run("train", "--all-users", "-a", "OCSVM", "-l", log, "--models", tmp_path / "m")
    assert result.exit_code == 0
    assert "alice: model 1 (OCSVM) from 700 actions" in result.stderr
    assert "bob" in result.stderr


def test_prediction_as_json_is_one_record_per_action(log: Path, models: Path, tmp_path: Path) -> None:
    """Every action of the user gives one line of JSON on stdout; words for people go to stderr."""
    words = ("--from", "start", "--no-follow", "--format", "json", "-l", log, "--models", models)
    result = run("predict", "--user", "alice", *words, "--state", tmp_path / "s")
    assert result.exit_code == 0
    records = [json.loads(text) for text in result.stdout.splitlines()]
    assert len(records) == 700
    assert {record["user"] for record in records} == {"alice"}
    assert all(0 <= record["score"] <= 100 and 0 <= record["risk"] <= 100 for record in records)
    assert "730 lines, 730 actions, 700 scored" in result.stderr


def test_prediction_for_elastic_is_one_event_per_action(log: Path, models: Path, tmp_path: Path) -> None:
    """With --format ecs every action is an event of the Elastic Common Schema; tables have no such format."""
    words = ("--from", "start", "--no-follow", "--format", "ecs", "-l", log, "--models", models)
    result = run("predict", "--user", "alice", *words, "--state", tmp_path / "s")
    assert result.exit_code == 0
    events = [json.loads(text) for text in result.stdout.splitlines()]
    assert len(events) == 700
    assert {event["user"]["name"] for event in events} == {"alice"}
    assert {event["event"]["kind"] for event in events} == {"event"}
    assert all(0 <= event["anomaly"]["score"] <= 100 for event in events)
    refused = run("users", "-l", log, "--format", "ecs")
    assert refused.exit_code == 2
    assert "'ecs' is not one of 'text', 'json'" in refused.stderr


def test_every_user_gives_records_and_the_unknown_ones_no_score(log: Path, models: Path, tmp_path: Path) -> None:
    """With --all-users a user without a model has null figures and the state none."""
    words = ("--from", "start", "--no-follow", "--format", "json", "-l", log, "--models", models)
    result = run("predict", "--all-users", *words, "--state", tmp_path / "s")
    records = [json.loads(text) for text in result.stdout.splitlines()]
    bobs = [record for record in records if record["user"] == "bob"]
    assert len(records) == 730
    assert len(bobs) == 30
    assert all(r["score"] is None and r["risk"] is None and r["model"]["state"] == "none" for r in bobs)


def test_prediction_goes_on_after_training_and_then_after_itself(log: Path, models: Path, tmp_path: Path) -> None:
    """The first run shows only what came after training; the second only what came after the first."""
    copy = tmp_path / log.name
    copy.write_bytes(log.read_bytes())
    words = ("--no-follow", "--format", "json", "-l", copy, "--models", models, "--state", tmp_path / "s")
    assert run("predict", "--user", "alice", *words).stdout == ""
    with copy.open("a") as file:
        file.write(line("alice", 900, "nmap -sS 10.0.0.0/24") + "\n")
    fresh = run("predict", "--user", "alice", *words).stdout.splitlines()
    assert [json.loads(text)["columns"]["command"] for text in fresh] == ["nmap -sS 10.0.0.0/24"]
    assert run("predict", "--user", "alice", *words).stdout == ""


def test_only_high_scores_are_shown_where_asked(log: Path, models: Path, tmp_path: Path) -> None:
    """--min-score hides actions with both score and risk below it."""
    copy = tmp_path / log.name
    strange = "".join(line("alice", 900 + n, f"nmap -sS 10.{n}.0.0/24") + "\n" for n in range(20))
    copy.write_text(log.read_text() + strange)
    words = ("--from", "start", "--no-follow", "--format", "json", "-l", copy, "--models", models)
    result = run("predict", "--user", "alice", *words, "--state", tmp_path / "s", "--min-score", "10")
    figures = [json.loads(text) for text in result.stdout.splitlines()]
    assert 0 < len(figures) < 720
    assert all(max(figure["score"], figure["risk"]) >= 10 for figure in figures)


def test_fail_on_ends_with_its_own_code(log: Path, models: Path, tmp_path: Path) -> None:
    """--fail-on ends with 20 once something of that severity was scored, and with 0 before."""
    copy = tmp_path / log.name
    copy.write_bytes(log.read_bytes())
    words = ("--no-follow", "-l", copy, "--models", models, "--state", tmp_path / "s", "--fail-on", "notice")
    assert run("predict", "--user", "alice", *words).exit_code == 0
    with copy.open("a") as file:
        file.writelines(line("alice", 900 + n, f"nmap -sS 10.{n}.0.0/24") + "\n" for n in range(100))
    assert run("predict", "--user", "alice", *words).exit_code == 20


def test_text_output_escapes_what_a_terminal_would_obey(log: Path, models: Path, tmp_path: Path) -> None:
    """An escape sequence in a command line reaches neither text nor JSON as such."""
    copy = tmp_path / log.name
    copy.write_bytes(log.read_bytes() + (line("alice", 901, "\x1b]0;pwned\x07\x1b[2J") + "\n").encode())
    for form in ("text", "json"):
        words = ("--no-follow", "-l", copy, "--models", models, "--state", tmp_path / form, "--format", form)
        result = run("predict", "--user", "alice", *words)
        assert result.exit_code == 0
        assert "pwned" in result.stdout
        assert "\x1b" not in result.output
        assert "\x07" not in result.output


def test_users_says_who_is_there_and_who_has_a_model(log: Path, models: Path) -> None:
    """The table has a row per user, with what is missing."""
    result = run("users", "-l", log, "--models", models)
    assert result.exit_code == 0
    rows = {row.split()[0]: row for row in result.stdout.splitlines()}
    assert "700" in rows["alice"]
    assert rows["alice"].endswith("1 in use")
    assert rows["bob"].endswith("470 short")
    as_json = [
        json.loads(row)
        for row in run("users", "-l", log, "--models", models, "--format", "json").stdout.splitlines()
    ]
    assert [row["user"] for row in as_json] == ["alice", "bob"]


def test_suppressions_that_cannot_be_understood_stop_the_start(log: Path, models: Path, tmp_path: Path) -> None:
    """It would tell more than was asked for, or less; the file, the line and what to do are named."""
    state = tmp_path / "s"
    state.mkdir(mode=0o700)
    file = state / "suppressions.toml"
    file.write_bytes(b"\xa1\xff")
    result = run("predict", "--user", "alice", "--no-follow", "-l", log, "--models", models, "--state", state)
    assert result.exit_code == 2
    reason = "is not valid TOML: line 1 is not UTF-8. Mend it, or move it away."
    assert result.stderr == f"Error: {file} {reason}\n"
    assert "| `suppressions.toml` cannot be understood |" in (ROOT / "docs" / "operating.md").read_text()


def test_long_names_fit_80_columns(models: Path, tmp_path: Path) -> None:
    """A table is 80 columns wide whatever users are called, and an error cuts the names it proposes."""
    name, place = "l" * 200, tmp_path / "m"
    model = Store(models).load("alice")
    assert model is not None
    model.model.card = replace(model.model.card, user=name)
    Store(place).save(name, model.model)
    listed = run("models", "list", "--models", place)
    assert listed.exit_code == 0, listed.output
    assert max(map(len, listed.stdout.splitlines())) == 80
    result = run("forget", "nosuch", "--models", place, "--state", tmp_path / "s")
    assert result.exit_code == 7
    assert result.stderr == f"Error: Nothing is kept of 'nosuch' here. There is: {'l' * 37}....\n"


def test_models_can_be_listed_shown_rolled_back_and_pruned(log: Path, tmp_path: Path) -> None:
    """Versions count up; rollback goes to the one before; prune keeps the one in use."""
    folder = tmp_path / "models"
    for _ in range(3):
        assert run("train", "--user", "alice", "-a", "OCSVM", "-l", log, "--models", folder).exit_code == 0
    assert run("models", "rollback", "--user", "alice", "--models", folder).stderr == "alice: model 2 is in use.\n"
    listed = [
        json.loads(row)
        for row in run("models", "list", "--models", folder, "--format", "json").stdout.splitlines()
    ]
    assert [(row["version"], row["in_use"]) for row in listed] == [(1, False), (2, True), (3, False)]
    assert "700" in run("models", "show", "--user", "alice", "--models", folder).stdout
    assert run("models", "prune", "--keep", "1", "--models", folder).stderr == "alice: deleted 1.\n"
    assert run("models", "rollback", "--user", "alice", "--models", folder).exit_code == 7


def test_an_unknown_setting_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    """A misspelt key in the configuration ends with 2."""
    file = tmp_path / "anomaly.toml"
    file.write_text('algoritm = "OCSVM"\n')
    result = run("-c", file, "users", "-l", tmp_path)
    assert result.exit_code == 2
    assert "unknown key 'algoritm'. Did you mean 'algorithm'?" in result.stderr


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    log: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings come from the flag, then ANOMALY_*, then the file, then the default."""
    file = tmp_path / "anomaly.toml"
    file.write_text(f'log = "{log}"\nformat = "json"\nmodels = "{models}"\n')
    assert json.loads(run("-c", file, "users").stdout.splitlines()[0])["user"] == "alice"
    monkeypatch.setenv("ANOMALY_FORMAT", "text")
    assert run("-c", file, "users").stdout.startswith("user")
    assert run("-c", file, "users", "--format", "json").stdout.startswith("{")
    monkeypatch.setenv("ANOMALY_LOG", str(tmp_path / "elsewhere"))
    assert run("-c", file, "users").exit_code == 3
    assert DEFAULT in run("users", "--help").output


def test_simulate_writes_the_sample_logs(tmp_path: Path) -> None:
    """The files are there and each is said to be simulated."""
    result = run("simulate", "--seed", "3", "--days", "3", tmp_path)
    assert result.exit_code == 0
    assert len(list(tmp_path.iterdir())) == 5
    assert all("simulated" in row for row in result.stderr.splitlines())


def test_simulate_names_the_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is no fault of the command line: it ends with 1, and a place that does not fit with 2."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    (tmp_path / "file").touch()
    result = run("simulate", "--days", "3", tmp_path / "file" / "below")
    assert result.exit_code == 2
    said = "cannot be written: Not a directory. Name another place."
    assert result.stderr == f"Error: {tmp_path / 'file' / 'below'} {said}\n"
    monkeypatch.setattr(Path, "write_bytes", full)
    result = run("simulate", "--days", "3", tmp_path)
    assert result.exit_code == 1
    said = "cannot be written: No space left on device. Make room, or name another place."
    assert result.stderr == f"Error: {tmp_path / 'osqueryd.results.log.gz'} {said}\n"


def test_a_name_in_a_message_cannot_make_a_line_of_its_own(tmp_path: Path) -> None:
    """A newline in a user's name is shown escaped in what is said on stderr."""
    log = tmp_path / "osqueryd.results.log"
    log.write_text("\n".join(line("m\nError: run evil", number) for number in range(3)))
    result = run("train", "--user", "m\nError: run evil", "-l", log, "--models", tmp_path / "m")
    assert result.exit_code == 6
    assert len(result.stderr.splitlines()) == 1
    result = run("train", "--all-users", "-l", log, "--models", tmp_path / "m")
    assert not any(row.startswith("Error: run evil") for row in result.stderr.splitlines())


def test_a_log_without_permission_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that may not be read ends with 4 and the commands that change it, without sudo for reading."""
    log = tmp_path / "osqueryd.results.log"
    log.write_text(line("alice", 1))

    def forbidden(path: object, *_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("anomaly.sources.logfile.os.open", forbidden)
    result = run("users", "-l", log)
    assert result.exit_code == 4
    assert "chgrp" in result.stderr
    assert "docs/osquery.md" in result.stderr


def test_models_that_cannot_be_written_are_noticed_before_training(log: Path, tmp_path: Path) -> None:
    """A file in place of the models directory ends with 11 at once."""
    place = tmp_path / "file"
    place.touch()
    for models in (place, place / "below"):
        result = run("train", "--user", "alice", "-a", "OCSVM", "-l", log, "--models", models)
        assert result.exit_code == 11
        assert result.stderr.startswith(f"Error: Models cannot be written to {models}: ")


def test_a_line_too_long_is_counted_and_told(models: Path, tmp_path: Path) -> None:
    """A line over 1 MiB is in the summary of what was skipped, and a log of only that is not called empty."""
    long = tmp_path / "osqueryd.results.log"
    long.write_text(line("alice", 1, "x" * (1 << 20)) + "\n")
    result = run("users", "-l", long)
    assert result.exit_code == 5
    assert "1 line and no action to learn from (too_long 1)" in result.stderr
    with long.open("a") as file:
        file.write(line("alice", 2) + "\n")
    words = ("--no-follow", "-l", long, "--models", models, "--state", tmp_path / "s")
    result = run("predict", "--user", "alice", *words)
    assert "2 lines, 1 action, 1 scored; 1 line skipped: too_long 1.\n" in result.stderr


def test_an_archive_named_beside_its_log_is_not_read_twice(log: Path, tmp_path: Path) -> None:
    """``-l X -l X.1`` and ``-l X -l X`` count every action once."""
    copy = tmp_path / log.name
    copy.write_bytes(log.read_bytes())
    (tmp_path / f"{log.name}.1").write_text(line("alice", 0, "older") + "\n")
    once = run("users", "-l", copy).stdout
    assert "701" in once
    assert run("users", "-l", f"{copy}.1", "-l", copy, "-l", copy).stdout == once


def test_an_empty_path_is_a_variable_that_was_not_set() -> None:
    """``--models ''`` is a usage error, and not the current directory."""
    result = run("models", "list", "--models", "")
    assert result.exit_code == 2
    assert "the path is empty." in result.stderr


def test_output_that_cannot_be_written_is_one_sentence(
    log: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk under standard output ends with 1 and a sentence."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("anomaly.sinks.ndjson.NdjsonSink.write", full)
    words = ("--from", "start", "--no-follow", "--format", "json", "-l", log, "--models", models)
    result = run("predict", "--user", "alice", *words, "--state", tmp_path / "s")
    assert result.exit_code == 1
    assert result.stderr == "Error: The output cannot be written: No space left on device\n"


def test_a_version_that_is_not_there_is_met_with_those_that_are(models: Path) -> None:
    """``models show --version 9`` lists the versions."""
    result = run("models", "show", "--user", "alice", "--version", "9", "--models", models)
    assert result.exit_code == 7
    assert result.stderr == "Error: 'alice' has no version 9. There is: 1.\n"


def test_a_directory_without_models_says_so(tmp_path: Path) -> None:
    """``models list`` of a mistyped directory names it and the next step."""
    result = run("models", "list", "--models", tmp_path / "none")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr.startswith(f"There is no model in {tmp_path / 'none'}. Make some with: anomaly train")


def test_prediction_begins_where_the_period_of_training_ended(log: Path, tmp_path: Path) -> None:
    """With --until no action falls between training and prediction: those after it are scored first."""
    models, until = tmp_path / "models", "2026-09-22T00:00"
    words = ("-l", log, "--models", models)
    assert run("train", "--user", "alice", "-a", "OCSVM", "--until", until, *words).exit_code == 0
    more = ("--no-follow", "--format", "json", "--state", tmp_path / "s")
    times = [
        json.loads(text)["time"] for text in run("predict", "--user", "alice", *words, *more).stdout.splitlines()
    ]
    assert 0 < len(times) < 200
    assert min(times) == f"{until}:20Z"
