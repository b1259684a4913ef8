"""A run and its alerts: kept, suppressed and answered, across restarts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from anomaly import outset
from anomaly.adaptation import _packed
from anomaly.alert_journal import told
from anomaly.answering import answer
from anomaly.daemon import Follower
from anomaly.detectors.interface import WINDOW
from anomaly.errors import ConfigError
from anomaly.feedback import Verdict
from anomaly.osquery import Action
from anomaly.prediction import prepare
from anomaly.records import Alert, Score, Severity
from anomaly.request import Prediction
from anomaly.scoring import Scorer
from anomaly.sinks.interface import AlertSink, Sink
from anomaly.sources.stdin import STDIN, StdinSource
from anomaly.spread import Spread
from anomaly.standing import Standing
from anomaly.suppression import Suppression
from anomaly.suppression_edit import add

if TYPE_CHECKING:
    from tests.conftest import Event

SCAN = "nmap -sS 10.9.9.9"


class Kept(Sink):
    """Keeps scores."""

    def __init__(self) -> None:
        self.scores: list[Score] = []

    def write(self, scores: Sequence[Score]) -> None:
        """Take the scores."""
        self.scores += scores


class Told(AlertSink):
    """Keeps alerts."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    def write(self, alerts: Sequence[Alert]) -> None:
        """Take the alerts."""
        self.alerts += alerts


class Place:
    """A log, models and a directory of checkpoints, and runs of ``predict``."""

    def __init__(self, log: Path, models: Path, state: Path) -> None:
        self.log, self.models, self.state = log, models, state
        self.said: list[str] = []
        self.told = Told()
        self.scores = Kept()

    def prepare(self, user: str | None = "alice", **options: Any) -> Any:  # noqa: ANN401 - a context manager
        """Open a run."""
        asked = Prediction(self.log, self.models, self.state, user, **{"follow": False} | options)
        return prepare(asked, self.scores, self.said.append, alert_sinks=[self.told])

    def run(self, *lines: bytes, user: str | None = "alice", **options: Any) -> Follower:  # noqa: ANN401 - a Prediction's
        """Write lines, score what is there, and stop."""
        with self.log.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))
        with self.prepare(user, **options) as follower:
            follower.run()
        done: Follower = follower
        return done

    @property
    def checkpoint(self) -> dict[str, Any]:
        """Return what the checkpoint of alice's runs says."""
        (path,) = (one for one in self.state.glob("*[0-9a-f].json"))
        found: dict[str, Any] = json.loads(path.read_bytes())
        return found


@pytest.fixture
def here(models: Path, log: Path, tmp_path: Path) -> Place:
    """Give a log as it was at the end of training."""
    copy = tmp_path / "osqueryd.results.log"
    copy.write_bytes(log.read_bytes())
    return Place(copy, models, tmp_path / "state")


@pytest.fixture
def usual(later: Callable[[int, int], list[Action]]) -> Callable[[int, int], list[bytes]]:
    """Give the maker of lines of what alice usually does."""
    return lambda count, seed: [line_of(one) for one in later(count, seed) if one.user == "alice"]


def line_of(action: Action) -> bytes:
    """Write an action as osquery does."""
    record = {"name": f"pack_x_{action.query}", "hostIdentifier": action.host, "unixTime": action.time}
    return json.dumps(record | {"columns": action.columns, "action": action.verb}).encode()


def scans(event: Event, count: int, time: int) -> list[bytes]:
    """Make lines of what alice never does."""
    return [event("alice", "shell_history", time=time + n, command=SCAN, n=str(n)) for n in range(count)]


def later_than(here: Place) -> int:
    """Return a time after the log's last line."""
    return int(json.loads(here.log.read_bytes().splitlines()[-1])["unixTime"]) + 60


def adaptation(follower: Follower) -> Any:  # noqa: ANN401 - to look inside
    """Return what alice's adaptation holds."""
    scorer = follower.scorer
    assert isinstance(scorer, Scorer)
    user: Standing = scorer._users["alice"]
    return user.adaptation


def test_alerts_are_kept_and_handed_on(here: Place, event: Event) -> None:
    """What alarms is in the journal and at the sinks after the scores; the tally counts it."""
    follower = here.run(*scans(event, 40, later_than(here)))
    assert here.told.alerts[0].worst.action.columns["command"] == SCAN
    assert [one.alert for one in told(here.state)] == [here.told.alerts[-1]]
    assert follower.tally.alerts == 1
    assert ", 1 alert." in follower.tally.summary()[0]


