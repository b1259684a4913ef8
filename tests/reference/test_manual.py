"""The manual page is roff that prints what it says."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.reference.commands import described
from anomaly.reference.manual import escaped, manual

PAGE = manual(described())
REQUESTS = {".TH", ".SH", ".SS", ".PP", ".TP", ".B", ".br", ".nf", ".fi", ".RS", ".RE", ".nh", ".ad"}


@given(st.text(st.characters(min_codepoint=32, codec="ascii")))
def test_no_text_is_a_request(text: str) -> None:
    """Text cannot begin a line as a request does, and every backslash and minus in it is one that roff prints."""
    found = escaped(text)
    assert not found.startswith((".", "'"))
    assert not re.search(r"(?<!\\)-", found)
    assert found.count("\\e") >= text.count("\\")


def test_every_request_is_one_of_man() -> None:
    """What begins with a point is a macro of man(7), and nothing else begins with one or with a quote."""
    lines = PAGE.splitlines()
    assert {line.split()[0] for line in lines if line.startswith((".", "'"))} <= REQUESTS
    assert lines[0].startswith('.TH ANOMALY 1 "" "anomaly ')
    assert [line for line in lines if line.startswith(".SH")] == [
        f".SH {name}"
        for name in ("NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "ENVIRONMENT", "EXIT STATUS", "SEE ALSO")
    ]
    assert "" not in lines


def test_options_are_written_with_a_minus() -> None:
    """A hyphen could not be pasted into a shell."""
    assert ".B \\-a, \\-\\-algorithm [lstm|ocsvm|both]" in PAGE.splitlines()
    assert not re.search(r"(?<!\\)-", PAGE)


@pytest.mark.skipif(shutil.which("groff") is None, reason="there is no groff")
def test_roff_has_nothing_to_warn_of() -> None:
    """Every command is printed, and no warning."""
    done = subprocess.run(
        ["groff", "-man", "-Tascii", "-ww", "-P-cbou"], input=PAGE, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert all(each.name in done.stdout for each in described())
    assert "--all-users" in done.stdout
