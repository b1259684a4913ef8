"""Checks of the log: that it can be read, is written to, parses, says who acted, and keeps time."""

from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path

from anomaly.doctor.interface import Verdict, World, listed, ok, problem, unknown, warning, word
from anomaly.doctor.pack import HOST_LEVEL, INSTALL, RESTART
from anomaly.doctor.sample import Naming
from anomaly.errors import LogError, LogMissing
from anomaly.osquery import SkipReason
from anomaly.sources.logfile import access, running_user
from anomaly.sources.stdin import STDIN
from anomaly.tally import counted

_HOUR, _DAY = 3600, 86_400
_AHEAD = 300
"""Seconds that the log may be ahead of the clock."""
_HARMLESS = {SkipReason.EMPTY.value, SkipReason.STATUS.value, SkipReason.NO_ROWS.value}
_WHY = {
    SkipReason.NOT_JSON.value: ("it is another program's file, or was damaged", "head -n 3 {log}"),
    SkipReason.TRUNCATED.value: ("records were cut, as a full disk does", "df -h {log}"),
    SkipReason.NOT_A_RESULT.value: ("it is not osquery's results log", "head -n 3 {log}"),
    "too_long": ("lines are longer than --max-line", "export ANOMALY_MAX_LINE=16777216"),
}
_NAMINGS = {
    Naming.DECORATED: "A decorator says who was logged in, not who acted",
    Naming.NUMBER: "osquery knows no name for them",
    Naming.NOBODY: "These queries do not select who acted",
}
_UNLOOKED = "The log cannot be looked at."


def readable(world: World) -> Verdict:
    """Whether the log is there, a regular file, and may be read without root."""
    log, sample = world.places.log, world.sample
    if log == STDIN:
        return unknown("Standard input is not looked at; name a file with -l.")
    if isinstance(sample, LogMissing):
        return problem(f"{log} does not exist.", f"ls -l {word(log.parent)}", "systemctl status osqueryd")
    if isinstance(sample, LogError):
        if isinstance(sample.__cause__, PermissionError):
            join = f"sudo usermod -aG adm {running_user()}"
            return problem(f"{log} may not be read by {running_user()}.", access(log), join)
        return problem(f"{log} cannot be read as a log: {_reason(log)}.", f"ls -ld {word(log)}")
    status = log.stat()
    if os.geteuid() == 0 and _only_root(log, status):
        return warning(
            f"{log} may be read by root alone ({stat.filemode(status.st_mode)[1:]}), and anomaly should not run as"
            " root.",
            access(log),
        )
    return ok(f"{log} may be read, {sample.size / (1 << 20):,.1f} MiB.")


def age(world: World) -> Verdict:
    """Whether osquery still writes: how old the last action is, by its own time."""
    sample = world.sample
    if isinstance(sample, LogError):
        return unknown(_UNLOOKED)
    status = "systemctl status osqueryd"
    if not sample.size:
        return problem(f"{world.places.log} is empty: no query has had a result yet.", status)
    if not sample.last:
        return unknown("No line at its end says when it was.", f"tail -n 3 {word(world.places.log)}")
    behind = int(world.places.now) - sample.last
    found = f"The last action is {span(max(behind, 0))} old."
    if behind > _DAY:
        return problem(found, status, "journalctl -u osqueryd -e")
    return warning(found, status) if behind > _HOUR else ok(found)


def lines(world: World) -> Verdict:
    """Whether lines can be parsed, and why not."""
    sample = world.sample
    if isinstance(sample, LogError):
        return unknown(_UNLOOKED)
    bad = Counter({reason: n for reason, n in sample.skipped.items() if reason not in _HARMLESS})
    total = sample.lines + sample.skipped["too_long"]
    if not total:
        return unknown("There is no whole line at its end.")
    share = bad.total() / total
    text = f"{bad.total():,} of the last {total:,} lines cannot be used"
    if share <= 0.001 and sample.actions:
        return ok(f"{text}." if bad else f"The last {total:,} lines are {sample.actions:,} actions.")
    if not bad:
        return problem(
            f"None of the last {total:,} lines is an action: the log holds what osquery says of itself.",
            f"tail -n 3 {word(world.places.log)}",
        )
    reason, count = bad.most_common(1)[0]
    why, command = _WHY.get(reason, ("they are not as osquery writes them", "tail -n 3 {log}"))
    found = f"{text}; {count:,} of them are {reason}: {why}."
    remedy = command.format(log=word(world.places.log))
    return (problem if share > 0.5 or not sample.actions else warning)(found, remedy)