def test_a_restart_goes_on_with_the_burst(
    here: Place, event: Event, usual: Callable[[int, int], list[bytes]], tmp_path: Path
) -> None:
    """The alerts of a log are the same in one run and in many, down to their updates; none is closed by a stop."""
    lines = usual(150, 7)[:120]
    lines[40:40] = scans(event, 30, later_than(here))
    other = Place(tmp_path / "copy.log", here.models, tmp_path / "other")
    other.log.write_bytes(here.log.read_bytes())
    here.run(*lines)
    assert len(here.told.alerts) > 2
    for begin in range(0, len(lines), 13):
        other.run(*lines[begin : begin + 13])
    assert [strip(alert) for alert in other.told.alerts] == [strip(alert) for alert in here.told.alerts]


def strip(alert: Alert) -> tuple[Any, ...]:
    """Return an alert without what names its file."""
    return (alert.severity, alert.first, alert.last, alert.count, alert.update, alert.closed, alert.worst.action)


def test_without_a_checkpoint_nothing_is_kept(
    here: Place, event: Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard input leaves nothing behind; with a sink its alerts are told, and closed at its end."""
    data = b"".join(line + b"\n" for line in scans(event, 40, later_than(here)))
    here.state.mkdir()
    (here.state / "suppressions.toml").write_text("nonsense, which is not read")
    asked = Prediction(STDIN, here.models, here.state, "alice", follow=False)
    for sinks in ([], [here.told]):
        path = tmp_path / "input"
        path.write_bytes(data)
        with path.open("rb") as stdin:
            monkeypatch.setattr(outset, "StdinSource", partial(StdinSource, stdin))
            with prepare(asked, here.scores, here.said.append, alert_sinks=sinks) as follower:
                assert (follower.alerts is None) is not bool(sinks)
                follower.run()
    assert [path.name for path in here.state.iterdir()] == ["suppressions.toml"]
    assert here.told.alerts[0].update == 0
    assert here.told.alerts[-1].closed


def test_what_is_suppressed_meanwhile_is_told_no_more(here: Place, event: Event) -> None:
    """A running process takes a new suppression over at its next look: the alert is closed and no other opened."""
    begin = later_than(here)
    here.run(*scans(event, 20, begin))
    count = len(here.told.alerts)
    with here.prepare() as follower:
        (here.state / "suppressions.toml").write_text(
            '[[suppression]]\nid = "x"\nexpires = 9999-12-31\nfield = "command"\npattern = "nmap *"\n'
        )
        follower.look()
        with here.log.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in scans(event, 60, begin + 30)))
        follower.run()
    assert [alert.closed for alert in here.told.alerts[count:]] == [True]
    assert here.said == ["Suppressions in force from now on: 1."]
    assert len(here.scores.scores) == 80


def test_a_file_that_does_not_fit_stops_the_start(here: Place) -> None:
    """Whoever starts it is there to mend it."""
    here.state.mkdir(mode=0o700)
    (here.state / "suppressions.toml").write_text("nonsense")
    with pytest.raises(ConfigError, match=r"suppressions.toml is not valid TOML"), here.prepare():
        pass
    (here.state / "other.toml").write_text("x = 1")
    with pytest.raises(ConfigError, match=r"other\.toml has an unknown key 'x'"):
        here.run(suppressions=here.state / "other.toml")


@pytest.mark.parametrize(
    ("options", "count"),
    [({"alert_on": Severity.CRITICAL}, 0), ({"alert_on": Severity.NOTICE}, 1), ({"budget": 1}, 1), ({}, 1)],
)
def test_severity_and_budget_choose_what_alarms(
    here: Place, event: Event, options: dict[str, Any], count: int
) -> None:
    """What is asked for is what alarms."""
    assert here.run(*scans(event, 5, later_than(here)), **options).tally.alerts == count


def test_a_reload_takes_over_what_alarms(here: Place, event: Event) -> None:
    """The severity is of the settings that SIGHUP loads anew; the file of suppressions is named at the start."""
    asked = Prediction(here.log, here.models, here.state, "alice", follow=False)
    new = msgspec.structs.replace(asked, alert_on=Severity.CRITICAL, suppressions=here.state / "other.toml")
    with prepare(asked, here.scores, here.said.append, alert_sinks=[here.told], again=lambda: new) as follower:
        follower.reload()
        with here.log.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in scans(event, 5, later_than(here))))
        follower.run()
    assert here.told.alerts == []
    assert "What is new in suppressions takes effect at the next start." in here.said


def expect(here: Place, verdict: Verdict = Verdict.EXPECTED) -> None:
    """Answer the newest alert."""
    identity = told(here.state)[-1].alert.id
    list(answer(here.state, here.state / "suppressions.toml", identity, verdict, 3000, "", dry_run=False))


def test_what_was_expected_is_learned_once(
    here: Place, event: Event, usual: Callable[[int, int], list[bytes]]
) -> None:
    """It is learned by the run after the answer, with the next hundred that is; not again, however a run ends."""
    here.run(*scans(event, 3, later_than(here)))
    expect(here)
    with here.prepare() as follower:  # killed before it wrote a checkpoint
        assert len(adaptation(follower)._expected) == 1
    assert here.checkpoint["feedback"] == []
    follower = here.run()
    assert len(adaptation(follower)._expected) == 1
    assert here.checkpoint["users"]["alice"]["adaptation"]["expected"] == _packed(adaptation(follower)._expected)
    assert here.checkpoint["feedback"] == [f"expected {told(here.state)[-1].alert.id}"]
    follower = here.run(*usual(700, 5))
    progress = adaptation(follower).progress
    assert adaptation(follower)._expected == []
    assert progress.learned % WINDOW == 1
    follower = here.run(*usual(500, 6))
    assert adaptation(follower).progress.learned % WINDOW == 1
    assert sum("is learned" in sentence for sentence in here.said) == 2


def test_a_running_process_takes_an_answer_over(here: Place, event: Event) -> None:
    """Between two batches, at its next look; the checkpoint of its end says that it has."""
    here.run(*scans(event, 3, later_than(here)))
    with here.prepare() as follower:
        expect(here)
        follower.look()
        assert len(adaptation(follower)._expected) == 1
        follower.run()
    assert len(here.checkpoint["feedback"]) == 1


def test_what_does_not_learn_takes_nothing_over(here: Place, event: Event) -> None:
    """With --no-adapt an answer waits for a run that learns."""
    here.run(*scans(event, 3, later_than(here)))
    expect(here)
    here.run(adapt=False)
    assert here.checkpoint["feedback"] == []
    here.run()
    assert len(here.checkpoint["feedback"]) == 1


def test_an_incident_is_never_learned(here: Place, event: Event, usual: Callable[[int, int], list[bytes]]) -> None:
    """What waits beside an incident is refused, while what comes after it is learned."""
    lines = usual(760, 5)
    quiet = here.run(*lines[:50], *scans(event, 3, later_than(here)), *lines[50:140])
    assert adaptation(quiet).progress.refused == 0
    assert len(adaptation(quiet)._waiting) == 1
    expect(here, Verdict.INCIDENT)
    after = here.run(*lines[140:])
    assert adaptation(after).progress.refused in {WINDOW, 2 * WINDOW}  # its neighbour is suspected with it
    assert adaptation(after).progress.learned > 0


def test_processes_suppress_as_one_does(
    here: Place, event: Event, usual: Callable[[int, int], list[bytes]], tmp_path: Path
) -> None:
    """A backlog that is spread is scored and told of as in one process, and answers wait for another run."""
    mixed = usual(150, 7)
    mixed[50:50] = scans(event, 60, later_than(here))
    here.state.mkdir(mode=0o700)
    (here.state / "suppressions.toml").write_text(
        '[[suppression]]\nid = "x"\nexpires = 9999-12-31\nuser = "alice"\nfield = "command"\npattern = "nmap *"\n'
    )
    other = Place(here.log, here.models, tmp_path / "other")
    other.state.mkdir(mode=0o700)
    (other.state / "suppressions.toml").write_text((here.state / "suppressions.toml").read_text())
    follower = here.run(*mixed, user=None, jobs=2)
    assert isinstance(follower.scorer, Spread)
    other.run(user=None, jobs=1)
    assert [(s.score, s.risk) for s in here.scores.scores] == [(s.score, s.risk) for s in other.scores.scores]
    assert here.told.alerts == other.told.alerts
    assert all(alert.worst.action.columns.get("command") != SCAN for alert in here.told.alerts)


def test_a_checkpoint_of_the_version_before_is_gone_on_from(here: Place, event: Event) -> None:
    """One that knows nothing of alerts and answers is no reason to begin anew."""
    here.run(*scans(event, 3, later_than(here)))
    (path,) = here.state.glob("*[0-9a-f].json")
    saved = here.checkpoint
    del saved["alerts"], saved["feedback"], saved["users"]["alice"]["adaptation"]["expected"]
    path.write_text(json.dumps(saved))
    count = len(here.scores.scores)
    here.run(*scans(event, 2, later_than(here)))
    assert len(here.scores.scores) == count + 2
    assert here.said == []


def test_what_is_suppressed_has_a_score_and_no_risk(here: Place, event: Event) -> None:
    """A user of whom all is suppressed does not stay at the risk that was last: nothing moves it any more."""
    here.run(*scans(event, 40, later_than(here)))
    assert here.scores.scores[-1].risk is not None
    add(here.state / "suppressions.toml", Suppression(id="x", user="alice", expires=date(2100, 1, 1)))
    follower = here.run(*scans(event, 5, later_than(here)))
    assert [(score.score is None, score.risk) for score in here.scores.scores[-5:]] == [(False, None)] * 5
    assert [row.risk for row in follower.board.rows() if row.user == "alice"] == [None]


def test_a_quiet_log_has_a_checkpoint_too(here: Place) -> None:
    """A run that begins where training stopped says so at once: who asks for its status is not told nothing."""
    with here.prepare():
        assert here.checkpoint["position"]["offset"] > 0
