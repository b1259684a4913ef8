"""What any reader of such a log pays: reading lines, and making objects of them."""

from __future__ import annotations

import importlib
import json
import subprocess
import time
from pathlib import Path

import msgspec

from benchmarks.speed_worker import Sample, Subject, each

WHOLE_FILE = ("wc -l", "for line in file")
FLOORS = (*WHOLE_FILE, "json.loads", "orjson.loads", "msgspec, untyped")


def floors(path: Path, lines: list[bytes]) -> dict[str, Subject]:
    """Return the floors over the same lines (the first two: over the whole log)."""
    whole = path.read_bytes().count(b"\n")

    def count() -> Sample:
        begin = time.perf_counter()
        subprocess.run(["wc", "-l", path], check=True, stdout=subprocess.DEVNULL)
        return Sample(whole, time.perf_counter() - begin)

    def iterate() -> Sample:
        begin = time.perf_counter()
        with path.open("rb", buffering=1 << 20) as file:
            for _ in file:
                pass
        return Sample(whole, time.perf_counter() - begin)

    decode = msgspec.json.Decoder().decode
    subjects: dict[str, Subject] = {
        "wc -l": count,
        "for line in file": iterate,
        "json.loads": lambda: each(json.loads, lines),
        "msgspec, untyped": lambda: each(decode, lines),
    }
    try:
        loads = importlib.import_module("orjson").loads
    except ImportError:
        return subjects
    subjects["orjson.loads"] = lambda: each(loads, lines)
    return subjects
