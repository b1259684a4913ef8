"""The daemon as a process: it follows a log, shows new actions at once, and stops cleanly."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from anomaly.cli import main

ROOT = Path(__file__).parents[1]


def line(number: int, command: str) -> str:
    """Make one result line of alice's."""
    return json.dumps(
        {
            "name": "pack_user_behavior_shell_history",
            "hostIdentifier": "ws1",
            "unixTime": 1_790_000_000 + 60 * number,
            "counter": 1 + number,
            "columns": {"command": command, "uid": "1000", "username": "alice"},
            "action": "added",
        }
    )


class Daemon:
    """A running ``anomaly`` whose records are read as they come."""

    def __init__(self, *words: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        self.lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self.lines.put(text)

    def record(self, timeout: float = 20.0) -> dict[str, object]:
        """Return the next record."""
        found: dict[str, object] = json.loads(self.lines.get(timeout=timeout))
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(10)
        self._reader.join(10)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdout.close()
        self.errors = self.process.stderr.read()
        self.process.stderr.close()
        return code


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a log that alice was learned from, and her model."""
    folder = tmp_path_factory.mktemp("follow")
    words = ("ls", "git status", "make", "vim a.c", "cd src")
    log = folder / "osqueryd.results.log"
    log.write_text("".join(line(n, words[n * n % 5]) + "\n" for n in range(700)))
    arguments = ["train", "--user", "alice", "-a", "OCSVM", "-l", str(log), "--models", str(folder / "models")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """Return a copy of that log, with a state directory of its own."""
    (tmp_path / "osqueryd.results.log").write_bytes((trained / "osqueryd.results.log").read_bytes())
    (tmp_path / "models").symlink_to(trained / "models")
    return tmp_path


@pytest.fixture
def daemon(folder: Path) -> Iterator[Daemon]:
    """Return ``anomaly predict`` following that log."""
    running = Daemon("-m", "anomaly", "predict", "--user", "alice", *places(folder))
    yield running
    if running.process.poll() is None:
        running.stop(signal.SIGKILL)


def places(folder: Path) -> tuple[object, ...]:
    """Return the options that say where everything is."""
    log = folder / "osqueryd.results.log"
    return ("-l", log, "--models", folder / "models", "--state", folder / "state", "--format", "json")


def append(folder: Path, number: int, command: str) -> None:
    """Write as osquery does: open, write one line, close."""
    with (folder / "osqueryd.results.log").open("a") as file:
        file.write(line(number, command) + "\n")


def test_a_new_action_is_shown_within_a_second(folder: Path, daemon: Daemon) -> None:
    """What osquery appends is scored and printed at once, by a daemon that is up."""
    append(folder, 800, "first")
    daemon.record()  # from now on it is up
    for number in range(3):
        begin = time.monotonic()
        append(folder, 801 + number, f"nmap 10.0.0.{number}")
        columns = daemon.record()["columns"]
        assert time.monotonic() - begin < 1.0
        assert columns == {"command": f"nmap 10.0.0.{number}", "uid": "1000", "username": "alice"}
    assert daemon.stop() == 0


def test_rotation_by_renaming_loses_and_repeats_nothing(folder: Path, daemon: Daemon) -> None:
    """Lines before and after three renames come once each, in order."""
    log = folder / "osqueryd.results.log"
    sent, seen = [], []
    for number in range(30):
        if number in {5, 12, 20}:
            for old in (2, 1):
                if (folder / f"{log.name}.{old}").exists():
                    (folder / f"{log.name}.{old}").rename(folder / f"{log.name}.{old + 1}")
            log.rename(folder / f"{log.name}.1")
        append(folder, 800 + number, f"command {number}")
        sent.append(f"command {number}")
        time.sleep(0.02)
    for _ in sent:
        columns = daemon.record()["columns"]
        assert isinstance(columns, dict)
        seen.append(columns["command"])
    assert seen == sent
    assert daemon.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_and_the_next_run_goes_on_there(
    number: int, folder: Path, daemon: Daemon
) -> None:
    """SIGTERM and SIGINT end with 0 within five seconds; nothing is lost or shown twice afterwards."""
    append(folder, 800, "before")
    assert daemon.record()["columns"] == {"command": "before", "uid": "1000", "username": "alice"}
    begin = time.monotonic()
    assert daemon.stop(number) == 0
    assert time.monotonic() - begin < 5.0
    append(folder, 801, "meanwhile")
    following = Daemon("-m", "anomaly", "predict", "--user", "alice", *places(folder))
    assert following.record()["columns"] == {"command": "meanwhile", "uid": "1000", "username": "alice"}
    assert following.stop() == 0
    assert following.lines.empty()


def test_a_second_daemon_on_the_same_state_is_turned_away(folder: Path, daemon: Daemon) -> None:
    """The second one ends with 10 and says that another one is at work."""
    append(folder, 800, "up")
    daemon.record()
    second = subprocess.run(
        [sys.executable, "-m", "anomaly", "predict", "--user", "alice", *map(str, places(folder))],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=False,
    )
    assert second.returncode == 10
    assert second.stderr.startswith("Error: ")
    assert daemon.stop() == 0


def test_a_closed_pipe_ends_it_quietly(folder: Path) -> None:
    """When whoever reads has gone, the exit code is 0 and nothing is said about it."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        result = subprocess.run(
            [
                sys.executable,
                "-m",
                "anomaly",
                "predict",
                "--user",
                "alice",
                "--from",
                "start",
                *map(str, places(folder)),
            ],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            cwd=ROOT,
            check=False,
        )
    assert result.returncode == 0
    assert "Traceback" not in result.stderr
    assert "Error" not in result.stderr


