"""Tests of how often a process searches for garbage."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

from anomaly.garbage import BETWEEN, search_seldom


def test_it_searches_seldom_and_in_the_same_generations() -> None:
    """Only the young objects are waited for; what is kept of the older generations stays as it was."""
    before = gc.get_threshold()
    try:
        gc.set_threshold(700, *before[1:])  # another test's command may have asked for it already
        search_seldom()
        assert gc.get_threshold() == (BETWEEN, *before[1:])
    finally:
        gc.set_threshold(*before)


def test_scoring_searches_seldom_and_help_does_not(ocsvm_models: Path, tmp_path: Path) -> None:
    """The command that scores asks for it, once it works; to show its help changes nothing."""
    program = (
        "import gc, sys\n"
        "from anomaly.cli import main\n"
        "before = gc.get_threshold()[0]\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(before, gc.get_threshold()[0], file=sys.stderr)\n"
    )

    def thresholds(*words: str) -> list[int]:
        command = [sys.executable, "-c", program, "predict", *words]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return [int(number) for number in done.stderr.splitlines()[-1].split()]

    where = (
        "--no-follow",
        "-l",
        str(tmp_path / "nothing"),
        "--models",
        str(ocsvm_models),
        "--state",
        str(tmp_path / "state"),
    )
    before, after = thresholds("--help")
    assert before == after
    assert thresholds("--all-users", *where) == [before, BETWEEN]
