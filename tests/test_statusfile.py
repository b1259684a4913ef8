"""The status file: written when something is new, read with distrust, and never the watch's undoing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.board import Board
from anomaly.osquery import Action
from anomaly.records import ModelRef, Score
from anomaly.statusfile import COMPLAIN, EVERY, StatusFile, decode
from anomaly.tally import Tally

NAME = "log-0123456789abcdef"


class Place:
    """A state directory, a board and a clock."""

    def __init__(self, state: Path) -> None:
        self.state, self.now, self.said, self.tally = state, 1000.0, list[str](), Tally()
        self.board = Board(self.tally)
        self.path = state / f"{NAME}.status.json"
        self.file = self.make()

    def make(self) -> StatusFile:
        """Make a status file."""
        return StatusFile(self.state, NAME, Path("/var/log/x.log"), None, self.said.append, lambda: self.now)

    def act(self, user: str = "alice") -> None:
        """Let a user act."""
        action = Action(1_793_000_000, "ws1", user, "shell_history", "added", {})
        self.board.take([Score("f:0", action, 5.0, 3.0, 1.0, ModelRef("OCSVM", 3, "ready"))])
        self.tally.lines += 1


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Give an empty state directory."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    return Place(state)


def test_it_is_written_for_its_owner_alone_and_read_back(place: Place) -> None:
    """The file has mode 0600, and says what the board says."""
    place.act("a\udc80\x1b")
    place.tally.skipped["not_json"] = 4
    place.board.failed("webhook")
    place.file.keep(place.board)
    assert place.path.stat().st_mode & 0o777 == 0o600
    found = decode(place.path.read_bytes())
    assert (found.log, found.user, found.lines, found.skipped) == ("/var/log/x.log", None, 1, {"not_json": 4})
    assert found.failures == {"webhook": 1}
    assert [row.user for row in found.rows] == ["a\\udc80\x1b"]
    assert [path.name for path in place.state.iterdir()] == [place.path.name]


def test_it_is_written_at_most_every_two_seconds_and_only_for_news(place: Place) -> None:
    """Between two writings are EVERY seconds, and nothing is written where nothing has changed."""
    place.file.keep(place.board)
    place.act()
    place.now += EVERY / 2
    place.file.keep(place.board)
    assert decode(place.path.read_bytes()).lines == 0
    place.now += EVERY / 2
    place.file.keep(place.board)
    assert decode(place.path.read_bytes()).lines == 1
    place.path.unlink()
    place.now += EVERY
    place.file.keep(place.board)
    assert not place.path.exists()
    place.file.keep(place.board, now=True)
    assert place.path.exists()


def test_that_it_cannot_be_written_is_said_once_a_minute_and_survived(place: Place) -> None:
    """A state directory that is gone costs a sentence, and the next writing succeeds when it is back."""
    place.state.rmdir()
    for _ in range(5):
        place.act()
        place.now += EVERY
        place.file.keep(place.board)
    assert place.said == [f"{place.path} cannot be written: it is gone. Scoring goes on."]
    place.now += COMPLAIN
    place.file.keep(place.board)
    assert len(place.said) == 2
    place.state.mkdir(mode=0o700)
    place.now += EVERY
    place.file.keep(place.board)
    assert decode(place.path.read_bytes()).lines == 5


def test_the_next_run_goes_on_counting(place: Place) -> None:
    """What was known of users survives a restart, unless the log is read from elsewhere."""
    place.act()
    place.file.keep(place.board)
    for resume, expected in ((True, 2), (False, 1)):
        later = Place(place.state)
        later.file.attach(later.board, resume=resume)
        later.act()
        assert [row.actions for row in later.board.rows()] == [expected]


@pytest.mark.parametrize("content", [b"", b"{", b'{"log":"x"}', b"[" * 100_000, b"\xff", b"null"])
def test_a_torn_file_is_passed_over_with_a_sentence(place: Place, content: bytes) -> None:
    """Whatever lies there, the run begins, and says that it counts anew."""
    place.path.write_bytes(content)
    place.file.attach(place.board, resume=True)
    (said,) = place.said
    assert said.startswith(f"{place.path} is passed over: ")
    assert said.endswith(". Counts of users begin anew.")
    assert place.board.rows() == []


def test_a_link_is_not_followed_and_not_written_through(place: Place, tmp_path: Path) -> None:
    """A symbolic link in the file's place is neither read nor written through: it is replaced."""
    other = tmp_path / "other"
    other.write_text("mine")
    place.path.symlink_to(other)
    place.file.attach(place.board, resume=True)
    assert "passed over: it cannot be opened" in place.said[0]
    place.file.keep(place.board, now=True)
    assert not place.path.is_symlink()
    assert other.read_text() == "mine"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("ab\x00é", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab\x00é", max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["rows", "day", "lines", "skipped", "schema", "others", "user"]), _JSON))
def test_whatever_a_file_says_is_read_or_refused(fields: dict[str, object]) -> None:
    """JSON of any other form raises ValueError and nothing else."""
    content = {"log": "/x", "user": None, "started": 1.0, "written": 2.0, **fields}
    try:
        found = decode(json.dumps(content).encode())
    except ValueError:
        return
    Board(Tally()).restore(found.rows, found.others)


def test_a_schema_of_another_version_is_refused() -> None:
    """A file of a later program is not guessed at."""
    content = {"log": "/x", "user": None, "started": 1.0, "written": 2.0, "schema": 2}
    with pytest.raises(ValueError, match="its schema is 2, this program reads 1"):
        decode(json.dumps(content).encode())
