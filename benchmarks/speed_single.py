"""One action at a time, and what each stage of it costs: ours and the peers in turn, on the same lines."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import NamedTuple

from benchmarks.speed_figures import Figures, Table
from benchmarks.speed_logs import Log
from benchmarks.speed_rates import ALGORITHMS, Alive, Kept
from benchmarks.speed_worker import Worker

OURS = "live LSTM a pipe rate"
"""What the peers are held against: the whole command, which reads, parses, scores and writes besides."""


BACKLOG = "backlog thesis LSTM adapting steady"
"""The same for those that are given many actions at once."""


class Plan(NamedTuple):
    """How much is measured."""

    repeat: int
    lines: int
    """Lines that the stages and the peers work on."""
    asked: int
    """Lines that the living command is asked in one repetition."""
    epochs: int
    """Of the original's loop, as shipped."""


def single(parts: set[str], logs: list[tuple[Log, Kept, str]], plan: Plan, figures: Figures) -> list[Table]:
    """Measure what was asked for: ``live``, ``stages``, ``peers``.

    Parameters
    ----------
    parts
        Those that were asked for.
    logs
        With their models, and whose actions are taken; the first one is what lives and what the peers have.
    plan
        How much.
    figures
        Where the figures go.
    """
    tables = []
    with ExitStack() as stack:
        alive = Alive(*logs[0][:2], stack) if "live" in parts else None
        ours = _ours(logs, plan, stack) if parts & {"stages", "live"} else {}
        workers = dict(ours)
        if "peers" in parts:
            log, kept, user = logs[0]
            words = (kept.models["LSTM"], kept.models["OCSVM"], plan.epochs)
            workers["peers"] = stack.enter_context(Worker("speed_peers", log.path, plan.lines, user, *words))
        for _ in range(plan.repeat):
            if alive is not None:
                alive.measure(plan.asked, figures)
            for name, worker in workers.items():
                for subject in worker.subjects:
                    sample = worker.measure(subject)
                    figures.add(f"{name} {subject} rate", sample.rate)
                    figures.add(f"{name} {subject} micros", sample.micros)
        if alive is not None:
            tables.append(_alive(ours, figures))
        if "peers" in parts:
            tables.append(_peers(workers["peers"], plan, figures))
        if ours:
            tables += [_stages(ours, figures), _floors(ours, figures)]
    return tables


def _ours(logs: list[tuple[Log, Kept, str]], plan: Plan, stack: ExitStack) -> dict[str, Worker]:
    """Start a worker for each log."""
    found = {}
    for log, kept, user in logs:
        words = [f"{algorithm}={kept.models[algorithm]}" for algorithm in ALGORITHMS]
        found[log.name] = stack.enter_context(Worker("speed_stages", log.path, plan.lines, user, *words))
    return found


def _alive(ours: dict[str, Worker], figures: Figures) -> Table:
    method = (
        "One line in, and the next one only when its record is out; adapting. *A pipe*: `predict -l -`, the answer"
        " read from its standard output. *A log that grows*: each line is appended to a file that is followed, and"
        " the system has to tell of it. The command has a core of its own, who asks it another one (if there are"
        " two); the time includes both wake-ups. *In process*: the same loop in one process, a line in each read,"
        " nothing to wait for, records to /dev/null."
    )
    rows = list(Alive.rows(figures))
    for name in ours:
        for algorithm in ALGORITHMS:
            key = f"{name} {algorithm}: one at a time"
            cells = (figures.spread(f"{key} rate"), figures.spread(f"{key} micros", 1), "-")
            rows.append((f"in process, {name}", algorithm, *cells))
    columns = ("way", "method", "actions/s", "median, µs", "p99, µs")
    return Table("One action at a time", method, columns, rows)


def _against(subject: str) -> str:
    """Return which figure of the whole command a peer is held against."""
    if subject.endswith("a call"):
        return BACKLOG
    return "live OCSVM a pipe rate" if "OneClassSVM" in subject else OURS


