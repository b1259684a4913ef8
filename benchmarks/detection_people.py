"""Shell histories of real people: false alarms, intruders put in, attacks in a row, and single actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from anomaly.evaluation import auc
from anomaly.records import ALARM
from benchmarks.detection_data import (
    BLOCK,
    GAP,
    MOST,
    Person,
    Row,
    Transformation,
    blocks_of,
    disguised,
    histories,
    months,
    passes,
    put_in,
    read,
    renamed,
    sessions,
    shuffled,
    transformed,
    without_uid,
)
from benchmarks.detection_figures import AFTER, Found, false_alarms, found, highest, middle, own_blocks, share
from benchmarks.detection_scorers import (
    BOTH,
    BOTH_ALONE,
    OCSVM_ALONE,
    Commands,
    Method,
    Neighbours,
    Scorer,
    Trainer,
    all_risks,
)

KINDS = ("colleagues", "human attackers", "scripted attackers")
COLLEAGUES, HUMANS, SCRIPTED, ROW = 3, 12, 7, 8
"""Intruders put into one user's rows, by kind, and attacks in a row."""
HEADER = (
    "| method | false alarms | per user-month | own actions at the alarm | of one user at most | "
    + " | ".join(f"{kind}: found | actions until | AUC" for kind in KINDS)
    + " | alarm on before |\n"
    + "|---" * (6 + 3 * len(KINDS))
    + "|"
)
Intruders = dict[str, list[list[Row]]]
"""Of each kind, what is put into one user's rows."""


@dataclass(frozen=True)
class People:
    """The people of the histories, and the attackers to put into their rows."""

    everyone: dict[str, Person]
    scored: list[str]
    """The users whose later rows are scored."""
    humans: list[list[Row]]
    scripted: list[list[Row]]
    counts: tuple[int, int, int]
    """Intruders put into one user's rows, by kind."""

    @classmethod
    def read(cls, folder: Path, *, quick: bool) -> People:
        """Read the set; score few of its people for a quick run."""
        everyone = histories(folder)
        return cls(
            everyone,
            sorted(everyone)[: 2 if quick else None],
            sessions(folder / "attackers" / "range.results.log.gz"),
            sessions(folder / "attackers" / "cowrie.results.log.gz"),
            (2, 3, 1) if quick else (COLLEAGUES, HUMANS, SCRIPTED),
        )

    @property
    def people(self) -> dict[str, Person]:
        """Return the users whose later rows are scored."""
        return {user: self.everyone[user] for user in self.scored}

    @property
    def learned(self) -> dict[str, list[Row]]:
        """Return what is learned of each user; of all, since fewer than eight are not learned together."""
        return {user: person.learned for user, person in self.everyone.items()}

    def intruders(self, user: str) -> Intruders:
        """Return what is put into a user's rows: colleagues' next commands, and attackers' sessions in turn."""
        users = list(self.everyone)
        at = users.index(user)
        colleagues, humans, scripted = self.counts
        others = [users[(at + ahead) % len(users)] for ahead in range(1, colleagues + 1)]
        first = at * len(self.humans) // len(users)
        chosen = [self.humans[(first + 7 * number) % len(self.humans)] for number in range(humans)]
        return {
            KINDS[0]: [self.everyone[other].later[:BLOCK] for other in others],
            KINDS[1]: chosen,
            KINDS[2]: [self.scripted[(at + number) % len(self.scripted)] for number in range(scripted)],
        }

    def rows_of(self, change: Transformation) -> People:
        """Return the same people and attackers with every row changed."""
        return replace(
            self,
            everyone=transformed(self.everyone, change),
            humans=[[change(row) for row in session] for session in self.humans],
            scripted=[[change(row) for row in session] for session in self.scripted],
        )


class Sheet(NamedTuple):
    """What one scorer came to on all users."""

    alarms: int
    months: float
    high: float
    """Share of the own actions at which the risk alarms..."""
    highest: float
    """...and the highest share of one user."""
    visits: Mapping[str, list[Found]]
    areas: Mapping[str, float]
    """AUC by kind: the risk after an intruder's last action against that after each block of own actions."""


