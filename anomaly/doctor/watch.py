"""Checks of the state: that it can be written, and that somebody follows the log, not far behind its end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import msgspec

from anomaly.bounded import Unread, read
from anomaly.doctor.files import existing, names
from anomaly.doctor.interface import Verdict, World, ok, problem, unknown, warning, word
from anomaly.doctor.log import span
from anomaly.doctor.models import distrusted
from anomaly.errors import LogError
from anomaly.sources.checkpoint import checkpoint_name
from anomaly.sources.interface import Position

_LARGEST = 64 << 20
_BEHIND, _STILL = 1 << 20, 120
"""Bytes that are a backlog, and seconds without a checkpoint that are a halt."""


class _Checkpoint(msgspec.Struct):
    """What a checkpoint says beside the state of the scorer."""

    log: str
    position: Position


class Follower(NamedTuple):
    """Who follows, or has followed, a log."""

    held: bool
    """Whether a process works with it now."""
    written: float
    """When the checkpoint was written, in seconds since 1970 UTC."""
    behind: int | None
    """Bytes of the log after its place; None where the place is not in this file."""


def state(world: World) -> Verdict:
    """Whether the directory of checkpoints can be used."""
    folder = world.places.state
    if os.path.islink(folder):  # noqa: PTH114 - a Path raises where it may not look
        return problem(f"{folder} is a symbolic link, which someone else may turn.", f"readlink -f {word(folder)}")
    if (verdict := distrusted(folder)) is not None:
        return verdict
    place = existing(folder)
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return problem(
            f"{place} cannot be written to: no place in the log would be kept.", f"ls -ld {word(place)}"
        )
    if place != folder.absolute():
        return ok(f"{folder} will be made.")
    if bad := [name for name in names(folder) if name.endswith(".bad")]:
        return warning(f"{folder / bad[0]} is a checkpoint that could not be read.", f"rm {word(folder / bad[0])}")
    return ok(f"{folder} can be written.")


def follower(world: World) -> Verdict:
    """Whether a process follows the log, and how far it is."""
    folder = world.places.state
    if isinstance(world.sample, LogError):
        return unknown("The log cannot be looked at.")
    if folder.exists() and not os.access(folder, os.R_OK | os.X_OK):
        return unknown(f"{folder} may not be read by you.", f"ls -ld {word(folder)}")
    if found := _followers(world):
        return _progress(max(found, key=lambda one: (one.held, one.written)), world)
    if _begun(world):
        return ok("A process follows this log, and has written no checkpoint yet.")
    return warning("Nothing has followed this log yet.", *_start(world))


def _progress(best: Follower, world: World) -> Verdict:
    idle = world.places.now - best.written
    rest = "the place is in an archive" if best.behind is None else f"{best.behind:,} bytes of the log are left"
    where = f"{span(max(int(idle), 0))} old, and {rest}."
    if not best.held:
        return warning(f"No process follows this log; the last checkpoint is {where}", *_start(world))
    if idle > _STILL and (best.behind is None or best.behind > _BEHIND):
        look = ("systemctl status anomaly", "journalctl -u anomaly -e")
        return warning(f"A process follows, but its checkpoint is {where}", *look)
    return ok(f"A process follows this log; its checkpoint is {where}")


def _start(world: World) -> tuple[str, str]:
    return "sudo systemctl start anomaly", f"anomaly predict --all-users -l {word(world.places.log)}"


def _followers(world: World) -> list[Follower]:
    folder, sample = world.places.state, world.sample
    if isinstance(sample, LogError):
        return []
    locks = _locks(world.places.root / "proc" / "locks")
    found = []
    for name in names(folder):
        path = folder / name
        if not name.endswith(".json") or (read_here := _read(path)) is None:
            continue
        checkpoint, written = read_here
        if Path(checkpoint.log).absolute() == world.places.log.absolute():
            position = checkpoint.position
            inside = position.file in {"", sample.fingerprint} and position.offset <= sample.size
            behind = sample.size - position.offset if inside else None
            found.append(Follower(_is_held(folder / f"{path.stem}.lock", locks), written, behind))
    return found


def _read(path: Path) -> tuple[_Checkpoint, float] | None:
    """Read a checkpoint, no link and no pipe, and when it was written; None where it is none."""
    data = read(path, _LARGEST, follow=False)
    try:
        if isinstance(data, Unread):
            return None
        return msgspec.json.decode(data, type=_Checkpoint), path.lstat().st_mtime
    except (OSError, ValueError, RecursionError):
        return None


def _begun(world: World) -> bool:
    """Say whether a process holds a checkpoint of a log of this name, whoever it selects from it."""
    begin = checkpoint_name(world.places.log, "").rpartition("-")[0]
    locks, folder = _locks(world.places.root / "proc" / "locks"), world.places.state
    found = [name for name in names(folder) if name.startswith(f"{begin}-") and name.endswith(".lock")]
    return any(_is_held(folder / name, locks) for name in found)


class _Lock(NamedTuple):
    """One line of /proc/locks."""

    process: str
    device: str
    inode: str


def _locks(path: Path) -> list[_Lock]:
    """Return the locks that processes hold, as the kernel lists them.

    Taking a lock to see whether it is free would make a daemon fail that starts at this moment.
    """
    data = read(path, _LARGEST)
    rows = (
        [] if isinstance(data, Unread) else [row.split() for row in data.decode("ascii", "replace").splitlines()]
    )
    return [
        _Lock(row[4], *row[5].rsplit(":", 1))
        for row in rows
        if len(row) > 5 and row[1] == "FLOCK" and ":" in row[5]
    ]


def _is_held(lock: Path, locks: list[_Lock]) -> bool:
    try:
        status = lock.lstat()
    except (OSError, ValueError):
        return False
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    text = read(lock, 64, follow=False)  # the process that holds it writes its number into it
    process = "" if isinstance(text, Unread) else text.decode("ascii", "replace").strip()
    # Btrfs and overlays tell stat() another device than the kernel's own: there the process has to do.
    return any(
        one.inode == str(status.st_ino) and (one.device == device or one.process == process) for one in locks
    )
