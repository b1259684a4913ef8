"""The shipped configuration: it parses as osquery parses it, and its SQL names the right user.

No osqueryd is at hand, so the queries run in SQLite, which osquery embeds, against tables with the columns of
osquery's specifications. What SQLite cannot tell is whether a live table behaves as its specification says.
"""

from __future__ import annotations

import json
import re
import sqlite3
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parent.parent
_CONF = _ROOT / "conf"

# Options that osquery takes from the "options" of its configuration, and the types of their values.
_OPTIONS = {
    "host_identifier": str,
    "logger_event_type": bool,
    "logger_snapshot_event_type": bool,
    "schedule_splay_percent": int,
    "disable_events": bool,
    "events_expiry": int,
    "events_max": int,
    "disable_audit": bool,
    "audit_allow_config": bool,
    "audit_allow_process_events": bool,
    "audit_allow_user_events": bool,
}
# Flags of the flag file. osquery ignores the first three in "options".
_FLAGS = {
    "logger_plugin": r"filesystem",
    "logger_path": r"/\S+",
    "logger_mode": r"0[0-7]{3}",
    "logger_rotate": r"true|false",
    "logger_rotate_size": r"[1-9]\d*",
    "logger_rotate_max_files": r"[1-9]\d*",
    "enable_syslog": r"true|false",
    "syslog_pipe_path": r"/\S+",
}
_QUERY_KEYS = {"query": str, "interval": int, "removed": bool}

# Queries whose rows name nobody, and why.
_HOST_LEVEL = {
    "syslog": "whom a message is about stands in its text only",
    "usb_devices": "the kernel does not know who put a device in",
    "kernel_modules": "modules are loaded by the kernel for all",
    "arp_cache": "neighbours of the machine, not of a user",
}

# Columns of osquery's tables on Linux (specs/ in its repository); hidden ones are left out.
_TABLES = """
CREATE TABLE processes (pid BIGINT, name TEXT, path TEXT, cmdline TEXT, state TEXT, cwd TEXT, root TEXT,
    uid BIGINT, gid BIGINT, euid BIGINT, egid BIGINT, suid BIGINT, sgid BIGINT, on_disk INTEGER, wired_size BIGINT,
    resident_size BIGINT, total_size BIGINT, user_time BIGINT, system_time BIGINT, disk_bytes_read BIGINT,
    disk_bytes_written BIGINT, start_time BIGINT, parent BIGINT, pgroup BIGINT, threads INTEGER, nice INTEGER);
CREATE TABLE users (uid BIGINT, gid BIGINT, uid_signed BIGINT, gid_signed BIGINT, username TEXT, description TEXT,
    directory TEXT, shell TEXT, uuid TEXT);
CREATE TABLE process_open_files (pid BIGINT, fd BIGINT, path TEXT);
CREATE TABLE process_open_sockets (pid INTEGER, fd BIGINT, socket BIGINT, family INTEGER, protocol INTEGER,
    local_address TEXT, remote_address TEXT, local_port INTEGER, remote_port INTEGER, path TEXT, state TEXT,
    net_namespace TEXT);
CREATE TABLE listening_ports (pid INTEGER, port INTEGER, protocol INTEGER, family INTEGER, address TEXT, fd BIGINT,
    socket BIGINT, path TEXT, net_namespace TEXT);
CREATE TABLE logged_in_users (type TEXT, user TEXT, tty TEXT, host TEXT, time BIGINT, pid INTEGER);
CREATE TABLE shell_history (uid BIGINT, time INTEGER, command TEXT, history_file TEXT);
CREATE TABLE process_events (pid BIGINT, path TEXT, mode TEXT, cmdline TEXT, cwd TEXT, auid BIGINT, uid BIGINT,
    euid BIGINT, gid BIGINT, egid BIGINT, owner_uid BIGINT, owner_gid BIGINT, atime BIGINT, mtime BIGINT,
    ctime BIGINT, btime BIGINT, parent BIGINT, time BIGINT, uptime BIGINT, fsuid BIGINT, suid BIGINT, fsgid BIGINT,
    sgid BIGINT, syscall TEXT);
CREATE TABLE user_events (uid BIGINT, auid BIGINT, pid BIGINT, message TEXT, type INTEGER, path TEXT, address TEXT,
    terminal TEXT, time BIGINT, uptime BIGINT);
CREATE TABLE syslog_events (time BIGINT, datetime TEXT, host TEXT, severity INTEGER, facility TEXT, tag TEXT,
    message TEXT);
CREATE TABLE usb_devices (usb_address INTEGER, usb_port INTEGER, vendor TEXT, vendor_id TEXT, version TEXT,
    model TEXT, model_id TEXT, serial TEXT, class TEXT, subclass TEXT, protocol TEXT, removable INTEGER);
CREATE TABLE kernel_modules (name TEXT, size BIGINT, used_by TEXT, status TEXT, address TEXT);
CREATE TABLE arp_cache (address TEXT, mac TEXT, interface TEXT, permanent TEXT);
CREATE TABLE system_info (hostname TEXT, uuid TEXT, cpu_type TEXT, cpu_subtype TEXT, cpu_brand TEXT,
    cpu_physical_cores INTEGER, cpu_logical_cores INTEGER, cpu_microcode TEXT, physical_memory BIGINT,
    hardware_vendor TEXT, hardware_model TEXT, hardware_version TEXT, hardware_serial TEXT, board_vendor TEXT,
    board_model TEXT, board_version TEXT, board_serial TEXT, computer_name TEXT, local_hostname TEXT);
CREATE TABLE osquery_info (pid INTEGER, uuid TEXT, instance_id TEXT, version TEXT, config_hash TEXT,
    config_valid INTEGER, extensions TEXT, build_platform TEXT, build_distro TEXT, start_time INTEGER,
    watcher INTEGER, platform_mask INTEGER);
"""

