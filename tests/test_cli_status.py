"""``anomaly status`` as a person and a monitor meet it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from anomaly import cli
from anomaly.cli_status import EXIT_BEHIND
from anomaly.sources.checkpoint_file import CheckpointFile

if TYPE_CHECKING:
    from tests.conftest import Event


class Place:
    """A log, models and a state directory."""

    def __init__(self, folder: Path, log: Path, models: Path) -> None:
        self.folder, self.models, self.state = folder, models, folder / "state"
        self.log = Path(shutil.copy(log, folder / log.name))

    def run(self, command: str, *words: object) -> Result:
        """Run a command with the directories."""
        given = [command, "--models", self.models, "--state", self.state, *words]
        return CliRunner().invoke(cli.main, [str(word) for word in given])

    def predict(self, *words: object) -> None:
        """Score the log to its end."""
        result = self.run("predict", "--all-users", "--no-follow", "--jobs", "1", "-l", self.log, *words)
        assert result.exit_code == 0, result.output

    def told(self, *words: object) -> list[dict[str, Any]]:
        """Return what status says to programs."""
        result = self.run("status", "--json", *words)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    @property
    def name(self) -> str:
        """Return the checkpoint's name."""
        (lock,) = self.state.glob("*.lock")
        return lock.stem


@pytest.fixture
def place(tmp_path: Path, log: Path, models: Path) -> Place:
    """Give a log of alice and bob and models of both, and nothing watched yet."""
    return Place(tmp_path, log, models)


@pytest.fixture
def watched(place: Place) -> Place:
    """Give a log that has been scored to its end, from its beginning."""
    place.predict("--from", "start")
    return place


@pytest.fixture
def held(watched: Place) -> Iterator[Place]:
    """Give the same while a process works with it: this one."""
    with CheckpointFile(watched.state, watched.name):
        yield watched


def test_each_user_is_told_in_eighty_columns(watched: Place) -> None:
    """A head for the log, and a line for each user: state, model, actions, last action, risk, alerts, drift."""
    result = watched.run("status")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith(str(watched.log)[:70])
    assert lines[1].startswith("  not running; last heard of at 2")
    assert lines[2:5] == [
        "  at the end of the log",
        "  2,406 lines and 2,406 actions since it was started",
        "user           state    model       actions last action       risk alerts drift",
    ]
    users = sorted(lines[5:])
    assert [line.split()[:5] for line in users] == [
        ["alice", "ready", "OCSVM", "1", "1,203"],
        ["bob", "ready", "OCSVM", "1", "1,203"],
    ]
    assert all(len(line) <= 80 for line in lines)
    assert result.stderr == ""


def test_programs_get_a_line_of_json_for_each_log(watched: Place) -> None:
    """--json and --format json say the same: what the text says, and the day's severities."""
    (found,) = watched.told()
    assert found["log"] == str(watched.log)
    assert (found["running"], found["lag_bytes"], found["lag_seconds"], found["lines"]) == (False, 0, 0.0, 2406)
    (alice,) = [user for user in found["users"] if user["user"] == "alice"]
    assert (alice["host"], alice["state"], alice["algorithm"], alice["version"]) == ("ws1", "ready", "OCSVM", 1)
    assert alice["actions"] == 1203
    assert 0 <= alice["risk"] <= alice["risk_today"] <= 100
    assert 0 <= alice["drift"] <= 1
    again = [json.loads(line) for line in watched.run("status", "--format", "json").stdout.splitlines()]
    assert again == [found]


def test_users_and_logs_can_be_chosen(watched: Place) -> None:
    """--user tells of one user, -l of one log; of a log that is not watched nothing is known."""
    (found,) = watched.told("--user", "bob", "-l", watched.log)
    assert [user["user"] for user in found["users"]] == ["bob"]
    result = watched.run("status", "-l", "/srv/other.log")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == (
        f"Nothing is known in {watched.state}. Watch a log with:"
        f" anomaly predict --all-users -l LOG --state {watched.state}\n"
    )


def test_several_logs_in_one_state_directory_are_told_one_after_the_other(watched: Place) -> None:
    """Each log has a head and users of its own."""
    watched.log = Path(shutil.copy(watched.log, watched.folder / "second.log"))
    watched.predict("--from", "start")
    assert {Path(one["log"]).name for one in watched.told()} == {"osqueryd.results.log", "second.log"}
    assert watched.run("status").stdout.count("\n\n") == 1


def test_a_watch_that_runs_is_named_with_its_process(held: Place) -> None:
    """While the lock is held, it runs, by that process."""
    (found,) = held.told()
    assert (found["running"], found["process"]) == (True, os.getpid())
    assert held.run("status").stdout.splitlines()[1].endswith(f" UTC, process {os.getpid()}")


def test_what_was_written_since_is_the_lag(watched: Place, event: Event) -> None:
    """The bytes behind the checkpoint, and how long the first of them has waited."""
    line = event(time=1_700_000_000, command="ls") + b"\n"
    with watched.log.open("ab") as file:
        file.write(line * 3)
    (found,) = watched.told()
    assert found["lag_bytes"] == 3 * len(line)
    assert found["lag_seconds"] > 86_400
    assert f"  {3 * len(line):,} bytes of the log have not been read, for " in watched.run("status").stdout


