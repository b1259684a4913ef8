"""Detection, measured through the commands: SEA under the published table, an ablation, real logs, and peers.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.detection --sea ../shared/data/sea --convert ../shared/tools/sea_to_osquery.py \
        --thesis ../shared/data/thesis/user1.log.gz

SEA (Schonlau et al. 2001) is written as osquery result lines; every user's first 5,000 commands are learned with
``anomaly train``, and the 100 blocks of 100 after them are scored with ``anomaly predict``, one pass, in order. A
block's figure is the ``risk`` after its last action. Thresholds are global. "alarms" and "hits" are at the preset
risk, which no label had a part in. Cost is 6 x false alarms + misses, at the best threshold (so optimistic).
The thesis log is learned to 60 % and its rest, all the user's own, is scored. The intrusions are SIMULATED.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from anomaly.evaluation import Block, figures
from anomaly.records import ALARM
from benchmarks.peers import PEERS, Row

BLOCKS, SIZE, PROCESSES = 100, 100, 2
HEADER = """\
| method | AUC | hits at 1 / 5 % | best cost | alarms | hits | train s | score s |
|---|---|---|---|---|---|---|---|"""
PUBLISHED = """\
| published (all 50 users) | hits % | false alarms % | cost |
|---|---|---|---|
| Uniqueness (Schonlau & Theus 2000) | 39.4 | 1.4 | 69.0 |
| Bayes one-step Markov (DuMouchel 1999) | 69.3 | 6.7 | 70.9 |
| Hybrid Markov (Ju & Vardi 2001) | 49.3 | 3.2 | 69.9 |
| naive Bayes, self-updating (Maxion & Townsend 2002) | 61.5 | 1.3 | 46.3 |
| semi-global alignment (Coull et al. 2003) | 75.8 | 7.7 | 70.4 |
| ECM (Oka et al. 2004) | 72.3 | 2.5 | 42.7 |
| DDSGA (Kholidy et al. 2015) | 88.4 | 1.7 | 21.8 |
"""


class Variant(NamedTuple):
    """A way of using the product."""

    name: str
    train: tuple[str, ...]
    predict: tuple[str, ...] = ()


VARIANTS = (
    Variant("BOTH", ("-a", "BOTH")),
    Variant("BOTH, no adaptation", ("-a", "BOTH"), ("--no-adapt",)),
    Variant("BOTH without the LSTM", ("-a", "BOTH", "--without", "lstm")),
    Variant("BOTH without the cache", ("-a", "BOTH", "--without", "cache")),
    Variant("BOTH without the background", ("-a", "BOTH", "--without", "background")),
    Variant("BOTH without the filter", ("-a", "BOTH", "--without", "filter")),
    Variant("BOTH, one fold", ("-a", "BOTH", "--without", "folds")),
    Variant("LSTM (BOTH without the OCSVM)", ("-a", "LSTM")),
    Variant("LSTM without the LSTM: the counts alone", ("-a", "LSTM", "--without", "lstm")),
    Variant("OCSVM, own data only", ("-a", "OCSVM")),
    Variant("OCSVM, no adaptation", ("-a", "OCSVM"), ("--no-adapt",)),
)


def anomaly(*words: object) -> str:
    """Run a command and return its output."""
    command = [sys.executable, "-m", "anomaly", *map(str, words)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ).stdout


def risks(log: Path, models: Path, user: str | None, *words: str) -> list[float]:
    """Score a log anew and return the risk after each action; actions without one have none."""
    whose = ("--user", user) if user else ("--all-users",)
    with tempfile.TemporaryDirectory() as state:
        fixed = ("--models", models, "--state", state, "--from", "start", "--no-follow", "--format", "json")
        out = anomaly("predict", *whose, "-l", log, *fixed, *words)
    return [float(record["risk"] or 0.0) for record in map(json.loads, out.splitlines())]


def row(name: str, found: list[Block], trained: float, scored: float) -> str:
    """Return a row of the table."""
    got = figures(found, ALARM)
    return (
        f"| {name} | {got.auc:.3f} | {100 * got.hits_1:.0f} / {100 * got.hits_5:.0f} | {got.cost:.1f}"
        f" | {100 * got.false_alarms:.1f} % | {100 * got.hits:.0f} % | {trained:.0f} | {scored:.0f} |"
    )


def sea(folder: Path, labels: dict[tuple[str, int], bool], variants: list[Variant]) -> None:
    """Print the rows of SEA; variants that train alike share their models."""
    users = sorted({user for user, _ in labels})
    trained: dict[tuple[str, ...], tuple[Path, float]] = {}
    strange = sum(labels.values())
    print(f"\n## SEA: {len(users)} users, {strange} masqueraded blocks, preset risk {ALARM:g}\n\n{HEADER}")
    for variant in variants:
        if variant.train not in trained:
            models, begin = folder / f"models-{len(trained)}", time.monotonic()
            anomaly("train", "--all-users", "-l", folder / "train.log", "--models", models, *variant.train)
            trained[variant.train] = models, time.monotonic() - begin
        models, seconds = trained[variant.train]
        begin = time.monotonic()
        with ThreadPoolExecutor(PROCESSES) as pool:
            logs = [(folder / f"{user}.test.log", models, user, *variant.predict) for user in users]
            scored = list(pool.map(lambda words: risks(*words), logs))
        found = [
            Block(risk[SIZE * block + SIZE - 1], float(labels[user, block]))
            for user, risk in zip(users, scored, strict=True)
            for block in range(BLOCKS)
        ]
        print(row(variant.name, found, seconds, time.monotonic() - begin), flush=True)


def peers(folder: Path, labels: dict[tuple[str, int], bool]) -> None:
    """Print the rows of the detectors that pip installs, on the same lines."""
    users = sorted({user for user, _ in labels})
    of_user: dict[str, list[Row]] = {user: [] for user in users}
    for line in (folder / "train.log").open():
        action = json.loads(line)
        of_user[action["decorations"]["username"]].append(action)
    tests = {user: [json.loads(line) for line in (folder / f"{user}.test.log").open()] for user in users}
    for name, peer in PEERS.items():
        found, begin = [], time.monotonic()
        try:
            for user in users:
                cut = [tests[user][SIZE * block : SIZE * block + SIZE] for block in range(BLOCKS)]
                given = peer(of_user[user], cut)
                found += [Block(risk, float(labels[user, block])) for block, risk in enumerate(given)]
        except ImportError as error:
            print(f"| {name} | skipped: {error} |")
            continue
        # Their figures are deviations from a mean, which the preset risk does not speak of.
        got, seconds = figures(found, ALARM), time.monotonic() - begin
        hits = f"{100 * got.hits_1:.0f} / {100 * got.hits_5:.0f}"
        print(
            f"| {name} | {got.auc:.3f} | {hits} | {got.cost:.1f} | - | - | in score | {seconds:.0f} |", flush=True
        )


def thesis(folder: Path, log: Path) -> None:
    """Print how often the preset threshold is reached by a user's own later actions."""
    lines = gzip.decompress(log.read_bytes()).splitlines(keepends=True)
    part = len(lines) * 6 // 10
    (folder / "first.log").write_bytes(b"".join(lines[:part]))
    (folder / "rest.log").write_bytes(b"".join(lines[part:]))
    print(f"\n## thesis/user1: {part:,} actions learned, {len(lines) - part:,} of the same user's scored\n")
    print("| method | blocks at the preset risk | highest | train s | score s |\n|---|---|---|---|---|")
    for algorithm in ("OCSVM", "LSTM", "BOTH"):
        models, begin = folder / f"thesis-{algorithm}", time.monotonic()
        anomaly("train", "--user", "user1", "-a", algorithm, "-l", folder / "first.log", "--models", models)
        trained, begin = time.monotonic() - begin, time.monotonic()
        risk = np.array(risks(folder / "rest.log", models, "user1"))[SIZE - 1 :: SIZE]
        share = 100 * (risk >= ALARM).mean()
        seconds = time.monotonic() - begin
        print(f"| {algorithm} | {share:.1f} % | {risk.max():.1f} | {trained:.0f} | {seconds:.1f} |", flush=True)


