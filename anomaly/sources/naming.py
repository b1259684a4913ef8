"""What the names of rotated logs say: which belong to a log, and which is older.

osquery rotates ``X`` to ``X.1``, then ``X.2.zst`` and up, and creates ``X`` with the next record
(plugins/logger/filesystem_logger.cpp, 4.9.0 and later); logrotate makes ``X.1``, ``X.2.gz`` or, with
``dateext``, ``X-20261101.gz``, before the extension where it is told so, and elsewhere with ``olddir``. A log that
is a symbolic link has its predecessors beside its target.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from anomaly.sources.compressed import COMPRESSED

_PACKED = "|".join(map(re.escape, COMPRESSED))
_ROTATED = re.compile(
    r"(?:"
    r"[.-](?P<day>[0-9]{4}-?[0-9]{2}-?[0-9]{2})(?P<time>[0-9]{0,6})"
    r"(?:[-.T_](?P<rest>[0-9]{1,12}(?:[-.:_][0-9]{2}){0,2}))?"  # a time, seconds since 1970, a running number
    r"|\.(?P<number>[0-9]{1,7})"
    r")",
    re.ASCII,
)

_Age = tuple[int, str, int, str]
"""What names sort by, the oldest first."""


def archives(log: Path, olddir: Path | None = None) -> list[Path]:
    """Return the paths that are named like a log's archives, oldest first; they may be anything.

    Dated archives come before numbered ones: where both exist, neither name says which is older.
    While ``X.2`` is compressed ``X.2.gz`` is already there and not whole: the plain one counts.
    """
    found: list[tuple[_Age, Path]] = []
    for folder in dict.fromkeys((*((olddir,) if olddir else ()), log.parent)):
        found += [(age, folder / name) for name in _names(folder) if (age := _age(name, log.name))]
    if os.path.islink(log):  # noqa: PTH114 - Path.is_symlink raises where it may not look
        found += _predecessors(log)
    return [path for _, path in sorted(found, key=lambda pair: pair[0])]


def family(name: str) -> tuple[str, tuple[int, str, int, str]]:
    """Give the name of the log that a file belongs to, by its own, and what a log's files sort by, oldest first.

    >>> family("results.log.2.gz")[0], family("results.log")[0], family("part-0001.json")[0]
    ('results.log', 'results.log', 'part-0001.json')
    """
    plain = re.sub(f"(?:{_PACKED})$", "", name)
    for match in _ROTATED.finditer(plain):
        if match.end() == len(plain) and match.start():
            log = plain[: match.start()]
            return log, _age(name, log) or _LIVE
    return plain, _LIVE


_LIVE = (3, "", 0, "")  # newer than every archive


def _names(folder: Path) -> list[str]:
    """List a directory, without what stands there uncompressed as well."""
    try:
        names = set(os.listdir(folder))
    except (OSError, ValueError):
        return []
    return sorted(n for n in names if not (n.endswith(COMPRESSED) and n.rpartition(".")[0] in names))


def _age(name: str, log: str) -> _Age | None:
    """Say how old an archive is by its name; None for what is no archive of this log."""
    plain = re.sub(f"(?:{_PACKED})$", "", name)
    # X.log.1, and X.1.log where logrotate is told the extension.
    for begin, end in ((log, ""), (Path(log).stem, Path(log).suffix)):
        if not (plain.startswith(begin) and plain.endswith(end) and len(plain) > len(begin) + len(end)):
            continue
        match = _ROTATED.fullmatch(plain[len(begin) : len(plain) - len(end)])
        if match is None:
            continue
        if match["number"] is not None:
            return 1, "", -int(match["number"]), name
        day, rest = match["day"].replace("-", ""), re.sub("[^0-9]", "", match["rest"] or "0")
        return 0, day + match["time"].ljust(6, "0"), int(rest), name
    return None


def _predecessors(log: Path) -> list[tuple[_Age, Path]]:
    """Return what a symbolic link has probably pointed to before: names like its target's but for the numbers.

    Only where the target's name begins with the link's: ``current`` may be a link to one of many hosts' logs.
    """
    target = Path(os.path.realpath(log))
    rest = target.name.removeprefix(log.name)
    if rest == target.name or not re.search(r"[0-9]", rest):
        return []
    like = "".join(r"([0-9]+)" if part.isdigit() else re.escape(part) for part in re.split(r"([0-9]+)", rest))
    pattern = re.compile(re.escape(log.name) + like + f"(?:{_PACKED})?", re.ASCII)
    found = []
    for name in _names(target.parent):
        if match := pattern.fullmatch(name):
            numbers = "".join(number.rjust(20, "0") for number in match.groups())
            found.append(((2, numbers, 0, name), target.parent / name))
    return found