# A machine with root, alice and bob; 4242 is an account that osquery cannot name.
_MACHINE = """
INSERT INTO users (uid, username) VALUES (0, 'root'), (1000, 'alice'), (1001, 'bob');
INSERT INTO processes (pid, name, path, uid, euid) VALUES (1, 'systemd', '/usr/lib/systemd/systemd', 0, 0),
    (10, 'bash', '/usr/bin/bash', 1000, 1000), (11, 'vim', '/usr/bin/vim', 1001, 0), (12, 'x', '/x', 4242, 4242);
INSERT INTO process_open_files VALUES (10, 3, '/home/alice/notes'), (10, 4, '/home/alice/notes'),
    (10, 0, '/dev/pts/0'), (10, 5, '/dev/null'), (10, 6, '/home/alice/.cache/x'), (10, 7, '/dev/sda'),
    (11, 3, '/home/bob/.vimrc');
INSERT INTO process_open_sockets (pid, family, remote_address, remote_port) VALUES (10, 2, '10.0.0.7', 443),
    (10, 2, '10.0.0.7', 443), (-1, 2, '10.0.0.8', 22), (11, 2, '10.0.0.9', 50123), (10, 1, '', 0), (10, 2, '', 0);
INSERT INTO listening_ports (pid, port, protocol, family, address, path) VALUES (1, 22, 6, 2, '0.0.0.0', ''),
    (10, 8080, 6, 10, '::', ''), (11, 51413, 17, 2, '0.0.0.0', ''), (1, 0, 0, 1, '', '/run/x');
INSERT INTO logged_in_users VALUES ('user', 'alice', 'pts/0', '10.0.0.2', 1793585624, 10),
    ('user', 'bob', 'pts/1', '', 1793585000, 11), ('login', 'LOGIN', 'tty1', '', 1, 3),
    ('boot_time', 'reboot', '~', '', 1, 0);
INSERT INTO shell_history (uid, time, command) VALUES (1000, 0, 'ls'), (1001, 1793585624, 'git pull'),
    (0, 0, 'su -');
INSERT INTO process_events (cmdline, auid, uid, euid) VALUES ('sudo nmap', 1000, 0, 0), ('cron', 4294967295, 0, 0),
    ('cron', -1, 0, 0), ('job', NULL, 1001, 1001), ('x', 4242, 0, 0);
INSERT INTO user_events (message, auid, uid) VALUES ('op=sudo', 1000, 0), ('op=login', 4294967295, 0);
INSERT INTO syslog_events (facility, tag, message) VALUES ('authpriv', 'sshd', 'Accepted'),
    ('mail', 'smtpd', 'queued');
INSERT INTO usb_devices (vendor_id, model_id, removable) VALUES ('05ac', '1', 1), ('0781', '2', -1);
INSERT INTO kernel_modules (name) VALUES ('dm_crypt');
INSERT INTO arp_cache VALUES ('10.0.0.1', '00:00:5e:00:53:01', 'eth0', '0');
INSERT INTO system_info (uuid) VALUES ('4740D59F');
INSERT INTO osquery_info (version) VALUES ('5.23.1');
"""


