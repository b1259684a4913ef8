"""Real osquery rows of two people (the thesis logs), and SIMULATED weeks with two intrusions."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from anomaly.evaluation import auc, delays
from anomaly.records import ALARM
from benchmarks.detection_data import BLOCK, Person, Row, blocks_of, months, passes, read, split, when
from benchmarks.detection_figures import AFTER, false_alarms, found, middle, own_blocks, share
from benchmarks.detection_scorers import (
    BOTH_ALONE,
    OCSVM_ALONE,
    Commands,
    Method,
    Neighbours,
    Scorer,
    Trainer,
    all_risks,
    anomaly,
)

THESIS_USER = "user1"
SHORT, LONG = 100, 400
TRAINED_DAYS, DAYS = 14, 28
INTRUSIONS = {"masquerade": "alice", "attack": "carol"}
SIMULATED = (Method("OCSVM", ("-a", "OCSVM")), Method("BOTH", ("-a", "BOTH")))


def thesis_table(folder: Path, train: Trainer, *, quick: bool) -> None:
    """Print how the one pair of people is told apart whose real osquery rows are public, and the false alarms."""
    pair = split(read(folder / "user1b.log.gz"), 0.8)
    other = read(folder / "user2b-first-half.log.gz")
    calm = split(read(folder / "user1.log.gz"), 0.6)
    print(
        "\n### Thesis logs (real osquery rows, opaque values)\n\nuser1b learned to 80 % "
        f"({len(pair.learned):,} rows); its {len(pair.later):,} later rows are scored alone and with another "
        f"person's put in under the same name and host, in stretches of {SHORT} and {LONG}. *AUC*: the risk "
        f"after each {BLOCK} of the other person's rows in a stretch against that after each {BLOCK} own "
        f"rows. *Found*: a risk of {ALARM:g} in the stretch or the {AFTER} own rows after it; in brackets the "
        f"median of rows until then. *False alarms* also on the last 40 % of user1, {len(calm.later):,} "
        "rows.\n"
    )
    print(
        f"| method | AUC, stretches of {SHORT} | AUC, of {LONG} | found, of {SHORT} | found, of {LONG}"
        f" | false alarms on user1b | false alarms on user1 |\n{'|---' * 7}|",
        flush=True,
    )
    for method in (OCSVM_ALONE,) if quick else (OCSVM_ALONE, BOTH_ALONE):
        scorers = [train(method, {THESIS_USER: person.learned}) for person in (pair, calm)]
        _thesis_row(scorers[0], scorers[1], (pair, calm), other)
        still = [scorer.without_adaptation() for scorer in scorers]
        _thesis_row(still[0], still[1], (pair, calm), other)
    baseline = [Neighbours({THESIS_USER: person.learned}) for person in (pair, calm)]
    _thesis_row(baseline[0], baseline[1], (pair, calm), other)


def _thesis_row(scorer: Scorer, calm_scorer: Scorer, people: tuple[Person, Person], other: list[Row]) -> None:
    own = scorer.risks(THESIS_USER, people[0].later)
    areas, counts = [], []
    for size in (SHORT, LONG):
        streams = passes(people[0].later, blocks_of(other, size, len(other)))
        scored = all_risks(scorer, [(THESIS_USER, stream.rows) for stream in streams])
        pairs = [(risks, visit) for stream, risks in zip(streams, scored, strict=True) for visit in stream.visits]
        windows = [risk for risks, visit in pairs for risk in own_blocks(risks[visit.start : visit.stop])]
        areas.append(f"{auc(own_blocks(own), windows):.3f}")
        visits = [found(risks, visit) for risks, visit in pairs]
        counts.append(f"{share(sum(v.after is not None for v in visits), len(visits))} [{middle(visits)}]")
    alarms = [false_alarms(own), false_alarms(calm_scorer.risks(THESIS_USER, people[1].later))]
    print(f"| {' | '.join([scorer.name, *areas, *counts, *map(str, alarms)])} |", flush=True)


class Weeks(NamedTuple):
    """What the simulator wrote: days to learn, clean days after them, and two intrusions."""

    learned: list[Row]
    clean: list[Row]
    intrusions: dict[str, tuple[list[Row], set[int]]]
    """Of each, its rows and the places of those that the intruder made."""


def weeks(seed: int, work: Path) -> Weeks:
    """Simulate DAYS clean days and the intrusions after them."""
    folder = work / f"simulated-{seed}"
    anomaly("simulate", "--seed", seed, "--days", DAYS, folder)
    rows = read(folder / "osqueryd.results.log.gz")
    end = when(rows[0]) // 86_400 + TRAINED_DAYS
    intrusions = {}
    for name in INTRUSIONS:
        with (folder / f"{name}.labels.csv").open(newline="", encoding="utf-8") as file:
            places = {int(line["line"]) - 1 for line in csv.DictReader(file)}
        intrusions[name] = read(folder / f"{name}.results.log.gz"), places
    return Weeks(
        [row for row in rows if when(row) // 86_400 < end],
        [row for row in rows if when(row) // 86_400 >= end],
        intrusions,
    )


def simulated_table(train: Trainer, seeds: Sequence[int]) -> None:
    """Print what is found of the simulated intrusions, and the false alarms of the days before."""
    print(
        f"\n### SIMULATED weeks\n\nOf each seed {TRAINED_DAYS} days learned, {DAYS - TRAINED_DAYS} clean days "
        "and then a masquerade (of alice) and an attack (on carol) scored in one pass, all users in one log "
        "(too few to be learned together). For each visit the number of the intruder's actions until a risk "
        f"of {ALARM:g}, or - if it was missed. *People* are the three persons; *others* are root, services "
        "and the host. User-months of 30 days.\n"
    )
    print(
        "| method | seed | masquerade: visits, actions until | attack: visits, actions until"
        " | clean days: false alarms of people (per user-month) | of others |\n|---|---|---|---|---|---|",
        flush=True,
    )
    data = {seed: weeks(seed, train.folder) for seed in seeds}
    for method in SIMULATED:
        for seed, rows in data.items():
            scorer = train(method, {"everyone": rows.learned})
            print(f"| {method.name} | {seed} | {' | '.join(_simulated_cells(scorer, rows))} |", flush=True)


def _simulated_cells(scorer: Commands, rows: Weeks) -> list[str]:
    """Return what one seed came to; the clean days' alarms, and each visit's actions until one."""
    stream, foreign = list(rows.clean), set[int]()
    for mine, places in rows.intrusions.values():
        foreign |= {len(stream) + place for place in places}
        stream += mine
    risks: defaultdict[str, list[float]] = defaultdict(list)
    flags: defaultdict[str, list[bool]] = defaultdict(list)
    clean: defaultdict[str, list[float]] = defaultdict(list)
    for number, record in scorer.numbered(stream):
        user, risk = record["user"], float(record["risk"] or 0.0)
        risks[user].append(risk)
        flags[user].append(number in foreign)
        if number < len(rows.clean):
            clean[user].append(risk)
    cells = []
    for victim in INTRUSIONS.values():
        found_ = delays(risks[victim], flags[victim], ALARM)
        yes = [after for after in found_ if after is not None]
        listed = ", ".join("-" if after is None else str(after) for after in found_)
        cells.append(f"{len(yes)} of {len(found_)}: {listed}")
    people = {user for user in clean if user in {"alice", "bob", "carol"}}
    noise = {user: false_alarms(mine) for user, mine in clean.items()}
    span = months(rows.clean) * len(people)
    theirs = sum(noise[user] for user in people)
    return [*cells, f"{theirs} ({theirs / span:.1f})", str(sum(noise.values()) - theirs)]
