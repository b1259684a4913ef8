"""Metrics over HTTP and in a file: there while the run goes on, and gone with it."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from anomaly import exposure
from anomaly.board import Board
from anomaly.errors import ConfigError
from anomaly.exposure import exposed
from anomaly.metrics_address import Served, Written
from anomaly.tally import Tally


@pytest.fixture
def board() -> Board:
    """Give an empty board."""
    return Board(Tally())


def fetch(port: int, host: str = "127.0.0.1") -> dict[str, float]:
    """Ask as Prometheus does, and return the values without labels."""
    connection = HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert answer.status == 200
        text = answer.read().decode()
    finally:
        connection.close()
    return {
        s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples if not s.labels
    }


def sooner_or_later(port: int) -> dict[str, float]:
    """Ask until there is a place: one is given free a moment after its caller has seen the end."""
    last = time.monotonic() + 5
    while True:
        with suppress(ConnectionError):
            return fetch(port)
        assert time.monotonic() < last


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_values_are_those_of_the_moment_they_are_asked_for(board: Board, host: str) -> None:
    """Each scrape reads the board, by either loopback address."""
    with exposed(Served(host, 0), board) as port:
        assert fetch(port, host)["anomaly_lines_total"] == 0
        board.tally.lines = 7
        assert fetch(port, host)["anomaly_lines_total"] == 7


def test_the_end_leaves_neither_thread_nor_port(board: Board) -> None:
    """The port can be used at once by the next run, and nothing answers there meanwhile."""
    with exposed(Served("127.0.0.1", 0), board) as port:
        fetch(port)
    assert "metrics" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(ConnectionRefusedError):
        fetch(port)
    with exposed(Served("127.0.0.1", port), board):
        fetch(port)


def test_a_port_that_is_taken_is_one_sentence(board: Board) -> None:
    """Two runs with one port: the second says so."""
    with (
        exposed(Served("127.0.0.1", 0), board) as port,
        pytest.raises(ConfigError) as refused,
        exposed(Served("127.0.0.1", port), board),
    ):
        pass
    assert str(refused.value) == (
        f"--metrics: 127.0.0.1 port {port} cannot be used: Address already in use. Give another port."
    )


def test_who_connects_and_is_silent_takes_a_place_and_no_more(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silent callers are bounded in number and in time; then others are answered again."""
    monkeypatch.setattr(exposure._Handler, "timeout", 0.2)
    with exposed(Served("127.0.0.1", 0), board) as port:
        before = threading.active_count()
        callers = [socket.create_connection(("127.0.0.1", port)) for _ in range(exposure.CALLERS + 4)]
        for caller in callers:
            assert caller.recv(1) == b""
            assert threading.active_count() <= before + 2 * exposure.CALLERS  # one that answers, one that waits
            caller.close()
        assert fetch(port)["anomaly_lines_total"] == 0


def test_who_drips_gives_the_place_free(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers that send a byte now and then are ended when their time in all is over."""
    monkeypatch.setattr(exposure, "LONGEST", 0.2)
    ended = threading.Event()
    with exposed(Served("127.0.0.1", 0), board) as port:
        callers = [socket.create_connection(("127.0.0.1", port)) for _ in range(exposure.CALLERS)]

        def drip() -> None:
            while not ended.wait(0.01):
                for caller in callers:
                    with suppress(OSError):
                        caller.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            for caller in callers:
                caller.settimeout(3)
                with suppress(ConnectionResetError):
                    while caller.recv(4096):
                        pass
            assert sooner_or_later(port)["anomaly_lines_total"] == 0
        finally:
            ended.set()
            thread.join()
            for caller in callers:
                caller.close()


def test_the_file_is_whole_readable_and_written_at_the_end(board: Board, tmp_path: Path) -> None:
    """It is there from the start, for everybody to read, and says at the end what was counted last."""
    path = tmp_path / "anomaly.prom"
    with exposed(Written(path), board):
        assert b"anomaly_lines_total 0.0\n" in path.read_bytes()
        board.tally.lines = 7
    assert b"anomaly_lines_total 7.0\n" in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in tmp_path.iterdir()] == ["anomaly.prom"]


def test_the_file_is_written_time_and_again(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the run goes on, the file follows."""
    written = threading.Semaphore(0)
    monkeypatch.setattr(exposure, "EVERY", 0.001)
    monkeypatch.setattr(exposure, "_write", lambda _path, _data: written.release())
    with exposed(Written(tmp_path / "anomaly.prom"), board):
        for _ in range(4):
            assert written.acquire(timeout=5)


def test_a_file_that_cannot_be_written_is_said_before_anything_begins(board: Board, tmp_path: Path) -> None:
    """A directory that is not there is a setting that does not fit."""
    path = tmp_path / "no" / "anomaly.prom"
    with pytest.raises(ConfigError) as refused, exposed(Written(path), board):
        pass
    assert str(refused.value) == (
        f"--metrics: {path} cannot be written: No such file or directory. Give another file."
    )


def test_a_directory_that_goes_away_is_survived_and_said_once(board: Board, tmp_path: Path) -> None:
    """Metrics are not worth the watch."""
    folder, said = tmp_path / "collector", list[str]()
    folder.mkdir()
    path = folder / "anomaly.prom"
    with exposed(Written(path), board, said.append):
        path.unlink()
        folder.rmdir()
    assert said == [
        f"{path} cannot be written: No such file or directory. Scoring goes on, and it is tried again."
    ]


def test_a_link_is_replaced_not_followed(board: Board, tmp_path: Path) -> None:
    """Who may write the collector's directory cannot have us write elsewhere."""
    other, path = tmp_path / "other", tmp_path / "anomaly.prom"
    other.write_text("mine")
    path.symlink_to(other)
    with exposed(Written(path), board):
        pass
    assert other.read_text() == "mine"
    assert not path.is_symlink()
