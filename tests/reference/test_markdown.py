"""The page of Markdown."""

from __future__ import annotations

import re

import pytest

from anomaly.reference.commands import Described, described
from anomaly.reference.markdown import markdown

PAGE = markdown(described())


def test_the_list_leads_to_every_section() -> None:
    """Each link names a heading of the page, as GitHub spells it."""
    headings = {heading.replace(" ", "-") for heading in re.findall(r"^## (.*)$", PAGE, re.MULTILINE)}
    links = re.findall(r"\]\(#(.*?)\)", PAGE)
    assert len(links) > 10
    assert set(links) <= headings


def test_a_table_keeps_its_columns() -> None:
    """Whatever a help text says, a row has two cells, and no tag."""
    hostile = Described(
        ("anomaly", "x"),
        "a | b <i>",
        ("a | b.", "x\ny"),
        ("x",),
        "[OPTIONS]",
        (("--a [b|c]", "<b>|"),),
        (),
        is_group=False,
    )
    page = markdown([hostile]).partition("## Completion")[0]
    rows = [row for row in page.splitlines() if row.startswith("|")]
    assert "| `--a [b\\|c]` | &lt;b>\\| |" in rows
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)
    assert "```\nx\ny\n```" in page


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_explained(shell: str) -> None:
    """For each shell that click completes in and that people use."""
    assert f"_ANOMALY_COMPLETE={shell}_source anomaly" in PAGE
