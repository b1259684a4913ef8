"""Checks of osquery: what it is told, where it writes to, what it asks, and whom the answers name."""

from __future__ import annotations

import re
from pathlib import Path

from anomaly.doctor.interface import Verdict, World, listed, ok, problem, unknown, warning, word
from anomaly.doctor.osqueryconf import Osquery, Query
from anomaly.doctor.pack import HOST_LEVEL, INSTALL, QUERIES, RESTART, names_user, reads_root_alone
from anomaly.errors import LogError

_RARE = 300.0
"""Seconds between two runs from which on a polled table misses too much."""
_LONGEST = 604_800.0
_EVENTS = re.compile(r"_events\b", re.IGNORECASE)
_CONF = "sudo install -m 0644 conf/osquery.conf conf/osquery.flags /etc/osquery/"


def configuration(world: World) -> Verdict:
    """Whether osquery's configuration is there and can be parsed."""
    osquery, conf, flags = world.osquery, world.places.osquery_conf, world.places.osquery_flags
    check = f"sudo osqueryd --flagfile {word(flags)} --config_path {word(conf)} --config_check"
    plugin = osquery.settings.get("config_plugin", "filesystem")
    if plugin != "filesystem":
        return unknown(f"osquery gets its configuration by its plugin {plugin!r}, not from {conf}.")
    other = osquery.settings.get("config_path", str(conf))
    if Path(other) != conf:
        return warning(f"{flags} names another file: {other}.", f"anomaly doctor --osquery-conf {word(other)}")
    if osquery.conf is not None and osquery.conf.missing:
        return unknown(f"{conf}: there is no such file; osquery may run on another machine.", _CONF, RESTART)
    if osquery.conf is not None:
        return unknown(f"{conf}: {osquery.conf.reason}.", f"sudo chmod a+r {word(conf)}", "anomaly doctor")
    if osquery.broken:
        return problem(" ".join(osquery.broken[:3]), check)
    return ok(f"{conf} is JSON; {len(osquery.queries):,} of its queries are for this platform.")


def logger(world: World) -> Verdict:
    """Whether results go to the file that is watched, in the form that suits us."""
    osquery, places = world.osquery, world.places
    if osquery.flags is not None and not osquery.flags.missing:
        return unknown(
            f"{places.osquery_flags}: {osquery.flags.reason}.", f"sudo chmod a+r {word(places.osquery_flags)}"
        )
    if osquery.conf is not None and osquery.flags is not None:
        return unknown(f"{places.osquery_flags}: {osquery.flags.reason}.", _CONF, RESTART)
    get, edit = osquery.settings.get, f"sudoedit {word(places.osquery_flags)}"
    plugins = get("logger_plugin", "filesystem").split(",")
    if "filesystem" not in plugins or osquery.on("disable_logging", default=False):
        return problem(
            f"osquery writes no file: logger_plugin is {listed(plugins)}. Set --logger_plugin=filesystem.",
            edit,
            RESTART,
        )
    written = Path(get("logger_path", "/var/log/osquery")) / "osqueryd.results.log"
    if written != places.log.absolute():
        return warning(
            f"osquery writes {written}, and this looks at {places.log}.", f"anomaly doctor -l {word(written)}"
        )
    found = list(_logger_faults(osquery))
    if found:
        return warning(" ".join(found), edit, RESTART)
    return ok(f"Results go to {written}, a line each.")


def events(world: World) -> Verdict:
    """Whether the event tables that are queried are filled."""
    osquery = world.osquery
    asked = sorted(query.name for query in osquery.queries if _EVENTS.search(query.sql))
    if not asked:
        return unknown("No query of events is known of, so short-lived programs are not seen.", INSTALL, RESTART)
    audit = {"process_events", "user_events", "socket_events"} & set(_tables(osquery.queries))
    found = []
    if osquery.on("disable_events", default=False):
        found.append(f"disable_events is on: {listed(asked)} stay empty.")
    elif audit and osquery.on("disable_audit", default=True):
        found.append(f"disable_audit is on: {listed(sorted(audit))} stay empty, and nobody is behind a sudo.")
    elif audit and not osquery.on("audit_allow_config", default=False):
        found.append(
            "audit_allow_config is off: the kernel is told nothing, so events come only by others' rules."
        )
    for table, flag in (("process_events", "process"), ("user_events", "user")):
        name = f"audit_allow_{flag}_events"
        if table in audit and not osquery.on(name, default=True):
            found.append(f"{name} is off: {table} stays empty.")
    if "syslog_events" in _tables(osquery.queries) and not osquery.on("enable_syslog", default=False):
        found.append("enable_syslog is off: syslog_events stays empty.")
    if found:
        return warning(" ".join(found), f"sudoedit {word(world.places.osquery_conf)}", RESTART)
    return ok(f"What these need is on: {listed(asked)}.")


