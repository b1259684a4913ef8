"""SEA (Schonlau et al. 2001): figures under the published table, peers, an ablation, and changed columns."""

from __future__ import annotations

import hashlib
from pathlib import Path

from anomaly.evaluation import Block, figures
from anomaly.records import ALARM
from benchmarks.detection_data import (
    BLOCK,
    Person,
    Row,
    Transformation,
    renamed,
    sea,
    shuffled,
    transformed,
    with_uid,
)
from benchmarks.detection_figures import intervals, preset_cost
from benchmarks.detection_scorers import (
    BOTH,
    LSTM,
    OCSVM_ALONE,
    Method,
    Neighbours,
    Scorer,
    Trainer,
    all_risks,
    progress,
)
from benchmarks.peers import PEERS

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
HEADER = """\
| method | AUC [90 %] | hits at 1 / 5 % | best cost [90 %] | alarms | hits | label-free cost [90 %] \
| best / label-free cost without User07 |
|---|---|---|---|---|---|---|---|"""
LEARNED_OR_NOT = "User07"
"""13 masqueraded blocks, which are either all learned or all refused, depending on tiny changes."""

Blocks = dict[str, list[Block]]


class Sea:
    """The users and labels of SEA, few of them for a quick run."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        everyone, self.labels = sea(folder)
        strange = sorted(everyone, key=lambda user: (-sum(self.labels[user]), user))
        some = sorted(strange[:8] if quick else everyone)  # fewer than eight are not learned together
        self.people = {user: everyone[user] for user in some}
        self.users = sorted(strange[:4] if quick else some)
        raw = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
        self.hash = hashlib.sha256(raw).hexdigest()[:16]

    def blocks(self, scorer: Scorer, people: dict[str, Person]) -> Blocks:
        """Score each user's later rows in one pass; a block's figure is the risk after its last action."""
        scored = all_risks(scorer, [(user, people[user].later) for user in self.users])
        return {
            user: self._labelled(user, risks[BLOCK - 1 :: BLOCK])
            for user, risks in zip(self.users, scored, strict=True)
        }

    def peer(self, name: str) -> Blocks:
        """Return the blocks as a detector that pip installs scores them; none learns from other users."""
        progress(f"score: {name}")
        found: Blocks = {}
        for user in self.users:
            person = self.people[user]
            cut = [person.later[begin : begin + BLOCK] for begin in range(0, len(person.later), BLOCK)]
            found[user] = self._labelled(user, PEERS[name](person.learned, cut))
        return found

    def _labelled(self, user: str, risks: list[float]) -> list[Block]:
        return [Block(risk, float(label)) for risk, label in zip(risks, self.labels[user], strict=True)]


def learned_of(people: dict[str, Person]) -> dict[str, list[Row]]:
    """Return what is learned of each user."""
    return {user: person.learned for user, person in people.items()}


def row(name: str, blocks: Blocks, *, preset: bool = True) -> str:
    """Return a row of the table; a scorer whose figures know nothing of the preset risk has none there."""
    everyone = [block for mine in blocks.values() for block in mine]
    got = figures(everyone, ALARM)
    without = figures([block for user, mine in blocks.items() if user != LEARNED_OR_NOT for block in mine], ALARM)

    area, best, free = intervals(blocks, lambda at: at.auc, lambda at: at.cost, preset_cost)
    at_preset = [f"{100 * got.false_alarms:.1f} %", f"{100 * got.hits:.0f} %", f"{preset_cost(got):.1f} [{free}]"]
    cells = [
        name,
        f"{got.auc:.3f} [{area}]",
        f"{100 * got.hits_1:.0f} / {100 * got.hits_5:.0f}",
        f"{got.cost:.1f} [{best}]",
        *(at_preset if preset else ["-", "-", "-"]),
        f"{without.cost:.1f} / {preset_cost(without):.1f}" if preset else f"{without.cost:.1f} / -",
    ]
    return f"| {' | '.join(cells)} |"


def _scored(data: Sea, scorer: Scorer) -> str:
    return row(scorer.name, data.blocks(scorer, data.people))


def heading(data: Sea, title: str) -> None:
    """Print what the following table is over."""
    strange = sum(sum(data.labels[user]) for user in data.users)
    print(
        f"\n### SEA: {title}\n\n{len(data.users)} users, {len(data.users) * BLOCK} blocks of {BLOCK} "
        f"commands, {strange} of them typed by somebody else; SHA-256 of the files {data.hash}. A block's "
        "figure is the risk after its last action; thresholds are global; *alarms* and *hits* are at the "
        f"preset risk {ALARM:g}; cost = 6 x false alarms + misses in per cent, *best* over all thresholds, "
        "*label-free* at the preset risk; intervals of 90 % by drawing users.\n"
    )
    print(HEADER, flush=True)


def sea_table(folder: Path, train: Trainer, *, quick: bool) -> None:
    """Print SEA: the commands, the baseline and the peers under the published table."""
    data = Sea(folder, quick=quick)
    print(f"\n{PUBLISHED}")
    heading(data, "methods")
    learned = learned_of(data.people)
    for method in (BOTH, OCSVM_ALONE) if quick else (BOTH, LSTM, OCSVM_ALONE):
        print(_scored(data, train(method, learned)), flush=True)
    print(_scored(data, Neighbours(learned)), flush=True)
    for name in list(PEERS)[:1] if quick else PEERS:
        try:
            print(row(name, data.peer(name), preset=False), flush=True)
        except ImportError as error:
            print(f"| {name} | skipped: {error} |" + " |" * 6, flush=True)


def ablation(folder: Path, train: Trainer, *, quick: bool) -> None:
    """Print what the parts of BOTH bring on SEA."""
    data = Sea(folder, quick=quick)
    heading(data, "BOTH without one part")
    learned = learned_of(data.people)
    whole = train(BOTH, learned)
    for scorer in (whole, whole.without_adaptation()):
        print(_scored(data, scorer), flush=True)
    for part in ("lstm",) if quick else ("svm", "background", "filter", "lstm"):
        method = Method(f"BOTH --without {part}", ("-a", "BOTH", "--without", part))
        print(_scored(data, train(method, learned)), flush=True)


SEA_CHANGES: dict[str, Transformation] = {
    "a uid column added": with_uid,
    "columns shuffled": shuffled,
    "the query renamed": renamed,
}


def sea_transformed(folder: Path, train: Trainer, *, quick: bool) -> None:
    """Print SEA with changes of the rows that must not move a figure."""
    data = Sea(folder, quick=quick)
    heading(data, "changes that must not move a figure")
    method = Method("BOTH --without lstm", ("-a", "BOTH", "--without", "lstm"))
    print(row("as it is", data.blocks(train(method, learned_of(data.people)), data.people)), flush=True)
    for name, change in SEA_CHANGES.items():
        people = transformed(data.people, change)
        print(row(name, data.blocks(train(method, learned_of(people)), people)), flush=True)