def sheet(scorer: Scorer, data: People) -> Sheet:
    """Score the own rows alone, and then with the intruders in several passes."""
    own = all_risks(scorer, [(user, person.later) for user, person in data.people.items()])
    visits: dict[str, list[Found]] = {}
    areas = {}
    mine = [risk for risks in own for risk in own_blocks(risks)]
    for kind in KINDS:
        streams = [
            (user, stream)
            for user, person in data.people.items()
            for stream in passes(person.later, data.intruders(user)[kind])
        ]
        scored = all_risks(scorer, [(user, stream.rows) for user, stream in streams])
        pairs = [(risks, visit) for (_, at), risks in zip(streams, scored, strict=True) for visit in at.visits]
        visits[kind] = [found(risks, visit) for risks, visit in pairs]
        areas[kind] = auc(mine, [highest(risks, visit) for risks, visit in pairs])
    return Sheet(
        alarms=sum(map(false_alarms, own)),
        months=sum(months(person.later) for person in data.people.values()),
        high=float(np.mean([risk >= ALARM for risks in own for risk in risks])),
        highest=max(float(np.mean(np.array(risks) >= ALARM)) for risks in own),
        visits=visits,
        areas=areas,
    )


def row(name: str, got: Sheet) -> str:
    """Return a row of the table."""
    cells = [
        name,
        str(got.alarms),
        f"{got.alarms / got.months:.2f}",
        f"{100 * got.high:.1f} %",
        f"{100 * got.highest:.0f} %",
    ]
    for kind, visits in got.visits.items():
        yes = sum(visit.after is not None for visit in visits)
        cells += [share(yes, len(visits)), middle(visits), f"{got.areas[kind]:.3f}"]
    cells.append(str(sum(visit.before for visits in got.visits.values() for visit in visits)))
    return f"| {' | '.join(cells)} |"


def heading(data: People, title: str) -> None:
    """Print what the following table is over."""
    own = sum(len(person.later) for person in data.people.values())
    span = sum(months(person.later) for person in data.people.values())
    print(
        f"\n### Shell histories: {title}\n\n{len(data.people)} people, the first 60 % of each learned; "
        f"{own:,} later own actions in {span:.1f} user-months. A false alarm is a risk of {ALARM:g} in the "
        f"own rows alone with at least {BLOCK} actions since the last, so a long alarm is one; *own actions at "
        "the alarm* are all that have such a risk. Intruders have the victim's name, number and host, at most "
        f"{MOST} in a pass and at least {GAP} own actions between two: colleagues' next {BLOCK} commands, "
        f"attackers' sessions of 20 to 60. *Found*: a risk of {ALARM:g} during the visit or the {AFTER} own "
        "actions after it; *actions until*: the median; *AUC*: the risk after the last action of a visit "
        "against that after each block of own actions; *alarm on before*: visits that began during an alarm "
        "(they count as found, but not for the median).\n"
    )


def histories_table(folder: Path, train: Trainer, *, quick: bool) -> None:
    """Print the histories: users learned together, each alone, and the baseline."""
    data = People.read(folder, quick=quick)
    heading(data, "methods")
    print(HEADER, flush=True)
    for method in (BOTH, OCSVM_ALONE) if quick else (BOTH, OCSVM_ALONE, BOTH_ALONE):
        scorer = train(method, data.learned)
        print(row(scorer.name, sheet(scorer, data)), flush=True)
    print(row(Neighbours.name, sheet(Neighbours(data.learned), data)), flush=True)


CHANGES: dict[str, Transformation] = {
    "uid left out": without_uid,
    "columns shuffled": shuffled,
    "the query renamed": renamed,
}


def histories_transformed(folder: Path, train: Trainer, *, quick: bool) -> None:
    """Print the histories with changes of the rows that must not move a figure."""
    data = People.read(folder, quick=quick)
    heading(data, "changes that must not move a figure")
    print(HEADER, flush=True)
    method = Method("BOTH --without lstm", ("-a", "BOTH", "--without", "lstm"))
    print(row("as it is", sheet(train(method, data.learned), data)), flush=True)
    for name, change in CHANGES.items():
        changed = data.rows_of(change)
        print(row(name, sheet(train(method, changed.learned), changed)), flush=True)


def _in_a_row(data: People) -> dict[str, dict[str, list[list[Row]]]]:
    """Return of each kind of repetition what is put into each user's rows."""
    users = list(data.everyone)
    long = [session for session in data.humans if len(session) >= 50]
    busy = [user for user in users if len(data.everyone[user].later) >= ROW * BLOCK]
    same, different, colleague = {}, {}, {}
    for at, user in enumerate(data.scored):
        same[user] = [long[5 * at % len(long)]] * ROW
        different[user] = [long[(5 * at + number) % len(long)] for number in range(ROW)]
        other = next(name for name in (*users[at + 1 :], *users) if name in busy and name != user)
        colleague[user] = blocks_of(data.everyone[other].later, BLOCK, ROW)
    return {"the same session": same, "different sessions": different, "a colleague's stretches": colleague}


