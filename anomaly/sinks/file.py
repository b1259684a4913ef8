"""Alerts appended to a file that something else rotates."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from anomaly.errors import ConfigError
from anomaly.records import Alert
from anomaly.sinks.formats import Encode
from anomaly.sinks.interface import AlertSink, Health
from anomaly.trust import refusal

MODE = 0o640
"""Of a file that is made: alerts quote command lines, which are not for everybody."""

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK


class FileSink(AlertSink):
    """Appends alerts, and opens the file anew when told that it was rotated.

    What a full disk has cut short stays a line of its own: the next alert begins on a fresh one.

    Parameters
    ----------
    path : Path
        The file; made with mode 0640 where it does not exist. A symbolic link is followed only if it is root's or
        the running user's, and only a regular file that others cannot write is appended to.
    encode : callable
        What an alert looks like.

    Raises
    ------
    ConfigError
        The file cannot be opened, or must not be written to.
    """

    def __init__(self, path: Path, encode: Encode) -> None:
        self._path, self._encode = path, encode
        self._file = -1
        self._lost = 0
        try:
            self._file, self._is_cut = _open(path)
        except OSError as error:
            raise ConfigError(f"Alerts cannot be written to {path}: {error.strerror}.") from error

    def write(self, alerts: Sequence[Alert]) -> None:
        """Append the alerts; raises OSError where some are lost, and says how many."""
        for place, alert in enumerate(alerts):
            line = self._encode(alert)
            try:
                self._append(b"\n" + line if self._is_cut else line)
            except OSError as error:
                lost = len(alerts) - place
                self._lost += lost
                what = f"{error.strerror}; {lost:,} alert{'s are' if lost != 1 else ' is'} lost"
                raise OSError(error.errno, what, str(self._path)) from error

    def _append(self, data: bytes) -> None:
        written = os.write(self._file, data)
        if written < len(data):
            # Whether it ends on a newline is for the next line to know, whoever takes the rest away.
            self._is_cut = data[written - 1 : written] != b"\n" if written else self._is_cut
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._is_cut = False

    def reopen(self) -> None:
        """Go on in the file that has the name now; in the old one, and raise OSError, where there is none."""
        try:
            fresh, is_cut = _open(self._path)
        except ConfigError as error:
            raise OSError(errno.EPERM, str(error)) from error
        os.close(self._file)
        self._file, self._is_cut = fresh, is_cut

    def health(self) -> Health:
        """Tell how many alerts had no room."""
        return Health(lost=self._lost)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _open(path: Path) -> tuple[int, bool]:
    """Open or make the file; also tell whether it ends within a line."""
    try:
        descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, MODE)
    except FileExistsError:
        descriptor = os.open(path, _FLAGS | (0 if _own_link(path) else os.O_NOFOLLOW))
    else:
        # As it is meant to be, whatever the umask: who reads it may be in the group.
        os.fchmod(descriptor, MODE)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"Alerts cannot be written to {path}: it is no regular file.")
        if (reason := refusal(path, status)) is not None:
            raise ConfigError(reason)
        end = os.pread(descriptor, 1, status.st_size - 1) if status.st_size else b"\n"
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, end != b"\n"


def _own_link(path: Path) -> bool:
    """Tell whether it is a link that only we or root could have made."""
    with suppress(OSError):
        status = os.lstat(path)
        return stat.S_ISLNK(status.st_mode) and status.st_uid in (0, os.geteuid())
    return False
