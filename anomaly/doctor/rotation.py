"""How the log is rotated: by osquery, by logrotate, or by nobody; and where its archives go."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from anomaly.bounded import Unread, read
from anomaly.doctor.files import names
from anomaly.doctor.interface import Verdict, World, ok, unknown, warning, word
from anomaly.errors import LogError
from anomaly.sources.naming import archives
from anomaly.tally import counted

_LARGE = 1 << 30
"""Bytes of a log that nobody rotates from which on that is worth a word."""
_LARGEST = 256 << 10
_PATTERN = 4096  # the longest path there is
_SCRIPT = re.compile(r"^\s*(?:pre|post|first|last)(?:rotate|action)\b")


class Rule(NamedTuple):
    """What logrotate is told of the log."""

    file: Path
    copytruncate: bool
    olddir: Path | None


def rotation(world: World) -> Verdict:
    """Whether rotation loses nothing, and archives are where they are looked for."""
    if isinstance(world.sample, LogError):
        return unknown("The log cannot be looked at.")
    places, native = world.places, world.osquery.on("logger_rotate", default=False)
    log = places.log.absolute()
    rules = logrotate(log, places.root / "etc")
    count = len(archives(log, places.olddir))
    for rule in rules:
        edit = f"sudoedit {word(rule.file)}"
        if rule.copytruncate:
            return warning(
                f"{rule.file} has copytruncate: what osquery writes between copy and cut is lost. osquery opens"
                " the log anew for each line, so use create.",
                edit,
            )
        if native:
            return warning(f"Both osquery (logger_rotate) and {rule.file} rotate the log.", edit)
        if rule.olddir and rule.olddir not in (places.olddir, log.parent):
            return warning(
                f"{rule.file} moves archives to {rule.olddir}, where anomaly does not look.",
                f"export ANOMALY_OLDDIR={word(rule.olddir)}",
            )
    if not rules and not native and not count and world.sample.size > _LARGE:
        return warning(
            f"Nothing seems to rotate {log}, which has {world.sample.size >> 20:,} MiB. Set --logger_rotate=true.",
            f"sudoedit {word(places.osquery_flags)}",
        )
    by = "osquery" if native else str(rules[0].file) if rules else "nobody that is known of here"
    return ok(f"Rotated by {by}; there {'is' if count == 1 else 'are'} {counted(count, 'archive')}.")


def logrotate(log: Path, etc: Path) -> list[Rule]:
    """Return what logrotate's files say of a log, as far as they may be read."""
    folder = etc / "logrotate.d"
    rules = []
    for path in (etc / "logrotate.conf", *(folder / name for name in names(folder))):
        data = read(path, _LARGEST)
        if not isinstance(data, Unread):
            rules += list(_rules(path, data.decode("utf-8", "replace"), log))
    return rules


def _rules(path: Path, text: str, log: Path) -> list[Rule]:
    found = []
    # Each block ends in a brace; what stands before it are patterns, and directives for all.
    for block in _without_scripts(text).split("}"):
        head, brace, body = block.partition("{")
        patterns = [word.strip("\"'") for word in head.split() if word.lstrip("\"'").startswith("/")]
        if brace and any(fnmatch(str(log), pattern[:_PATTERN]) for pattern in patterns):
            words = [line.split() for line in body.splitlines()]
            olddir = next((Path(line[1]) for line in words if line[:1] == ["olddir"] and len(line) > 1), None)
            where = log.parent / olddir if olddir else None
            found.append(Rule(path, ["copytruncate"] in words, where))
    return found


def _without_scripts(text: str) -> str:
    """Drop comments and scripts, whose braces are not logrotate's."""
    kept, script = [], False
    for line in text.splitlines():
        if script:
            script = line.strip() != "endscript"
        elif _SCRIPT.match(line):
            script = True
        elif not line.lstrip().startswith("#"):
            kept.append(line)
    return "\n".join(kept)
