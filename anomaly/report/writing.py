"""Putting the page on disk: whole or not at all, for nobody else to read, and never through a link."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from anomaly.advice import shell_word, unwritable
from anomaly.errors import ConfigError


def check(path: Path) -> None:
    """Look whether a page may be written there, before the work is done for it.

    Raises
    ------
    ConfigError
        It may not, and why.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{path} would be overwritten by an HTML page; give a name that ends in .html.")
    try:
        found = path.lstat()
    except FileNotFoundError:
        found = None
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from error
    if found is not None:
        if stat.S_ISLNK(found.st_mode):
            raise ConfigError(
                f"{path} is a symbolic link, and the page is not written through it; give another name."
            )
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{path} is no regular file; give another name with --out.")
        if found.st_uid != os.geteuid():
            raise ConfigError(f"{path} belongs to somebody else; give another name with --out.")
    if not path.parent.is_dir():
        raise ConfigError(
            f"There is no directory {path.parent}. Make it with: mkdir -p {shell_word(str(path.parent))}"
        )


def write(path: Path, data: bytes) -> None:
    """Write a page, which its owner alone may read: it tells how people behave.

    Raises
    ------
    ConfigError
        Not there: something else is there now, or it is no place for a file.
    AnomalyError
        The disk is full, or broken.
    """
    check(path)
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                # Whatever has come to be there meanwhile is replaced and not followed.
                os.replace(temporary, path)  # noqa: PTH105 - beside os.open
            except OSError:
                with suppress(FileNotFoundError):
                    temporary.unlink()
                raise
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from error
