"""Detection, measured through the commands on every open set, beside a baseline and peers.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.detection --data ../shared/data
    python -m benchmarks.detection --data ../shared/data --only sea thesis
    python -m benchmarks.detection --data ../shared/data --quick

Everything goes through ``anomaly train`` and ``anomaly predict --no-follow --format json``, in one pass, in order.
An alarm is a ``risk`` of ALARM or more, a threshold with which no label had anything to do. Sets:

    sea         SEA (Schonlau et al. 2001) under the published table, with the peers that pip installs
    histories   shell histories of eight people: false alarms, colleagues and attackers put in
    row         eight attacks in a row put into each of those people's rows
    thesis      real osquery rows of two people
    sim         SIMULATED weeks and intrusions, one row a seed
    atomic      single commands of Atomic Red Team by one person's model
    transforms  SEA and the histories with changes that must not move a figure
    ablation    SEA without one part of the design, and without adaptation

The directory of --data holds sea, histories, thesis and atomic-linux; the simulator needs none. The table goes to
standard output, progress to standard error.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.detection_logs import simulated_table, thesis_table
from benchmarks.detection_people import atomic, histories_table, histories_transformed, in_a_row
from benchmarks.detection_scorers import Trainer, progress
from benchmarks.detection_sea import ablation, sea_table, sea_transformed

DATA = Path("../shared/data")
SEEDS = (7, 1, 2)


def sets(data: Path, train: Trainer, seeds: list[int], *, quick: bool) -> dict[str, Callable[[], None]]:
    """Return what prints each set."""
    sea, people = data / "sea", data / "histories"

    def transforms() -> None:
        sea_transformed(sea, train, quick=quick)
        histories_transformed(people, train, quick=quick)

    return {
        "sea": lambda: sea_table(sea, train, quick=quick),
        "histories": lambda: histories_table(people, train, quick=quick),
        "row": lambda: in_a_row(people, train, quick=quick),
        "thesis": lambda: thesis_table(data / "thesis", train, quick=quick),
        "sim": lambda: simulated_table(train, seeds[:1] if quick else seeds),
        "atomic": lambda: atomic(people, data / "atomic-linux", train, quick=quick),
        "transforms": transforms,
        "ablation": lambda: ablation(sea, train, quick=quick),
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = list(sets(DATA, Trainer(DATA), [], quick=True))
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR", help="where the sets are (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="SET", help="only these sets")
    parser.add_argument("--quick", action="store_true", help="a smoke run: few users, methods and intruders")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="of the simulated weeks (7 1 2)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        run = sets(asked.data, Trainer(Path(work), quick=asked.quick), asked.seeds, quick=asked.quick)
        for name in asked.only:
            begin = time.monotonic()
            run[name]()
            progress(f"{name}: done in {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
