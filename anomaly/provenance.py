"""Where each setting comes from: ``ANOMALY_*``, a line of the file, or its default. Nothing secret is shown."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from anomaly import options, options_alerts
from anomaly.bounded import Unread, read
from anomaly.config import MOST_BYTES, Settings
from anomaly.errors import ConfigError
from anomaly.sinks.visible import columns, visible
from anomaly.suppression import FILE

_OPTIONS: tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...] = (
    options.algorithm,
    options.log,
    options.models,
    options.state,
    options.score_format,
    options.min_score,
    options.adapt,
    options.olddir,
    options.max_line,
    options_alerts.alert_on,
    options_alerts.budget,
    options_alerts.suppressions,
    options_alerts.alerts,
    options_alerts.metrics,
)
_PARAMETERS = {"format": "output"}
_SECRET = re.compile(r"pass|secret|token|credential|authori[sz]ation|api.?key", re.IGNORECASE)
_PAIR = re.compile(r"(?P<key>[A-Za-z][\w.-]*)=(?P<value>[^;,&\s]*)")
_WEB = re.compile(r"(?i)[a-z][a-z0-9+.-]*://[^\s;,]*")
_WHOLE = re.compile(r"(?i)https?://")
_HOST = re.compile(r"[\w.:%-]*")
_LOGIN = re.compile(r"[^\s/:;,=@]+:[^\s/;,@]*@")
_HIDDEN = "***"
_WIDTH, _ORIGIN = 80, 24


class Setting(NamedTuple):
    """One setting, as every command that knows it would have it."""

    name: str
    value: Any
    """With secrets hidden; None where there is none."""
    origin: str
    """``environment``, ``file`` or ``default``."""
    where: str | None
    """The variable, or the file and its line; None for a default."""


def provenance(values: Mapping[str, Any], path: Path | None) -> list[Setting]:
    """Return every setting with its value and its origin.

    The options of the commands are asked themselves, so that what is shown is what a command would see.

    Parameters
    ----------
    values
        What the configuration file says, as :func:`anomaly.options_file.settings` gives it.
    path
        That file, None where there is none.

    Raises
    ------
    ConfigError
        A value, for instance of a variable, does not fit.
    """
    command = _command()
    try:
        context = command.make_context("settings", [], default_map=dict(values))
    except click.UsageError as error:
        raise ConfigError(f"{_variable(error)} does not fit: {error.format_message()}") from error
    variables = {option.name: option.envvar for option in command.params}
    text = _text(path) if path is not None else ""
    found = []
    for name in Settings.__struct_fields__:
        parameter = _PARAMETERS.get(name, name)
        source = context.get_parameter_source(parameter)
        value = hidden(_chosen(context, parameter))
        if source is ParameterSource.ENVIRONMENT:
            found.append(Setting(name, value, "environment", str(variables[parameter])))
        elif source is ParameterSource.DEFAULT_MAP:
            line = line_of(text, name)
            found.append(Setting(name, value, "file", f"{path}:{line}" if line else str(path)))
        else:
            found.append(Setting(name, value, "default", None))
    return found


def hidden(value: Any) -> Any:  # noqa: ANN401 - of any setting
    """Return a value as it may be shown: of a web address the host, and of what names a secret's file its name.

    A webhook's path is often all there is of a password. What begins as a web address is one to its end.

    >>> hidden("webhook:https://me:pw@hooks.example/T0/B1?sig=x;token_file=/etc/anomaly/hook.token")
    'webhook:https://***@hooks.example/***;token_file=hook.token'
    >>> hidden(("file:/var/log/a.ndjson", "syslog:tls://logs.example:6514"))
    ['file:/var/log/a.ndjson', 'syslog:tls://logs.example:6514']
    """
    if isinstance(value, list | tuple):
        return [hidden(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if not isinstance(value, str):
        return value
    if _WHOLE.match(value):
        return _web(value)
    return _LOGIN.sub(f"{_HIDDEN}@", _PAIR.sub(_pair, _WEB.sub(lambda match: _web(match[0]), value)))


def line_of(text: str, key: str) -> int | None:
    r"""Return the line of a TOML text in which a key of the top is set, counted from 1.

    A line that only looks like it, inside a text of several lines, is told by what comes before it: that is no
    TOML on its own.

    >>> line_of('a = 1\nlog = "x"', "log")
    2
    """
    pattern = re.compile(rf"(?m)^[ \t]*[\"']?{re.escape(key)}[\"']?[ \t]*=")
    for match in pattern.finditer(text):
        before = text[: match.start()]
        try:
            tomllib.loads(before)
        except tomllib.TOMLDecodeError:
            continue
        return before.count("\n") + 1
    return None


def sheet(settings: list[Setting]) -> Iterator[str]:
    """Yield the lines of a table of 80 columns; a value that is too long for it goes on in the next line."""
    rows = [(item.name, _origin(item), list(_lines(item.value))) for item in settings]
    left, middle = max(len(row[0]) for row in rows), max(columns(row[1]) for row in rows)
    room = _WIDTH - left - middle - 4
    for name, origin, values in rows:
        begin = f"{name:<{left}}  {origin}{' ' * (middle - columns(origin))}  "
        for piece in (piece for value in values for piece in _pieces(value, room)):
            yield begin + piece
            begin = " " * (left + middle + 4)


def _chosen(context: click.Context, parameter: str) -> Any:  # noqa: ANN401 - of any setting
    """Return a value; the default of suppressions depends on another setting, so click has none."""
    value = context.params[parameter]
    return context.params["state"] / FILE if parameter == "suppressions" and value is None else value


def _command() -> click.Command:
    def settings() -> None: ...

    chosen: Callable[..., Any] = settings
    for add in _OPTIONS:
        chosen = add(chosen)
    return click.command("settings")(chosen)


def _variable(error: click.UsageError) -> str:
    """Name the variable whose value does not fit: the file's values have been checked before."""
    variable = error.param.envvar if isinstance(error, click.BadParameter) and error.param else None
    return variable if isinstance(variable, str) and os.environ.get(variable) else "A setting"


