"""Checks of rotation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anomaly.doctor.interface import State
from anomaly.doctor.rotation import logrotate

if TYPE_CHECKING:
    from tests.conftest import Event
    from tests.doctor.conftest import Machine


@pytest.fixture
def rotated(machine: Machine, event: Event) -> Machine:
    """Give a machine with a log and an archive."""
    machine.log([event()])
    machine.write(machine.places.log.with_name(f"{machine.places.log.name}.1"), event() + b"\n")
    return machine


def rule(machine: Machine, *words: str) -> Path:
    """Write logrotate's rule for the log."""
    return machine.etc(
        "logrotate.d/osquery", f"{machine.places.log.parent}/*.log {{\n" + "\n".join(words) + "\n}\n"
    )


def test_osquery_rotates(rotated: Machine) -> None:
    """Rotation by osquery is in order, and archives are counted."""
    rotated.flags("--logger_rotate=true")
    verdict = rotated.check("log rotation")
    assert (verdict.state, verdict.found) == (State.OK, "Rotated by osquery; there is 1 archive.")


def test_logrotate_rotates(rotated: Machine) -> None:
    """A rule that creates a new file is in order."""
    file = rule(rotated, "  weekly", "  create 0640 root adm")
    assert rotated.check("log rotation").found == f"Rotated by {file}; there is 1 archive."


@pytest.mark.parametrize(
    ("words", "flag", "found"),
    [
        (("copytruncate",), "", "has copytruncate: what osquery writes between copy and cut is lost."),
        (("weekly",), "--logger_rotate", "Both osquery (logger_rotate) and "),
        (("olddir /srv/old logs",), "", "moves archives to /srv/old, where anomaly does not look."),
    ],
)
def test_rotation_that_loses(rotated: Machine, words: tuple[str, ...], flag: str, found: str) -> None:
    """Copying and cutting, rotating twice, and archives elsewhere are worth a word."""
    rule(rotated, *words)
    rotated.flags(flag)
    verdict = rotated.check("log rotation")
    assert verdict.state is State.WARNING
    assert found in verdict.found


def test_archives_that_are_looked_for(rotated: Machine) -> None:
    """An olddir that anomaly knows is in order, also one that is given from the log's place."""
    rule(rotated, "olddir old")
    assert rotated.check("log rotation").remedy == (f"export ANOMALY_OLDDIR={rotated.places.log.parent / 'old'}",)
    assert rotated.check("log rotation", olddir=rotated.places.log.parent / "old").state is State.OK


def test_a_log_that_nobody_rotates(machine: Machine, event: Event) -> None:
    """A small one is no matter; one of more than a GiB is."""
    machine.log([event()])
    assert machine.check("log rotation").found == "Rotated by nobody that is known of here; there are 0 archives."
    with machine.places.log.open("r+b") as file:
        file.truncate((1 << 30) + 1)  # of holes, which take no room
    verdict = machine.check("log rotation")
    assert verdict.state is State.WARNING
    assert "which has 1,024 MiB. Set --logger_rotate=true." in verdict.found


def test_other_rules_are_not_ours(tmp_path: Path) -> None:
    """Rules of other logs, comments and the braces of scripts say nothing of this log."""
    folder = tmp_path / "logrotate.d"
    folder.mkdir()
    (folder / "a").write_text(
        "/var/log/other.log {\n copytruncate\n postrotate\n  f() { /log/x.log; }\n endscript\n}\n"
        "# /log/x.log {\n#}\n"
        '"/log/x.log" /log/y.log\n{\n daily\n}\n'
    )
    (rule,) = logrotate(Path("/log/x.log"), tmp_path)
    assert (rule.copytruncate, rule.olddir) == (False, None)


def test_a_hostile_file_costs_nothing(tmp_path: Path) -> None:
    """Many braces, none, and bytes of any kind are read in time that grows with their length."""
    (tmp_path / "logrotate.conf").write_bytes(b"/x" * 60_000 + b"\n" + b"{" * 60_000 + b"}" * 60_000 + b"\xff\x00")
    assert logrotate(Path("/log/x.log"), tmp_path) == []
