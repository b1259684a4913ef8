"""How the watch goes, for people: exact words, escaped, in 80 columns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anomaly.sinks.visible import columns
from anomaly.statustext import sheet
from anomaly.watched import Standing, Watch

HEAD = "user           state    model       actions last action       risk alerts drift"


def watch(**known: object) -> Watch:
    """Make a log that is watched."""
    fields: dict[str, object] = {
        "log": "/var/log/x.log",
        "user": None,
        "running": True,
        "process": 812,
        "started": 1_793_000_000.0,
        "seen": 1_793_000_100.0,
        "lag_bytes": 0,
        "lag_seconds": 0.0,
    }
    return Watch(**fields | known)  # type: ignore[arg-type]


def test_all_that_went_wrong_has_a_line() -> None:
    """Skipped lines, failed checkpoints, alerts, failed sinks and users not told apart are said."""
    found = watch(
        lines=1200,
        actions=1100,
        skipped={"not_json": 90, "status": 10},
        checkpoint_errors=3,
        alerts={"warning": 4, "critical": 0},
        failures={"webhook": 7},
        others=12,
        lag_bytes=3 << 20,
        lag_seconds=5400.0,
    )
    assert list(sheet([found])) == [
        "/var/log/x.log",
        "  running since 2026-10-26 07:33:20 UTC, process 812",
        "  3.0 MiB of the log have not been read, for 90 min",
        "  1,200 lines and 1,100 actions since it was started",
        "  100 lines skipped: not_json 90, status 10",
        "  3 checkpoints could not be written",
        "  alerts since it was started: warning 4",
        "  could not be written to: webhook 7",
        "  12 actions are of users who are not told apart",
    ]


def test_what_is_not_known_is_said_to_be_so() -> None:
    """Without a status file there is no start and no last word; a log that was replaced has no lag."""
    lines = list(
        sheet([watch(user="alice", running=False, process=None, started=None, seen=None, lag_bytes=None)])
    )
    assert lines == [
        "/var/log/x.log, alice alone",
        "  not running",
        "  how much of the log has not been read cannot be told",
    ]
    assert list(sheet([watch(started=None, process=None)]))[1] == "  running"


def test_a_user_takes_a_line_and_each_figure_its_column() -> None:
    """Seven figures, aligned; what there is none of is a dash."""
    alice = Standing(
        "alice", "ws1", "drifted", "OCSVM", 12, 1_234_567, 1_793_000_000, 48.13, alerts=12, drift=0.45
    )
    nobody = Standing("uid:1000", None, "none", None, None)
    assert list(sheet([watch(users=[alice, nobody])]))[-3:] == [
        HEAD,
        "alice          drifted  OCSVM 12  1,234,567 2026-10-26 07:33  48.1     12   45%",
        "uid:1000       none     -                 0 -                    -      0     -",
    ]


@given(st.text(max_size=40), st.text(max_size=12), st.text(max_size=90), st.integers(-(1 << 62), 1 << 62))
def test_hostile_text_stays_in_its_column(user: str, word: str, log: str, last: int) -> None:
    """Whatever names, states and paths hold, every line is printable and fits 80 columns."""
    standing = Standing(user, "ws1", word, word, 1, 5, last, 3.0)
    for line in sheet([watch(log=log, users=[standing], skipped={word: 3}, failures={word: 1})]):
        assert line.isprintable()
        assert columns(line) <= 80