def parsed(path: Path) -> dict[str, Any]:
    """Parse a configuration as osquery does: join continued lines, drop comments; no key twice."""
    lines = [line.strip() for line in path.read_text().replace("\\\n", "").split("\n")]
    content: dict[str, Any] = json.loads(
        "\n".join(line for line in lines if not line.startswith(("#", "//"))), object_pairs_hook=_unique
    )
    return content


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert len(dict(pairs)) == len(pairs), f"a key stands twice: {pairs}"
    return dict(pairs)


_PACK: dict[str, dict[str, Any]] = parsed(_CONF / "user-behavior.conf")["queries"]
_BY_USER = sorted(set(_PACK) - set(_HOST_LEVEL))


@pytest.fixture
def machine() -> Iterator[sqlite3.Connection]:
    """Stand in for osquery's tables."""
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    connection.executescript(_TABLES + _MACHINE)
    yield connection
    connection.close()


def rows(machine: sqlite3.Connection, query: str) -> list[dict[str, Any]]:
    """Run a query of the pack."""
    return [dict(row) for row in machine.execute(_PACK[query]["query"])]


def who(machine: sqlite3.Connection, query: str, column: str) -> list[tuple[Any, Any]]:
    """Run a query of the pack and pair a column with the user it is laid to."""
    return sorted(((row[column], row["username"]) for row in rows(machine, query)), key=str)


def test_options() -> None:
    """Each option is one that osquery takes from its configuration file, with a value of its type."""
    options = parsed(_CONF / "osquery.conf")["options"]
    assert {name: type(value) for name, value in options.items()} == _OPTIONS


def test_configuration_names_the_pack() -> None:
    """The configuration holds options, decorators and the pack, at the path the pack says it goes to."""
    configuration = parsed(_CONF / "osquery.conf")
    assert set(configuration) == {"options", "decorators", "packs"}
    assert configuration["packs"] == {"user_behavior": "/etc/osquery/packs/user-behavior.conf"}
    assert "/etc/osquery/packs/user-behavior.conf" in (_CONF / "user-behavior.conf").read_text()


def test_decorators(machine: sqlite3.Connection) -> None:
    """A decorator yields exactly one row, and none claims to know the user."""
    decorators = parsed(_CONF / "osquery.conf")["decorators"]
    assert set(decorators) == {"load"}
    found = [[dict(row) for row in machine.execute(query)] for query in decorators["load"]]
    assert found == [[{"host_uuid": "4740D59F"}], [{"osquery_version": "5.23.1"}]]


