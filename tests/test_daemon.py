"""The loop along a log: what it hands on, what it counts, and what it remembers when."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly import daemon
from anomaly.control import Control
from anomaly.daemon import Follower
from anomaly.errors import StateError
from anomaly.identity import Identities
from anomaly.osquery import Parser
from anomaly.records import Score, Severity
from anomaly.scoring import Scorer
from anomaly.sinks.interface import Sink
from anomaly.sources.checkpoint import Checkpoint
from anomaly.sources.checkpoint_file import CheckpointFile
from anomaly.sources.interface import Line, Position, Source
from anomaly.sources.stdin import StdinSource
from anomaly.store import Store
from anomaly.systemd import Notifier
from anomaly.tally import Tally

if TYPE_CHECKING:
    from tests.conftest import Event


class Given(Source):
    """Lines from a list."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self.counters = Counter()
        self.lines = [Line(line, "f1e2", 100 * number) for number, line in enumerate(lines)]
        self.taken = 0

    def read(self, limit: int, timeout: float) -> list[Line]:
        """Return the next ones."""
        del timeout
        batch = self.lines[self.taken : self.taken + limit]
        self.taken += len(batch)
        return batch

    @property
    def position(self) -> Position:
        """Return the next one's place."""
        return Position("f1e2", 100 * self.taken)

    @property
    def ended(self) -> bool:
        """Say whether there are no more."""
        return self.taken >= len(self.lines)

    def close(self) -> None:
        """Do nothing."""


class Kept(Sink):
    """Keeps what it is given, until it has had enough."""

    def __init__(self, room: int = 10**9) -> None:
        self.batches: list[list[Score]] = []
        self.room = room

    def write(self, scores: Sequence[Score]) -> None:
        """Take the scores, or raise."""
        if len(self.batches) >= self.room:
            raise BrokenPipeError
        self.batches.append(list(scores))

    @property
    def scores(self) -> list[Score]:
        """Return all scores, in order."""
        return [score for batch in self.batches for score in batch]

    @property
    def ids(self) -> list[str]:
        """Return the ids of all scores, in order."""
        return [score.id for score in self.scores]


@pytest.fixture
def parser() -> Parser:
    """Give a parser that asks no system."""
    return Parser(Identities(hostname="", lookup=lambda _: None))


