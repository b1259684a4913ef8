"""Files beside the checkpoints: found, read with distrust, written whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anomaly import state_files
from anomaly.errors import StateError, StateRefused
from anomaly.sources.checkpoint_file import CheckpointFile

NAME = "osqueryd.results.log-0123456789abcdef"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Give a directory that is ours alone."""
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    return path


def test_names_are_those_of_checkpoints_and_nothing_else(state: Path) -> None:
    """All files of one checkpoint are one name; what anybody else put there is none."""
    for ending in ("json", "status.json", "lock", "bad", "tmp"):
        (state / f"{NAME}.{ending}").touch()
    for other in ("alerts.ndjson", "x.json", f"{NAME}.json.swp", ".hidden-0123456789abcdef.json"):
        (state / other).touch()
    with state_files.opened(state) as folder:
        assert folder is not None
        assert state_files.names(folder) == [NAME]


def test_a_directory_that_is_missing_is_none_and_one_of_others_is_refused(state: Path) -> None:
    """Where others may write, what lies there says nothing; a file is no directory."""
    with state_files.opened(state / "no") as folder:
        assert folder is None
    (state / "file").touch()
    with (
        pytest.raises(StateError, match=r"Not a directory; name another with --state\.$"),
        state_files.opened(state / "file"),
    ):
        pass
    state.chmod(0o777)
    with pytest.raises(StateRefused, match="everybody may write it"), state_files.opened(state):
        pass


def test_what_is_not_to_be_believed_is_a_value_error(state: Path) -> None:
    """Links, pipes, what others may write and what is too large are not read; what is missing is None."""
    (state / "link").symlink_to(state / "own")
    os.mkfifo(state / "pipe")
    (state / "folder").mkdir()
    (state / "own").write_bytes(b"12345")
    (state / "theirs").write_bytes(b"")
    (state / "theirs").chmod(0o666)
    with state_files.opened(state) as folder:
        assert folder is not None
        assert state_files.read(folder, "no") is None
        assert state_files.read(folder, "own") == b"12345"
        for name, why in {
            "link": "cannot be opened",
            "pipe": "no regular file",
            "folder": "no regular file",
            "theirs": "others than root and you may write it",
            "own": "larger than 4 bytes",
        }.items():
            with pytest.raises(ValueError, match=why):
                state_files.read(folder, name, most=4)


def test_a_writing_that_fails_leaves_the_old_and_nothing_beside_it(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is the old one or the new one, and no half of one stays."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with state_files.opened(state) as folder:
        assert folder is not None
        state_files.write(folder, "x", b"old")
        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="No space left"):
            state_files.write(folder, "x", b"new")
    assert (state / "x").read_bytes() == b"old"
    assert [path.name for path in state.iterdir()] == ["x"]


def test_a_lock_says_who_works_there(state: Path) -> None:
    """The process is named while it runs; a lock file that nobody holds is nobody's, and stays free."""
    with state_files.opened(state) as folder:
        assert folder is not None
        assert state_files.holder(folder, NAME) is None
        with CheckpointFile(state, NAME):
            assert state_files.holder(folder, NAME) == os.getpid()
            (state / f"{NAME}.lock").write_text("x\n")
            assert state_files.holder(folder, NAME) == 0
        assert state_files.holder(folder, NAME) is None
        CheckpointFile(state, NAME).close()
