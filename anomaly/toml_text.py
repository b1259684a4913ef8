"""TOML that somebody else wrote: every fault in it is one sentence, with what to do about it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from anomaly.errors import ConfigError


def parse(data: bytes, path: Path) -> dict[str, Any]:
    """Read the content of a file of TOML.

    Parameters
    ----------
    data
        The content.
    path
        Where it is from, for what is said.

    Raises
    ------
    ConfigError
        It is no TOML, or no UTF-8, which all TOML is.
    """
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reason = f"line {line:,} is not UTF-8"
    except tomllib.TOMLDecodeError as error:
        reason = f"{error}"
    except (ValueError, RecursionError):  # a number of thousands of digits, lists within lists
        reason = "a number in it is too long, or it nests too deeply"
    raise ConfigError(f"{path} is not valid TOML: {reason}. Mend it, or move it away.")
