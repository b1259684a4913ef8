"""Sessions of people: ``logged_in_users``."""

from __future__ import annotations

from collections.abc import Iterator

import psutil

from anomaly.recording.rows import Row, row


def sessions() -> Iterator[Row]:
    """Give a row for each session in utmp. A system without utmp has none."""
    for each in psutil.users():
        if each.name:
            yield row(host=each.host, time=int(each.started), tty=each.terminal, username=each.name)
