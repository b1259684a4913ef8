"""A machine in a directory: a log, osquery's files, models, state and what is around them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest

from anomaly.doctor.examination import CHECKS, examine, look_around
from anomaly.doctor.interface import Places, Verdict
from anomaly.doctor.pack import QUERIES

NOW = 1_793_100_000
"""What the machine's clock says."""


class Pack(Protocol):
    """Makes a configuration of osquery with some queries of the pack, by default all."""

    def __call__(self, *names: str, **changes: object) -> dict[str, Any]:
        """Return it; what changes, changes in each query."""


class Machine(NamedTuple):
    """Stands in for a machine, of which everything can be changed."""

    places: Places

    def write(self, path: Path, content: bytes | str) -> Path:
        """Write a file, with the directories it needs."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def log(self, lines: Iterable[bytes]) -> None:
        """Write the log."""
        self.write(self.places.log, b"".join(line + b"\n" for line in lines)).chmod(0o644)

    def conf(self, content: dict[str, Any] | str) -> None:
        """Write osquery's configuration."""
        self.write(self.places.osquery_conf, content if isinstance(content, str) else json.dumps(content))

    def flags(self, text: str = "") -> None:
        """Write osquery's flags; results go to the log unless they say otherwise."""
        self.write(self.places.osquery_flags, f"--logger_path={self.places.log.parent}\n{text}\n")

    def etc(self, name: str, text: str = "") -> Path:
        """Write a file below etc/."""
        return self.write(self.places.root / "etc" / name, text)

    def check(self, name: str, **changed: Any) -> Verdict:  # noqa: ANN401 - of any place
        """Make one check."""
        return CHECKS[name](look_around(self.places._replace(**changed)))

    def examine(self) -> dict[str, Verdict]:
        """Make all checks."""
        return {finding.check: finding.verdict for finding in examine(self.places)}


def _scheduled(*names: str, **changes: object) -> dict[str, Any]:
    """Return a configuration with some queries of the pack, by default all."""
    queries = {name: {"query": _sql(name), "interval": 30, **changes} for name in names or QUERIES}
    return {"packs": {"user_behavior": {"queries": queries}}}


def _sql(name: str) -> str:
    """Return a query as the pack's is, shorter."""
    if name == "shell_history":
        return "SELECT u.username, command FROM users u CROSS JOIN shell_history sh USING (uid);"
    table = "syslog_events" if name == "syslog" else name
    return (
        f"SELECT username, x FROM {table.replace('open_', 'process_open_')} p LEFT JOIN users u ON u.uid = p.uid;"  # noqa: S608 - text
    )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Give a machine on which there is nothing yet."""
    tmp_path.chmod(0o755)
    log, osquery = tmp_path / "log" / "osqueryd.results.log", tmp_path / "etc" / "osquery"
    return Machine(
        Places(
            log,
            None,
            tmp_path / "models",
            tmp_path / "state",
            osquery / "osquery.conf",
            osquery / "osquery.flags",
            1 << 20,
            float(NOW),
            tmp_path,
        )
    )


@pytest.fixture
def pack() -> Pack:
    """Give the maker of a configuration with queries of the pack."""
    return _scheduled