def test_flags() -> None:
    """Each line of the flag file is a comment, or a known flag with a value of its kind."""
    lines = [line for line in (_CONF / "osquery.flags").read_text().splitlines() if line and line[0] != "#"]
    flags = dict(line.removeprefix("--").split("=", 1) for line in lines)
    assert all(line.startswith("--") for line in lines)
    assert list(flags) == list(_FLAGS)
    assert all(re.fullmatch(_FLAGS[name], value) for name, value in flags.items())
    assert not set(flags) & set(_OPTIONS)


def test_pack_is_for_linux() -> None:
    """The pack says where it runs, and nothing in it is unknown to osquery."""
    pack = parsed(_CONF / "user-behavior.conf")
    assert pack["platform"] == "linux"
    assert set(pack) == {"platform", "version", "queries"}
    assert set(_HOST_LEVEL) < set(_PACK)


@pytest.mark.parametrize("name", _PACK)
def test_query_is_well_formed(name: str) -> None:
    """A query has a text, an interval that osquery takes, and ``removed`` only where it is turned off."""
    query = _PACK[name]
    assert all(type(value) is _QUERY_KEYS[key] for key, value in query.items())
    assert 1 <= query["interval"] <= 604800
    assert sqlite3.complete_statement(query["query"])
    assert query.get("removed", False) is False


@pytest.mark.parametrize("name", _BY_USER)
def test_rows_name_their_user(machine: sqlite3.Connection, name: str) -> None:
    """A row of a query about people has a user name, and the number for accounts that osquery cannot name."""
    found = rows(machine, name)
    assert found
    assert all("username" in row and ("uid" in row or name == "logged_in_users") for row in found)


@pytest.mark.parametrize("name", _HOST_LEVEL)
def test_rows_of_the_host_name_nobody(machine: sqlite3.Connection, name: str) -> None:
    """A query about the machine has no column that would be taken for a user."""
    assert rows(machine, name)
    assert not {"username", "user", "uid", "auid", "euid"} & set(rows(machine, name)[0])


@pytest.mark.parametrize("name", [name for name, query in _PACK.items() if "_events" in query["query"]])
def test_events_come_first_and_stay(name: str) -> None:
    """An event table is the outer one, read once a run and not limited by time, and its rows are never removed."""
    query = _PACK[name]
    outer = re.search(r"\bFROM\s+(\w+)", query["query"])
    assert outer is not None
    assert outer[1].endswith("_events")
    assert "time" not in query["query"].partition("WHERE")[2]
    assert query["removed"] is False


def test_auid_beats_uid(machine: sqlite3.Connection) -> None:
    """What alice does by sudo is hers; where no login started a program, its uid counts."""
    assert who(machine, "process_events", "cmdline") == [
        ("cron", "root"),
        ("cron", "root"),
        ("job", "bob"),
        ("sudo nmap", "alice"),
        ("x", None),
    ]
    assert who(machine, "user_events", "message") == [("op=login", "root"), ("op=sudo", "alice")]


def test_polled_rows_belong_to_the_real_user(machine: sqlite3.Connection) -> None:
    """Programs, files and commands are laid to the real user, not to the effective one or to osquery's own."""
    assert who(machine, "processes", "name") == [
        ("bash", "alice"),
        ("systemd", "root"),
        ("vim", "bob"),
        ("x", None),
    ]
    assert who(machine, "shell_history", "command") == [("git pull", "bob"), ("ls", "alice"), ("su -", "root")]
    assert who(machine, "logged_in_users", "tty") == [("pts/0", "alice"), ("pts/1", "bob")]


def test_open_files_without_noise(machine: sqlite3.Connection) -> None:
    """A file counts once, however often it is open; terminals, caches and null devices do not, disks do."""
    assert who(machine, "open_files", "path") == [
        ("/dev/sda", "alice"),
        ("/home/alice/notes", "alice"),
        ("/home/bob/.vimrc", "bob"),
    ]


def test_sockets_without_a_process_stay(machine: sqlite3.Connection) -> None:
    """A connection whose process is unknown keeps its row, without a user; listening and local ones have none."""
    found = {row["remote_address"]: (row["remote_port"], row["username"]) for row in rows(machine, "open_sockets")}
    assert found == {"10.0.0.7": (443, "alice"), "10.0.0.8": (22, None), "10.0.0.9": ("ephemeral", "bob")}
    assert len(rows(machine, "open_sockets")) == 3