def test_main_learns_everyone_and_follows(folder: Path) -> None:
    """``python main.py -a OCSVM -l LOG`` learns who is in the log, then shows what comes."""
    (folder / "models").unlink()
    running = Daemon("main.py", "-a", "ocsvm", *places(folder))
    try:
        deadline = time.monotonic() + 60
        while not (folder / "models" / "alice" / "current").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        append(folder, 800, "after training")
        assert running.record(60)["columns"] == {"command": "after training", "uid": "1000", "username": "alice"}
    finally:
        code = running.stop()
    assert code == 0
    assert "alice: model 1 (OCSVM) from 700 actions" in running.errors


def test_a_log_that_is_not_there_yet_is_waited_for(folder: Path) -> None:
    """Following says that it waits, and shows the first action once the log is there."""
    log = folder / "osqueryd.results.log"
    log.unlink()
    running = Daemon("-m", "anomaly", "predict", "--user", "alice", *places(folder))
    try:
        time.sleep(1.0)
        append(folder, 900, "at last")
        assert running.record()["columns"] == {"command": "at last", "uid": "1000", "username": "alice"}
    finally:
        code = running.stop()
    assert code == 0
    assert f"{log} is not there yet; waiting for it." in running.errors


def test_a_watch_that_has_gone_blind_says_so(folder: Path, daemon: Daemon) -> None:
    """A log that can no longer be read is reported, and read on from once it can be."""
    append(folder, 800, "up")
    daemon.record()
    log = folder / "osqueryd.results.log"
    log.rename(folder / f"{log.name}.1")
    log.mkdir()
    time.sleep(1.0)
    log.rmdir()
    append(folder, 801, "seen again")
    assert daemon.record()["columns"] == {"command": "seen again", "uid": "1000", "username": "alice"}
    assert daemon.stop() == 0
    assert f"{log}: it cannot be read at the moment" in daemon.errors


@pytest.mark.parametrize("algorithm", ["OCSVM", "BOTH"])
def test_training_with_nobody_to_talk_to_still_trains(algorithm: str, folder: Path, tmp_path: Path) -> None:
    """A closed standard error costs the words, and not the model."""
    command = f"exec {sys.executable} -m anomaly train --user alice -a {algorithm} -l $0 --models $1 2>&-"
    log, models = folder / "osqueryd.results.log", tmp_path / "made"
    done = subprocess.run(["/bin/sh", "-c", command, log, models], cwd=ROOT, timeout=300, check=False)
    assert done.returncode == 0
    assert (models / "alice" / "1.safetensors").is_file()


def test_standard_input_is_a_log(folder: Path) -> None:
    """``-l -`` scores what is piped in, and ends with it."""
    words = ["predict", "--user", "alice", "-l", "-", "--models", str(folder / "models"), "--format", "json"]
    result = CliRunner().invoke(
        main, [*words, "--state", str(folder / "state")], input=f"{line(1, 'ls')}\nnot json\n{line(2, 'make')}"
    )
    assert result.exit_code == 0
    assert [json.loads(text)["id"] for text in result.stdout.splitlines()] == [
        "stdin:0",
        f"stdin:{len(line(1, 'ls')) + 10}",
    ]
