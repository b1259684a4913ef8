"""A log full of what would like to run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from anomaly.detectors.interface import Algorithm
from anomaly.enrolment import Enrolment, enrol
from anomaly.harvest import Watch
from tests.conftest import BEGIN

if TYPE_CHECKING:
    from tests.conftest import Event

HOSTILE = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "'--></style></script><script>document.title='owned'</script>",
    "javascript:document.title='owned'",
    "<b>bold</b><a href=\"javascript:document.title='owned'\">here</a>",
    "{{ 7 * 7 }}{% raw %}",
    "<!--<script>",
    "\u2028document.title='owned'//\u202eevil\u2066",
    "%{x}<extra>no</extra>",
)
"""What would run, or be taken for markup, on a page that does not take care."""

NAME = "<script>document.title='owned'</script>\u202e"
"""A user's name."""


class Sample(NamedTuple):
    """A hostile log, and models of those who act in it."""

    log: Path
    models: Path


def _ordinary(event: Event, user: str, number: int) -> bytes:
    words = ("ls", "git status", "make", "vim a.c", "cd src")
    time = BEGIN + 600 * number
    odd: dict[str, Any] = {HOSTILE[0]: HOSTILE[1]}
    return event(user, time=time, command=words[number * number % 5], **odd)


@pytest.fixture(scope="session")
def hostile(event: Event, silent: Watch, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Give a log in which everything that can be chosen would like to run, and models of two of its users."""
    folder = tmp_path_factory.mktemp("hostile")
    log = folder / "osqueryd.results.log"
    lines = [_ordinary(event, user, number) for number in range(700) for user in (NAME, "alice")]
    log.write_bytes(b"".join(line + b"\n" for line in lines))
    list(enrol(Enrolment((log,), folder / "models", Algorithm.OCSVM), silent))
    later = [b"<script>document.title='owned'</script>", b"{", b'{"name": "x"}']
    for number in range(120):
        text = HOSTILE[number % len(HOSTILE)]
        odd: dict[str, Any] = {text: text}
        for user in (NAME, "alice", text):
            query = text if number % 3 else "shell_history"
            time = BEGIN + 600 * 700 + 60 * number
            later.append(event(user, query, time=time, host=text, command=f"{text}{number}", **odd))
    with log.open("ab") as file:
        file.write(b"".join(line + b"\n" for line in later))
    return Sample(log, folder / "models")
