"""Speed, measured through the installed command, beside its peers on the same lines in the same run.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.speed --thesis ../shared/data/thesis/user1.log.gz

writes RESULTS.md beside this file (about 40 minutes; ``--quick`` is a smoke run, ``--only`` leaves parts out).
Repetitions of different subjects take turns, so that a slow minute hits all alike. The thesis log is real; it is
repeated, later each time, so that a start does not dominate. The simulated log is the product's own.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from benchmarks import speed_logs, speed_rates
from benchmarks.speed_bars import LEARNED, REAL, SIMULATED, bars
from benchmarks.speed_child import CORES, run, step_aside
from benchmarks.speed_figures import Figures, Table
from benchmarks.speed_logs import Log
from benchmarks.speed_rates import ALGORITHMS, Kept
from benchmarks.speed_single import Plan, single
from benchmarks.speed_training import train, training

PARTS = ("training", "rates", "live", "stages", "peers", "startup")
SINGLE = {"live", "stages", "peers"}
PERSONA = "alice"
"""Whose actions in the simulated log the stages work on."""

LIBRARIES = (
    "numpy",
    "msgspec",
    "safetensors",
    "tensorflow",
    "keras",
    "scikit-learn",
    "river",
    "orjson",
    "ai-edge-litert",
    "onnxruntime",
    "onnx",
)


class Size(NamedTuple):
    """How large a run is."""

    lines: int
    days: int
    learned: int
    """Actions that the models of the thesis log are made from."""
    trainings: list[int]
    models: list[int]
    acted: int
    """Actions of many users."""
    plan: Plan


FULL = Size(
    150_000,
    30,
    LEARNED,
    [5_000, 20_000, LEARNED, 150_000],
    [1, 10, 100, 1000],
    20_000,
    Plan(5, 20_000, 5_000, 100),
)
QUICK = Size(12_000, 4, 5_000, [2_500, 5_000], [1, 10], 4_000, Plan(2, 2_000, 500, 5))


class Bench:
    """The logs and the models of one run."""

    def __init__(self, folder: Path, thesis: Path, size: Size) -> None:
        self.folder, self.size = folder, size
        original = folder / "original.log"
        self.actions = speed_logs.unpacked(thesis, original)
        real = folder / "thesis.log"
        speed_logs.lengthened(original, real, size.lines)
        self.real = Log(REAL, real, speed_logs.user_of(original))
        self.simulated = Log(SIMULATED, speed_logs.simulated(folder, size.days), None)
        # With --work, the states of an earlier run are still there: predict would refuse them or go on from them.
        shutil.rmtree(folder / "states", ignore_errors=True)
        (folder / "states").mkdir()

    def of_real(self) -> Kept:
        """Return models of the thesis log; made unless the training part has left them."""
        log = self.folder / f"first-{self.size.learned}.log"
        speed_logs.first(self.real.path, log, self.size.learned)
        models = {name: self.folder / f"learned-{name}-{self.size.learned}-0" for name in ALGORITHMS}
        for algorithm, place in models.items():
            if not place.exists():
                run(train(log, place, algorithm, self.real.user), cores=CORES)
        return Kept(models, self.folder / "states")

    def of_simulated(self) -> Kept:
        """Return models of everyone in the simulated log, by its first third."""
        models = {name: self.folder / f"simulated-{name}" for name in ALGORITHMS}
        until = speed_logs.moment(self.simulated.path, 1 / 3)
        for algorithm, place in models.items():
            if not place.exists():
                run(train(self.simulated.path, place, algorithm, None, "--until", until), cores=CORES)
        return Kept(models, self.folder / "states")

    def measure(self, parts: set[str], figures: Figures) -> list[Table]:
        """Measure the parts and return their tables."""
        size, tables = self.size, list[Table]()
        if "training" in parts:
            tables += training(
                self.real, size.trainings, list(ALGORITHMS), self.actions, size.plan.repeat, self.folder, figures
            )
        if parts <= {"training"}:
            return tables
        real = self.of_real()
        if parts & {"rates", "live", "stages"}:
            simulated = self.of_simulated()
        if "rates" in parts:
            tables.append(
                speed_rates.backlog([(self.real, real), (self.simulated, simulated)], size.plan.repeat, figures)
            )
        if parts & SINGLE:
            logs = [(self.real, real, self.real.user or "")]
            if parts & {"live", "stages"}:
                logs.append((self.simulated, simulated, PERSONA))
            tables += single(parts, logs, size.plan, figures)
        if "startup" in parts:
            tables.append(speed_rates.starts(2 * size.plan.repeat, figures))
            tables.append(speed_rates.many(self.real, real, size.models, size.acted, size.plan.repeat, figures))
        return tables


def machine() -> str:
    """Say on what, with what, and of what state of the project."""
    information = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in information if line.startswith("model name")), "unknown")
    commit = _git("rev-parse", "--short", "HEAD") + (" and changes" if _git("status", "--porcelain") else "")
    found = [f"Python {platform.python_version()}"]
    for library in LIBRARIES:
        try:
            found.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            found.append(f"{library} not installed")
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit}; {model}, {len(CORES)} cores,"
        f" {platform.system()} {platform.release()}, load {load()} at the start.\n{', '.join(found)}."
    )


def load() -> str:
    """Say how busy the machine was in the last 1, 5 and 15 minutes."""
    return ", ".join(f"{value:.1f}" for value in os.getloadavg())


def _git(*words: str) -> str:
    place = Path(__file__).parent
    return subprocess.run(["git", "-C", place, *words], check=False, capture_output=True, text=True).stdout.strip()


def report(tables: list[Table], figures: Figures, size: Size, facts: str, words: str) -> str:
    """Write down everything, the bars first."""
    rows = [bar.row(figures) for bar in bars(size.plan.epochs)]
    method = "Each by the median of this run; what an option left out was not measured."
    top = Table("Bars", method, ("what", "bar", "measured", ""), rows)
    intro = (
        f"# Speed\n\nWritten by `python -m benchmarks.speed {words}`. {facts}\n\nFigures are medians of"
        f" {size.plan.repeat} repetitions (minimum to maximum), taken in turn with the other subjects'; where none"
        f" are given they are equal, or it was measured once. *{REAL}*: a real user's log of 2017, lengthened to"
        f" {size.lines:,} lines by repeating it, later each time; learned are its first {size.learned:,}, and"
        f" scored is all of it, what was learned too. *{SIMULATED}*: `anomaly simulate --days {size.days}`, all"
        " its users in one log, learned by its first third.\n"
    )
    return "\n".join([intro, *(table.text() for table in [top, *tables])])


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--thesis", type=Path, required=True, help="the thesis' log of one user, gzipped")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="leave the other parts out")
    parser.add_argument("--quick", action="store_true", help="a smoke run: its figures say little")
    parser.add_argument("--repeat", type=int, help="repetitions")
    parser.add_argument("--work", type=Path, help="keep logs and models here, and use those that are there")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md", help="where to write")
    return parser.parse_args()


def main() -> None:
    """Measure, and write it down."""
    asked = arguments()
    size = QUICK if asked.quick else FULL
    if asked.repeat:
        size = size._replace(plan=size.plan._replace(repeat=asked.repeat))
    step_aside()
    facts, begin, figures = machine(), time.monotonic(), Figures()
    with tempfile.TemporaryDirectory() as place:
        folder = asked.work or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        tables = Bench(folder, asked.thesis, size).measure(set(asked.only), figures)
    words = ["--thesis", asked.thesis.name, *["--quick"] * asked.quick]
    words += ["--only", *asked.only] if set(asked.only) != set(PARTS) else []
    facts += f" It took {(time.monotonic() - begin) / 60:.0f} minutes; load {load()} at the end."
    if asked.work:
        facts += " Models that an earlier run had left were used (`--work`)."
    text = report(tables, figures, size, facts, " ".join(words))
    asked.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
