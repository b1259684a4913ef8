from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from anomaly.ledger import held
from anomaly.sinks.spool import Spool
from anomaly.sources.checkpoint_file import CheckpointFile
from anomaly.trust import distrust, make_private

ME = os.geteuid()
USERS = {0: ("root", 0), 7777: ("mallory", 7777), ME: ("me", 500)}
GROUPS = {500: ("me", []), 600: ("me", ["me"]), 501: ("staff", []), 502: ("me", ["mallory"])}


@pytest.fixture(autouse=True)
def _databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the system's databases a few users and groups; who is not among them has no name."""
    assert tmp_path.is_dir()  # made before: pytest asks the databases for its name
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name=USERS[uid][0], pw_gid=USERS[uid][1]))
    monkeypatch.setattr(
        grp, "getgrgid", lambda gid: SimpleNamespace(gr_name=GROUPS[gid][0], gr_mem=GROUPS[gid][1])
    )


def status(mode: int, uid: int = ME, gid: int = 500) -> os.stat_result:
    """Make what ``os.stat`` would say."""
    return os.stat_result((mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


@pytest.mark.parametrize("mode", [0o100600, 0o100644, 0o40700, 0o40755, 0o100400])
@pytest.mark.parametrize("uid", [ME, 0])
def test_what_is_ours_or_roots_is_trusted(mode: int, uid: int) -> None:
    """What only its owner can write, and that is root or who runs this, is trusted; others may read it."""
    assert distrust(status(mode, uid)) is None


@pytest.mark.parametrize(("uid", "name"), [(7777, "mallory"), (8888, "user 8888")])
def test_what_belongs_to_others_is_not(uid: int, name: str) -> None:
    """What belongs to somebody else is not, and the owner is named, also one without a name."""
    assert distrust(status(0o100600, uid)) == f"it belongs to {name}, not to root or to you"


@pytest.mark.parametrize("mode", [0o100602, 0o40777, 0o41777])
def test_what_everybody_may_write_is_not(mode: int) -> None:
    """What everybody may write is not trusted, with a sticky bit neither."""
    assert distrust(status(mode)) == "everybody may write it"


def test_a_private_group_may_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """The group that bears its owner's name, is its first one and holds nobody else is the owner."""
    assert distrust(status(0o40770)) is None
    monkeypatch.setitem(GROUPS, 500, ("me", ["me"]))
    assert distrust(status(0o40770)) is None


@pytest.mark.parametrize(
    ("gid", "members", "why"),
    [
        (501, [], "it has another name"),
        (600, [], "it is not the owner's first one"),
        (500, ["mallory"], "somebody else is in it"),
        (500, ["me", "mallory"], "somebody else is in it too"),
        (9999, [], "nobody knows it"),
    ],
)
def test_a_shared_group_may_not(gid: int, members: list[str], why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other group may not write."""
    if members:
        monkeypatch.setitem(GROUPS, gid, ("me", members))
    assert distrust(status(0o40770, gid=gid)) == "its group may write it", why
    assert distrust(status(0o40750, gid=gid)) is None


def test_an_owner_without_a_name_has_no_private_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not know the owner, as in some containers, a group is shared."""
    monkeypatch.delitem(USERS, ME)
    assert distrust(status(0o40770)) == "its group may write it"


def _keep(directory: Path) -> None:
    with CheckpointFile(directory, "log"):
        pass


def _hold(directory: Path) -> None:
    with held(directory / "feedback.toml"):
        pass


@pytest.mark.parametrize(
    "make",
    [
        make_private,
        _hold,
        lambda directory: Spool(directory).close(),
        _keep,
    ],
)
@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022])
def test_every_directory_that_is_made_is_private(make: Callable[[Path], None], umask: int, tmp_path: Path) -> None:
    """Whoever makes the state directory first makes it, and what is above it, for its owner alone."""
    before = os.umask(umask)
    try:
        make(tmp_path / "home" / "state" / "spool")
    finally:
        os.umask(before)
    made = [tmp_path / "home", tmp_path / "home" / "state", tmp_path / "home" / "state" / "spool"]
    assert [path.stat().st_mode & 0o777 for path in made] == [0o700] * 3


def test_a_directory_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    """Nobody's mode is changed, and a file in the way is an error."""
    tmp_path.chmod(0o755)
    make_private(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_private(tmp_path / "file")
