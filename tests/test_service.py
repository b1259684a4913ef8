"""The units for systemd: it takes them, they keep the contract, and the program takes their command lines."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import click
import pytest
from click.core import ParameterSource
from click.testing import CliRunner

from anomaly.cli import main
from anomaly.errors import AnomalyError, ConfigError, ModelRefused, StateRefused, UnknownUser

_ROOT = Path(__file__).parents[1]
_CONF = _ROOT / "conf"
_PAGE = _ROOT / "docs" / "operating.md"
_UNITS = ("anomaly.service", "anomaly-train.service", "anomaly-train.timer")
_SERVICES = _UNITS[:2]
_PROGRAM = "/opt/anomaly/bin/anomaly"
_OLDEST = 250  # the first systemd that judges the security of a file

# What both services promise: who they are, what they see, whom they talk to, what they may do.
_SANDBOX = {
    "User": ["anomaly"],
    "DynamicUser": ["yes"],
    "SupplementaryGroups": ["adm"],
    "StateDirectory": ["anomaly"],
    "StateDirectoryMode": ["0700"],
    "UMask": ["0077"],
    "ProtectSystem": ["strict"],
    "ReadOnlyPaths": ["-/var/log/osquery"],
    "ProtectHome": ["yes"],
    "PrivateTmp": ["yes"],
    "PrivateMounts": ["yes"],
    "PrivateDevices": ["yes"],
    "DevicePolicy": ["closed"],
    "ProtectProc": ["invisible"],
    "ProcSubset": ["pid"],
    "PrivateUsers": ["yes"],
    "PrivateIPC": ["yes"],
    "PrivateNetwork": ["yes"],
    "IPAddressDeny": ["any"],
    "RestrictAddressFamilies": ["AF_UNIX"],
    "CapabilityBoundingSet": [""],
    "AmbientCapabilities": [""],
    "NoNewPrivileges": ["yes"],
    "RestrictSUIDSGID": ["yes"],
    "SystemCallArchitectures": ["native"],
    "SystemCallFilter": ["@system-service", "~@privileged @resources @setuid @keyring @memlock"],
    "SystemCallErrorNumber": ["EPERM"],
    "LockPersonality": ["yes"],
    "RestrictNamespaces": ["yes"],
    "RestrictRealtime": ["yes"],
    "ProtectKernelTunables": ["yes"],
    "ProtectKernelModules": ["yes"],
    "ProtectKernelLogs": ["yes"],
    "ProtectControlGroups": ["yes"],
    "ProtectClock": ["yes"],
    "ProtectHostname": ["yes"],
    "KeyringMode": ["private"],
    "LimitCORE": ["0"],
}
# Settings that let a service write outside its state directory, or make the rest of the file system writable.
_WRITES = {
    "ReadWritePaths",
    "BindPaths",
    "LogsDirectory",
    "CacheDirectory",
    "RuntimeDirectory",
    "PermissionsStartOnly",
}


def settings(unit: str) -> dict[str, list[str]]:
    """Read a unit as systemd does: a setting may stand several times. Sections do not share a name here."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in (_CONF / unit).read_text().splitlines():
        if line and line[0] not in "#;[":
            name, _, value = line.partition("=")
            found[name].append(value)
    return dict(found)


def commands(unit: str) -> list[list[str]]:
    """Return the command lines of a service, in words."""
    return [shlex.split(line) for line in settings(unit)["ExecStart"]]


def understood(words: list[str]) -> click.Context:
    """Read a command line with the program's own commands, without running it."""
    assert words[:2] == [_PROGRAM, "$ANOMALY_OPTIONS"]
    command: click.Command = main
    rest = words[2:]
    while isinstance(command, click.Group):
        command = command.commands[rest.pop(0)]
    return command.make_context(command.name, rest)


def subclasses(error: type[AnomalyError]) -> set[type[AnomalyError]]:
    """Return an error and everything below it."""
    return {error}.union(*map(subclasses, error.__subclasses__()))


@pytest.fixture
def analyze() -> str:
    """Give systemd-analyze; skip where there is none, or one that is too old."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    version = re.match(r"systemd (\d+)", said)
    if version is None or int(version[1]) < _OLDEST:
        pytest.skip(f"systemd-analyze is older than {_OLDEST}")
    return program


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Give a copy of the units whose program exists."""
    for unit in _UNITS:
        (tmp_path / unit).write_text((_CONF / unit).read_text().replace(_PROGRAM, sys.executable))
    return tmp_path


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what would change the defaults of commands."""
    for name in [name for name in os.environ if name.startswith("ANOMALY_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("unit", _UNITS)
def test_systemd_takes_it(unit: str, units: Path, analyze: str) -> None:
    """Systemd knows every setting of a unit, takes its value, and has nothing to remark."""
    command = [analyze, "verify", "--man=no", str(units / unit)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    # Remarks on the machine's own units are none of ours.
    assert [line for line in (ran.stdout + ran.stderr).splitlines() if "anomaly" in line] == []
    assert ran.returncode == 0


@pytest.mark.parametrize("service", _SERVICES)
def test_what_a_taken_over_service_could_do(service: str, units: Path, analyze: str) -> None:
    """Systemd gives a service an exposure of 0.4 of 10 at most."""
    command = [analyze, "security", "--offline=true", "--threshold=4", "--no-pager", str(units / service)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("service", _SERVICES)
def test_the_sandbox(service: str) -> None:
    """Each setting of the sandbox stands in a service with its value, and nothing else takes it back."""
    found = settings(service)
    assert {name: found.get(name) for name in _SANDBOX} == _SANDBOX
    assert not _WRITES & found.keys()


def test_only_the_training_may_compile() -> None:
    """What watches may not make code as it runs, nor take more memory than a watch needs."""
    assert settings("anomaly.service")["MemoryDenyWriteExecute"] == ["yes"]
    assert "MemoryDenyWriteExecute" not in settings("anomaly-train.service")
    assert settings("anomaly.service")["MemoryMax"] == ["1G"]
    assert settings("anomaly-train.service")["MemoryMax"] == ["4G"]


def test_the_conventions_of_a_daemon() -> None:
    """The watch says when it is ready and alive, reloads at SIGHUP, and is never given up."""
    found = settings("anomaly.service")
    wanted = {
        "Type": ["notify"],
        "NotifyAccess": ["main"],
        "WatchdogSec": ["30s"],
        "ExecReload": ["/bin/kill -HUP $MAINPID"],
        "Restart": ["always"],
        "StartLimitIntervalSec": ["0"],
        "TimeoutStopSec": ["10s"],
        "WantedBy": ["multi-user.target"],
    }
    assert {name: found.get(name) for name in wanted} == wanted


def test_the_journal_drops_nothing() -> None:
    """The journal's limit is out of reach; 0, which in a unit means the default, is in neither of its settings."""
    found = settings("anomaly.service")
    assert found["LogRateLimitIntervalSec"] == ["1s"]
    assert int(found["LogRateLimitBurst"][0]) >= 1_000_000
    assert "StandardOutput" not in found