def _origin(item: Setting) -> str:
    if item.origin != "file":
        return item.where or item.origin
    return visible(Path(item.where or "").name, _ORIGIN)


def _lines(value: object) -> Iterator[str]:
    if isinstance(value, list) and value:
        yield from (visible(str(item)) for item in value)
    elif isinstance(value, bool):
        yield "yes" if value else "no"
    else:
        yield "none" if value is None or value == [] else visible(str(value))


def _pieces(text: str, room: int) -> Iterator[str]:
    """Cut a text into pieces of so many columns, wherever that is: a value has no words."""
    piece, width = "", 0
    for character in text:
        if width + columns(character) > room:
            yield piece
            piece, width = "", 0
        piece, width = piece + character, width + columns(character)
    yield piece


def _web(address: str) -> str:
    try:
        parts = urlsplit(address)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        port = f":{parts.port}" if parts.port is not None else ""
        if not _HOST.fullmatch(parts.hostname or ""):
            raise ValueError("no host")
    except ValueError:
        return f"{address.partition('://')[0]}://{_HIDDEN}"
    who = f"{_HIDDEN}@" if "@" in parts.netloc else ""
    rest = f"/{_HIDDEN}" if parts.path.strip("/") or parts.query or parts.fragment else ""
    return f"{parts.scheme}://{who}{host}{port}{rest}"


def _pair(match: re.Match[str]) -> str:
    key, value = match["key"], match["value"]
    if not _SECRET.search(key):
        return match[0]
    if re.search(r"file|path", key, re.IGNORECASE):
        return f"{key}={Path(value).name}"
    return f"{key}={_HIDDEN}"


def _text(path: Path) -> str:
    """Read the file again for its lines; what is gone by now has none."""
    data = read(path, MOST_BYTES)
    return "" if isinstance(data, Unread) else data.decode("utf-8", "replace").replace("\r\n", "\n")
