"""A daemon that is killed again and again, while lines come and the log is rotated."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Event
    from tests.reliability.conftest import Daemon, Lines, Place, Record, Start

LIVES = 3
SHARE = 440
"""Lines of two users that are written in one life, in three seconds; in the second they are learned from."""


def figures(record: Record) -> list[float | None]:
    """Return what a record says of its action in numbers."""
    return [record["score"], record["risk"], record["surprise"]]


@pytest.mark.parametrize(("algorithm", "seed"), [("ocsvm", 1), ("both", 2)])
def test_killed_at_any_moment_it_loses_nothing_and_scores_the_same(
    algorithm: str,
    seed: int,
    place: Place,
    start: Start,
    lines: list[bytes],
    uninterrupted: Callable[[], list[Record]],
    request: pytest.FixtureRequest,
) -> None:
    """Over kill -9 and rotation no line is lost, and each record is what one uninterrupted pass gives."""
    place.install(request.getfixturevalue(f"{algorithm}_models"))
    draw = random.Random(seed)  # noqa: S311 - which moments does not matter
    left = iter(lines[600 : 600 + (LIVES + 1) * SHARE])
    seen: list[Record] = []

    def write(count: int) -> None:
        place.append(*islice(left, count))
        if draw.random() < 0.05:
            place.rotate()

    def live(daemon: Daemon) -> None:
        old, share = place.checkpoint(), iter(range(SHARE // 3))
        write_at, kill_at = time.monotonic(), float("inf")

        def over() -> bool:
            nonlocal write_at, kill_at
            if time.monotonic() >= write_at and next(share, None) is not None:
                write(3)
                write_at += 0.02
            if kill_at == float("inf") and place.checkpoint() != old:
                kill_at = time.monotonic() + 0.7 * draw.random()
            return time.monotonic() >= kill_at

        daemon.until(over, "a moment to be killed at")
        daemon.kill()
        write(3 * len(list(share)))  # what comes while it is down

    for _ in range(LIVES):
        daemon = start()
        live(daemon)
        seen += daemon.records
    assert list(place.models.rglob("*.learned"))
    place.append(*left)
    last = start()
    expected = {record["id"]: record for record in uninterrupted()}
    known = {record["id"] for record in seen}
    last.until(lambda: known.union(last.ids) >= expected.keys(), "all of the lines")
    seen += last.records
    assert {record["id"] for record in seen} == expected.keys()
    assert len(expected) == (LIVES + 1) * SHARE
    for record in seen:
        assert figures(record) == pytest.approx(figures(expected[record["id"]]), abs=1e-6)


def test_what_is_checkpointed_is_not_repeated(place: Place, start: Start, actions_of: Lines) -> None:
    """After a second of quiet kill -9 costs not even a repetition."""
    one, two, three, four = actions_of("ls", "git diff", "make test", "ls")
    place.append(one, two)
    first = start()
    first.until_records(2)
    first.until(place.remembered, "a checkpoint")
    first.kill()
    place.append(three, four)
    second = start()
    second.until_records(2)
    assert second.stop() == 0
    assert [record["columns"]["command"] for record in first.records + second.records] == [
        "ls",
        "git diff",
        "make test",
        "ls",
    ]


def offset_of(place: Place) -> int:
    """Return how far the checkpoint says that the log was read."""
    (checkpoint,) = place.state.glob("*[0-9a-f].json")
    return int(json.loads(checkpoint.read_bytes())["position"].get("offset", 0))


@pytest.mark.parametrize(
    ("number", "whole_before", "finished"),
    [
        (signal.SIGTERM, 2, "while it is down"),
        (signal.SIGKILL, 2, "once it is back"),
        (signal.SIGTERM, 0, "once it is back"),
        (signal.SIGKILL, 0, "while it is down"),
    ],
)
def test_a_line_in_two_halves_is_scored_once_and_whole(
    number: int, whole_before: int, finished: str, place: Place, start: Start, actions_of: Lines
) -> None:
    """A line of which half is written before a restart and half after it is one record."""
    *before, line, after = actions_of(*["ls"] * whole_before, "git commit -m 'a line in two halves'", "make test")
    place.append_raw(b"".join(one + b"\n" for one in before) + line[:90])
    first = start()
    first.until(lambda: first.has_open(place.log), "the log in its hands")
    first.until_records(whole_before)
    if whole_before:
        whole = place.log.stat().st_size - 90
        first.until(lambda: offset_of(place) == whole, "a checkpoint of what was scored")
    if number == signal.SIGKILL:
        first.kill()
    else:
        assert first.stop(number) == 0
    if finished == "while it is down":
        place.append_raw(line[90:] + b"\n")
    second = start()
    if finished == "once it is back":
        second.until(lambda: second.has_open(place.log), "the log in its hands")
        place.append_raw(line[90:] + b"\n")
    place.append(after)
    second.until_records(2)
    assert second.stop() == 0
    commands = [record["columns"]["command"] for record in first.records + second.records]
    assert commands == [*["ls"] * whole_before, "git commit -m 'a line in two halves'", "make test"]


def test_equal_lines_are_so_many_actions(place: Place, start: Start, event: Event) -> None:
    """Lines that are equal to the byte are scored each, under ids of their own, over a restart too."""
    place.append(*[event(command="ls")] * 3)
    first = start()
    first.until_records(3)
    assert first.stop() == 0
    place.append(*[event(command="ls")] * 3)
    second = start()
    second.until_records(3)
    assert len(set(first.ids + second.ids)) == len(first.ids + second.ids) == 6


def test_a_log_cut_and_grown_again_while_it_was_down_is_read_anew(
    place: Place, start: Start, actions_of: Lines
) -> None:
    """What replaces the bytes before the checkpoint is scored, though inode and first line are the same."""
    place.append(*actions_of("ls", "git status", "git diff"))
    first = start()
    first.until_records(3)
    assert first.stop() == 0
    first_line = place.log.read_bytes().splitlines(keepends=True)[0]
    with place.log.open("r+b") as file:
        file.truncate()
    place.append_raw(first_line)
    place.append(*actions_of("make test", "vim src/app.py", "pytest -q", "top", begin=1_796_010_000))
    second = start()
    second.until(
        lambda: second.records[-1:] and second.records[-1]["columns"]["command"] == "top", "the last line"
    )
    commands = [record["columns"]["command"] for record in second.records]
    assert [command for command in commands if command != "ls"] == [
        "make test",
        "vim src/app.py",
        "pytest -q",
        "top",
    ]


def test_a_rotated_log_may_be_compressed_while_it_is_down(
    place: Place, start: Start, lines: list[bytes], tmp_path: Path
) -> None:
    """Lines that came and were rotated twice while nobody read are read from the archives."""
    place.append(*lines[600:620])
    first = start()
    first.until_records(20)
    assert first.stop() == 0
    place.append(*lines[620:640])
    place.rotate()
    place.append(*lines[640:660])
    place.rotate()
    place.append(*lines[660:680])
    place.rotate()
    assert len(list((tmp_path / "log").iterdir())) == 3
    second = start()
    second.until_records(60)
    place.append(*lines[680:700])
    second.until_records(80)
    assert second.stop() == 0
    ids = first.ids + second.ids
    assert len(set(ids)) == len(ids) == 100
