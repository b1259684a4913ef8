"""The charts, as plotly understands them."""

from __future__ import annotations

import json
from html import unescape
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.calibration import Calibration, Tail
from anomaly.osquery import Action
from anomaly.records import ModelRef, Reason, ReasonKind, Score
from anomaly.report import charts
from anomaly.report.profile import Profile, Room
from anomaly.sinks.visible import visible

if TYPE_CHECKING:
    from anomaly.report.charts import Chart


def profile(*scores: tuple[float, float], command: str = "ls", start: int = 1000) -> Profile:
    """Let alice act, once a minute, and be scored."""
    made = Profile("alice", None, Room())
    for number, (score, risk) in enumerate(scores):
        action = Action(start + 60 * number, "ws1", "alice", "shell_history", "added", {"command": command})
        reason = Reason(ReasonKind.NEW_VALUE, "command", command, (), 0, 9, 5.0)
        found = Score(f"x:{number}", action, score, risk, 1.0, ModelRef("OCSVM", 1, "ready"), (reason,))
        made.add(found, b"{}", None, alarming=score >= 30 or risk >= 25)
    return made


def checked(chart: Chart) -> dict[str, Any]:
    """Let plotly check a chart, without what only our page reads; return it as its JSON."""
    ours = ("numbers", "pause")
    data = [{key: value for key, value in trace.items() if key not in ours} for trace in chart["data"]]
    go.Figure(data=data, layout=chart["layout"])  # raises where a name or a value is none of plotly's
    found: dict[str, Any] = json.loads(json.dumps(chart, allow_nan=False))
    return found


def test_the_timeline_has_both_figures_and_every_alarm() -> None:
    """Points are in the order of the log, by time and by number; alarms are told apart by severity."""
    found = checked(charts.timeline(profile((3.0, 1.0), (31.0, 2.0), (55.0, 3.0), (4.0, 26.0)), 100, 100))
    score, risk, warning, critical = found["data"]
    assert score["y"] == [3.0, 31.0, 55.0, 4.0]
    assert risk["y"] == [1.0, 2.0, 3.0, 26.0]
    assert score["x"] == risk["x"] == [1000, 1060, 1120, 1180]
    assert score["numbers"] == [1, 2, 3, 4]
    assert (warning["y"], warning["numbers"]) == ([31.0, 26.0], [2, 4])
    assert critical["y"] == [55.0]
    assert critical["text"][0].startswith(
        "1970-01-01T00:18:40Z critical<br>score 55.0, risk 3.0<br>+shell_history ls"
    )


def test_actions_without_a_time_have_a_number() -> None:
    """Where the log does not say when, there is no place in time, and one in the row."""
    found = checked(charts.timeline(profile((3.0, 1.0), start=0), 100, 100))
    assert (found["data"][0]["x"], found["data"][0]["numbers"]) == ([None], [1])


@given(
    st.text(max_size=80) | st.sampled_from(("<b>x</b>", '<a href="javascript:1">', "&lt;i&gt;", "<br>", "%{x}"))
)
def test_plotly_finds_no_markup_in_what_the_log_says(text: str) -> None:
    """Neither a tag nor an entity of the log is left, and a reader sees what was there."""
    shown = charts.plain(text)
    assert "<" not in shown
    assert ">" not in shown
    assert unescape(shown) == visible(text, 60)


def test_no_value_of_the_log_is_markup_in_a_hover() -> None:
    """What is shown of an alarm goes through it."""
    found = charts.timeline(profile((31.0, 2.0), command="<a href='javascript:alert(1)'>\u202e"), 100, 100)
    (text,) = found["data"][2]["text"]
    assert text.replace("<br>", "").count("<") == 0
    assert "\\u202e" in text


def test_the_calibration_is_of_what_came_after_training() -> None:
    """Without a card nothing was learned from: all is after. Expected is what a score means."""
    found = checked(charts.calibration(profile(*[(12.0, 3.0)] * 10, (31.0, 26.0))))
    score, risk, expected = found["data"]
    assert score["y"] == [11, 1, 1, 0, 0]
    assert risk["y"] == [1, 1, 0, 0, 0]
    assert expected["y"][:2] == [1.1, 0.11]


@pytest.mark.parametrize("shape", [0.0, 0.3])
def test_the_tail_is_drawn_as_it_scores(shape: float) -> None:
    """Each point beyond the data has the score that the model gives there."""
    tail = Tail(np.array([0.0, 1.0]), np.array([1.0, 0.01]), scale=0.7, shape=shape)
    found = checked(charts.tails(Calibration(tail, tail)))
    names = [trace["name"] for trace in found["data"]]
    assert names == ["score, read off", "score, by the tail", "risk, read off", "risk, by the tail"]
    for trace in found["data"]:
        assert [tail.score(x) for x in trace["x"]] == pytest.approx(trace["y"], abs=0.02)
    assert found["data"][1]["y"][-1] == 50.0
