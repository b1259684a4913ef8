"""Checks of the log."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anomaly.doctor.interface import State
from anomaly.sources.logfile import access, running_user

if TYPE_CHECKING:
    from tests.conftest import Event
    from tests.doctor.conftest import Machine

NOW = 1_793_100_000


def test_a_log_that_can_be_read_is_well(machine: Machine, event: Event) -> None:
    """A regular file that others may read too is in order, with its size."""
    machine.log([event(time=NOW)] * 5000)
    verdict = machine.check("log")
    assert verdict.state is State.OK
    assert verdict.found == f"{machine.places.log} may be read, 0.8 MiB."


def test_a_missing_log_is_a_problem(machine: Machine) -> None:
    """Where there is no log, it is said where, and what to look at."""
    verdict = machine.check("log")
    assert (verdict.state, verdict.found) == (State.PROBLEM, f"{machine.places.log} does not exist.")
    assert verdict.remedy == (f"ls -l {machine.places.log.parent}", "systemctl status osqueryd")


def test_a_log_that_may_not_be_read(machine: Machine, event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without permission the remedy is a group, as the documentation sets it up."""
    machine.log([event()])

    def forbidden(path: object, *_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("anomaly.sources.logfile.os.open", forbidden)
    verdict = machine.check("log")
    assert verdict.state is State.PROBLEM
    assert verdict.remedy == (access(machine.places.log), f"sudo usermod -aG adm {running_user()}")
    assert verdict.remedy[0].startswith("sudo chgrp adm ")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Path.mkdir, "it is a directory"),
        (os.mkfifo, "it is a pipe, a device or a socket"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a pipe, a device or a socket"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
)
def test_what_is_no_file_is_not_waited_for(machine: Machine, make: Callable[[Path], None], why: str) -> None:
    """A directory, a pipe, a device and a link to itself are named, and nothing blocks."""
    machine.places.log.parent.mkdir()
    make(machine.places.log)
    verdict = machine.check("log")
    assert (verdict.state, verdict.found) == (
        State.PROBLEM,
        f"{machine.places.log} cannot be read as a log: {why}.",
    )


