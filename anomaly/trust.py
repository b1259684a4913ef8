"""Which files and directories may be believed: the rule of ssh for its keys.

A model or a checkpoint that somebody else can write is that person's opinion of who is suspicious. So both must
belong to root or to the user who runs this, and nobody else may be able to write them.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

from anomaly.advice import shell_word


def distrust(status: os.stat_result) -> str | None:
    """Say why a file or directory must not be trusted; None where it may be.

    A group that holds nobody but the owner is no danger: Debian, Ubuntu and Fedora give every user such a group
    and let it write by default.
    """
    if status.st_uid not in (0, os.geteuid()):
        return f"it belongs to {user_name(status.st_uid)}, not to root or to you"
    if status.st_mode & stat.S_IWOTH:
        return "everybody may write it"
    if status.st_mode & stat.S_IWGRP and not _private_group(status.st_gid, status.st_uid):
        return "its group may write it"
    return None


def refusal(path: Path, status: os.stat_result, *, whole: bool = False) -> str | None:
    """Say, as a sentence with the command that mends it, why a file must not be trusted; None where it may be.

    ``whole`` as for :func:`mending`.
    """
    reason = distrust(status)
    if reason is None:
        return None
    command = mending(path, whole=whole)
    return f"{path} is not to be trusted: {reason}. If what is in it is yours, run: {command}"


def mending(path: Path, *, whole: bool = False) -> str:
    """Return the command that makes a file or directory ours; with ``whole`` all that is in it, too.

    Only where nothing but ours is in it: what else lies in a directory that was named is nobody's to give away.
    """
    # With -R neither command follows a link but one that ends in a slash, as the directory itself may be.
    word = shell_word(f"{path}/" if whole and path.is_symlink() else str(path))
    every = "-R " if whole else ""
    return f"chown {every}$(id -un) {word} && chmod {every}go-w {word}"


def make_private(directory: Path) -> None:
    """Make a directory where it is missing, with all above it, each for its owner alone whatever the umask.

    ``Path.mkdir(parents=True)`` has the mode for the last one only. Raises OSError.
    """
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        if directory.parent == directory:
            raise
        make_private(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


def _private_group(gid: int, uid: int) -> bool:
    try:
        owner, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:
        return False
    return owner.pw_gid == gid and group.gr_name == owner.pw_name and set(group.gr_mem) <= {owner.pw_name}


def user_name(uid: int) -> str:
    """Return the name of a number, or say that it is one."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
