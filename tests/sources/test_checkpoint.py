from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from anomaly.errors import StateError, StateLocked, StateRefused
from anomaly.sources.checkpoint import Checkpoint, checkpoint_name
from anomaly.sources.checkpoint_file import CheckpointFile
from anomaly.sources.interface import Position

SAVED = Checkpoint(
    log="/var/log/X",
    position=Position("0123456789abcdef", 42, 1, 2),
    identities={"ws1": {"1000": "alice"}},
    users={"alice": msgspec.Raw(b'{"window":[1.5,2.5]}')},
)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Give a directory that is ours alone."""
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    return path


def load(state: Path) -> Checkpoint | None:
    """Open, load and close."""
    with CheckpointFile(state, "X-1") as file:
        return file.load()


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """A checkpoint survives the process; the directory is made 0700 and the file 0600."""
    folder = tmp_path / "deep" / "state"
    with CheckpointFile(folder, "X-1") as file:
        assert file.load() is None
        file.save(Checkpoint(log="/var/log/X", position=Position()))
        file.save(SAVED)
        assert file.set_aside is None
        path = file.path
    assert folder.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    with CheckpointFile(folder, "X-1") as file:
        assert file.load() == SAVED
    assert sorted(entry.name for entry in folder.iterdir()) == ["X-1.json", "X-1.lock"]


def test_a_second_process_is_turned_away(state: Path) -> None:
    """One checkpoint has one owner, and the message says who it is; another name is free."""
    with CheckpointFile(state, "X-1"):
        with pytest.raises(StateLocked, match=rf"process {os.getpid()} already works with .*--state"):
            CheckpointFile(state, "X-1")
        CheckpointFile(state, "X-2").close()
    CheckpointFile(state, "X-1").close()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff\x00",
        b"[" * 100_000,
        b'{"schema":1}',
        b'{"log":"X","position":{"offset":-1},"schema":1}',
        b'{"log":"X","position":{},"schema":2}',
        b'{"log":"X","position":{"offset":"many"}}',
    ],
)
def test_a_corrupt_checkpoint_is_set_aside(state: Path, data: bytes) -> None:
    """The start does not fail, the file is kept for whoever wants to know, and the reason is told."""
    (state / "X-1.json").write_bytes(data)
    with CheckpointFile(state, "X-1") as file:
        assert file.load() is None
        assert file.set_aside is not None
        assert "could not be read" in file.set_aside
        assert (state / "X-1.bad").read_bytes() == data
        assert file.load() is None
        file.save(SAVED)
        assert file.load() == SAVED


@pytest.mark.parametrize("failing", ["write", "fsync", "rename"])
def test_a_full_disk_leaves_the_old_checkpoint(
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
) -> None:
    """Saving fails with a sentence, the old file stands and no temporary one is left."""

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with CheckpointFile(state, "X-1") as file:
        file.save(SAVED)
        with monkeypatch.context() as patch:
            patch.setattr(os, failing, full)
            with pytest.raises(StateError, match="No space left on device; make room"):
                file.save(Checkpoint(log="other", position=Position()))
        assert file.load() == SAVED
        assert sorted(entry.name for entry in state.iterdir()) == ["X-1.json", "X-1.lock"]
        file.save(SAVED)


def test_a_short_write_is_finished(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may write less than it is given."""
    write = os.write
    with CheckpointFile(state, "X-1") as file:
        monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
        file.save(SAVED)
        assert file.load() == SAVED


def test_a_leftover_of_a_crash_does_not_stop_the_next_save(state: Path) -> None:
    """A temporary file of a process that was killed is replaced."""
    (state / "X-1.tmp").write_bytes(b"half")
    with CheckpointFile(state, "X-1") as file:
        file.save(SAVED)
        assert file.load() == SAVED
    assert not (state / "X-1.tmp").exists()


def test_state_that_cannot_be_json_is_an_error_of_ours(state: Path) -> None:
    """An object that has no JSON form costs a StateError, and the old checkpoint stands."""
    with CheckpointFile(state, "X-1") as file:
        file.save(SAVED)
        with pytest.raises(StateError, match="cannot be written"):
            file.save(Checkpoint(log="X", position=Position(), identities={"a": object()}))
        assert file.load() == SAVED


@pytest.mark.parametrize("mode", [0o777, 0o702])
def test_a_directory_that_others_can_write_is_refused(state: Path, mode: int) -> None:
    """The message is the command that mends it."""
    state.chmod(mode)
    with pytest.raises(StateRefused, match="chmod go-w"):
        CheckpointFile(state, "X-1")


def test_a_file_that_others_can_write_is_refused(state: Path) -> None:
    """It is not even set aside: whoever could write it could have us write elsewhere."""
    path = state / "X-1.json"
    path.write_bytes(b"{}")
    path.chmod(0o602)
    with CheckpointFile(state, "X-1") as file, pytest.raises(StateRefused, match=r"chmod go-w .*X-1\.json"):
        file.load()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", [".", "X-1.json", "X-1.lock"])
def test_what_belongs_to_another_user_is_refused(state: Path, what: str) -> None:
    """Only root and the running user may own the state."""
    path = state / what
    if what != ".":
        path.touch(mode=0o600)
    os.chown(path, 12345, -1)
    with pytest.raises(StateRefused, match="it belongs to user 12345, not to root or to you"):
        load(state)


