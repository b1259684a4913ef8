"""All checks, made one after the other; none stops the others."""

from __future__ import annotations

from typing import NamedTuple

from anomaly.doctor import log, machine, models, osquery, rotation, watch
from anomaly.doctor.interface import Check, Places, State, Verdict, World, unknown
from anomaly.doctor.osqueryconf import look
from anomaly.doctor.sample import Sample, take
from anomaly.errors import AnomalyError, LogError, LogUnreadable
from anomaly.sources.stdin import STDIN

CHECKS: dict[str, Check] = {
    "log": log.readable,
    "log age": log.age,
    "log lines": log.lines,
    "log users": log.users,
    "log rotation": rotation.rotation,
    "clock": log.clock,
    "osquery config": osquery.configuration,
    "osquery logger": osquery.logger,
    "osquery events": osquery.events,
    "queries": osquery.queries,
    "query users": osquery.naming,
    "query timing": osquery.timing,
    "models": models.directory,
    "model files": models.files,
    "model coverage": models.coverage,
    "model age": models.age,
    "model drift": models.drift,
    "state": watch.state,
    "follower": watch.follower,
    "disk": machine.disk,
    "libraries": machine.libraries,
    "service": machine.service,
}
"""By name, in the order in which they are best mended."""

_ORDER = {state: number for number, state in enumerate(State)}


class Finding(NamedTuple):
    """What a check has found."""

    check: str
    verdict: Verdict


def examine(places: Places) -> list[Finding]:
    """Make every check; the worst come first, and of equals those that should be mended first."""
    world = look_around(places)
    findings = [Finding(name, _guarded(check, world)) for name, check in CHECKS.items()]
    return sorted(findings, key=lambda finding: _ORDER[finding.verdict.state])


def look_around(places: Places) -> World:
    """Read once what several checks ask of; what cannot be read is part of it."""
    return World(places, _sample(places), look(places.osquery_conf, places.osquery_flags))


def _sample(places: Places) -> Sample | LogError:
    if places.log == STDIN:
        return LogUnreadable("standard input is not looked at")
    try:
        return take(places.log, places.max_line)
    except LogError as error:
        return error


def _guarded(check: Check, world: World) -> Verdict:
    """Make a check; what it did not foresee is an answer too."""
    try:
        return check(world)
    except (AnomalyError, OSError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        return unknown(f"This could not be looked at: {error}.")