def in_a_row(folder: Path, train: Trainer, *, quick: bool) -> None:
    """Print how many users alarm at the first, second .. eighth attack put into their rows."""
    data = People.read(folder, quick=quick)
    least = min(len(person.later) for person in data.people.values()) // (ROW + 1)
    print(
        f"\n### {ROW} attacks in a row\n\nInto each of {len(data.people)} people's later rows, at even "
        f"distances ({GAP} own actions or more, for who has few {least}): one human attacker's session {ROW} "
        f"times, {ROW} different ones, or {ROW} stretches of {BLOCK} commands of one colleague. How many "
        f"users alarm (risk {ALARM:g} in the visit or {AFTER} own actions after it) at each; in brackets, "
        "during how many of them the alarm was on before.\n"
    )
    print("| method | attacks | " + " | ".join(map(str, range(1, ROW + 1))) + " |\n" + "|---" * (ROW + 2) + "|")
    for method in (OCSVM_ALONE,) if quick else (BOTH, OCSVM_ALONE, BOTH_ALONE):
        _row_of(train(method, data.learned), data)
    _row_of(Neighbours(data.learned), data)


def _row_of(scorer: Scorer, data: People) -> None:
    for kind, intruders in _in_a_row(data).items():
        streams = {user: put_in(data.people[user].later, mine) for user, mine in intruders.items()}
        scored = all_risks(scorer, [(user, stream.rows) for user, stream in streams.items()])
        visits = [
            [found(risks, visit) for visit in stream.visits]
            for risks, stream in zip(scored, streams.values(), strict=True)
        ]
        counts = [
            f"{sum(v.after is not None for v in nth)} ({sum(v.before for v in nth)})"
            for nth in zip(*visits, strict=True)
        ]
        print(f"| {scorer.name} | {kind} | {' | '.join(counts)} |", flush=True)


def atomic(folder: Path, tests: Path, train: Trainer, *, quick: bool) -> None:
    """Print how one model scores the single commands of Atomic Red Team beside its user's own later ones."""
    data = People.read(folder, quick=quick)
    user = next(iter(data.people))
    person = data.people[user]
    scorer = train(BOTH, data.learned).without_adaptation()
    rows = [disguised(row, person.later[0]) for row in read(tests / "atomics.results.log.gz")]
    print(
        f"\n### Single actions\n\nThe `score` of each command by {user}'s model ({scorer.name}): "
        f"{len(rows):,} commands of Atomic Red Team under {user}'s name, and {len(person.later):,} later ones "
        f"of {user}'s own.\n"
    )
    print("| commands | scored | 10 or more | 20 or more | 30 or more |\n|---|---|---|---|---|")
    scored = {
        "Atomic Red Team": _scored(scorer, user, rows),
        f"{user}'s own later": _scored(scorer, user, person.later),
    }
    for name, pairs in scored.items():
        shares = [f"{100 * np.mean([score >= edge for score, _ in pairs]):.1f} %" for edge in (10, 20, 30)]
        print(f"| {name} | {len(pairs):,} | {' | '.join(shares)} |")
    print("\nThe ten highest and lowest scores of each (of histories' own commands, the program alone):\n")
    for name, pairs in scored.items():
        ordered = sorted(pairs, key=lambda pair: -pair[0])
        whole = name == "Atomic Red Team"
        for label, some in (("highest", ordered[:10]), ("lowest", ordered[-10:])):
            shown = ", ".join(f"`{_shown(command, whole=whole)}` {score:.0f}" for score, command in some)
            print(f"- {name}, {label}: {shown}")


def _scored(scorer: Commands, user: str, rows: list[Row]) -> Sequence[tuple[float, str]]:
    records = scorer.records(user, rows)
    pairs = [(record["score"], str(record["columns"].get("command", ""))) for record in records]
    return [(float(score), command) for score, command in pairs if score is not None]


def _shown(command: str, *, whole: bool) -> str:
    words = command.replace("`", "'").replace("|", "¦").split()
    return " ".join(words if whole else words[:1])[:60]
