"""The state directory: full, not to be written to, held by another daemon, and with a checkpoint that is none."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from anomaly.cli import main

if TYPE_CHECKING:
    from tests.reliability.conftest import Daemon, Lines, Place, Start

SEVERAL_TRIES = 2.5
"""Seconds in which a checkpoint that is due once a second has failed more than once."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of its own, of a quarter MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(path: Path) -> None:
    """Write a file until there is no room."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 512)
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017 - the only way that it ends


def hindered(daemon: Daemon, place: Place, actions: Iterator[bytes]) -> None:
    """Score on while no checkpoint can be written, and hear of it once."""
    count = len(daemon.records)
    place.append(next(actions))
    daemon.until_records(count + 1)
    daemon.until(lambda: "checkpoint" in daemon.said, "a sentence of the checkpoint")
    end = time.monotonic() + SEVERAL_TRIES
    while time.monotonic() < end:
        count = len(daemon.records)
        place.append(next(actions))
        daemon.until_records(count + 1)
        time.sleep(0.2)
    assert sum("checkpoint" in line for line in daemon.said.splitlines()) == 1
    assert str(place.state) in daemon.said


def goes_on_behind(daemon: Daemon, place: Place, start: Start, actions: Iterator[bytes]) -> None:
    """Have the checkpoint at last; a kill then costs nothing, not even a repetition."""
    daemon.until(place.remembered, "a checkpoint")
    daemon.kill()
    place.append(next(actions))
    following = start()
    following.until_records(1)
    assert following.stop() == 0
    assert len(following.records) == 1
    assert len({*daemon.ids, *following.ids}) == place.log.read_bytes().count(b"\n")


@pytest.fixture
def actions(actions_of: Lines) -> Iterator[bytes]:
    """Give many actions, one after the other."""
    return iter(actions_of(*["ls", "git diff", "make test"] * 100))


def test_a_full_disk_is_told_once_and_scoring_goes_on(
    place: Place, start: Start, small_disk: Path, actions: Iterator[bytes]
) -> None:
    """Without room for the checkpoint every line is scored, and with room it is written."""
    place.state = small_disk / "state"
    place.append(next(actions))
    daemon = start()
    daemon.until_records(1)
    fill(small_disk / "filler")
    hindered(daemon, place, actions)
    (small_disk / "filler").unlink()
    goes_on_behind(daemon, place, start, actions)


def test_a_directory_that_becomes_read_only_is_told_once_and_scoring_goes_on(
    place: Place, start: Start, unprivileged: list[str], actions: Iterator[bytes]
) -> None:
    """Without permission for the checkpoint every line is scored, and with permission it is written."""
    place.append(next(actions))
    daemon = start(program=unprivileged)
    daemon.until_records(1)
    place.state.chmod(0o500)
    try:
        hindered(daemon, place, actions)
    finally:
        place.state.chmod(0o700)
    goes_on_behind(daemon, place, start, actions)


def test_a_directory_that_may_not_be_written_is_an_error_at_the_start(
    place: Place, start: Start, unprivileged: list[str], actions: Iterator[bytes]
) -> None:
    """Where the lock cannot be taken for want of permission it ends with 1 and names the place."""
    place.append(next(actions))
    place.state.mkdir(0o500)
    daemon = start(program=unprivileged)
    assert daemon.end() == 1
    assert daemon.records == []
    assert daemon.said.startswith("Error: ")
    assert str(place.state) in daemon.said
    assert "Traceback" not in daemon.said


def test_a_read_only_file_system_is_an_error_at_the_start(
    place: Place, start: Start, small_disk: Path, actions: Iterator[bytes]
) -> None:
    """Where the lock cannot be taken for want of a writable disk it ends with 1 and names the place."""
    place.append(next(actions))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    place.state = small_disk
    daemon = start()
    assert daemon.end() == 1
    assert daemon.records == []
    assert daemon.said.startswith("Error: ")
    assert str(small_disk) in daemon.said
    assert "Traceback" not in daemon.said


def test_two_daemons_do_not_share_a_state_directory(place: Place, start: Start, actions: Iterator[bytes]) -> None:
    """The second ends with 10 and names the process of the first, which is not disturbed."""
    place.append(next(actions))
    first = start()
    first.until_records(1)
    second = start()
    assert second.end() == 10
    assert second.records == []
    assert str(first.process.pid) in second.said
    place.append(next(actions))
    first.until_records(2)


def test_a_killed_daemon_leaves_no_lock(place: Place, start: Start, actions: Iterator[bytes]) -> None:
    """After kill -9 the next start is not turned away."""
    place.append(next(actions))
    first = start()
    first.until_records(1)
    first.kill()
    place.append(next(actions))
    second = start()
    second.until(lambda: len({*first.ids, *second.ids}) == 2, "the second record")


HUGE = 400 << 20
"""Bytes, most of which take no room on the disk."""

HOSTILE = {
    "random": random.Random(3).randbytes(5000),  # noqa: S311 - sample data
    "empty": b"",
    "a list": b"[]",
    "a number": b"1e999",
    "nothing in it": b"{}",
    "wrong types": b'{"log": 7, "position": "here", "identities": [], "users": 3, "schema": "one"}',
    "a wrong place": b'{"log": "x", "position": {"file": "f", "offset": -1}, "schema": 1}',
    "of another day": b'{"log": "x", "position": {"file": "", "offset": 0}, "schema": 99999}',
    "deep": b"[" * 200_000,
    "deep within": b'{"log": "x", "users": {"alice": ' + b"[" * 200_000,
    "deep and whole": b'{"log": "x", "users": {"alice": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_002,
    "huge": b'{"log": "x", "users": {}}',
}


def test_a_checkpoint_that_is_none_is_kept_aside(place: Place, start: Start, actions: Iterator[bytes]) -> None:
    """Whatever stands in place of the checkpoint, all is scored, and ``.bad`` is kept and said."""
    place.append(next(actions), next(actions))
    first = start("--no-follow")
    assert first.end() == 0
    assert len(first.ids) == 2
    (checkpoint,) = place.state.glob("*[0-9a-f].json")
    for kind, content in HOSTILE.items():
        checkpoint.write_bytes(content)
        if kind == "huge":
            os.truncate(checkpoint, HUGE)
        again = start("--no-follow")
        assert again.end() == 0, (kind, again.said)
        assert again.ids == first.ids, kind
        (bad,) = place.state.glob("*.bad")
        assert str(bad) in again.said, kind
        with bad.open("rb") as file:
            assert file.read(len(content)) == content, kind
        bad.unlink()


def test_after_a_checkpoint_that_was_none_there_is_one(
    place: Place, start: Start, actions: Iterator[bytes]
) -> None:
    """The run that met a corrupt checkpoint leaves a good one, where the next goes on without a word of it."""
    place.append(next(actions), next(actions))
    place.state.mkdir(0o700)
    assert start("--no-follow").end() == 0
    (checkpoint,) = place.state.glob("*[0-9a-f].json")
    checkpoint.write_bytes(HOSTILE["random"])
    assert start("--no-follow").end() == 0
    place.append(next(actions))
    third = start("--no-follow")
    assert third.end() == 0
    assert len(third.records) == 1
    assert ".bad" not in third.said


def test_a_checkpoint_cut_anywhere_is_kept_aside(place: Place, actions: Iterator[bytes]) -> None:
    """However much of a checkpoint is there, all is scored, and ``.bad`` is kept and said."""
    place.append(next(actions), next(actions))
    words = ["predict", "--all-users", "--no-follow", "--format", "json", *place.options()]
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        # Within this process: it is done some fifty times.
        whole = CliRunner().invoke(main, words)
        (path,) = place.state.glob("*[0-9a-f].json")
        content = path.read_bytes()
        for length in range(0, len(content), 50):
            path.write_bytes(content[:length])
            result = CliRunner().invoke(main, words)
            assert result.exit_code == 0, (length, result.output)
            assert result.stdout == whole.stdout, length
            assert path.with_suffix(".bad").read_bytes() == content[:length]
            assert ".bad" in result.stderr, length
    finally:
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
    assert len(whole.stdout.splitlines()) == 2
    assert json.loads(content)
