"""Tests of how often a process searches for garbage."""

from __future__ import annotations

import gc
import subprocess
import sys

from anomaly.garbage import BETWEEN, search_seldom


def test_it_searches_seldom_and_in_the_same_generations() -> None:
    """Only the young objects are waited for; what is kept of the older generations stays as it was."""
    before = gc.get_threshold()
    try:
        search_seldom()
        assert gc.get_threshold() == (BETWEEN, *before[1:])
    finally:
        gc.set_threshold(*before)


def test_scoring_searches_seldom_and_help_does_not() -> None:
    """The command that scores asks for it, once it works; to show its help changes nothing."""
    program = (
        "import gc, sys\n"
        "from anomaly.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(gc.get_threshold()[0], file=sys.stderr)\n"
    )
    for words, expected in (
        (["predict", "--help"], gc.get_threshold()[0]),
        (["predict", "--all-users", "-l", "nothing"], BETWEEN),
    ):
        done = subprocess.run([sys.executable, "-c", program, *words], check=True, capture_output=True, text=True)
        assert done.stderr.splitlines()[-1] == str(expected)
