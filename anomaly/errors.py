"""What can go wrong, as one tree. Each error is a sentence that says what to do next.

::

    AnomalyError                 exit code 1
    ├── ConfigError              2   a setting that does not exist or does not fit
    ├── LogError
    │   ├── LogMissing           3   no such file
    │   ├── LogUnreadable        4   no permission, or not a regular file
    │   └── LogEmpty             5   nothing in it that can be scored
    ├── TooLittleData            6   too few actions to learn from
    ├── UnknownUser              7   no such user in the log, or no model of that user
    ├── ModelRefused             8   a model, or the directory it lies in, that must not be trusted
    ├── StoreUnwritable         11   no room or no permission for models
    ├── WorkerLost              12   a process of several failed before its work was done
    └── StateError
        ├── StateRefused         9   a checkpoint, or its directory, that must not be trusted
        └── StateLocked         10   another process works with the same state or models

The core raises these; only ``cli.py`` turns them into words on stderr and an exit code.
"""

from __future__ import annotations

from typing import ClassVar


class AnomalyError(Exception):
    """Anything this program can explain. ``exit_code`` is what the command ends with."""

    exit_code: ClassVar[int] = 1


class ConfigError(AnomalyError):
    """A setting that does not exist or does not fit."""

    exit_code = 2


class LogError(AnomalyError):
    """The results log cannot be read."""


class LogMissing(LogError):
    """There is no such file."""

    exit_code = 3


class LogUnreadable(LogError):
    """The file is there, and this process may not or should not read it."""

    exit_code = 4


class LogEmpty(LogError):
    """The file holds nothing that can be scored."""

    exit_code = 5


class TooLittleData(AnomalyError):
    """Too few actions to learn a user's behaviour from."""

    exit_code = 6


class UnknownUser(AnomalyError):
    """No such user in the log, or no model of that user."""

    exit_code = 7


class ModelRefused(AnomalyError):
    """A model file, or the directory it lies in, fails its checks."""

    exit_code = 8


class StoreUnwritable(AnomalyError):
    """There is no room, or no permission, to write models."""

    exit_code = 11


class WorkerLost(AnomalyError):
    """One of the processes that share the work has failed, or was ended."""

    exit_code = 12


class StateError(AnomalyError):
    """The directory of checkpoints cannot be used."""


class StateRefused(StateError):
    """A checkpoint, or its directory, fails its checks."""

    exit_code = 9


class StateLocked(StateError):
    """Another process works with the same state or the same models."""

    exit_code = 10
