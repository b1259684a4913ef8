"""Checks of osquery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from anomaly.doctor.interface import State
from anomaly.doctor.pack import QUERIES

if TYPE_CHECKING:
    from tests.conftest import Event
    from tests.doctor.conftest import Machine, Pack

AUDIT = {"disable_audit": False, "audit_allow_config": True, "enable_syslog": True}


def test_a_configuration_that_is_json(machine: Machine, pack: Pack) -> None:
    """A file that parses is in order, with the number of its queries."""
    machine.conf(pack())
    verdict = machine.check("osquery config")
    assert verdict.state is State.OK
    assert verdict.found == f"{machine.places.osquery_conf} is JSON; 12 of its queries are for this platform."


def test_a_configuration_that_is_none(machine: Machine) -> None:
    """A file that does not parse is a problem; the remedy is osquery's own check."""
    machine.conf('{"schedule": ')
    verdict = machine.check("osquery config")
    conf, flags = machine.places.osquery_conf, machine.places.osquery_flags
    assert (verdict.state, verdict.found) == (
        State.PROBLEM,
        f"{conf} is left out: it is no JSON: Expecting value.",
    )
    assert verdict.remedy == (f"sudo osqueryd --flagfile {flags} --config_path {conf} --config_check",)


def test_a_configuration_that_is_elsewhere(machine: Machine) -> None:
    """No file may mean another machine, a server, or another path: none is a problem of this machine."""
    assert machine.check("osquery config").state is State.UNKNOWN
    machine.flags("--config_plugin=tls")
    assert machine.check("osquery config").found == (
        f"osquery gets its configuration by its plugin 'tls', not from {machine.places.osquery_conf}."
    )
    machine.flags("--config_path=/etc/x; rm -rf /")
    verdict = machine.check("osquery config")
    assert verdict.state is State.WARNING
    assert verdict.remedy == ("anomaly doctor --osquery-conf '/etc/x; rm -rf /'",)


def test_a_logger_that_writes_the_log(machine: Machine) -> None:
    """The plugin of files, one line a row, into the log that is watched."""
    machine.flags("--logger_plugin=filesystem,tls")
    verdict = machine.check("osquery logger")
    assert (verdict.state, verdict.found) == (
        State.OK,
        f"Results go to {machine.places.log}, a line each.",
    )


@pytest.mark.parametrize("flag", ["--logger_plugin=tls", "--disable_logging"])
def test_a_logger_that_writes_no_file(machine: Machine, flag: str) -> None:
    """Without the plugin of files there is no log: a problem."""
    machine.flags(flag)
    verdict = machine.check("osquery logger")
    assert verdict.state is State.PROBLEM
    assert verdict.remedy == (f"sudoedit {machine.places.osquery_flags}", "sudo systemctl restart osqueryd")


def test_a_logger_that_writes_elsewhere(machine: Machine) -> None:
    """Another directory is named, and the command that looks there."""
    machine.flags("--logger_path=/srv/os query")
    verdict = machine.check("osquery logger")
    assert verdict.state is State.WARNING
    assert verdict.remedy == ("anomaly doctor -l '/srv/os query/osqueryd.results.log'",)


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--logger_event_type=false", "a line holds all rows of a run"),
        ("--logger_mode=0600", "logger_mode is 0600: no group may read the log"),
        ("--logger_mode=banana", "logger_mode is banana"),
        ("--logger_min_status=2", "logger_min_status hides warnings"),
    ],
)
def test_a_logger_that_could_do_better(machine: Machine, flag: str, words: str) -> None:
    """Flags that make the log worse to read are named."""
    machine.flags(flag)
    verdict = machine.check("osquery logger")
    assert verdict.state is State.WARNING
    assert words in verdict.found


def test_flags_in_the_wrong_file(machine: Machine) -> None:
    """What osquery ignores in options is named."""
    machine.flags()
    machine.conf({"options": {"logger_mode": "0600"}})
    assert machine.check("osquery logger").found == (
        "osquery ignores logger_mode in options: it belongs into the flags."
    )


def test_events_that_are_filled(machine: Machine, pack: Pack) -> None:
    """With auditing and syslog on, the event tables have rows."""
    machine.conf(pack() | {"options": AUDIT})
    verdict = machine.check("osquery events")
    assert (verdict.state, verdict.found) == (
        State.OK,
        "What these need is on: process_events, syslog, user_events.",
    )


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"disable_events": True}, "disable_events is on: process_events, syslog, user_events stay empty."),
        ({"disable_audit": "true"}, "disable_audit is on: process_events, user_events stay empty, and nobody"),
        ({"audit_allow_config": False}, "audit_allow_config is off: the kernel is told nothing"),
        ({"audit_allow_process_events": 0}, "audit_allow_process_events is off: process_events stays empty."),
        ({"audit_allow_user_events": "no"}, "audit_allow_user_events is off: user_events stays empty."),
        ({"enable_syslog": False}, "enable_syslog is off: syslog_events stays empty."),
    ],
)
def test_events_that_stay_away(machine: Machine, pack: Pack, option: dict[str, Any], words: str) -> None:
    """Each option without which a table stays empty is named with the table."""
    machine.conf(pack() | {"options": AUDIT | option})
    verdict = machine.check("osquery events")
    assert verdict.state is State.WARNING
    assert words in verdict.found


