"""Training: seconds and memory against the number of actions, and the exponent that follows."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.speed_child import ANOMALY, CORES, run
from benchmarks.speed_figures import Figures, Table, exponent
from benchmarks.speed_logs import Log, first

IMPORTS = {"OCSVM": "sklearn.svm", "LSTM": "tensorflow, keras", "BOTH": "sklearn.svm, tensorflow, keras"}
SHORT, MOST = 20.0, 3
"""Trainings that take fewer seconds are repeated, but no more than so often."""


def train(log: Path, models: Path, algorithm: str, user: str | None, *words: str) -> list[str]:
    """Return the command that learns a log."""
    whose = ["--user", user] if user is not None else ["--all-users"]
    return [ANOMALY, "train", *whose, "-a", algorithm, "-l", str(log), "--models", str(models), *words]


def training(
    log: Log, sizes: list[int], algorithms: list[str], repeats: int, repeat: int, folder: Path, figures: Figures
) -> tuple[Table, Table]:
    """Learn the first so many actions of a log, in turn for all sizes and algorithms."""
    logs = {size: folder / f"first-{size}.log" for size in sizes}
    for size, path in logs.items():
        first(log.path, path, size)
    turns = min(MOST, repeat)
    for turn in range(turns):
        for algorithm in algorithms:
            ran = run([sys.executable, "-c", f"import {IMPORTS[algorithm]}"], cores=CORES)
            figures.add(f"imports {algorithm}", ran.wall)
            for size, path in logs.items():
                key = f"training {algorithm} {size}"
                if turn and (figures.median(f"{key} wall") or 0.0) >= SHORT:
                    continue
                models = folder / f"learned-{algorithm}-{size}-{turn}"
                ran = run(train(path, models, algorithm, log.user), cores=CORES)
                for what, value in (("wall", ran.wall), ("user", ran.user), ("peak", ran.peak)):
                    figures.add(f"{key} {what}", value)
    rows = []
    for algorithm in algorithms:
        for size in sizes:
            cells = (figures.spread(f"training {algorithm} {size} {what}", 1) for what in ("wall", "user", "peak"))
            rows.append((algorithm, f"{size:,}", *cells))
    method = (
        f"`anomaly train --user {log.user}` on the first so many lines of the lengthened log (which repeats the"
        f" {repeats:,} of the real one: beyond, no new values come), on all {len(CORES)} cores, from the start of"
        f" the process to its exit; those under {SHORT:g} s {turns} times, the others once."
    )
    columns = ("method", "actions", "seconds", "of user CPU", "peak MiB")
    return Table("Training", method, columns, rows), _exponents(sizes, algorithms, figures)


def _exponents(sizes: list[int], algorithms: list[str], figures: Figures) -> Table:
    rows = []
    for algorithm in algorithms:
        walls = [(size, figures.median(f"training {algorithm} {size} wall") or 0.0) for size in sizes]
        imports = figures.median(f"imports {algorithm}") or 0.0
        cells = []
        for name, less in (("whole", 0.0), ("less imports", imports)):
            if len(sizes) > 1 and all(wall > less for _, wall in walls):
                figures.add(f"exponent {algorithm} {name}", exponent((size, wall - less) for size, wall in walls))
            cells.append(figures.spread(f"exponent {algorithm} {name}", 2))
        rows.append((algorithm, figures.spread(f"imports {algorithm}", 1), *cells))
    method = "Time grows as actions to this power: least squares of the logarithms, over the medians above."
    columns = ("method", "imports alone, s", "exponent, of the whole time", "less the imports")
    return Table("Growth of training", method, columns, rows)
