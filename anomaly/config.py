"""Settings and where they come from: flag, then ``ANOMALY_*``, then the TOML file, then the default."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
import platformdirs

from anomaly.advice import nearest
from anomaly.bounded import Unread, read
from anomaly.errors import ConfigError
from anomaly.metrics_address import place
from anomaly.toml_text import parse

DEFAULT_LOG = "/var/log/osquery/osqueryd.results.log"

MOST_ALERTS = 10_000.0
"""Largest budget of alerts per user and day: more is no budget."""

MOST_BYTES = 1 << 20
"""Largest file of settings that is read."""

_NO_CHOICE = "Invalid enum value "  # as msgspec begins
_ALGORITHMS = ("LSTM", "OCSVM", "BOTH")
_Place = Annotated[str, msgspec.Meta(min_length=1)]
_Sink = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the configuration file may say; every setting is also a flag of the same name."""

    algorithm: str | msgspec.UnsetType = msgspec.UNSET
    log: _Place | msgspec.UnsetType = msgspec.UNSET
    models: _Place | msgspec.UnsetType = msgspec.UNSET
    state: _Place | msgspec.UnsetType = msgspec.UNSET
    format: Literal["text", "json", "ecs"] | msgspec.UnsetType = msgspec.UNSET
    min_score: Annotated[float, msgspec.Meta(ge=0, le=100)] | msgspec.UnsetType = msgspec.UNSET
    adapt: bool | msgspec.UnsetType = msgspec.UNSET
    olddir: _Place | msgspec.UnsetType = msgspec.UNSET
    max_line: Annotated[int, msgspec.Meta(ge=1 << 10, le=1 << 28)] | msgspec.UnsetType = msgspec.UNSET
    alert_on: Literal["notice", "warning", "critical"] | msgspec.UnsetType = msgspec.UNSET
    budget: Annotated[float, msgspec.Meta(gt=0, le=MOST_ALERTS)] | msgspec.UnsetType = msgspec.UNSET
    suppressions: _Place | msgspec.UnsetType = msgspec.UNSET
    alerts: Annotated[list[_Sink], msgspec.Meta(max_length=32)] | msgspec.UnsetType = msgspec.UNSET
    metrics: str | msgspec.UnsetType = msgspec.UNSET


def load(path: Path) -> dict[str, Any]:
    """Read a configuration file into a dictionary of the settings that it makes.

    Raises
    ------
    ConfigError
        The file cannot be read, is no TOML, or has a key or a value that does not fit.
    """
    data = read(path, MOST_BYTES)
    if isinstance(data, Unread):
        raise ConfigError(f"{path} cannot be read: {data.reason}.")
    found = parse(data, path)
    for key in found:
        if key not in Settings.__struct_fields__:
            hint = nearest(key, Settings.__struct_fields__)
            raise ConfigError(f"{path} has an unknown key {key!r}. {hint}")
    try:
        settings = msgspec.convert(found, Settings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path} does not fit: {_said(error)}") from error
    values: dict[str, Any] = msgspec.to_builtins(settings)
    for key, reason in _misfits(values):
        raise ConfigError(f"{path} does not fit: {key}: {reason}")
    return values


def _said(error: msgspec.ValidationError) -> str:
    """Say in the words of the file what msgspec says of its place in a structure."""
    what, _, where = str(error).rpartition(" - at `$.")
    key = where.removesuffix("`")
    if not what:
        return f"{error}."
    known = get_args(get_args(get_type_hints(Settings).get(key))[0]) if what.startswith(_NO_CHOICE) else ()
    if known:
        value = what.removeprefix(_NO_CHOICE).strip("'")
        return f"{key}: there is no {value[:40]!r}. {nearest(value, known)}"
    return f"{key}: {what[:1].lower()}{what[1:]}."


def _misfits(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what the types of :class:`Settings` cannot say."""
    algorithm = values.get("algorithm")
    if algorithm is not None and algorithm.upper() not in _ALGORITHMS:
        yield "algorithm", f"there is no algorithm {algorithm!r}. {nearest(algorithm.upper(), _ALGORITHMS)}"
    if "metrics" in values:
        try:
            place(values["metrics"])
        except ConfigError as error:
            yield "metrics", str(error)


def checkout() -> Path | None:
    """Return the checkout that this program runs from, None where it is installed elsewhere."""
    root = Path(__file__).resolve().parents[1]
    return root if (root / "pyproject.toml").is_file() and (root / "main.py").is_file() else None


def default_directory(name: Literal["models", "state"]) -> Path:
    """Return where models or checkpoints go unless told otherwise.

    In a checkout the checkout's own; under systemd its StateDirectory; else the user's XDG state directory.
    """
    root = checkout()
    if root is not None:
        return root / name
    systemd = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return (Path(systemd) if systemd else platformdirs.user_state_path("anomaly")) / name
