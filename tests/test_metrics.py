"""Metrics for Prometheus: what its own parser reads of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from anomaly import __version__
from anomaly.board import Board
from anomaly.metrics import RISKIEST, registry
from anomaly.osquery import Action
from anomaly.records import ModelRef, Score, Severity
from anomaly.sinks.visible import visible
from anomaly.sources.stdin import StdinSource
from anomaly.tally import Tally

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(board: Board) -> Samples:
    """Return what Prometheus would read: values by name and labels."""
    text = generate_latest(registry(board)).decode()
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, "Prometheus refuses a series that is there twice"
            found[key] = sample.value
    return found


def score(user: str, risk: float | None, host: str = "ws1", state: str = "ready") -> Score:
    """Make the score of an action."""
    action = Action(1_793_000_000, host, user, "shell_history", "added", {})
    return Score("f:0", action, risk, risk, 1.0, ModelRef("OCSVM", 3, state))


@pytest.fixture
def board() -> Board:
    """Give an empty board."""
    return Board(Tally())


def test_counters_begin_at_zero_and_gauges_are_there(board: Board) -> None:
    """A rate needs the zero before the first; nothing is missing before anything has happened."""
    found = samples(board)
    assert found["anomaly_build_info", (("version", __version__),)] == 1
    for name in ("lines_total", "actions_total", "actions_scored_total", "checkpoint_errors_total", "lag_bytes"):
        assert found[f"anomaly_{name}", ()] == 0
    for severity in ("notice", "warning", "critical"):
        assert found["anomaly_alerts_total", (("severity", severity),)] == 0
    assert found["anomaly_lag_seconds", ()] == 0
    assert found["anomaly_checkpoint_age_seconds", ()] >= 0
    assert found["anomaly_loop_age_seconds", ()] >= 0


def test_each_figure_is_the_boards(board: Board) -> None:
    """Every metric shows what was counted, when it is asked for."""
    tally = board.tally
    metrics = registry(board)
    tally.lines, tally.actions, tally.scored, tally.checkpoint_errors = 11, 10, 9, 2
    tally.skipped["not_json"] = 4
    tally.severities[Severity.WARNING] = 3
    board.alerts[Severity.CRITICAL] = 5
    board.failed("webhook")
    board.take([score("alice", 31.5), score("bob", None, state="none"), score("carol", 2.0)])
    found = samples(board)
    assert found["anomaly_lines_total", ()] == 11
    assert found["anomaly_actions_total", ()] == 10
    assert found["anomaly_actions_scored_total", ()] == 9
    assert found["anomaly_checkpoint_errors_total", ()] == 2
    assert found["anomaly_lines_skipped_total", (("reason", "not_json"),)] == 4
    assert found["anomaly_scores_total", (("severity", "warning"),)] == 3
    assert found["anomaly_alerts_total", (("severity", "critical"),)] == 5
    assert found["anomaly_sink_failures_total", (("sink", "webhook"),)] == 1
    assert found["anomaly_users", (("state", "ready"),)] == 2
    assert found["anomaly_user_risk", (("host", "ws1"), ("user", "alice"))] == 31.5
    assert ("anomaly_user_risk", (("host", "ws1"), ("user", "bob"))) not in found
    assert b"anomaly_lines_total 11.0" in generate_latest(metrics)


def test_what_befell_the_log_is_counted(board: Board) -> None:
    """The source's own counters are metrics, by the event's name."""
    with Path("/dev/null").open("rb") as empty, StdinSource(empty) as source:
        source.counters["truncations"] = 2
        board.look(source, safe=True)
        assert samples(board)["anomaly_log_events_total", (("event", "truncations"),)] == 2


def test_no_more_than_the_riskiest_users_have_a_series(board: Board) -> None:
    """However many users act, so many series there are, of those with the highest risk."""
    board.take([score(f"u{number}", number / 50) for number in range(3000)])
    risks = {key: value for key, value in samples(board).items() if key[0] == "anomaly_user_risk"}
    assert len(risks) == RISKIEST
    assert min(risks.values()) == (3000 - RISKIEST) / 50


@given(st.lists(st.text(st.characters(), max_size=8), min_size=1, max_size=5))
def test_hostile_names_are_labels_and_nothing_else(names: list[str]) -> None:
    """Whatever a name holds, half characters too, each user is one series; none makes a line of its own."""
    board = Board(Tally())
    board.take([score(name, 1.0) for name in names])
    found = [key for key in samples(board) if key[0] == "anomaly_user_risk"]
    assert {dict(labels)["user"] for _, labels in found} == {visible(name) for name in names}


def test_names_do_not_steer_a_terminal(board: Board) -> None:
    """Whoever prints the metrics sees what a name holds; what reads alike then is one series."""
    board.take([score("a\x1b[2J\0\r", 3.0, host="h\u202e")])
    for name in ("file:a\x1b", "file:a\\x1b"):
        board.failed(name)
    text = generate_latest(registry(board)).decode()
    assert text.replace("\n", "").isprintable()
    assert samples(board)["anomaly_sink_failures_total", (("sink", "file:a\\x1b"),)] == 2


def test_names_that_read_alike_are_one_series_with_the_higher_risk(board: Board) -> None:
    """Half a character and its escape, as another user's name, must not make Prometheus refuse all."""
    board.take([score("a\udc80", 3.0), score("a\\udc80", 7.0)])
    assert samples(board)["anomaly_user_risk", (("host", "ws1"), ("user", "a\\udc80"))] == 7.0


def test_the_clients_own_registry_is_left_alone(board: Board) -> None:
    """Nothing of ours is where other libraries look, and nothing of theirs is shown."""
    text = generate_latest(registry(board))
    assert b"python_info" not in text
    assert b"anomaly" not in generate_latest(REGISTRY)
