"""The files that are written, and of what."""

from __future__ import annotations

from pathlib import Path

from anomaly.reference.commands import described
from anomaly.reference.manual import manual
from anomaly.reference.markdown import markdown

AGAIN = "python -m anomaly.reference"
"""The command that writes them anew."""


def pages() -> dict[str, str]:
    """Return the text of each file, by its name in docs/."""
    found = described()
    return {"cli.md": markdown(found), "anomaly.1": manual(found)}


def write(directory: Path) -> None:
    """Write each file."""
    for name, text in pages().items():
        (directory / name).write_text(text, "utf-8")