def test_a_pipe_in_place_of_it_is_refused_and_a_directory_put_aside(state: Path) -> None:
    """A pipe says that somebody means to be read; a directory makes as little sense as any other content."""
    os.mkfifo(state / "X-1.json", 0o600)
    with pytest.raises(
        StateRefused, match=r"X-1\.json is not a regular file or directory of ours; move it away\.$"
    ):
        load(state)
    (state / "X-1.json").unlink()
    (state / "X-1.json").mkdir(mode=0o700)
    assert load(state) is None
    assert (state / "X-1.bad").is_dir()


@pytest.mark.parametrize("what", ["X-1.json", "X-1.lock"])
def test_a_link_in_place_of_a_file_is_refused(state: Path, tmp_path: Path, what: str) -> None:
    """No link is followed, neither to read nor to write."""
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (state / what).symlink_to(target)
    with pytest.raises(StateRefused, match="symbolic link"):
        load(state)
    assert target.read_bytes() == b"precious"


def test_a_link_in_place_of_the_directory_is_refused(state: Path, tmp_path: Path) -> None:
    """The directory itself is named, not a link to it."""
    link = tmp_path / "link"
    link.symlink_to(state)
    with pytest.raises(StateRefused, match="symbolic link"):
        CheckpointFile(link, "X-1")


def test_a_link_in_place_of_the_temporary_file_is_not_written_through(state: Path, tmp_path: Path) -> None:
    """The temporary file is always a new one."""
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (state / "X-1.tmp").symlink_to(target)
    with CheckpointFile(state, "X-1") as file:
        file.save(SAVED)
    assert target.read_bytes() == b"precious"


def test_what_is_no_directory_is_an_error_of_ours(tmp_path: Path) -> None:
    """A file in place of the directory is explained."""
    (tmp_path / "state").touch()
    with pytest.raises(StateError, match="cannot be used"):
        CheckpointFile(tmp_path / "state", "X-1")


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "../X", "a\0b", "x" * 200, "é"])
def test_a_name_is_no_path(state: Path, name: str) -> None:
    """Nothing but a plain name is taken."""
    with pytest.raises(StateRefused, match="cannot name"):
        CheckpointFile(state, name)
    assert list(state.iterdir()) == []


@pytest.mark.parametrize("log", ["/var/log/X", "/a/..", "/a/é\u202e", "/a/" + "x" * 250, "/a/.hidden", "-"])
@pytest.mark.parametrize("selection", ["", "alice", "../../etc", "a\0b", "\udcff", "x" * 70_000])
def test_every_log_and_selection_has_a_name(state: Path, log: str, selection: str) -> None:
    """Whatever a log or a user is called, the checkpoint's name is a safe one."""
    CheckpointFile(state, checkpoint_name(Path(log), selection)).close()


def test_different_logs_and_selections_have_different_names(tmp_path: Path) -> None:
    """Two daemons share a checkpoint only when they do the same."""
    (tmp_path / "link").symlink_to(tmp_path)
    first = checkpoint_name(tmp_path / "X", "alice")
    assert first == checkpoint_name(tmp_path / "link" / "X", "alice")
    assert first != checkpoint_name(tmp_path / "X", "bob")
    assert first != checkpoint_name(tmp_path / "Y", "alice")


@pytest.mark.parametrize("own", [{}, SAVED.users])
def test_users_one_after_another_are_written_as_users_at_once(state: Path, own: dict[str, msgspec.Raw]) -> None:
    """States that are given as they come are the same file, to the byte, as states that are all there."""
    more = {name: msgspec.Raw(b"[%d]" % number) for number, name in enumerate(("bob", 'o"mar', "}", "schema"))}
    with CheckpointFile(state, "X-1") as file:
        file.save(msgspec.structs.replace(SAVED, users=own), ((name, bytes(raw)) for name, raw in more.items()))
        assert file.path.read_bytes() == msgspec.json.encode(msgspec.structs.replace(SAVED, users=own | more))
        assert file.load() == msgspec.structs.replace(SAVED, users=own | more)


def test_users_are_written_as_they_come(state: Path) -> None:
    """Not all of them need be in memory at once: each is asked for after the one before was taken."""
    piece, held = b"[" + b"1," * (1 << 19) + b"1]", []

    def users() -> Iterator[tuple[str, bytes]]:
        for number in range(3):
            held.append((state / "X-1.tmp").stat().st_size)
            yield f"user{number}", piece

    with CheckpointFile(state, "X-1") as file:
        file.save(SAVED, users())
    assert held[0] < len(piece) <= held[1]
    assert held[2] >= 2 * len(piece)


def test_what_fails_in_between_leaves_the_old_one(state: Path) -> None:
    """Where a user's state cannot be had, no half of a checkpoint is left."""

    def users() -> Iterator[tuple[str, bytes]]:
        yield "alice", b"{}"
        raise ValueError("no such thing")

    with CheckpointFile(state, "X-1") as file:
        file.save(SAVED)
        with pytest.raises(StateError, match="cannot be written: no such thing"):
            file.save(SAVED, users())
        assert file.load() == SAVED
    assert not (state / "X-1.tmp").exists()
