"""One line of osquery's results log, as the actions it reports.

osquery writes a line as an event, a batch or a snapshot (osquery/core/query.cpp, ``serialize*``). Its versions
differ in what is text and what is a number, and what carries the line (TLS, Kafka, AWS, syslog) wraps it
once more. :class:`Parser` reads them all. Whoever can make osquery report something writes into its log:
nothing in a line is trusted, and nothing in it raises.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

import msgspec

from anomaly.identity import MAX_USER, Identities, actor, capped
from anomaly.resultjson import (
    MAX_TIME,
    Event,
    Record,
    beginnings,
    begins,
    contents,
    following,
    record_of,
    row_of,
    scan,
    seconds,
    text_of,
)
from anomaly.tables import query_of


class Action(msgspec.Struct, frozen=True, gc=False):
    """One row that osquery reported: who did (or stopped doing) what, and when it was seen."""

    time: int
    """When the query ran, in seconds since 1970 UTC; 0 where the line does not say."""
    host: str
    user: str
    """Who acted: a name, ``uid:1000`` where no name is known, or ``host:NAME`` where no user is named."""
    query: str
    """Name of the query, without the prefix of its pack."""
    verb: str
    """``added``, ``removed`` or ``snapshot``."""
    columns: dict[str, str]
    baseline: bool = False
    """True for a row of the first run of a differential query (counter 0): state, not behaviour."""


class SkipReason(StrEnum):
    """Why a line is no result."""

    EMPTY = "empty"
    """Nothing but white space and NULs."""
    NOT_JSON = "not_json"
    """No JSON object in it."""
    TRUNCATED = "truncated"
    """Begins as a record and is cut."""
    TOO_DEEP = "too_deep"
    """Nested deeper than anything osquery writes."""
    STATUS = "status"
    """What osquery says of itself (its status log), not a result."""
    NO_ROWS = "no_rows"
    """A result without a row: an empty batch, snapshot or envelope."""
    NOT_A_RESULT = "not_a_result"
    """JSON, but no result of osquery."""
    BAD_RECORD = "bad_record"
    """A result whose rows are not rows, or whose action is unknown."""


class Skipped(msgspec.Struct, frozen=True):
    """A line that reports no action, and why."""

    reason: SkipReason
    detail: str = ""
    """What was wrong with it, in ASCII and at most 80 characters."""


_VERBS = frozenset({"added", "removed", "snapshot"})
_RESULTS = frozenset({"columns", "diffResults", "snapshot"})
_FIRST = frozenset({0, "0"})
_DIGITS = 10  # of a time as text, from 2001 to 2286: the usual case, at a tenth of what any other takes
_MAX_DETAIL = 80
_MAX_ENVELOPES = 3
_HARMLESS = frozenset({SkipReason.STATUS, SkipReason.NO_ROWS})  # what may stand between glued records
_STATUS = re.compile(r"\bseverity=\d+ location=")  # plugins/logger/stdout.cpp and syslog_logger.cpp

_decode_event = msgspec.json.Decoder(Event).decode
_decode_any = msgspec.json.Decoder().decode


class Parser:
    """Reads lines, in order: a row may say what number a user named in a later one has.

    Parameters
    ----------
    identities
        What is known of users' numbers; the parser adds to it.

    Examples
    --------
    >>> line = b'{"name":"pack_ir_crontab","action":"added","columns":{"command":"ls"},"hostIdentifier":"web"}'
    >>> Parser().parse(line)
    [Action(time=0, host='web', user='host:web', query='crontab', verb='added', columns={'command': 'ls'}, baseline=False)]
    >>> Parser().parse(b"severity=0 location=init.cpp:190 message=osquery worker initialized")
    Skipped(reason=<SkipReason.STATUS: 'status'>, detail='')
    """  # noqa: E501 - a doctest's output is one line

    def __init__(self, identities: Identities | None = None) -> None:
        self.identities = Identities() if identities is None else identities

    def parse(self, line: bytes) -> list[Action] | Skipped:
        """Return the actions a line reports, in its order (a batch lists ``removed`` before ``added``).

        Parameters
        ----------
        line
            One line of the log, without its newline. Any bytes.

        Returns
        -------
        list of Action, or Skipped
            At least one action, or why there is none.
        """
        try:
            event = _decode_event(line)
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
            return self._parse_anything(line)
        return [self._action(event, event.action, event.columns)]

    def _action(self, record: Record, verb: str, columns: dict[str, str]) -> Action:
        query, evented = query_of(record.name)
        host = record.host_identifier or record.hostname
        if len(host) > MAX_USER or len(query) > MAX_USER:  # every row has them: 1 MiB would become gigabytes
            host, query = capped(host), capped(query)
        time = record.unix_time
        if type(time) is str and len(time) == _DIGITS and time.isascii() and time.isdecimal():
            time = int(time)
        elif type(time) is not int or not 0 <= time <= MAX_TIME:
            time = seconds(time, record.calendar_time)
        decorated = record.decorations.username or record.username
        user = actor(query, host, columns, decorated, self.identities)
        if record.counter in _FIRST and not evented and verb != "snapshot":
            return Action(time, host, user, query, verb, columns, True)  # noqa: FBT003 - baseline
        return Action(time, host, user, query, verb, columns)

    def _parse_anything(self, line: bytes) -> list[Action] | Skipped:
        text = line.decode("utf-8", "replace")
        try:
            try:
                value = _decode_any(text)
            except ValueError:
                return self._recover(text)
            return self._unwrap(value)
        except RecursionError:
            return self._recover(text)

    def _recover(self, text: str) -> list[Action] | Skipped:
        """Find the records in a line that is not one JSON value: prefixed, glued, cut, or no JSON at all."""
        if not text.strip("\0 \t\r\n\ufeff"):
            return Skipped(SkipReason.EMPTY)
        prefix, _, _ = text.partition("{")
        if _STATUS.search(prefix):
            return Skipped(SkipReason.STATUS)
        actions: list[Action] = []
        skipped = Skipped(SkipReason.NOT_JSON)
        end = 0
        for beginning in beginnings(text):
            start = beginning
            while start >= end:
                found, end = self._read_at(text, start)
                start = following(text, end)
                if not isinstance(found, Skipped):
                    actions += found
                    continue
                if skipped.reason is SkipReason.NOT_JSON:
                    skipped = found
                if found.reason not in _HARMLESS:
                    break  # of a cut batch what comes next is another row; of no JSON, another brace
        return actions or skipped

    def _read_at(self, text: str, start: int) -> tuple[list[Action] | Skipped, int]:
        """Read the JSON object that begins at ``start``; also return where it ends."""
        end = start + 1
        try:
            value, end = scan(text, start)
            return self._unwrap(value), end
        except RecursionError:
            return Skipped(SkipReason.TOO_DEEP), end
        except ValueError as error:
            return _broken(text, start, error), end

    def _unwrap(self, value: object, depth: int = 0) -> list[Action] | Skipped:
        """Read a result, or the results in an envelope."""
        items = contents(value)
        if items is not None:
            return self._unwrap_all(items, depth)
        if not isinstance(value, dict):
            return Skipped(SkipReason.NOT_A_RESULT, type(value).__name__)
        if value.get("log_type") == "status":
            return Skipped(SkipReason.STATUS)
        if not _RESULTS.isdisjoint(value):
            return self._result(value)
        if "severity" in value and "message" in value:
            return Skipped(SkipReason.STATUS)
        return Skipped(SkipReason.NOT_A_RESULT, _detail("keys: " + ", ".join(list(value)[:8])))

    def _unwrap_all(self, items: list[object], depth: int) -> list[Action] | Skipped:
        if depth >= _MAX_ENVELOPES:
            return Skipped(SkipReason.TOO_DEEP, "envelope in envelope")
        actions: list[Action] = []
        skipped = None
        for item in items:
            found = self._unwrap(item, depth + 1)
            if isinstance(found, Skipped):
                skipped = skipped or found
            else:
                actions += found
        return actions or skipped or Skipped(SkipReason.NO_ROWS)

    def _result(self, value: dict[str, Any]) -> list[Action] | Skipped:
        """Read one result whose fields may have any type."""
        if "columns" in value:
            if "action" not in value:
                return Skipped(SkipReason.NOT_A_RESULT, "columns without an action")
            batches = [(text_of(value["action"]), [{} if value["columns"] in ("", None) else value["columns"]])]
        elif "diffResults" in value:
            diff = value["diffResults"] or {}
            if not isinstance(diff, dict):
                return Skipped(SkipReason.BAD_RECORD, "diffResults is not an object")
            batches = [(verb, diff.get(verb) or []) for verb in ("removed", "added")]
        else:
            batches = [("snapshot", value["snapshot"] or [])]
        record = record_of(value)
        actions: list[Action] = []
        bad = ""
        for verb, rows in batches:
            if verb not in _VERBS:
                bad = f"action {verb}"
            elif not isinstance(rows, list):
                bad = f"{verb} is not a list"
            else:
                actions += [self._action(record, verb, row_of(row)) for row in rows if isinstance(row, dict)]
                bad = bad or ("" if all(isinstance(row, dict) for row in rows) else "a row is not an object")
        if actions:
            return actions
        return Skipped(SkipReason.BAD_RECORD, _detail(bad)) if bad else Skipped(SkipReason.NO_ROWS)


def _broken(text: str, start: int, error: ValueError) -> Skipped:
    """Tell a record that was cut from what never was JSON."""
    place = getattr(error, "pos", 0)
    cut = str(error).startswith("Unterminated string") or place >= len(text) - len("false}")
    reason = SkipReason.TRUNCATED if cut and begins(text, start) else SkipReason.NOT_JSON
    return Skipped(reason, _detail(f"{getattr(error, 'msg', error)} (character {place})"))


def _detail(text: str) -> str:
    return ascii(text[:_MAX_DETAIL])[1:-1][:_MAX_DETAIL]