@pytest.mark.parametrize("kind", ["INTEGER", "TEXT"])
def test_ports(machine: sqlite3.Connection, kind: str) -> None:
    """A port is its number or ``ephemeral``, whichever type osquery's version gives the column."""
    machine.execute("ALTER TABLE listening_ports RENAME COLUMN port TO number")
    machine.execute(f"ALTER TABLE listening_ports ADD COLUMN port {kind}")
    machine.execute("UPDATE listening_ports SET port = number")
    found = {str(row["port"]): row["username"] for row in rows(machine, "listening_ports")}
    assert found == {"22": "root", "8080": "alice", "ephemeral": "bob"}


def test_host_rows(machine: sqlite3.Connection) -> None:
    """Messages other than of logins stay out, and a USB device counts whatever its port says of itself."""
    assert [row["tag"] for row in rows(machine, "syslog")] == ["sshd"]
    assert [row["vendor_id"] for row in rows(machine, "usb_devices")] == ["05ac", "0781"]


def test_documentation_shows_the_pack() -> None:
    """The page lists each query with its interval, and says of each whether a user is named."""
    table = {
        line.split("`")[1]: line
        for line in (_ROOT / "docs/osquery.md").read_text().splitlines()
        if line[:3] == "| `"
    }
    assert list(table) == list(_PACK)
    assert all(f"| {query['interval']} s |" in table[name] for name, query in _PACK.items())
    assert [name for name, line in table.items() if "none: the host" in line] == list(_HOST_LEVEL)


def test_documented_decorator_always_answers(machine: sqlite3.Connection) -> None:
    """The decorator that the page offers yields one row, also when nobody is logged in."""
    query = re.search(r"`(SELECT coalesce.*?;)`", (_ROOT / "docs/osquery.md").read_text())
    assert query is not None
    assert [tuple(row) for row in machine.execute(query[1])] == [("alice",)]
    machine.execute("DELETE FROM logged_in_users")
    assert [tuple(row) for row in machine.execute(query[1])] == [("",)]


def test_rsyslog_writes_what_osquery_reads() -> None:
    """The template is the six CSV fields in osquery's order, and writes to the pipe that the flags name."""
    text = (_CONF / "rsyslog-osquery.conf").read_text()
    template = re.search(r'string="(.*)\\n"', text)
    assert template is not None
    fields = [field.strip("%").partition(":")[0] for field in template[1].split("%,%")]
    assert fields == ["timestamp", "hostname", "syslogseverity", "syslogfacility-text", "programname", "msg"]
    assert template[1].count("csv%") == len(fields)
    pipe = re.search(r'Pipe="(.*?)"', text)
    assert pipe is not None
    assert f"--syslog_pipe_path={pipe[1]}\n" in (_CONF / "osquery.flags").read_text()


def test_sample_settings() -> None:
    """The sample changes nothing as it is; with its comments taken off, it is TOML with its settings."""
    text = (_CONF / "anomaly.toml").read_text()
    assert tomllib.loads(text) == {}
    assert tomllib.loads(re.sub(r"(?m)^# (?=\w+ = )", "", text)) == {
        "algorithm": "BOTH",
        "log": "/var/log/osquery/osqueryd.results.log",
        "models": "/var/lib/anomaly/models",
        "state": "/var/lib/anomaly/state",
        "format": "text",
        "min_score": 0,
        "adapt": True,
        "olddir": "/var/log/osquery/old",
        "max_line": 1048576,
        "alert_on": "warning",
        "budget": 3,
        "suppressions": "/var/lib/anomaly/suppressions.toml",
        "alerts": ["file:/var/log/anomaly/alerts.ndjson"],
        "metrics": "127.0.0.1:9469",
    }
