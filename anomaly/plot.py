"""A picture of an evaluation: how hits and false alarms trade, and where the blocks of each kind lie.

The page holds everything that it needs and asks no network for anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from plotly.subplots import make_subplots

from anomaly.advice import unwritable
from anomaly.assessment import Outcome
from anomaly.errors import ConfigError
from anomaly.evaluation import roc

_COLOURS = ("#0072b2", "#d55e00", "#009e73")  # told apart by the colour-blind too (Okabe & Ito 2008)


def write_plot(path: Path, title: str, outcomes: Sequence[Outcome], alarm: float) -> None:
    """Write a self-contained HTML page; raises AnomalyError where it cannot be written, or is not to be."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{path} would be overwritten by an HTML page; give a name that ends in .html.")
    figure = make_subplots(rows=1, cols=2, subplot_titles=("Hits and false alarms", "Risk of each block"))
    for colour, outcome in zip(_COLOURS, outcomes, strict=False):
        own = np.array([block.risk for block in outcome.blocks if not block.share])
        other = np.array([block.risk for block in outcome.blocks if block.share >= 0.5])
        name = outcome.algorithm.value
        if len(own) and len(other):
            alarms, hits = roc(own, other)
            label = f"{name} (AUC {outcome.figures.auc:.3f})"
            figure.add_scatter(x=alarms, y=hits, name=label, line={"color": colour, "shape": "hv"}, row=1, col=1)
        for kind, risks, pattern in (("own", own, ""), ("others", other, "/")):
            figure.add_histogram(
                x=risks,
                name=f"{name}, {kind}",
                xbins={"start": 0, "end": 100, "size": 2},
                marker={"color": colour, "pattern": {"shape": pattern}},
                opacity=0.6,
                row=1,
                col=2,
            )
    figure.add_vline(x=alarm, line_dash="dash", annotation_text="alarm", row=1, col=2)
    figure.update_xaxes(title_text="false alarms", tickformat=".0%", range=[0, 1], row=1, col=1)
    figure.update_yaxes(title_text="hits", tickformat=".0%", range=[0, 1.01], row=1, col=1)
    figure.update_xaxes(title_text="risk", row=1, col=2)
    figure.update_yaxes(title_text="blocks of 100 actions", type="log", row=1, col=2)
    figure.update_layout(title_text=_escaped(title), barmode="overlay", template="plotly_white")
    try:
        figure.write_html(path, include_plotlyjs=True)
    except OSError as error:
        raise unwritable(path, error) from error


def _escaped(text: str) -> str:
    """Take from a title what plotly would read as markup: a user's name is the log's to choose."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
