"""``anomaly report`` as a person meets it: exit codes and exact words."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from anomaly import cli

ROOT = Path(__file__).parents[1]


def run(*words: object) -> Result:
    """Run ``anomaly report`` with some words."""
    return CliRunner().invoke(cli.main, ["report", *map(str, words)])


def test_a_report_is_one_file_that_others_cannot_read(log: Path, ocsvm_models: Path, tmp_path: Path) -> None:
    """The command says on standard error what it wrote; standard output stays empty."""
    page = tmp_path / "alice.html"
    result = run("--user", "alice", "-l", log, "--models", ocsvm_models, "--out", page)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert re.fullmatch(
        re.escape(f"{page}: 1,203 actions, 1 user with a model, ") + r"\d+ alerts?, 4\.\d MB\.\n", result.stderr
    )
    assert page.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["alice.html"]
    assert "<h1>Report on alice</h1>" in page.read_text("utf-8")


def test_one_page_for_all(log: Path, ocsvm_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --out it is anomaly-report.html here; severity and period are those that were asked for."""
    monkeypatch.chdir(tmp_path)
    words = ("--all-users", "--alert-on", "critical", "--since", "2026-10-27")
    result = run(*words, "-l", log, "--models", ocsvm_models)
    assert result.exit_code == 0, result.output
    assert ", 2 users with a model, " in result.stderr
    text = Path("anomaly-report.html").read_text("utf-8")
    assert "<h1>Report on all users</h1>" in text
    assert "From 2026-10-27 00:00:00 on." in text


def test_the_place_is_looked_at_before_the_work(tmp_path: Path, ocsvm_models: Path) -> None:
    """A place that does not fit is told at once, even where the log is missing too."""
    words = ("--user", "alice", "-l", tmp_path / "no.log", "--models", ocsvm_models, "--out")
    result = run(*words, tmp_path / "results.log")
    assert result.exit_code == 2
    words_of_it = "would be overwritten by an HTML page; give a name that ends in .html."
    assert result.stderr == f"Error: {tmp_path / 'results.log'} {words_of_it}\n"
    (tmp_path / "link.html").symlink_to("elsewhere.html")
    result = run(*words, tmp_path / "link.html")
    assert result.exit_code == 2
    assert "is a symbolic link, and the page is not written through it; give another name." in result.stderr
    assert not (tmp_path / "elsewhere.html").exists()


def test_what_is_missing_is_told(log: Path, ocsvm_models: Path, tmp_path: Path) -> None:
    """No such log, no such user, nobody in the period, and neither --user nor --all-users."""
    page = tmp_path / "a.html"
    shared = ("--models", ocsvm_models, "--out", page)
    result = run("--user", "alice", "-l", tmp_path / "no.log", *shared)
    assert result.exit_code == 3
    assert result.stderr.startswith(f"Error: {tmp_path / 'no.log'} does not exist;")
    result = run("--user", "alcie", "-l", log, *shared)
    assert result.exit_code == 7
    assert "Did you mean 'alice'?" in result.stderr
    result = run("--user", "alice", "-l", log, "--until", "1980-01-01", *shared)
    assert result.exit_code == 5
    assert result.stderr == (
        f"Error: {log} has 2,406 lines, and no action of 'alice' in the period that was asked for.\n"
    )
    result = run("-l", log, *shared)
    assert result.exit_code == 2
    assert "Error: Give either --user NAME or --all-users." in result.stderr
    assert os.listdir(tmp_path) == []


def test_it_is_light() -> None:
    """What only the page needs is not loaded for --help; what only training needs is never loaded."""
    script = (
        "import sys\nfrom click.testing import CliRunner\nfrom anomaly import cli\n"
        "CliRunner().invoke(cli.main, ['report', '--help'])\n"
        "assert not {'numpy', 'jinja2', 'plotly'} & set(sys.modules)\n"
        "import anomaly.report.page\n"
        "assert not {'tensorflow', 'sklearn', 'scipy', 'pandas'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, timeout=60)


def test_a_full_disk_is_no_fault_of_the_command_line(
    log: Path, ocsvm_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with 1, as README's table has it, and says what to do."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    page = tmp_path / "alice.html"
    monkeypatch.setattr("anomaly.report.writing.os.fsync", full)
    result = run("--user", "alice", "-l", log, "--models", ocsvm_models, "--out", page)
    assert result.exit_code == 1
    said = "cannot be written: No space left on device. Make room, or name another place."
    assert result.stderr.endswith(f"Error: {page} {said}\n")
    assert os.listdir(tmp_path) == []
