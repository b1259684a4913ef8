"""Deadlines: a conversation ends when its time is over, and not before."""

from __future__ import annotations

import socket
import threading

import pytest

from anomaly.deadline import Deadline


def test_whoever_waits_fails_when_the_time_is_over() -> None:
    """A read that nobody answers ends; the connection stays its owner's to close."""
    here, there = socket.socketpair()
    with here, there, Deadline(0.01) as deadline:
        deadline.watch(here)
        assert here.recv(1) == b""
        assert deadline.is_over
        assert here.fileno() >= 0


def test_a_connection_that_comes_too_late_is_ended_at_once() -> None:
    """What is begun after the end fails too."""
    here, there = socket.socketpair()
    with here, there, Deadline(0) as deadline:
        deadline._timer.join()
        deadline.watch(here)
        assert here.recv(1) == b""


def test_nothing_is_left_of_one_that_was_in_time() -> None:
    """The connection lives on, and no thread does."""
    here, there = socket.socketpair()
    before = threading.active_count()
    with here, there:
        with Deadline(60) as deadline:
            deadline.watch(here)
        there.sendall(b"x")
        assert here.recv(1) == b"x"
        assert not deadline.is_over
        assert threading.active_count() == before


def test_without_a_thread_there_is_no_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversation that nothing would end is not begun."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(OSError, match="no thread can be started"), Deadline(1):
        pass