def queries(world: World) -> Verdict:
    """Which queries of our pack are asked, by the configuration or else by what the log holds."""
    scheduled, seen = world.osquery.scheduled(), _seen(world)
    if not world.osquery.queries:
        known = sorted(seen & set(QUERIES))
        if not known:
            return unknown("Neither a configuration nor the log shows a query of the pack.", INSTALL, RESTART)
        return unknown(f"The configuration shows no query. The log's end has rows of {listed(known, 12)}.")
    absent = [name for name in QUERIES if name not in scheduled]
    if not scheduled & set(QUERIES):
        return warning(
            f'Nothing of the pack is asked, but {listed(sorted(scheduled))}. Name it under "packs".',
            INSTALL,
            f"sudoedit {word(world.places.osquery_conf)}",
            RESTART,
        )
    if absent:
        return warning(
            f"Of the pack's {len(QUERIES)} queries these are not asked: {listed(absent, 12)}.", INSTALL, RESTART
        )
    silent = f" No rows at the log's end: {listed([q for q in QUERIES if q not in seen], 12)}." if seen else ""
    return ok(f"All {len(QUERIES)} queries of the pack are asked.{silent if set(QUERIES) - seen else ''}")


def naming(world: World) -> Verdict:
    """Whether the rows of each query name who acted, by the query's text."""
    asked = [query for query in world.osquery.queries if query.name not in HOST_LEVEL]
    if not asked:
        return unknown("No query about people is known of.")
    found = []
    if nameless := sorted({query.name for query in asked if not names_user(query.sql)}):
        found.append(f"Rows of {listed(nameless)} name nobody: select username, auid or uid.")
    if rooted := sorted({query.name for query in asked if reads_root_alone(query.sql)}):
        found.append(f"{listed(rooted)} reads root's history alone: it needs FROM users CROSS JOIN.")
    if snapshots := sorted({query.name for query in asked if query.snapshot}):
        found.append(f"{listed(snapshots)} is a snapshot, which does not go to this log.")
    if found:
        return warning(" ".join(found), INSTALL, RESTART)
    return ok(f"{len(asked)} queries are about people, and each selects who it was.")


def timing(world: World) -> Verdict:
    """Whether queries are asked often enough, and at intervals that osquery takes."""
    if not world.osquery.queries:
        return unknown("No query is known of.")
    asked = world.osquery.queries
    refused = sorted({q.name for q in asked if q.interval is None or not 1 <= q.interval <= _LONGEST})
    rare = sorted({q.name for q in world.osquery.queries if _too_rare(q, _expiry(world.osquery))})
    edit = f"sudoedit {word(world.places.osquery_conf)}"
    if refused:
        return warning(
            f"osquery takes intervals of 1 to 604800 s, and not those of {listed(refused)}.", edit, RESTART
        )
    if rare:
        return warning(
            f"{listed(rare)}: asked so rarely that much is missed. Polled tables show what is there at that"
            " moment, and events expire; the pack asks every 10 to 60 s.",
            edit,
            RESTART,
        )
    return ok("Each query is asked often enough.")


def _logger_faults(osquery: Osquery) -> list[str]:
    found = []
    if osquery.misplaced:
        found.append(f"osquery ignores {listed(list(osquery.misplaced))} in options: it belongs into the flags.")
    if not osquery.on("logger_event_type", default=True):
        found.append("logger_event_type is off: a line holds all rows of a run, however many that are.")
    mode = osquery.settings.get("logger_mode", "0640")
    if not re.fullmatch(r"0?[0-7]{3}", mode) or not int(mode, 8) & 0o040:
        found.append(f"logger_mode is {mode}: no group may read the log, and a chmod does not last. Set 0640.")
    if osquery.settings.get("logger_min_status", "0") not in ("0", "1"):
        found.append("logger_min_status hides warnings: osquery does not say which query it has denylisted.")
    return found


def _too_rare(query: Query, expiry: float) -> bool:
    if query.interval is None or query.name in HOST_LEVEL:
        return False
    return query.interval > (expiry if _EVENTS.search(query.sql) else _RARE)


def _expiry(osquery: Osquery) -> float:
    text = osquery.settings.get("events_expiry", "3600")
    return float(text) if re.fullmatch(r"[0-9]{1,9}", text) else 3600.0


def _tables(asked: tuple[Query, ...]) -> set[str]:
    return {name.lower() for query in asked for name in re.findall(r"\b\w+_events\b", query.sql)}


def _seen(world: World) -> set[str]:
    return set() if isinstance(world.sample, LogError) else set(world.sample.namings)
