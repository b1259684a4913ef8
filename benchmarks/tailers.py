"""The tailers that others rely on, as commands for torture.py: what our own is held against.

    python -m benchmarks.tailers LOG OFFSET

follows a log with pygtail in the loop that its users write: pygtail itself reads once and ends.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import shutil
import subprocess
import sys
import time
from typing import NamedTuple

PAUSE = 0.1
"""Seconds between two looks of the loop around pygtail, and of syslog-ng."""

_RSYSLOG = """\
global(workDirectory="{state}")
module(load="imfile")
template(name="raw" type="string" string="%msg%\\n")
input(type="imfile" file="{log}PATTERN" tag="osquery" persistStateInterval="INTERVAL" reopenOnTruncate="on")
action(type="omfile" file="{out}" template="raw")
"""
_SYSLOG_NG = f"""\
@version: current
options {{ stats-freq(0); }};
source lines {{ file("{{log}}" follow-freq({PAUSE}) flags(no-parse)); }};
destination copy {{ file("{{out}}" template("$MSG\\n")); }};
log {{ source(lines); destination(copy); flags(flow-control); }};
"""


class Tailer(NamedTuple):
    """What follows a log; torture.py fills in where {log}, {state} and {out} are."""

    name: str
    command: str
    """As a shell takes it."""
    version: str = ""
    """What it says it is; empty where it is not installed."""
    configuration: str = ""
    """The content of {state}/conf; what has a configuration writes {out} itself."""

    def arguments(self) -> list[str]:
        """Return torture.py's arguments that run it, the command at their end."""
        if not self.configuration:
            return ["--", self.command]
        setup = f"cat > {{state}}/conf <<'END'\n{self.configuration}END\n"
        return ["--own-output", "--setup", setup, "--", self.command]


def peers() -> list[Tailer]:
    """Return all of them, also those that are not installed."""
    return [
        Tailer("tail -n +1 -F", "tail -n +1 -F {log}", _says("tail", "--version")),
        _rsyslog("rsyslog imfile, persist=1000", "", 1000),
        _rsyslog("rsyslog imfile over `LOG*`, persist=100", "*", 100),
        Tailer(
            "syslog-ng",
            "syslog-ng -F --no-caps -f {state}/conf -R {state}/persist -c {state}/ctl -p {state}/pid",
            _says("syslog-ng", "--version"),
            _SYSLOG_NG,
        ),
        Tailer("pygtail", f"{sys.executable} -m {__spec__.name} {{log}} {{state}}/offset", _pygtail_version()),
    ]


def follow_with_pygtail(log: str, offset: str) -> None:
    """Print a log's lines as they come, each at once, for ever."""
    pygtail = importlib.import_module("pygtail").Pygtail
    while True:
        for line in pygtail(log, offset_file=offset):
            print(line, end="", flush=True)
        time.sleep(PAUSE)


def _rsyslog(name: str, pattern: str, interval: int) -> Tailer:
    configuration = _RSYSLOG.replace("PATTERN", pattern).replace("INTERVAL", str(interval))
    return Tailer(name, "rsyslogd -n -i NONE -f {state}/conf", _says("rsyslogd", "-v"), configuration)


def _says(program: str, option: str) -> str:
    """Return the first line in which a program says its version."""
    if shutil.which(program) is None:
        return ""
    said = subprocess.run([program, option], check=True, capture_output=True, text=True).stdout
    return " ".join(said.partition("\n")[0].partition(" compiled")[0].split())


def _pygtail_version() -> str:
    try:
        return f"pygtail {importlib.metadata.version('pygtail')}"
    except importlib.metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    follow_with_pygtail(*sys.argv[1:])