def test_a_log_for_root_alone(machine: Machine, event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read it, and is told that nobody else may; not where a group or an access list lets others."""
    machine.log([event()])
    if machine.places.log.stat().st_uid:
        pytest.skip("only root can make a file of root's")
    machine.places.log.chmod(0o640)
    verdict = machine.check("log")
    assert verdict.state is State.WARNING
    assert "may be read by root alone (rw-r-----)" in verdict.found
    assert verdict.remedy == (access(machine.places.log),)
    monkeypatch.setattr("anomaly.doctor.log.os.getxattr", lambda *_: b"")
    assert machine.check("log").state is State.OK
    monkeypatch.undo()
    os.chown(machine.places.log, 0, 4)
    assert machine.check("log").state is State.OK


def test_standard_input_is_not_looked_at(machine: Machine) -> None:
    """Where the log is standard input, nothing is read and nothing is a problem of the log."""
    verdict = machine.check("log", log=Path("-"))
    assert (verdict.state, verdict.found) == (
        State.UNKNOWN,
        "Standard input is not looked at; name a file with -l.",
    )


@pytest.mark.parametrize(
    ("behind", "state", "words"),
    [
        (59, State.OK, "59 seconds"),
        (3600, State.OK, "1 hour"),
        (7300, State.WARNING, "2 hours"),
        (3 * 86_400, State.PROBLEM, "3 days"),
        (-40, State.OK, "0 seconds"),
    ],
)
def test_the_age_of_the_last_action(machine: Machine, event: Event, behind: int, state: State, words: str) -> None:
    """By the log's own time: an hour of silence is worth a word, a day is a problem."""
    machine.log([event(time=NOW - behind - 500), event(time=NOW - behind)])
    verdict = machine.check("log age")
    assert (verdict.state, verdict.found) == (state, f"The last action is {words} old.")
    assert bool(verdict.remedy) is (state is not State.OK)


def test_the_age_of_nothing(machine: Machine) -> None:
    """An empty log is a problem; one whose lines say no time leaves it open."""
    machine.log([])
    assert machine.check("log age").state is State.PROBLEM
    machine.log([b"not json"])
    assert machine.check("log age").state is State.UNKNOWN


def test_lines_that_parse(machine: Machine, event: Event) -> None:
    """A good log is said to be all actions."""
    machine.log([event()] * 9)
    verdict = machine.check("log lines")
    assert (verdict.state, verdict.found) == (State.OK, "The last 9 lines are 9 actions.")


@pytest.mark.parametrize(
    ("bad", "words", "command"),
    [
        (b"Oct 12 root: hello", "not_json: it is another program's file, or was damaged", "head -n 3 "),
        (b'{"name":"pack_x_y","hostIdent', "truncated: records were cut, as a full disk does", "df -h "),
        (b'{"some":"json"}', "not_a_result: it is not osquery's results log", "head -n 3 "),
        (
            b'{"action":"added","columns":[1],"name":"x"}',
            "bad_record: they are not as osquery writes them",
            "tail",
        ),
    ],
)
def test_lines_that_do_not(machine: Machine, event: Event, bad: bytes, words: str, command: str) -> None:
    """What cannot be parsed is counted by reason, with what it means; most of the lines are a problem."""
    machine.log([event()] * 8 + [bad] * 2)
    verdict = machine.check("log lines")
    assert verdict.state is State.WARNING
    assert verdict.found == f"2 of the last 10 lines cannot be used; 2 of them are {words}."
    assert verdict.remedy[0].startswith(command)
    machine.log([event()] * 2 + [bad] * 8)
    assert machine.check("log lines").state is State.PROBLEM


def test_lines_that_are_too_long(machine: Machine, event: Event) -> None:
    """A line above the limit is counted, and the limit is what to change."""
    machine.log([event(), event(command="x" * 5000)])
    verdict = machine.check("log lines", max_line=2048)
    assert verdict.found == (
        "1 of the last 2 lines cannot be used; 1 of them are too_long: lines are longer than --max-line."
    )
    assert verdict.remedy == ("export ANOMALY_MAX_LINE=16777216",)


def test_osquerys_own_words_are_no_results(machine: Machine) -> None:
    """A log of status lines alone holds no action, and that is the problem."""
    machine.log([b"severity=0 location=init.cpp:190 message=osquery started"] * 3)
    assert machine.check("log lines").state is State.PROBLEM
    assert "what osquery says of itself" in machine.check("log lines").found


def test_rows_that_name_their_users(machine: Machine, event: Event) -> None:
    """Names are counted, and what nobody is named in by design is left out."""
    machine.log([event()] * 9 + [event(None, "usb_devices", vendor="x")] * 9)
    verdict = machine.check("log users")
    assert verdict.state is State.OK
    assert verdict.found.startswith("Of the last 9 actions of people 100% name the user, 0% only a number")


def test_rows_with_numbers_only(machine: Machine, event: Event) -> None:
    """Numbers that neither the log nor the machine can name are worth a word, with the query they come from."""
    machine.log([event(), *[event(None, "processes", uid="54321", name="x")] * 3])
    verdict = machine.check("log users")
    assert verdict.state is State.WARNING
    assert "75% only a number that nobody knows" in verdict.found
    assert verdict.found.endswith("osquery knows no name for them: processes.")


def test_rows_that_name_nobody(machine: Machine, event: Event) -> None:
    """Where hardly a row names anybody, users cannot be learned: a problem, and the pack is the remedy."""
    machine.log([event(None, "processes", name="x")] * 20)
    verdict = machine.check("log users")
    assert verdict.state is State.PROBLEM
    assert verdict.remedy[0].startswith("sudo install -D -m 0644 conf/user-behavior.conf ")


def test_a_decorator_is_no_user(machine: Machine) -> None:
    """Names that only a decorator gives are told apart from those of the rows."""
    row = b'{"name":"open_files","decorations":{"username":"al"},"columns":{"path":"/x"},"action":"added"}'
    machine.log([row] * 4)
    verdict = machine.check("log users")
    assert verdict.state is State.WARNING
    assert verdict.found.endswith("A decorator says who was logged in, not who acted: open_files.")


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (600, "The log is 10 minutes ahead of this machine's clock."),
        (
            7201,
            "The log is 2 hours ahead of this machine's clock. That is whole hours: a clock set to local time?",
        ),
    ],
)
def test_a_log_of_the_future(machine: Machine, event: Event, ahead: int, words: str) -> None:
    """Actions that are still to come show a clock that is wrong; whole hours a time zone."""
    machine.log([event(time=NOW + ahead)])
    verdict = machine.check("clock")
    assert (verdict.state, verdict.found, verdict.remedy) == (State.PROBLEM, words, ("timedatectl",))


def test_an_old_log_says_nothing_of_the_clock(machine: Machine, event: Event) -> None:
    """Where the newest time is more than an hour old nobody knows that the two agree."""
    machine.log([event(time=NOW - 3600)])
    verdict = machine.check("clock")
    assert (verdict.state, verdict.found) == (State.OK, "The log's time and the machine's agree.")
    machine.log([event(time=NOW - 35 * 86400)])
    verdict = machine.check("clock")
    said = "The log's newest time is 35 days old: a clock that is wrong would not show."
    assert (verdict.state, verdict.found) == (State.UNKNOWN, said)


def test_time_that_goes_back(machine: Machine, event: Event) -> None:
    """A step back of more than an hour is worth a word; what a batch brings is not."""
    machine.log([event(time=NOW - 900), event(time=NOW - 1000)])
    assert machine.check("clock").state is State.OK
    machine.log([event(time=NOW - 900), event(time=NOW - 9000)])
    verdict = machine.check("clock")
    assert (verdict.state, verdict.found) == (State.WARNING, "At the log's end time goes back by 2 hours.")


@pytest.mark.parametrize("name", ["log age", "log lines", "log users", "log rotation", "clock", "follower"])
def test_without_a_log_nothing_more_is_known_of_it(machine: Machine, name: str) -> None:
    """A log that is not there is said once; what hangs on it is unknown."""
    assert machine.check(name).state is State.UNKNOWN
