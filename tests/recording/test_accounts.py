"""Names of numbers, and homes."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from anomaly.recording.accounts import Accounts, Home


def entry(name: str, uid: int, home: str) -> pwd.struct_passwd:
    """Make a row of the user database."""
    return pwd.struct_passwd((name, "x", uid, uid, "", home, "/bin/sh"))


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> list[pwd.struct_passwd]:
    """Stand in for the system's users."""
    users = [entry("root", 0, "/root"), entry("toor", 0, "/toor"), entry("alice", 1000, "/home/alice")]

    def getpwuid(uid: int) -> pwd.struct_passwd:
        return {each.pw_uid: each for each in reversed(users)}[uid]

    monkeypatch.setattr("anomaly.recording.accounts.pwd.getpwall", lambda: users)
    monkeypatch.setattr("anomaly.recording.accounts.pwd.getpwuid", getpwuid)
    return users


def test_numbers_have_names(database: list[pwd.struct_passwd]) -> None:
    """A number is named as the system does; one that is nobody's, or that no user has, is not."""
    accounts = Accounts(0)
    assert database
    assert [accounts.name(uid) for uid in (0, 1000, 4242, 2**32 - 1, -1, None)] == [
        "root",
        "alice",
        "",
        "",
        "",
        "",
    ]


def test_root_looks_into_every_home_and_others_into_their_own(database: list[pwd.struct_passwd]) -> None:
    """Two names of one number are one person; a home that is no absolute path is none."""
    database.append(entry("odd", 7, ""))
    alice = Home(1000, "alice", Path("/home/alice"))
    assert Accounts(0).homes() == [Home(0, "root", Path("/root")), alice]
    assert Accounts(1000).homes() == [alice]
    assert Accounts(4242).homes() == []


def test_new_users_are_noticed(database: list[pwd.struct_passwd], tmp_path: Path) -> None:
    """When the database changes, names and homes are asked for again; an unknown number every round."""
    file = tmp_path / "passwd"
    file.touch()
    accounts = Accounts(0, file)
    accounts.refresh()
    assert (accounts.name(1001), accounts.name(1000), len(accounts.homes())) == ("", "alice", 2)
    database[2] = entry("alicia", 1000, "/home/alice")
    database.append(entry("bob", 1001, "/home/bob"))
    assert accounts.name(1001) == ""
    accounts.refresh()
    assert (accounts.name(1001), accounts.name(1000), len(accounts.homes())) == ("bob", "alice", 2)
    os.utime(file, (1, 1))
    accounts.refresh()
    assert (accounts.name(1000), len(accounts.homes())) == ("alicia", 3)
