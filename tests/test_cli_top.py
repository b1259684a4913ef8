"""``anomaly top`` as a person meets it: where it cannot run, and on a real terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from anomaly import cli
from anomaly.cli_top import _check_terminal
from anomaly.errors import ConfigError

ROOT = Path(__file__).parents[1]
ALTERNATE, NORMAL = b"\x1b[?1049h", b"\x1b[?1049l"
PATIENCE = 60.0
"""Seconds until what does not come is a failure."""


def run(*words: object) -> Result:
    """Run ``anomaly top`` with some words, not on a terminal."""
    return CliRunner().invoke(cli.main, ["top", *map(str, words)])


def test_it_needs_a_terminal() -> None:
    """Where nobody can see or press anything it says what to use instead."""
    result = run()
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: top needs a terminal, and standard input is none. For scores as text or JSON: anomaly predict\n"
    )


class Stream:
    """A stream that is a terminal, or not."""

    def __init__(self, terminal: bool) -> None:  # noqa: FBT001 - drawn
        self.isatty = lambda: terminal


@pytest.mark.parametrize("which", ["stdin", "stdout", "stderr"])
@pytest.mark.parametrize("closed", [True, False])
def test_each_stream_must_be_a_terminal(which: str, closed: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    """Keys come from one, the screen is drawn by another; a pipe, a file or a closed one is named."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, Stream(terminal=True))
    _check_terminal(Path("log"))
    monkeypatch.setattr(sys, which, None if closed else Stream(terminal=False))
    name = {"stdin": "input", "stdout": "output", "stderr": "error"}[which]
    with pytest.raises(ConfigError, match=f"^top needs a terminal, and standard {name} is none"):
        _check_terminal(Path("log"))


def test_keys_and_lines_cannot_both_come_from_standard_input() -> None:
    """A log to be read there has another command."""
    result = run("-l", "-")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: top takes its keys from standard input. Score what comes there with: anomaly predict -l -\n"
    )


def test_one_user_or_all() -> None:
    """Everyone is the default, and both is a mistake."""
    result = run("--user", "alice", "--all-users")
    assert result.exit_code == 2
    assert "Error: Give either --user NAME or --all-users." in result.stderr


class Terminal:
    """``anomaly top`` on a terminal of 80 by 24."""

    def __init__(self, *words: object) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.seen = b""
        environ = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "anomaly", "top", *map(str, words)]
        streams: dict[str, Any] = {"stdin": slave, "stdout": slave, "stderr": slave}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environ, start_new_session=True, **streams)
        self._slave = slave  # kept, to ask how the terminal was left

    def await_(self, text: bytes) -> None:
        """Read until something has been written."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen[-2000:]
            self._read()

    def ended(self) -> int:
        """Return the exit code, when it has ended."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.seen[-2000:]
            self._read()
        while self._read():
            pass
        return self.process.returncode

    def _read(self) -> bytes:
        ready, _, _ = select.select([self.master], [], [], 0.05)
        data = os.read(self.master, 65536) if ready else b""
        self.seen += data
        return data

    def restored(self) -> bool:
        """Say whether the terminal is as it was: its settings, its screen and its cursor."""
        return (
            termios.tcgetattr(self._slave) == self.before
            and self.seen.rfind(NORMAL) > self.seen.rfind(ALTERNATE)
            and self.seen.rfind(b"\x1b[?25h") > self.seen.rfind(b"\x1b[?25l")
        )

    def close(self) -> None:
        """End it in any case."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self._slave)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """Give a list of what is to be ended after the test."""
    started: list[Terminal] = []
    yield started
    for terminal in started:
        terminal.close()


@pytest.mark.parametrize("how", [b"q", b"\x03", signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_left_as_it_was(
    log: Path, models: Path, tmp_path: Path, terminals: list[Terminal], how: bytes | signal.Signals
) -> None:
    """By whatever it is ended, it ends with code 0, a summary on the normal screen, and without a trace."""
    terminal = Terminal("-l", log, "--models", models, "--state", tmp_path / "state", "--from", "start")
    terminals.append(terminal)
    terminal.await_(b"At the end of the log; 2,406 actions")
    assert terminal.seen.startswith(ALTERNATE)
    if isinstance(how, bytes):
        os.write(terminal.master, how)
    else:
        terminal.process.send_signal(how)
    assert terminal.ended() == 0
    assert terminal.restored()
    assert terminal.seen.rpartition(b"\x1b[?1004l")[2].startswith(b"2,406 lines, 2,406 actions, 2,400 scored")
    assert not (tmp_path / "state").exists()


def test_a_stop_that_nobody_asked_for_changes_nothing(
    log: Path, models: Path, tmp_path: Path, terminals: list[Terminal]
) -> None:
    """Frozen and let go on, it draws on, ends when it is asked to, and leaves the terminal as it was."""
    terminal = Terminal("-l", log, "--models", models, "--state", tmp_path / "state")
    terminals.append(terminal)
    terminal.await_(b"At the end of the log; 0 actions")
    for number in (signal.SIGTSTP, signal.SIGSTOP, signal.SIGCONT):
        terminal.process.send_signal(number)
    os.write(terminal.master, b" ")
    terminal.await_(b"paused, 0 came meanwhile")
    assert terminal.seen.count(ALTERNATE) == 1
    os.write(terminal.master, b"q")
    assert terminal.ended() == 0
    assert terminal.restored()


def test_a_terminal_that_is_gone_is_not_waited_for(
    log: Path, models: Path, tmp_path: Path, terminals: list[Terminal]
) -> None:
    """It ends by itself, also where no signal says that the terminal was closed."""
    terminal = Terminal("-l", log, "--models", models, "--state", tmp_path / "state")
    terminals.append(terminal)
    terminal.await_(b"At the end of the log; 0 actions")
    os.close(terminal.master)
    os.close(terminal._slave)
    terminal.master, terminal._slave = pty.openpty()
    assert terminal.process.wait(PATIENCE) == 0


def test_an_error_is_a_sentence_on_the_normal_screen(log: Path, tmp_path: Path, terminals: list[Terminal]) -> None:
    """What cannot be opened takes no screen."""
    terminal = Terminal("-l", log, "--models", tmp_path / "none", "--state", tmp_path / "state")
    terminals.append(terminal)
    assert terminal.ended() == 7
    assert terminal.seen.decode().replace("\r\n", "\n") == (
        f"Error: There is no model in {tmp_path / 'none'} yet."
        " Make models with: anomaly train --all-users -l LOG\n"
    )