def _peers(worker: Worker, plan: Plan, figures: Figures) -> Table:
    """Return the table of the peers; ``apart`` is what the worker measured."""
    method = (
        "One action at a time (where not said otherwise), in one process, on one core. The networks are our own"
        " LSTM, rebuilt from the model file: log-probabilities of the action's tokens, and the next state."
        " scikit-learn's machine has our support vectors and weights. *Apart*: the largest difference of"
        " a log-probability (nats), or of a score, from our numpy scorer's over the first actions; it should be"
        " below 1e-5. All are given tokens and do nothing else; so do ours in the last rows: the two detectors,"
        " which rank each action and judge the window after every tenth besides, then the sequence model (network"
        " and counts) and the window model by themselves. *Times*: how many actions the whole of `anomaly predict`"
        " does for each of the peer's, adapting, live on a pipe (in a backlog where the peer has many actions a"
        " call), by OCSVM for one-class machines, else by LSTM; it reads, parses, tokenises, scores, explains,"
        " learns and writes."
        " The original's loop: two layers of 128 units on 16 ids, predict and then fit; its window of 10 actions"
        f" is our choice, and so are {plan.epochs} epochs for what was shipped. river's trees see one action's"
        " ids, its SVM one action's features: a smaller task."
    )
    rows = []
    for subject in worker.subjects:
        apart = worker.told["apart"].get(subject)
        ours = subject.startswith("ours")
        times = None if ours else figures.ratio(_against(subject), f"peers {subject} rate")
        rate = figures.spread(
            f"peers {subject} rate", 2 if (figures.median(f"peers {subject} rate") or 0) < 100 else 0
        )
        cells = ("-" if apart is None else f"{apart:.1e}", "-" if times is None else f"{times:,.2f}")
        rows.append((subject, rate, figures.spread(f"peers {subject} micros", 1), *cells))
    rows += [(name, f"skipped: {why}", "-", "-", "-") for name, why in worker.told["skipped"].items()]
    return Table("Peers", method, ("peer", "actions/s", "µs", "apart", "times"), rows)


def _stages(ours: dict[str, Worker], figures: Figures) -> Table:
    method = (
        "Microseconds an action, each stage alone over the same lines, in one process. *Scorer* is detector,"
        " calibration, fusion and explanation with what stands between them; *in batches* is the whole loop of"
        " `predict` in one process (from lines in memory to records in /dev/null), *one at a time* the same with"
        " one line in each read. *Explanation*: the time of those that are explained for their score, by all."
    )
    rows: list[tuple[str, ...]] = []
    for name, worker in ours.items():
        rows += [
            (name, stage, *[figures.spread(f"{name} {stage} micros", 2)] * len(ALGORITHMS))
            for stage in worker.told["shared"]
        ]
        for stage in (*worker.told["own"], *worker.told["whole"]):
            cells = (figures.spread(f"{name} {algorithm}: {stage} micros", 2) for algorithm in ALGORITHMS)
            rows.append((name, stage, *cells))
    return Table("Stages", method, ("log", "stage", *ALGORITHMS), rows)


def _floors(ours: dict[str, Worker], figures: Figures) -> Table:
    method = (
        "What any reader of the log pays; *ours* is `Parser.parse` and `Tokenizer.encode` of each line. `wc -l`"
        " (with the start of its process) and the loop go over the whole log. The last column is the rate as a"
        " share of orjson's."
    )
    rows: list[tuple[str, ...]] = []
    for name, worker in ours.items():
        subjects: Iterable[str] = (*worker.told["floors"], "parse", "parse and tokenise")
        for subject in subjects:
            key = f"{name} {subject} rate"
            rate, share = figures.median(key), figures.ratio(key, f"{name} orjson.loads rate")
            if rate is None:
                rows.append((name, subject, "skipped: not installed", "-", "-"))
                continue
            told = f"ours: {subject}" if subject.startswith("parse") else subject
            megabytes = f"{rate * worker.told['bytes_of'].get(subject, worker.told['bytes']) / 1e6:,.0f}"
            rows.append((name, told, figures.spread(key), megabytes, "-" if share is None else f"{share:.2f}"))
    return Table("Floors", method, ("log", "what", "lines/s", "MB/s", "of orjson"), rows)
