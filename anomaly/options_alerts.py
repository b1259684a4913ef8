"""Options of what alerts, how often, and where to: each a flag, ``ANOMALY_*`` and a setting of the file."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from anomaly.config import MOST_ALERTS
from anomaly.errors import ConfigError
from anomaly.metrics_address import place
from anomaly.option_types import Figure, Place
from anomaly.options import SEVERITIES, F


def alerting(function: F) -> F:
    """Add all of them: what alarms, what does not, who is told, and where it is counted."""
    for add in (metrics, alerts, suppressions, budget, alert_on):
        function = add(function)
    return function


def check(ctx: click.Context) -> None:
    """Refuse ``--alert-on`` and ``--budget`` on one command line; where one is a setting, the budget counts."""
    asked = [ctx.get_parameter_source(name) for name in ("alert_on", "budget")]
    if all(source is ParameterSource.COMMANDLINE for source in asked):
        raise click.UsageError("Give either --alert-on or --budget: a budget finds what is rare of each user.")


def alert_on(function: F) -> F:
    """Add ``--alert-on``."""
    return click.option(
        "--alert-on",
        type=click.Choice(SEVERITIES),
        envvar="ANOMALY_ALERT_ON",
        default="warning",
        show_default=True,
        help="Alert on this severity, or worse (ANOMALY_ALERT_ON).",
    )(function)


def budget(function: F) -> F:
    """Add ``--budget``."""
    return click.option(
        "--budget",
        type=Figure(min=0, max=MOST_ALERTS, min_open=True),
        envvar="ANOMALY_BUDGET",
        help="Instead, the rarest of each user: so many alerts a day, 0.5 is one in two (ANOMALY_BUDGET).",
    )(function)


def suppressions(function: F) -> F:
    """Add ``--suppressions``."""
    return click.option(
        "--suppressions",
        type=Place(),
        envvar="ANOMALY_SUPPRESSIONS",
        help="What raises no alert; by default suppressions.toml in the state directory (ANOMALY_SUPPRESSIONS).",
    )(function)


def alerts(function: F) -> F:
    """Add ``--alert``, several times."""
    return click.option(
        "--alert",
        "alerts",
        type=_Address(),
        multiple=True,
        envvar="ANOMALY_ALERTS",
        help="Send alerts there: -, file:, syslog:, https: (docs/sinks.md); may be given again (ANOMALY_ALERTS).",
    )(function)


def metrics(function: F) -> F:
    """Add ``--metrics``."""
    return click.option(
        "--metrics",
        type=_Metrics(),
        envvar="ANOMALY_METRICS",
        help="Show metrics for Prometheus at 127.0.0.1:PORT, or in textfile:/PATH/X.prom (ANOMALY_METRICS).",
    )(function)


class _Address(click.ParamType[str]):
    """The address of a sink; what it means is known where sinks are made."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401
        """Refuse an empty one: a shell variable was not set."""
        if not value:
            self.fail("the address is empty.", param, ctx)
        return str(value)


class _Metrics(click.ParamType[str]):
    """An address to listen on, or a file."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401
        """Refuse what metrics cannot go to."""
        try:
            place(str(value))
        except ConfigError as error:
            self.fail(str(error), param, ctx)
        return str(value)
