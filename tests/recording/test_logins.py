"""Sessions."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest

from anomaly.recording.logins import sessions


def test_a_session_is_a_row_with_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session without a terminal has an empty one, and one without a name is nobody's."""
    users = [
        SimpleNamespace(name="alice", terminal="pts/0", host="10.0.0.2", started=1_793_585_624.5, pid=1),
        SimpleNamespace(name="bob", terminal=None, host=None, started=1.0, pid=None),
        SimpleNamespace(name="", terminal="tty1", host="", started=1.0, pid=3),
    ]
    monkeypatch.setattr(psutil, "users", lambda: users)
    assert [dict(row) for row in sessions()] == [
        {"host": "10.0.0.2", "time": "1793585624", "tty": "pts/0", "username": "alice"},
        {"host": "", "time": "1", "tty": "", "username": "bob"},
    ]
