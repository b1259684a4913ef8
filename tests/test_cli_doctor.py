"""``anomaly doctor`` as a person meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from anomaly import cli
from anomaly.cli_doctor import EXIT_PROBLEM

ROOT = Path(__file__).parents[1]


@pytest.fixture
def words(tmp_path: Path, ocsvm_models: Path) -> list[str]:
    """Give what makes the doctor look at a machine on which nothing is a problem."""
    log = tmp_path / "osqueryd.results.log"
    row = {
        "name": "p_processes",
        "unixTime": int(time.time()),
        "action": "added",
        "columns": {"username": "alice"},
    }
    log.write_text(f"{json.dumps(row)}\n" * 3)
    log.chmod(0o644)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    conf, flags = tmp_path / "osquery.conf", tmp_path / "osquery.flags"
    conf.write_text((ROOT / "conf/osquery.conf").read_text().replace("/etc/osquery/packs", str(ROOT / "conf")))
    flags.write_text(f"--logger_path={tmp_path}\n--enable_syslog=true\n")
    places = {"-l": log, "--models": ocsvm_models, "--state": state}
    places |= {"--osquery-conf": conf, "--osquery-flags": flags}
    return [str(word) for pair in places.items() for word in pair]


def run(*words: object) -> Result:
    """Run ``anomaly doctor``."""
    return CliRunner().invoke(cli.main, ["doctor", *map(str, words)])


def test_without_a_problem_it_ends_well(words: list[str]) -> None:
    """Checks that are in order are listed too; the count goes to standard error, the exit code is 0."""
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert "ok       queries         All 12 queries of the pack are asked." in result.stdout
    assert "is JSON; 12 of" in " ".join(result.stdout.split())
    assert result.stderr.startswith("0 problems, ")
    assert all(len(line) <= 80 for line in result.stdout.splitlines() if not line.startswith("         $ "))


def test_a_problem_has_an_exit_code_of_its_own(words: list[str], tmp_path: Path) -> None:
    """The worst comes first, with the command that mends it, and the exit code is the documented one."""
    missing = tmp_path / "none" / "x.log"
    result = run(*words, "-l", missing)
    assert result.exit_code == EXIT_PROBLEM == 21
    first, second = result.stdout.splitlines()[:2]
    assert first.startswith("problem  log             ")
    assert f"         $ ls -l {tmp_path / 'none'}" in result.stdout
    assert second
    assert result.stderr.startswith("1 problem, ")
    assert "| 21 | `doctor` has found a problem;" in (ROOT / "README.md").read_text()


def test_as_json_it_is_a_line_a_check(words: list[str]) -> None:
    """Each line has the check, its state, what was found, and the commands."""
    rows = [json.loads(line) for line in run(*words, "--format", "json").stdout.splitlines()]
    assert len(rows) == 22
    assert all(set(row) == {"check", "state", "found", "remedy"} for row in rows)
    assert {row["state"] for row in rows} <= {"problem", "warning", "unknown", "ok"}
    assert all(isinstance(row["remedy"], list) for row in rows)


def test_a_name_in_the_log_cannot_steer_the_terminal(words: list[str], tmp_path: Path) -> None:
    """Names of users and queries are escaped in words and in JSON."""
    row = {"name": "q\x1b[2J", "action": "added", "columns": {"x": "1"}, "hostIdentifier": "h\x07"}
    log = tmp_path / "osqueryd.results.log"
    log.write_text(f"{json.dumps(row)}\n" * 600)
    for form in ("text", "json"):
        result = run(*words, "--format", form)
        assert "\x1b" not in result.output
        assert "\x07" not in result.output
        assert "q" in result.output


def test_nothing_is_changed(words: list[str], tmp_path: Path) -> None:
    """The doctor looks: no file is made, changed or locked."""

    def world() -> dict[str, tuple[int, int]]:
        found = {}
        for folder, _, files in os.walk(tmp_path):
            for name in (folder, *(os.path.join(folder, file) for file in files)):  # noqa: PTH118 - of os.walk
                found[name] = (os.lstat(name).st_mtime_ns, os.lstat(name).st_size)
        return found

    before = world()
    assert run(*words).exit_code == 0
    assert world() == before


def test_no_framework_is_loaded_to_look() -> None:
    """The doctor needs no more than scoring does: what trains is looked for, not imported."""
    code = "import sys, anomaly.doctor.examination; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "numpy" in done.stdout.split()
    assert not set(done.stdout.split()) & {"tensorflow", "keras", "sklearn", "scipy"}


def test_a_file_of_settings_is_taken(words: list[str], tmp_path: Path) -> None:
    """The doctor looks where the settings say; -c may stand behind it."""
    file = tmp_path / "anomaly.toml"
    file.write_text(f'log = "{tmp_path / "osqueryd.results.log"}"\n')
    result = run("-c", file, *words[2:])
    assert result.exit_code == 0, result.output
