"""The simulated intrusions, for several seeds and both algorithms, through the commands.

    python benchmarks/intrusions.py --seeds 7 1 2

Each seed makes new logs of the three users (``anomaly simulate``); models are learned from their two normal
weeks (``anomaly train``), and the two days after, with an intrusion, are scored (``anomaly predict``). A block is
a hundred actions of one user: a stranger's where at least half are, own where none is. All is SIMULATED.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from anomaly.evaluation import Block, auc, blocks

USERS = ("alice", "bob", "carol")
INTRUSIONS = ("masquerade", "attack")
ALARM = 30.0
HEADER = "seed  algorithm  intrusion    AUC  stranger's  own's highest  own >= 30, per 1,000  train s  actions/s"


def anomaly(*words: object) -> str:
    """Run a command and return its output."""
    command = [sys.executable, "-m", "anomaly", *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def cut(records: list[dict[str, object]], foreign: set[int]) -> tuple[list[Block], list[float]]:
    """Return the blocks of all users, and the risk of each action that its owner did."""
    found: list[Block] = []
    own: list[float] = []
    for user in USERS:
        mine = [(float(str(r["risk"])), n in foreign) for n, r in enumerate(records, 1) if r["user"] == user]
        found += blocks([risk for risk, _ in mine], [stranger for _, stranger in mine])
        own += [risk for risk, stranger in mine if not stranger]
    return found, own


def measure(folder: Path, seed: int, algorithm: str) -> None:
    """Print the rows of one seed and algorithm."""
    models, begin = folder / f"models-{algorithm}", time.monotonic()
    for user in USERS:
        log = folder / "osqueryd.results.log.gz"
        anomaly("train", "--user", user, "-a", algorithm, "-l", log, "--models", models)
    trained = time.monotonic() - begin
    for name in INTRUSIONS:
        begin = time.monotonic()
        words = ("--all-users", "--no-follow", "--from", "start", "--format", "json", "--state", folder / "state")
        out = anomaly("predict", *words, "-l", folder / f"{name}.results.log.gz", "--models", models)
        rate = len(out.splitlines()) / (time.monotonic() - begin)
        with (folder / f"{name}.labels.csv").open(newline="") as file:
            foreign = {int(row["line"]) for row in csv.DictReader(file)}
        found, risks = cut([json.loads(line) for line in out.splitlines()], foreign)
        theirs = [block.risk for block in found if block.share >= 0.5]
        mine = [block.risk for block in found if not block.share]
        alarms = 1000 * sum(risk >= ALARM for risk in risks) / len(risks)
        print(
            f"{seed:4}  {algorithm:9}  {name:10}  {auc(mine, theirs):.3f}  {min(theirs):4.1f}..{max(theirs):5.1f}"
            f"  {max(mine):13.1f}  {alarms:20.2f}  {trained:7.0f}  {rate:9,.0f}",
            flush=True,
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7])
    parser.add_argument("--algorithms", nargs="+", default=["OCSVM", "LSTM"])
    asked = parser.parse_args()
    print("SIMULATED data; 'own >= 30' counts actions whose window still holds a stranger's, too.")
    print(HEADER)
    for seed in asked.seeds:
        with tempfile.TemporaryDirectory() as folder:
            anomaly("simulate", "--seed", seed, folder)
            for algorithm in asked.algorithms:
                measure(Path(folder), seed, algorithm)


if __name__ == "__main__":
    main()
