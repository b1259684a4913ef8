"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from anomaly.config import DEFAULT_LOG, default_directory
from anomaly.option_types import Figure, Place, UserName

F = TypeVar("F", bound=Callable[..., Any])

ALGORITHMS = ("LSTM", "OCSVM", "BOTH")
PARTS = ("lstm", "svm", "background", "filter")
ALARM = 25.0
"""As :data:`anomaly.records.ALARM`, which is not loaded for ``--help``."""

SEVERITIES = ("notice", "warning", "critical")


class _Format(click.Choice[str]):
    """How tables are printed. A file or a variable may say what only scores can be: then it is our own JSON."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401
        """Take a flag by its word; what was said of scores in general is for programs here too."""
        source = ctx.get_parameter_source(param.name) if ctx and param and param.name else None
        if value == "ecs" and source in (ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP):
            value = "json"
        return super().convert(value, param, ctx)


_PATH = Place()


def models(function: F) -> F:
    """Add ``--models``."""
    return click.option(
        "--models",
        type=_PATH,
        envvar="ANOMALY_MODELS",
        default=lambda: default_directory("models"),
        help="Directory of models (ANOMALY_MODELS).",
    )(function)


def state(function: F) -> F:
    """Add ``--state``."""
    return click.option(
        "--state",
        type=_PATH,
        envvar="ANOMALY_STATE",
        default=lambda: default_directory("state"),
        help="Directory of checkpoints (ANOMALY_STATE).",
    )(function)


def algorithm(function: F) -> F:
    """Add ``-a``."""
    return click.option(
        "-a",
        "--algorithm",
        type=click.Choice(ALGORITHMS, case_sensitive=False),
        envvar="ANOMALY_ALGORITHM",
        default="BOTH",
        show_default=True,
        help="What to learn with (ANOMALY_ALGORITHM).",
    )(function)


def algorithms(function: F) -> F:
    """Add ``-a``, several times."""
    return click.option(
        "-a",
        "--algorithm",
        "algorithms",
        type=click.Choice(ALGORITHMS, case_sensitive=False),
        multiple=True,
        help="Judge the newest model of this algorithm; by default the one in use. May be given again.",
    )(function)


def alarm(function: F) -> F:
    """Add ``--alarm``."""
    return click.option(
        "--alarm",
        type=Figure(0, 100),
        default=ALARM,
        show_default=True,
        help="The risk from which on a block alarms.",
    )(function)


def jobs(what: str) -> Callable[[F], F]:
    """Add ``--jobs``, with what it does."""
    return click.option(
        "--jobs",
        type=click.IntRange(min=1),
        show_default="as many as fit, and are worth their start",
        help=what,
    )


def begin(what: str) -> Callable[[F], F]:
    """Add ``--from``, with what ``checkpoint`` means."""
    return click.option(
        "--from",
        "begin",
        type=click.Choice(("checkpoint", "start", "end")),
        default="checkpoint",
        show_default=True,
        help=what,
    )


def without(function: F) -> F:
    """Add ``--without``."""
    return click.option(
        "--without",
        type=click.Choice(PARTS),
        multiple=True,
        help="Leave a part out, to see what it brings; for comparisons, not for use.",
    )(function)


def adapt(function: F) -> F:
    """Add ``--adapt``."""
    return click.option(
        "--adapt/--no-adapt",
        default=True,
        show_default=True,
        envvar="ANOMALY_ADAPT",
        help="Learn, under guard, from what is not suspected (ANOMALY_ADAPT).",
    )(function)


def min_score(function: F) -> F:
    """Add ``--min-score``."""
    return click.option(
        "--min-score",
        type=Figure(0, 100),
        default=0.0,
        envvar="ANOMALY_MIN_SCORE",
        help="Show only actions whose score or risk is this or more; all are scored (ANOMALY_MIN_SCORE).",
    )(function)


def log(function: F) -> F:
    """Add ``-l`` for one log."""
    return click.option(
        "-l",
        "--log",
        type=_PATH,
        envvar="ANOMALY_LOG",
        default=DEFAULT_LOG,
        show_default=True,
        help="osquery's results log; - is standard input (ANOMALY_LOG).",
    )(function)


def logs(function: F) -> F:
    """Add ``-l`` for several logs."""
    return click.option(
        "-l",
        "--log",
        "logs",
        type=_PATH,
        multiple=True,
        # Not click's envvar: for several values it would cut the path at each colon.
        default=lambda: [os.environ.get("ANOMALY_LOG") or DEFAULT_LOG],
        show_default=DEFAULT_LOG,
        help="osquery's results log, read with its archives; may be given several times (ANOMALY_LOG).",
    )(function)


def olddir(function: F) -> F:
    """Add ``--olddir``."""
    return click.option(
        "--olddir",
        type=_PATH,
        envvar="ANOMALY_OLDDIR",
        help="A directory of the log's archives besides its own, as logrotate's olddir (ANOMALY_OLDDIR).",
    )(function)


def max_line(function: F) -> F:
    """Add ``--max-line``."""
    return click.option(
        "--max-line",
        type=click.IntRange(min=1024, max=1 << 28),
        envvar="ANOMALY_MAX_LINE",
        default=1 << 20,
        show_default=True,
        help="Longest line read, in bytes; a longer one is skipped and counted (ANOMALY_MAX_LINE).",
    )(function)


def user(function: F) -> F:
    """Add ``--user`` and ``--all-users``, one of which is needed."""
    function = click.option("--all-users", is_flag=True, help="Every user.")(function)
    return click.option("--user", type=UserName(), metavar="NAME", help="One user.")(function)


def chosen_user(name: str | None, all_users: bool) -> str | None:  # noqa: FBT001 - as click gives it
    """Return the user asked for, None for all; a usage error where that is not clear."""
    if (name is None) != all_users:
        raise click.UsageError("Give either --user NAME or --all-users.")
    if name == "":
        raise click.UsageError("--user needs a name. See who is in the log with: anomaly users")
    if name is not None and any("\ud800" <= character <= "\udfff" for character in name):
        raise click.UsageError("--user is not valid UTF-8; osquery writes names as UTF-8.")
    return name


def output_format(function: F) -> F:
    """Add ``--format``."""
    return click.option(
        "--format",
        "output",
        type=_Format(("text", "json")),
        envvar="ANOMALY_FORMAT",
        default="text",
        show_default=True,
        help="Text for people, or a line of JSON each for programs (ANOMALY_FORMAT).",
    )(function)


def score_format(function: F) -> F:
    """Add ``--format`` where scores are what is printed."""
    return click.option(
        "--format",
        "output",
        type=click.Choice(("text", "json", "ecs")),
        envvar="ANOMALY_FORMAT",
        default="text",
        show_default=True,
        help="Text for people, or a line of JSON each for programs, our own or Elastic's (ANOMALY_FORMAT).",
    )(function)
