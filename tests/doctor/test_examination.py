"""All checks together, and how they are told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anomaly.doctor import examination
from anomaly.doctor.examination import CHECKS, Finding, examine
from anomaly.doctor.interface import State, Verdict, World, ok, problem, warning
from anomaly.doctor.words import sheet, summary

if TYPE_CHECKING:
    from tests.conftest import Event
    from tests.doctor.conftest import Machine

ROOT = Path(__file__).parents[2]


def test_the_worst_come_first(machine: Machine, event: Event) -> None:
    """Every check answers once; problems stand before warnings, and those before what is in order."""
    machine.log([event()])
    findings = examine(machine.places)
    assert sorted(finding.check for finding in findings) == sorted(CHECKS)
    order = [list(State).index(finding.verdict.state) for finding in findings]
    assert order == sorted(order)
    assert len(set(order)) > 2


def test_each_thing_that_is_wrong_has_its_remedy(machine: Machine, event: Event) -> None:
    """A problem or a warning always comes with a command."""
    for lines in ([], [event(None, "processes", name="x", time=1)] * 9):
        machine.log(lines)
        bad = [v for v in machine.examine().values() if v.state in (State.PROBLEM, State.WARNING)]
        assert len(bad) >= 3
        assert all(verdict.remedy for verdict in bad)


def test_a_check_that_fails_is_an_answer(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a check did not foresee is unknown, and the others are made all the same."""

    def fails(_: World) -> Verdict:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(examination, "CHECKS", {"bad": fails, "good": lambda _: ok("Well.")})
    assert examine(machine.places) == [
        Finding("bad", Verdict(State.UNKNOWN, "This could not be looked at: [Errno 5] Input/output error.")),
        Finding("good", ok("Well.")),
    ]


def test_a_machine_of_pipes(machine: Machine) -> None:
    """Where everything is a pipe or a link to itself, nothing blocks, crashes or is in order by mistake."""
    places = machine.places
    for path in (places.log, places.osquery_conf, places.osquery_flags, places.root / "etc/logrotate.conf"):
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
    for path in (places.models, places.state):
        path.symlink_to(path)
    found = machine.examine()
    assert found["log"].state is State.PROBLEM
    assert found["state"].state is State.PROBLEM
    assert found["models"].state is not State.OK
    assert found["osquery config"].state is State.UNKNOWN


def test_a_machine_of_zeros(machine: Machine) -> None:
    """Large files of zeros in place of each are told in no time."""
    for path in (machine.places.log, machine.places.osquery_conf, machine.places.osquery_flags):
        machine.write(path, b"")
        with path.open("r+b") as file:
            file.truncate(1 << 34)
    found = machine.examine()
    assert found["log lines"].state is not State.OK
    assert found["osquery config"].found.endswith("it is larger than 4,096 KiB.")


def test_names_that_steer_terminals() -> None:
    """Whatever stands in what was found is escaped, and of any length it is cut."""
    findings = [Finding("a", warning("a \x1b[2J b" + "x" * 5000, "echo \x07"))]
    text = "\n".join(sheet(findings))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert len(text) < 1500


def test_a_report_is_80_columns_wide() -> None:
    """Words are wrapped below each other; commands stay whole, to be copied."""
    findings = [
        Finding("log age", problem("words " * 30, "command " * 20)),
        Finding("disk", ok("Fine.")),
    ]
    lines = list(sheet(findings))
    assert lines[0].startswith("problem  log age  words words")
    assert lines[1].startswith(" " * 18 + "words")
    assert all(len(line) <= 80 for line in lines if "$" not in line)
    assert lines[-2] == f"         $ {'command ' * 20}"
    assert lines[-1] == "ok       disk     Fine."


def test_the_summary_counts() -> None:
    """A sentence says how many there are of each."""
    one = [Finding("a", problem("x")), Finding("b", ok("y")), Finding("c", ok("y"))]
    assert summary(one) == "1 problem, 0 warnings, 0 unknown and 2 ok."


def test_the_documentation_names_every_check() -> None:
    """docs/configuration.md has a row for each check, and none for another."""
    page = (ROOT / "docs/configuration.md").read_text().partition("## Doctor")[2]
    rows = [line.split("|")[1].strip().strip("`") for line in page.splitlines() if line.startswith("| `")]
    assert rows == list(CHECKS)
