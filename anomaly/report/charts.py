"""The charts, as what plotly.js draws; colours are the page's, which knows whether it is dark.

Plotly reads text as markup of its own (``<b>``, ``<a href>``): what comes from a log goes through :func:`plain`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import expm1, log
from typing import Any

from anomaly.calibration import Calibration, Tail
from anomaly.records import ALARM, Severity
from anomaly.report.profile import LEVELS, Alarm, Point, Profile
from anomaly.sinks.ndjson import timestamp
from anomaly.sinks.visible import visible
from anomaly.sinks.wording import sentence, summary

Chart = dict[str, Any]
"""``data`` and ``layout`` of a figure. A trace's ``meta`` is the part it plays, by which the page colours it."""

_HOVER = 60
_PAUSE = 3 * 3600  # seconds without an action that break a line
_TOP = 50.0
"""Score up to which the tail is drawn."""


def timeline(profile: Profile, points: int, alarms: int) -> Chart:
    """Draw score and risk in the course of the log, with the alarms.

    Parameters
    ----------
    points
        Most points of each line.
    alarms
        Most alarms marked.

    Notes
    -----
    A trace has two rows of places, of which the page shows one: ``x`` (seconds since 1970 UTC) and ``numbers``.
    """
    data = [
        _line("score", "score, highest of each stretch", profile.scores.items(points)),
        _line("risk", "risk, highest of each stretch", profile.risks.items(points)),
        *_alarms(profile.alarms.items(alarms)),
    ]
    return {
        "data": data,
        "layout": {
            "yaxis": {"title": {"text": "score, risk"}, "rangemode": "tozero", "fixedrange": True},
            "xaxis": {"type": "date"},
            "shapes": [_level(ALARM)],
        },
        "learned": profile.card.last if profile.card is not None else None,
    }


def calibration(profile: Profile) -> Chart:
    """Draw how often scores and risks should have been exceeded, and how often they were."""
    parts = profile.since if profile.since[0].count else profile.learned
    levels = [f"{level} or more" for level in LEVELS]
    data: list[dict[str, Any]] = [
        {
            "type": "bar",
            "meta": role,
            "name": f"{role}: observed",
            "x": levels,
            "y": [part.of(level) for level in LEVELS],
        }
        for role, part in zip(("score", "risk"), parts, strict=True)
    ]
    expected = [round(parts[0].expected(level), 3) for level in LEVELS]
    line = {"type": "scatter", "mode": "lines+markers", "meta": "expected", "name": "expected"}
    data.append({**line, "x": levels, "y": expected})
    layout = {"barmode": "group", "yaxis": {"type": "log", "title": {"text": "actions"}}}
    return {"data": data, "layout": layout}


def tails(calibrated: Calibration) -> Chart:
    """Draw which score each raw figure gets: read off out-of-fold figures, and beyond them by the tail."""
    data = [*_tail("score", calibrated.action, ""), *_tail("risk", calibrated.window, "2")]
    return {
        "data": data,
        "layout": {
            "yaxis": {"title": {"text": "score"}, "domain": [0.6, 1.0], "range": [0, _TOP + 5]},
            "xaxis": {"title": {"text": "raw figure of an action"}},
            "yaxis2": {"title": {"text": "risk"}, "domain": [0.0, 0.38], "range": [0, _TOP + 5]},
            "xaxis2": {"title": {"text": "raw figure of a window"}, "anchor": "y2"},
        },
    }


def plain(text: str, limit: int = _HOVER) -> str:
    """Make text of the log safe for plotly, which reads markup in what it shows.

    >>> plain("<b>x</b>&amp;")
    '&lt;b&gt;x&lt;/b&gt;&amp;amp;'
    """
    return visible(text, limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _line(role: str, name: str, points: Sequence[Point]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "meta": role,
        "name": name,
        "x": [point.time or None for point in points],
        "numbers": [point.number for point in points],
        "y": [round(point.value, 1) for point in points],
        "pause": _PAUSE,
        "hovertemplate": f"{role} %{{y}}<extra></extra>",
    }


def _alarms(alarms: Sequence[Alarm]) -> list[dict[str, Any]]:
    traces = []
    for severity in (Severity.NOTICE, Severity.WARNING, Severity.CRITICAL):
        marked = [alarm for alarm in alarms if alarm.score.severity is severity]
        if marked:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "meta": severity.value,
                    "name": severity.value,
                    "x": [alarm.score.action.time or None for alarm in marked],
                    "numbers": [alarm.number for alarm in marked],
                    "y": [round(_height(alarm), 1) for alarm in marked],
                    "text": [_hover(alarm) for alarm in marked],
                    "hovertemplate": "%{text}<extra></extra>",
                }
            )
    return traces


def _height(alarm: Alarm) -> float:
    """Return the figure that alarmed: the action's own, or else the window's."""
    score, risk = alarm.score.score or 0.0, alarm.score.risk or 0.0
    return score if Severity.of(score).rank >= Severity.of_risk(risk).rank else risk


def _hover(alarm: Alarm) -> str:
    score = alarm.score
    told = [
        f"{timestamp(score.action.time) or 'no time'} {score.severity.value}",
        f"score {score.score:.1f}, risk {score.risk:.1f}",
        plain(summary(score.action, _HOVER)),
        *(plain(sentence(reason, _HOVER)) for reason in score.reasons[:1]),
    ]
    return "<br>".join(told)


def _level(height: float) -> dict[str, Any]:
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": height, "y1": height}


def _tail(role: str, tail: Tail, axis: str) -> list[dict[str, Any]]:
    begin = tail.score(float(tail.figures[-1]))
    beyond = [begin + (_TOP - begin) * step / 12 for step in range(13)] if begin < _TOP else []
    rows = [
        (
            "read off",
            "solid",
            [float(figure) for figure in tail.figures],
            [tail.score(f) for f in tail.figures.tolist()],
        ),
        ("by the tail", "dash", [_figure(tail, begin, score) for score in beyond], beyond),
    ]
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "meta": role,
            "name": f"{role}, {name}",
            "line": {"dash": dash},
            "x": [float(f"{figure:.5g}") for figure in figures],
            "y": [round(score, 2) for score in scores],
            "xaxis": f"x{axis}",
            "yaxis": f"y{axis}",
        }
        for name, dash, figures, scores in rows
    ]


def _figure(tail: Tail, begin: float, score: float) -> float:
    """Return the raw figure beyond the last knot that has a score: :meth:`Tail.score` turned round."""
    nats = (score - begin) * log(10.0) / 10.0
    return float(tail.figures[-1]) + tail.scale * (expm1(tail.shape * nats) / tail.shape if tail.shape else nats)
