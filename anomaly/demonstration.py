"""The demo: learn three simulated users, let intruders use two of their accounts, and say what was noticed."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from anomaly.config import checkout
from anomaly.daemon import Follower
from anomaly.detectors.interface import WINDOW, Algorithm
from anomaly.enrolment import Enrolment, enrol
from anomaly.evaluation import auc, blocks
from anomaly.harvest import Watch
from anomaly.osquery import Parser
from anomaly.records import ALARM, Score, Severity
from anomaly.scoring import Scorer
from anomaly.simulation import write
from anomaly.sinks.interface import Sink
from anomaly.sources.tail import LogSource
from anomaly.store import Store

NORMAL = "osqueryd.results.log.gz"
USERS = ("alice", "bob", "carol")
_SHOWN = 6


class Intrusion(NamedTuple):
    """One simulated intrusion: the log it is in, whose account it uses, and what it is."""

    name: str
    victim: str
    story: str


INTRUSIONS = (
    Intrusion("masquerade", "alice", "bob sits at alice's keyboard, twice in two days"),
    Intrusion("attack", "carol", "somebody takes carol's account and ransacks it"),
)


class Judged(NamedTuple):
    """A score, and whether an intruder did the action."""

    score: Score
    foreign: bool


def demonstrate(algorithm: Algorithm, sink: Callable[[], Sink], echo: Callable[[str], None], watch: Watch) -> None:
    """Run the demo in a directory of its own that is deleted at the end.

    Parameters
    ----------
    algorithm
        What to learn with.
    sink
        Gives where the most telling scores go, anew for each table.
    echo
        Prints a line.
    watch
        Shows the progress of training.
    """
    with tempfile.TemporaryDirectory(prefix="anomaly-demo-") as folder:
        logs = sample_logs(Path(folder))
        echo(f"Learning two weeks of three SIMULATED users ({algorithm.value}):")
        for user in USERS:
            for outcome in enrol(Enrolment((logs / NORMAL,), Path(folder) / "models", algorithm, user), watch):
                echo(f"  {outcome}")
        store = Store(Path(folder) / "models")
        for intrusion in INTRUSIONS:
            echo(f"\nThe two days after, SIMULATED: {intrusion.story}.")
            judged = replay(logs, intrusion.name, store)
            victim = [entry for entry in judged if entry.score.action.user == intrusion.victim]
            telling = [
                e.score for e in victim if e.score.severity.rank >= Severity.WARNING.rank and e.score.reasons
            ]
            echo(f"The first {_SHOWN} of {len(telling):,} actions at a warning or worse:")
            sink().write(telling[:_SHOWN])
            for line in findings(judged, intrusion):
                echo(line)


def sample_logs(folder: Path) -> Path:
    """Return where the sample logs are: the checkout's ``data/``, else the same ones made anew."""
    root = checkout()
    if root is not None and (root / "data" / NORMAL).is_file():
        return root / "data"
    write(folder / "data")
    return folder / "data"


def replay(logs: Path, name: str, store: Store) -> list[Judged]:
    """Score the log of the two days after training."""
    path = logs / f"{name}.results.log.gz"
    with (logs / f"{name}.labels.csv").open(newline="") as file:
        foreign = {int(row["line"]) for row in csv.DictReader(file)}
    scorer, taken = Scorer(lambda user: store.load(user) if user in USERS else None), _Taken()
    with LogSource(path, start="start", follow=False) as source:
        Follower(source, Parser(), scorer, taken).run()
    # Each line of the sample logs is one action, so that scores are counted as the labels count lines.
    return [
        Judged(score, number in foreign) for number, score in enumerate(taken.scores, 1) if score.score is not None
    ]


class _Taken(Sink):
    """Keeps the scores."""

    def __init__(self) -> None:
        self.scores: list[Score] = []

    def write(self, scores: Sequence[Score]) -> None:
        """Take them."""
        self.scores += scores


def findings(judged: list[Judged], intrusion: Intrusion) -> Iterator[str]:
    """Yield what was found, in sentences; nothing here is known but what was just measured."""
    victim = [entry for entry in judged if entry.score.action.user == intrusion.victim]
    risks = [entry.score.risk or 0.0 for entry in victim]
    labels = [entry.foreign for entry in victim]
    cut = blocks(risks, labels)
    own = [block.risk for block in cut if not block.share]
    foreign = [block.risk for block in cut if block.share >= 0.5]
    begins = labels.index(True)
    found = next((i for i in range(begins, len(risks)) if risks[i] >= ALARM and labels[i]), None)
    yield "Found:"
    if found is None:
        yield f"  The risk of {intrusion.victim} never reached {ALARM:.0f}; its highest was {max(risks):.1f}."
    else:
        yield (
            f"  The risk of {intrusion.victim} reached {ALARM:.0f}, which alarms,"
            f" {sum(labels[begins:found]):,} actions after the"
        )
        yield f"  intruder began; its highest was {max(risks):.1f}."
    yield f"  Risk after each {WINDOW} actions: the intruder's {_range(foreign)},"
    yield f"  {intrusion.victim}'s own {_range(own)} (AUC {auc(own, foreign):.3f})."
    for user in USERS:
        yield from own_alarms([entry for entry in judged if entry.score.action.user == user], user)


def own_alarms(entries: list[Judged], user: str) -> Iterator[str]:
    """Say how often a user's own actions were at an alarming risk, and where that was right."""
    alarms, after, last = 0, 0, -WINDOW
    for number, entry in enumerate(entries):
        if entry.foreign:
            last = number
        elif (entry.score.risk or 0.0) >= ALARM:
            alarms += 1
            after += number - last < WINDOW
    own = sum(not entry.foreign for entry in entries)
    yield f"  {user}'s own {own:,} actions: {alarms:,} at a risk of {ALARM:.0f} or more" + ("," if after else ".")
    if after:
        part = "all" if after == alarms else f"{after:,}"
        yield f"    {part} of them while the intruder's were among the last {WINDOW}."


def _range(figures: list[float]) -> str:
    return f"{min(figures):.1f} to {max(figures):.1f}"
