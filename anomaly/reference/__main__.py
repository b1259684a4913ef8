"""Write docs/cli.md and docs/anomaly.1 anew."""

from __future__ import annotations

from pathlib import Path

from anomaly.config import checkout
from anomaly.reference.pages import write

if __name__ == "__main__":
    write((checkout() or Path.cwd()) / "docs")