def intrusions(folder: Path, seed: int) -> None:
    """Print what is found of the simulated intrusions."""
    anomaly("simulate", "--seed", seed, folder)
    print(f"\n## SIMULATED intrusions, seed {seed}, by the victim's model\n")
    print("| method | intrusion | AUC | own blocks alarm | stranger's blocks found | actions until then |")
    print("|---|---|---|---|---|---|", flush=True)
    for algorithm in ("OCSVM", "LSTM", "BOTH"):
        models = folder / f"models-{algorithm}"
        for name, victim in (("masquerade", "alice"), ("attack", "carol")):
            anomaly(
                "train",
                "--user",
                victim,
                "-a",
                algorithm,
                "-l",
                folder / "osqueryd.results.log.gz",
                "--models",
                models,
            )
            words = ("--own", folder / f"{name}.results.log.gz", "--labels", folder / f"{name}.labels.csv")
            found = json.loads(
                anomaly("evaluate", "--user", victim, *words, "--models", models, "--format", "json")
            )
            own, theirs = f"{found['false_alarms']} %", f"{found['hits']} %"
            print(f"| {algorithm} | {name} | {found['auc']} | {own} | {theirs} | {found['delay']} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sea", type=Path, help="directory of SEA: UserNN, labels.csv")
    parser.add_argument("--convert", type=Path, help="program that writes SEA as osquery lines: SEA_DIR OUT_DIR")
    parser.add_argument("--thesis", type=Path, help="the thesis' log of one user, gzipped")
    parser.add_argument("--seeds", type=int, nargs="*", default=[7], help="of the simulated intrusions")
    parser.add_argument("--variants", nargs="*", help="only those whose name has one of these words")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if asked.sea and asked.convert:
            subprocess.run([sys.executable, asked.convert, asked.sea, folder / "sea"], check=True)
            data = b"".join(path.read_bytes() for path in sorted(asked.sea.iterdir()))
            print(f"SEA: SHA-256 of its files {hashlib.sha256(data).hexdigest()[:16]}\n\n{PUBLISHED}", end="")
            with (asked.sea / "labels.csv").open(newline="") as file:
                labels = {(r["user"], int(r["block"])): r["masquerade"] == "1" for r in csv.DictReader(file)}
            words = asked.variants or [""]
            sea(folder / "sea", labels, [v for v in VARIANTS if any(word in v.name for word in words)])
            peers(folder / "sea", labels)
        if asked.thesis:
            thesis(folder, asked.thesis)
        for seed in asked.seeds:
            intrusions(folder / str(seed), seed)


if __name__ == "__main__":
    main()
