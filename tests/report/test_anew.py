"""Scoring a log anew, without a trace."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anomaly.errors import LogMissing, UnknownUser
from anomaly.harvest import Watch
from anomaly.osquery import Parser, Skipped
from anomaly.prediction import prepare
from anomaly.records import Score
from anomaly.report.anew import Anew, Asked, Scored
from anomaly.request import Prediction
from anomaly.sinks.interface import Sink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.report.conftest import Sample


class Kept(Sink):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.scores: list[Score] = []

    def write(self, scores: Sequence[Score]) -> None:
        """Take the scores."""
        self.scores += scores


def run(anew: Anew, watch: Watch) -> list[Scored]:
    """Score all."""
    return [scored for batch in anew.run(watch) for scored in batch]


def tree(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Say what is in a directory and when it was changed."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in (folder, *folder.rglob("*"))
    }


@pytest.mark.parametrize("user", [None, "alice"])
def test_the_scores_are_those_of_predict(hostile: Sample, user: str | None, tmp_path: Path, silent: Watch) -> None:
    """A report shows what predict says of the log from its start, what is learned on the way included."""
    sink = Kept()
    asked = Prediction(hostile.log, hostile.models, tmp_path, user, follow=False, begin="start", jobs=1)
    with prepare(asked, sink, lambda _: None) as follower:
        follower.run()
    found = run(Anew(Asked(hostile.log, hostile.models, user), lambda _: None), silent)
    assert [scored.score for scored in found] == sink.scores


def test_each_score_comes_with_its_line(hostile: Sample, silent: Watch) -> None:
    """The line is the one that the action stood in, and lines that report nothing are counted by reason."""
    anew = Anew(Asked(hostile.log, hostile.models, None), lambda _: None)
    for score, line in run(anew, silent):
        parsed = Parser().parse(line)
        assert not isinstance(parsed, Skipped)
        assert parsed[0].columns == score.action.columns
    assert dict(anew.skipped) == {"not_json": 1, "truncated": 1, "not_a_result": 1}


def test_lines_that_are_too_long_are_lines(hostile: Sample, silent: Watch, tmp_path: Path) -> None:
    """Of so many lines so many were skipped: what is skipped unread is among both."""
    log = tmp_path / "osqueryd.results.log"
    log.write_text("x" * 2000 + "\nno JSON\n")
    anew = Anew(Asked(log, hostile.models, None, max_line=1024), lambda _: None)
    assert run(anew, silent) == []
    assert (anew.lines, dict(anew.skipped)) == (2, {"too_long": 1, "not_json": 1})


def test_nothing_is_written(hostile: Sample, silent: Watch) -> None:
    """Neither the models nor anything beside the log changes."""
    before = tree(hostile.log.parent)
    run(Anew(Asked(hostile.log, hostile.models, None), lambda _: None), silent)
    assert tree(hostile.log.parent) == before


def test_many_actions_in_one_line_are_scored_by_pieces(hostile: Sample, tmp_path: Path, silent: Watch) -> None:
    """A snapshot of thousands of rows comes in batches of no more than 2,048."""
    log = tmp_path / "osqueryd.results.log"
    rows = ",".join('{"username": "alice", "command": "ls"}' for _ in range(5000))
    log.write_text(f'{{"name": "x", "hostIdentifier": "ws1", "unixTime": 1793000000, "snapshot": [{rows}]}}\n')
    batches = list(Anew(Asked(log, hostile.models, None), lambda _: None).run(silent))
    assert [len(batch) for batch in batches] == [2048, 2048, 904]
    assert len({scored.score.id for batch in batches for scored in batch}) == 5000


def test_what_is_missing_is_told(hostile: Sample, tmp_path: Path, silent: Watch) -> None:
    """A user without a model, and a log that is not there, end as they do in predict."""
    with pytest.raises(UnknownUser, match="Did you mean 'alice'"):
        Anew(Asked(hostile.log, hostile.models, "alcie"), lambda _: None)
    with pytest.raises(LogMissing):
        run(Anew(Asked(tmp_path / "no.log", hostile.models, "alice"), lambda _: None), silent)
    assert os.listdir(tmp_path) == []
