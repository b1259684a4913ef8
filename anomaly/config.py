"""Settings and where they come from: flag, then ``ANOMALY_*``, then the TOML file, then the default."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec
import platformdirs

from anomaly.advice import nearest
from anomaly.errors import ConfigError

DEFAULT_LOG = "/var/log/osquery/osqueryd.results.log"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the configuration file may say; every setting is also a flag of the same name."""

    algorithm: str | msgspec.UnsetType = msgspec.UNSET
    log: str | msgspec.UnsetType = msgspec.UNSET
    models: str | msgspec.UnsetType = msgspec.UNSET
    state: str | msgspec.UnsetType = msgspec.UNSET
    format: Literal["text", "json"] | msgspec.UnsetType = msgspec.UNSET
    min_score: float | msgspec.UnsetType = msgspec.UNSET
    adapt: bool | msgspec.UnsetType = msgspec.UNSET
    olddir: str | msgspec.UnsetType = msgspec.UNSET
    max_line: int | msgspec.UnsetType = msgspec.UNSET


def load(path: Path) -> dict[str, Any]:
    """Read a configuration file into a dictionary of the settings that it makes.

    Raises
    ------
    ConfigError
        The file cannot be read, is no TOML, or has a key or a value that does not fit.
    """
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error
    for key in found:
        if key not in Settings.__struct_fields__:
            hint = nearest(key, Settings.__struct_fields__)
            raise ConfigError(f"{path} has an unknown key {key!r}. {hint}")
    try:
        settings = msgspec.convert(found, Settings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path} does not fit: {error}.") from error
    values: dict[str, Any] = msgspec.to_builtins(settings)
    return values


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