def test_a_monitor_is_told_by_the_exit_code(held: Place, event: Event) -> None:
    """0 where it runs and keeps up; 21 where it is behind, and where nobody runs."""
    assert held.run("status", "--fail-if-behind", "60").exit_code == 0
    with held.log.open("ab") as file:
        file.write(event(time=1_700_000_000, command="ls") + b"\n")
    assert held.run("status", "--fail-if-behind", "60").exit_code == EXIT_BEHIND


def test_who_looks_at_one_user_beside_the_watch_disturbs_nobody(held: Place) -> None:
    """A log that all users are watched in is watched, whatever was done beside it and is over."""
    held.run("predict", "--user", "alice", "-l", str(held.log), "--no-follow")
    everyone, alice = sorted(held.told(), key=lambda one: one["user"] or "")
    assert (everyone["user"], everyone["running"]) == (None, True)
    assert (alice["user"], alice["running"]) == ("alice", False)
    assert held.run("status", "--fail-if-behind", "60").exit_code == 0
    (held.state / f"{alice['name']}.status.json").unlink()
    assert sorted(one["user"] or "" for one in held.told()) == ["", "alice"]
    assert held.run("status", "--fail-if-behind", "60").exit_code == 0


def test_a_user_who_is_watched_is_not_all_of_them(place: Place) -> None:
    """Where the watch of all has ended, that one user is watched does not make up for it."""
    place.predict("--from", "start")
    place.run("predict", "--user", "alice", "-l", str(place.log), "--no-follow", "--from", "start")
    alice = next(one for one in place.told() if one["user"] == "alice")
    with CheckpointFile(place.state, alice["name"]):
        assert [one["running"] for one in place.told() if one["user"] == "alice"] == [True]
        assert place.run("status", "--fail-if-behind", "1e12").exit_code == EXIT_BEHIND
        for file in set(place.state.iterdir()) - set(place.state.glob(f"{alice['name']}.*")):
            file.unlink()
        assert place.run("status", "--fail-if-behind", "1e12").exit_code == 0


def test_nobody_who_watches_is_behind_too(place: Place) -> None:
    """A monitor must not take the absence of a watch for peace."""
    assert place.run("status", "--fail-if-behind", "60").exit_code == EXIT_BEHIND
    place.predict("--from", "start")
    assert place.run("status", "--fail-if-behind", "60").exit_code == EXIT_BEHIND


def test_models_are_told_before_anything_is_watched(place: Place) -> None:
    """Who has a model and has not acted is ready, without a risk."""
    result = place.run("status")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "Nothing has been watched yet. Watch with: anomaly predict --all-users",
        "user           state    model       actions last action       risk alerts drift",
        "alice          ready    OCSVM 1           0 -                    -      0     -",
        "bob            ready    OCSVM 1           0 -                    -      0     -",
    ]


def test_a_checkpoint_of_the_version_before_is_enough(watched: Place) -> None:
    """Without a status file, users and their risk come from the checkpoint."""
    (before,) = watched.told()
    (watched.state / f"{watched.name}.status.json").unlink()
    (found,) = watched.told()
    assert found["lag_bytes"] == 0
    risks = [{user["user"]: user["risk"] for user in one["users"]} for one in (before, found)]
    assert risks[0] == risks[1]
    assert "\n  not running\n" in watched.run("status").stdout


@pytest.mark.parametrize("ending", ["json", "status.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff\x00", b'{"log":3}'])
def test_a_torn_file_is_refused_with_a_sentence(watched: Place, ending: str, content: bytes) -> None:
    """What cannot be read is named, and the rest is told."""
    path = watched.state / f"{watched.name}.{ending}"
    path.write_bytes(content)
    result = watched.run("status")
    assert result.exit_code == 0
    assert result.stderr.startswith(f"{path} is passed over: ")
    assert result.stderr.count("\n") == 1
    assert "alice" in result.stdout


def test_a_state_directory_of_others_is_refused(watched: Place) -> None:
    """Where everybody may write, nothing is told: exit code 9, with what mends it."""
    watched.state.chmod(0o777)
    result = watched.run("status")
    assert result.exit_code == 9
    assert result.stderr.startswith(f"Error: {watched.state} is not to be trusted: everybody may write it.")
    watched.state.chmod(0o700)


def test_hostile_names_are_escaped_and_keep_their_column(place: Place, event: Event) -> None:
    """Neither a control sequence nor a long name leaves its place."""
    with place.log.open("ab") as file:
        file.write(event("\x1b[31mred", command="ls") + b"\n" + event("x" * 200, command="ls") + b"\n")
    place.predict("--from", "start")
    result = place.run("status")
    assert "\x1b" not in result.stdout
    lines = result.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert "\\x1b[31mred    learning -                 1" in result.stdout
    assert "xxxxxxxxxxx... learning -                 1" in result.stdout
    assert place.told("--user", "\x1b[31mred")[0]["users"][0]["state"] == "learning"


def test_one_name_on_two_hosts_is_two_rows(place: Place, event: Event) -> None:
    """Who acts on several hosts is told with the host."""
    with place.log.open("ab") as file:
        file.write(event("alice", command="ls", host="db2") + b"\n")
    place.predict("--from", "start")
    rows = [line.split()[0] for line in place.run("status").stdout.splitlines() if line.startswith("alice")]
    assert sorted(rows) == ["alice@db2", "alice@ws1"]
