"""The JSON of osquery's results: fields of any type, envelopes, and where a record begins in a broken line.

What a carrier, a version or a hostile program may have made of a value is turned into what osquery means here;
:mod:`anomaly.osquery` makes actions of it.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

MAX_TIME = 253_402_300_799  # the last second of year 9999
_MAX_TRIES = 16  # of finding a record in a broken line, so that a hostile one costs little
_MAX_INTEGER = 20  # digits; longer ones stay text, as Python refuses to make a number of very long ones

_UNIX_TIME = re.compile(r"(\d{1,12})(?:\.\d{1,9})?", re.ASCII)
_CALENDAR_TIME = re.compile(r"(?:\w{3} )?(\w{3}) +(\d{1,2}) (\d{2}):(\d{2}):(\d{2}) (\d{4})(?: UTC)?", re.ASCII)
_MONTHS = {m: i for i, m in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1)}  # noqa: SIM905 - reads better

# How a record or an envelope begins; inside a string of valid JSON the quotes are escaped and do not match.
_BEGINNINGS = ("name", "snapshot", "diffResults", "action", "columns", "hostIdentifier", "data", "records")
_BEGINNING = re.compile(rf'{{\s*"(?:{"|".join(_BEGINNINGS)})"\s*:')
_BETWEEN = re.compile(r"[\s\0,]*")

# The last resort reads what msgspec refuses: raw control characters, lone surrogates, NaN, endless numbers.
scan = json.JSONDecoder(
    strict=False,
    parse_int=lambda digits: int(digits) if len(digits) <= _MAX_INTEGER else digits,
    parse_constant=str,
).raw_decode


class Decorations(msgspec.Struct, gc=False):
    """What decorators say of each line: of interest is who is logged in, the others are not even read."""

    username: str = ""


class Record(msgspec.Struct, gc=False, rename="camel"):
    """What a line says beside its rows. Of each field osquery has written more than one type."""

    name: str = ""
    host_identifier: str = ""
    hostname: str = ""  # what the documentation still calls hostIdentifier
    unix_time: int | float | str | None = None
    calendar_time: str = ""
    counter: int | str | None = None  # unknown before 2.8
    decorations: Decorations = msgspec.field(default_factory=Decorations)
    username: str = ""  # a decoration under --decorations_top_level


class Event(Record, kw_only=True, gc=False, rename="camel"):
    """The usual line, all of it text."""

    action: Literal["added", "removed", "snapshot"]
    columns: dict[str, str]


def record_of(value: dict[str, Any]) -> Record:
    """Read what is beside the rows, whatever the types."""
    time, decorations = value.get("unixTime"), value.get("decorations")
    return Record(
        name=text_of(value.get("name")),
        host_identifier=text_of(value.get("hostIdentifier")),
        hostname=text_of(value.get("hostname")),
        unix_time=time if isinstance(time, int | float | str) and not isinstance(time, bool) else None,
        calendar_time=text_of(value.get("calendarTime")),
        counter=text_of(value.get("counter")),
        decorations=Decorations(text_of(decorations.get("username")) if isinstance(decorations, dict) else ""),
        username=text_of(value.get("username")),
    )


def contents(value: object) -> list[object] | None:
    """Return what an envelope holds (a list, a TLS body, Kafka REST, Splunk); None for anything else."""
    match value:
        case list():
            return value
        case {"log_type": "status"} | {"columns": _} | {"diffResults": _} | {"snapshot": _}:
            return None
        case {"data": list(items)}:  # plugins/logger/tls_logger.cpp
            return items
        case {"records": list(records)}:
            return [record.get("value") if isinstance(record, dict) else record for record in records]
        case {"event": dict(event)}:
            return [event]
    return None


def beginnings(text: str) -> list[int]:
    """Return where records may begin: the first brace, and the outermost few places that look like it."""
    found = [match.start() for match in _BEGINNING.finditer(text)]
    if len(found) > _MAX_TRIES:
        found = found[: _MAX_TRIES // 2] + found[-_MAX_TRIES // 2 :]
    first = text.find("{")
    return found if first in (-1, *found[:1]) else [first, *found]


def begins(text: str, start: int) -> bool:
    """Tell whether what stands at ``start`` begins as a record does, though it may be cut within its first key."""
    begun = text[start : start + 20]
    return bool(_BEGINNING.match(text, start)) or any(f'{{"{key}"'.startswith(begun) for key in _BEGINNINGS)


def following(text: str, end: int) -> int:
    """Return where the object glued to the one that ended at ``end`` begins, or -1."""
    match = _BETWEEN.match(text, end)
    start = match.end() if match else end
    return start if text.startswith("{", start) else -1


def row_of(row: dict[str, Any]) -> dict[str, str]:
    """Write the names and values of a row as text."""
    return {text_of(key): text_of(value) for key, value in row.items()}


def text_of(value: object) -> str:
    """Write a value as osquery writes it when ``--logger_numerics`` is off.

    Numbers as osquery/utils/conversions/castvariant.h does it; NULL is ``--nullvalue``, empty by default.

    >>> [text_of(value) for value in (1000, 2.0, 0.1, None, True, {"a": [1]})]
    ['1000', '2.0', '0.1', '', 'true', '{"a":[1]}']
    """
    if isinstance(value, str):
        return value if value.isascii() else _without_surrogates(value)
    if value is None:
        return ""
    if isinstance(value, float):
        digits = f"{value:.15g}"
        return digits if "." in digits or not digits[-1].isdigit() else f"{digits}.0"
    return _without_surrogates(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _without_surrogates(text: str) -> str:
    """Replace halves of surrogate pairs, which no output can encode."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def seconds(value: float | str | None, calendar: str) -> int:
    """Return seconds since 1970 UTC, from ``unixTime`` or else ``calendarTime``; 0 where neither tells.

    Decorators can overwrite either with any text (osquery/core/query.cpp, ``addLegacyFieldsAndDecorations``).

    >>> seconds("collision", "Mon May  2 22:27:32 2016 UTC")
    1462228052
    """
    if isinstance(value, str):
        match = _UNIX_TIME.fullmatch(value)
        value = int(match[1]) if match else None
    if value is not None and 0 <= value <= MAX_TIME:
        return int(value)
    match = _CALENDAR_TIME.fullmatch(calendar)  # strptime would read month names in the user's language
    if match is None or match[1] not in _MONTHS:
        return 0
    day, hour, minute, second, year = (int(group) for group in match.groups()[1:])
    try:
        return max(0, int(datetime(year, _MONTHS[match[1]], day, hour, minute, second, tzinfo=UTC).timestamp()))
    except ValueError:  # the 31st of February
        return 0