def test_auditing_is_off_by_default(machine: Machine, pack: Pack) -> None:
    """Without a word of it, osquery does not audit."""
    machine.conf(pack("process_events"))
    assert "disable_audit is on: process_events stay" in machine.check("osquery events").found
    machine.conf(pack("processes"))
    assert machine.check("osquery events").state is State.UNKNOWN


def test_queries_that_are_asked(machine: Machine, pack: Pack, event: Event) -> None:
    """All of the pack is in order; what the log has no rows of is named."""
    machine.conf(pack())
    assert machine.check("queries").found == "All 12 queries of the pack are asked."
    machine.log([event(query=name) for name in QUERIES if name != "arp_cache"])
    verdict = machine.check("queries")
    assert verdict.state is State.OK
    assert verdict.found.endswith("No rows at the log's end: arp_cache.")


def test_queries_that_are_not(machine: Machine, pack: Pack) -> None:
    """Those missing are named; none of them at all, too, beside what is asked instead."""
    machine.conf(pack(*(name for name in QUERIES if name not in ("process_events", "arp_cache"))))
    verdict = machine.check("queries")
    assert verdict.state is State.WARNING
    assert verdict.found == "Of the pack's 12 queries these are not asked: process_events, arp_cache."
    machine.conf({"schedule": {"mine": {"query": "SELECT 1", "interval": 60}}})
    verdict = machine.check("queries")
    assert verdict.found == 'Nothing of the pack is asked, but mine. Name it under "packs".'


def test_queries_by_the_log_alone(machine: Machine, event: Event) -> None:
    """Where the configuration may not be read, the log shows which queries there are."""
    assert machine.check("queries").state is State.UNKNOWN
    machine.log([event(query="processes"), event(query="other")])
    verdict = machine.check("queries")
    assert verdict.state is State.UNKNOWN
    assert verdict.found == "The configuration shows no query. The log's end has rows of processes."


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT name, path FROM processes", "Rows of q name nobody: select username, auid or uid."),
        (
            "SELECT uid, command FROM shell_history",
            "q reads root's history alone: it needs FROM users CROSS JOIN.",
        ),
    ],
)
def test_queries_that_name_nobody(machine: Machine, sql: str, words: str) -> None:
    """Rows about people without a user, and histories of root alone, are seen in the query's text."""
    machine.conf({"schedule": {"q": {"query": sql, "interval": 30}}})
    verdict = machine.check("query users")
    assert (verdict.state, verdict.found) == (State.WARNING, words)


def test_queries_that_name_their_users(machine: Machine, pack: Pack) -> None:
    """The pack's do; a snapshot does not come to this log."""
    machine.conf(pack())
    assert machine.check("query users").found == "8 queries are about people, and each selects who it was."
    machine.conf(pack("processes", snapshot=True))
    assert machine.check("query users").found == "processes is a snapshot, which does not go to this log."


@pytest.mark.parametrize(
    ("interval", "state"),
    [(30, State.OK), ("60", State.OK), (0, State.WARNING), ("often", State.WARNING), (3600, State.WARNING)],
)
def test_how_often(machine: Machine, pack: Pack, interval: object, state: State) -> None:
    """Intervals that osquery refuses, or in which too much is missed, are worth a word."""
    machine.conf(pack("processes", interval=interval))
    assert machine.check("query timing").state is state


def test_events_expire(machine: Machine, pack: Pack) -> None:
    """Events may wait as long as osquery keeps them."""
    machine.conf(pack("process_events", interval=1800))
    assert machine.check("query timing").state is State.OK
    machine.conf(pack("process_events", interval=1800) | {"options": {"events_expiry": 600}})
    assert machine.check("query timing").state is State.WARNING


def test_names_of_queries_cannot_fill_the_terminal(machine: Machine) -> None:
    """However many names there are, and however long, only a few are listed, and their beginnings."""
    long = "x" * 5000
    machine.conf({"schedule": {f"q{n}{long}": {"query": "SELECT name FROM processes"} for n in range(500)}})
    found = machine.check("query users").found
    assert " and 496 more name nobody" in found
    assert len(found) < 400