@pytest.fixture
def follow(parser: Parser, ocsvm_models: Path) -> Callable[..., Follower]:
    """Give the maker of a follower of some lines."""

    def make(lines: Sequence[bytes], sink: Sink, **options: object) -> Follower:
        scorer = Scorer(Store(ocsvm_models).load)
        return Follower(Given(lines), parser, scorer, sink, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def checkpoint(tmp_path: Path) -> CheckpointFile:
    """Give an open checkpoint; the file is closed by the test's end."""
    return CheckpointFile(tmp_path / "state", "log")


def test_ids_are_file_and_offset(follow: Callable[..., Follower], event: Event) -> None:
    """An action's id is its line's place; further actions of a line are numbered from 1."""
    batch = json.loads(event("alice", command="ls"))
    row = batch.pop("columns")
    del batch["action"]
    batch["diffResults"] = {"removed": [row], "added": [row, row]}
    sink = Kept()
    tally = follow([event("alice"), json.dumps(batch).encode(), event("bob")], sink).run()
    assert sink.ids == ["f1e2:0", "f1e2:100", "f1e2:100:1", "f1e2:100:2", "f1e2:200"]
    assert (tally.lines, tally.actions, tally.scored) == (3, 5, 5)


def test_a_line_of_many_actions_is_handed_on_by_pieces(
    follow: Callable[..., Follower], event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line may hold a hundred thousand actions: the sink takes them, and systemd hears of us, on the way."""
    monkeypatch.setattr(daemon, "BATCH", 4)
    batch = json.loads(event("alice", command="ls"))
    batch["snapshot"] = [batch.pop("columns")] * 10
    batch["action"] = "snapshot"
    sink, beats = Kept(), []

    class Beating(Notifier):
        def watchdog(self) -> None:
            beats.append(len(sink.ids))

    follow([json.dumps(batch).encode()], sink, notifier=Beating()).run()
    assert [len(batch) for batch in sink.batches] == [4, 4, 2]
    assert beats[:3] == [4, 8, 10]


def test_what_is_skipped_is_counted_by_reason(follow: Callable[..., Follower], event: Event) -> None:
    """A line that reports no action costs one counter, and the next one is scored."""
    sink = Kept()
    lines = [b"", b"\0\0", b"hello", b'{"a": 1}', event("alice")[:-20], event("alice"), b"[[[[[[" * 10_000]
    tally = follow(lines, sink).run()
    assert sink.ids == ["f1e2:500"]
    assert tally.skipped["empty"] == 2
    assert tally.skipped["not_a_result"] == 1
    assert tally.skipped["truncated"] == 1
    assert sum(tally.skipped.values()) == 6
    assert "6 lines skipped: " in " ".join(tally.summary())
    assert "empty 2" in " ".join(tally.summary())


def test_only_what_is_asked_for_is_shown(follow: Callable[..., Follower], event: Event) -> None:
    """What is not shown is scored all the same, and a batch of which nothing is shown troubles no sink."""
    sink = Kept()
    tally = follow([event("alice")] * 5, sink, shown=lambda _: False).run()
    assert sink.batches == []
    assert tally.scored == 5


def test_the_tally_knows_the_worst(follow: Callable[..., Follower], event: Event) -> None:
    """The most severe of what was scored counts, baseline rows and users without a model not at all."""
    harmless = [
        event("alice", command="ls"),
        event("mallory", command="nc"),
        event("alice", counter=0, command="nc"),
    ]
    assert follow(harmless, Kept()).run().worst() is Severity.NONE
    assert Tally().worst() is Severity.NONE
    sink = Kept()
    strange = [event("alice", command=f"nc -l {n}", cwd=f"/opt/{n}") for n in range(60)]
    tally = follow(strange, sink).run()
    worst = max((score.severity for batch in sink.batches for score in batch), key=lambda s: s.rank)
    assert worst is not Severity.NONE
    assert tally.worst() is worst
    assert f" {worst}" in " ".join(tally.summary())


def test_a_stop_finishes_the_batch(
    follow: Callable[..., Follower], event: Event, checkpoint: CheckpointFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When told to stop, what was read is scored, handed on and remembered; the rest is for the next run."""
    monkeypatch.setattr(daemon, "BATCH", 4)
    control = Control()

    class Asking(Kept):
        def write(self, scores: Sequence[Score]) -> None:
            super().write(scores)
            control.stopped = len(self.batches) == 2

    sink = Asking()
    with checkpoint:
        follow([event("alice")] * 20, sink, checkpoint=checkpoint).run(control)
        saved = checkpoint.load()
    assert len(sink.ids) == 8
    assert saved is not None
    assert saved.position == Position("f1e2", 800)


def test_the_checkpoint_comes_after_the_sink(
    follow: Callable[..., Follower], event: Event, checkpoint: CheckpointFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the sink fails, the checkpoint stays behind what it last took: nothing is lost, if some said twice."""
    monkeypatch.setattr(daemon, "BATCH", 4)
    monkeypatch.setattr(daemon, "EVERY", 0.0)
    monkeypatch.setattr(daemon, "SHARE", 0)
    with checkpoint:
        with pytest.raises(BrokenPipeError):
            follow([event("alice")] * 20, Kept(room=2), checkpoint=checkpoint, log="/var/log/X").run()
        saved = checkpoint.load()
    assert saved is not None
    assert saved.log == "/var/log/X"
    assert saved.position == Position("f1e2", 800)
    assert saved.identities == {"ws1": {"1000": "alice"}}
    assert msgspec.json.decode(saved.users["alice"])["risk"] is not None


def test_an_interrupted_run_goes_on(
    follow: Callable[..., Follower], lines: list[bytes], checkpoint: CheckpointFile, ocsvm_models: Path
) -> None:
    """A second run from the checkpoint gives the scores that one run would have given."""
    whole, first, second = Kept(), Kept(), Kept()
    follow(lines[:1300], whole).run()
    with checkpoint:
        follow(lines[:950], first, checkpoint=checkpoint).run()
        saved = checkpoint.load()
    assert saved is not None
    assert msgspec.json.decode(saved.users["alice"])["learned"] is not None
    scorer = Scorer(Store(ocsvm_models).load)
    scorer.restore(saved.users)
    source = Given(lines[:1300])
    source.taken = saved.position.offset // 100
    Follower(source, Parser(Identities.from_dict(saved.identities)), scorer, second).run()
    assert whole.scores == first.scores + second.scores


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 4096), min_size=1, max_size=60))
def test_pieces_do_not_matter(ocsvm_models: Path, lines: list[bytes], sizes: list[int]) -> None:
    """However a log arrives in pieces, the same lines have the same scores."""

    class Trickle(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            return super().read(pieces.pop() if pieces else 1 << 20)

    pieces = list(sizes)
    data = b"".join(line + b"\n" for line in lines[:500])
    found = []
    for stream in (io.BytesIO(data), Trickle(data)):
        sink = Kept()
        with StdinSource(stream) as source:
            parser = Parser(Identities(hostname="", lookup=lambda _: None))
            Follower(source, parser, Scorer(Store(ocsvm_models).load), sink).run()
        found.append(sink.scores)
    assert len(found[0]) == 500
    assert found[0] == found[1]


def test_checkpoints_are_not_made_for_each_batch(
    follow: Callable[..., Follower], event: Event, monkeypatch: pytest.MonkeyPatch, checkpoint: CheckpointFile
) -> None:
    """Within a second there is one checkpoint, at the end; without a line read there is none."""
    monkeypatch.setattr(daemon, "BATCH", 1)
    saved: list[Checkpoint] = []
    monkeypatch.setattr(checkpoint, "save", lambda one, _users: saved.append(one))
    with checkpoint:
        follow([], Kept(), checkpoint=checkpoint).run()
        assert saved == []
        follow([event("alice")] * 5, Kept(), checkpoint=checkpoint).run()
    assert [c.position.offset for c in saved] == [500]


def test_a_failing_checkpoint_is_survived_and_said(
    follow: Callable[..., Follower], event: Event, checkpoint: CheckpointFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk does not end the watch: it is said at most once a minute and at the end, and tried again."""
    monkeypatch.setattr(daemon, "BATCH", 1)
    monkeypatch.setattr(daemon, "EVERY", 0.0)
    monkeypatch.setattr(daemon, "SHARE", 0)
    tries = 0

    def save(_: Checkpoint, _users: object) -> None:
        nonlocal tries
        tries += 1
        raise StateError("The disk is full.")

    monkeypatch.setattr(checkpoint, "save", save)
    said: list[str] = []
    sink = Kept()
    with checkpoint:
        tally = follow([event("alice")] * 5, sink, checkpoint=checkpoint, say=said.append).run()
    assert len(sink.ids) == 5
    assert len(said) == 2
    assert said[0].startswith("The disk is full. Scoring goes on")
    assert said[1] == "The last checkpoint was not written: what came since the one before comes again."
    assert tally.checkpoint_errors == tries >= 5


def test_the_board_knows_of_all_that_was_scored(follow: Callable[..., Follower], event: Event) -> None:
    """What is not shown is counted too, and at the end everything is safe and nothing waits."""
    follower = follow([event("alice"), event("bob"), b"x", event("alice")], Kept(), shown=lambda _: False)
    changes: list[int] = []
    follower.board.changed = lambda: changes.append(follower.board.tally.lines)
    follower.run()
    assert {row.user: row.actions for row in follower.board.rows()} == {"alice": 2, "bob": 1}
    assert (follower.board.backlog, follower.board.behind) == (0, 0.0)
    assert changes[-1] == 4