def test_no_restart_where_it_would_not_help() -> None:
    """Only what a person has to look at keeps the watch from starting again: not a model that is yet to come."""
    (line,) = settings("anomaly.service")["RestartPreventExitStatus"]
    codes = set(map(int, line.split()))
    assert codes == {error.exit_code for error in (ConfigError, ModelRefused, StateRefused)}
    assert codes < {error.exit_code for error in subclasses(AnomalyError)}
    assert UnknownUser.exit_code not in codes


def test_the_command_of_the_watch() -> None:
    """The program takes the command line of the watch: everyone, as JSON, for good, in its default directories."""
    (words,) = commands("anomaly.service")
    context = understood(words)
    assert context.command is main.commands["predict"]
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    assert {name: context.params[name] for name in given} == {
        "all_users": True,
        "output": "json",
        "log": Path("/var/log/osquery/osqueryd.results.log"),
    }
    assert context.params["follow"] is True


def test_the_commands_of_the_training() -> None:
    """The program takes the command lines of the training, which learns everyone in the log that is watched."""
    train, prune = map(understood, commands("anomaly-train.service"))
    assert train.command is main.commands["train"]
    assert train.params["all_users"] is True
    assert list(train.params["logs"]) == [Path("/var/log/osquery/osqueryd.results.log")]
    assert prune.command_path == "prune"
    assert prune.params["keep"] == 3
    assert prune.params["user"] is None


@pytest.mark.parametrize("service", _SERVICES)
def test_options_of_the_machine(service: str) -> None:
    """The options that a machine adds are none by default, and stand where the program takes -c."""
    found = settings(service)
    assert "ANOMALY_OPTIONS=" in found["Environment"]
    assert found["EnvironmentFile"] == ["-/etc/default/anomaly"]
    for _, options, *rest in commands(service):
        assert options == "$ANOMALY_OPTIONS"
        ran = CliRunner().invoke(main, ["-c", str(_CONF / "anomaly.toml"), *rest, "--help"])
        assert ran.exit_code == 0, ran.output


def test_both_read_where_osquery_writes() -> None:
    """The directory of the log is the one that osquery's flags name, in all that a service says of it."""
    match = re.search(r"(?m)^--logger_path=(.*)$", (_CONF / "osquery.flags").read_text())
    assert match is not None
    for service in _SERVICES:
        found = settings(service)
        assert found["RequiresMountsFor"] == [match[1]]
        assert found["ReadOnlyPaths"] == [f"-{match[1]}"]
        assert f" -l {match[1]}/osqueryd.results.log" in found["ExecStart"][0]


def test_the_timer_is_the_trainings() -> None:
    """The timer starts the service of its name, once a week, and makes up for a week that was missed."""
    found = settings("anomaly-train.timer")
    assert "Unit" not in found
    assert found["OnCalendar"] == ["Sun 03:30"]
    assert found["Persistent"] == ["yes"]
    assert found["WantedBy"] == ["timers.target"]


def test_the_page_installs_the_units() -> None:
    """The page puts each unit in place, and makes the environment that the units start."""
    page = _PAGE.read_text()
    installed = re.findall(r"(?m)^sudo install -m 0644 (.*) /etc/systemd/system/$", page)
    assert [line.split() for line in installed] == [[f"conf/{unit}" for unit in _UNITS]] * 2  # an upgrade does too
    assert f"python3 -m venv {Path(_PROGRAM).parents[1]}" in page


def test_the_page_works_as_the_services_user() -> None:
    """The page's command for everything else runs as the services do: what it writes, they trust."""
    match = re.search(r"(?ms)^as_anomaly\(\) \{\n(.*?)\n\}$", _PAGE.read_text())
    assert match is not None
    words = shlex.split(match[1])
    given = dict(word.split("=", 1) for option, word in pairwise(words) if option == "-p")
    assert given == {name: settings("anomaly.service")[name][0] for name in given}
    assert {"User", "DynamicUser", "StateDirectory", "StateDirectoryMode", "UMask"} <= given.keys()
    assert words[-2:] == [_PROGRAM, "$@"]