def users(world: World) -> Verdict:
    """Whether actions name who acted, by a look at the log's end."""
    sample = world.sample
    if isinstance(sample, LogError):
        return unknown(_UNLOOKED)
    people = {query: found for query, found in sample.namings.items() if query not in HOST_LEVEL}
    found = sum(people.values(), Counter[Naming]())
    if not (total := found.total()):
        return unknown("There is no action of people at its end.", f"anomaly users -l {word(world.places.log)}")
    share = {naming: found[naming] / total for naming in Naming}
    named = share[Naming.NAME] + share[Naming.KNOWN]
    text = (
        f"Of the last {total:,} actions of people {named:.0%} name the user, {share[Naming.NUMBER]:.0%} only a"
        f" number that nobody knows, {share[Naming.NOBODY]:.0%} nobody; a decorator alone names"
        f" {share[Naming.DECORATED]:.0%}."
    )
    if share[Naming.NOBODY] > 0.9:
        return problem(text, INSTALL, RESTART)
    for naming, why in _NAMINGS.items():
        if share[naming] > 0.1:
            return warning(f"{text} {why}: {listed(_most(people, naming))}.", INSTALL, RESTART)
    return ok(text)


def clock(world: World) -> Verdict:
    """Whether the log's time and the machine's agree, and the log's goes forward."""
    sample = world.sample
    if isinstance(sample, LogError) or not sample.newest:
        return unknown("The log says no time.")
    ahead = sample.newest - int(world.places.now)
    if ahead > _AHEAD:
        zone = " That is whole hours: a clock set to local time?" if _whole_hours(ahead) else ""
        return problem(f"The log is {span(ahead)} ahead of this machine's clock.{zone}", "timedatectl")
    if sample.back > _HOUR:
        zone = " That is whole hours: a clock set to local time?" if _whole_hours(sample.back) else ""
        return warning(f"At the log's end time goes back by {span(sample.back)}.{zone}", "timedatectl")
    if -ahead > _HOUR:
        return unknown(f"The log's newest time is {span(-ahead)} old: a clock that is wrong would not show.")
    return ok("The log's time and the machine's agree.")


def span(seconds: int) -> str:
    """Write a time in its largest unit.

    >>> span(90), span(7200), span(3 * 86400), span(1)
    ('1 minute', '2 hours', '3 days', '1 second')
    """
    units = (("day", _DAY), ("hour", _HOUR), ("minute", 60), ("second", 1))
    unit, length = next((pair for pair in units if seconds >= pair[1]), units[-1])
    return counted(seconds // length, unit)


def _only_root(log: Path, status: os.stat_result) -> bool:
    """Say whether neither the group nor an access list lets anybody else read it."""
    if status.st_uid != 0 or status.st_mode & stat.S_IROTH:
        return False
    try:
        os.getxattr(log, "system.posix_acl_access")
    except OSError:
        return status.st_gid == 0 or not status.st_mode & stat.S_IRGRP
    return False


def _reason(log: Path) -> str:
    try:
        mode = log.stat().st_mode
    except (OSError, ValueError) as error:
        return f"{getattr(error, 'strerror', None) or error}"
    return "it is a directory" if stat.S_ISDIR(mode) else "it is a pipe, a device or a socket"


def _most(people: dict[str, Counter[Naming]], naming: Naming) -> list[str]:
    return sorted((query for query in people if people[query][naming]), key=lambda query: -people[query][naming])


def _whole_hours(seconds: int) -> bool:
    return abs((seconds + 1800) % 3600 - 1800) <= 120 and seconds <= 14 * _HOUR + 120
