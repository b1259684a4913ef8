"""What speed is held against: each bar names the figure that decides it."""

from __future__ import annotations

from functools import partial

from benchmarks.speed_figures import Bar, Figures
from benchmarks.speed_rates import ALGORITHMS
from benchmarks.speed_single import BACKLOG, OURS

REAL, SIMULATED = "thesis", "SIMULATED"
"""The names of the two logs."""

LEARNED = 45_000
"""Actions of the training that has a bar."""


def _median(name: str, figures: Figures) -> float | None:
    return figures.median(name)


def _ratio(above: str, below: str, figures: Figures) -> float | None:
    return figures.ratio(above, below)


def lowest(name: str, bound: float, figure: str, digits: int = 0, unit: str = "") -> Bar:
    """Return a bar that a median has to reach."""
    return Bar(name, bound, highest=False, measured=partial(_median, figure), digits=digits, unit=unit)


def highest(name: str, bound: float, figure: str, digits: int = 0, unit: str = "") -> Bar:
    """Return a bar that a median must not exceed."""
    return Bar(name, bound, highest=True, measured=partial(_median, figure), digits=digits, unit=unit)


def times(name: str, bound: float, above: str, below: str, digits: int = 0) -> Bar:
    """Return a bar that the ratio of two medians has to reach."""
    return Bar(name, bound, highest=False, measured=partial(_ratio, above, below), digits=digits, unit=" times")


def bars(epochs: int) -> list[Bar]:
    """Return all of them; ``epochs`` is how many the original's loop had in this run."""
    backlog = {"OCSVM": 60_000, "LSTM": 25_000, "BOTH": 20_000}
    return [
        *(
            lowest(f"{method}, backlog, {log}", bound, f"backlog {log} {method} adapting steady", unit="/s")
            for log in (REAL, SIMULATED)
            for method, bound in backlog.items()
        ),
        *(
            lowest(f"{method}, live on a pipe", 10_000, f"live {method} a pipe rate", unit="/s")
            for method in ALGORITHMS
        ),
        *(
            lowest(f"{method}, live in process", 10_000, f"{REAL} {method}: one at a time rate", unit="/s")
            for method in ALGORITHMS
        ),
        *(
            times(f"LSTM {way}, beside {told}", bound, ours, f"peers {peer} rate")
            for way, ours in (("live on a pipe", OURS), ("in a backlog", BACKLOG))
            for told, bound, peer in (
                ("the original's loop, 1 epoch", 2000, "the original's loop, 1 epoch"),
                (f"the original's loop, {epochs} epochs", 2000, f"the original's loop, {epochs} epochs"),
                ("Keras predict alone", 500, "Keras model.predict"),
            )
        ),
        *(
            Bar(
                f"parse and tokenise, of orjson's rate, {log}",
                1 / 3,
                highest=False,
                measured=partial(_ratio, f"{log} parse and tokenise rate", f"{log} orjson.loads rate"),
                digits=2,
            )
            for log in (REAL, SIMULATED)
        ),
        *(highest(f"{m}, first score, 1 model", 0.4, f"models {m} 1 first", 2, " s") for m in ALGORITHMS),
        *(highest(f"{m}, memory, 1 model", 90, f"models {m} 1 peak", 0, " MiB") for m in ALGORITHMS),
        *(highest(f"{m}, memory, 1,000 models", 250, f"models {m} 1000 peak", 0, " MiB") for m in ALGORITHMS),
        highest("anomaly --help", 0.15, "start anomaly --help", 3, " s"),
        highest("OCSVM, learns 45,000", 6, f"training OCSVM {LEARNED} wall", 1, " s"),
        highest("LSTM, learns 45,000", 60, f"training LSTM {LEARNED} wall", 1, " s"),
        *(
            highest(f"{m}, growth of training, less the imports", 1.1, f"exponent {m} less imports", 2)
            for m in ALGORITHMS
        ),
        *(
            highest(f"{m}, memory of learning 45,000", 1024, f"training {m} {LEARNED} peak", 0, " MiB")
            for m in ALGORITHMS
        ),
    ]
