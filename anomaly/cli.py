"""The commands: parse, wire, print. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anomaly import (
    __version__,
    cli_alerts,
    cli_config,
    cli_doctor,
    cli_fleet,
    cli_forget,
    cli_models,
    cli_predict,
    cli_record,
    cli_report,
    cli_status,
    cli_top,
    cli_train,
    option_types,
    options,
    options_file,
    terminal,
)
from anomaly.cli_errors import Commands

if TYPE_CHECKING:
    pass


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@options_file.configuration
@click.version_option(__version__, prog_name="anomaly")
def main() -> None:
    """Learn how each user behaves from osquery's results log, and score every new action.

    \b
    Example:
      anomaly train --user alice
      anomaly predict --user alice
    """


main.add_command(cli_train.train)
main.add_command(cli_predict.predict)
main.add_command(cli_models.models)
main.add_command(cli_config.config)
main.add_command(cli_doctor.doctor)
main.add_command(cli_record.record)
main.add_command(cli_status.status)
main.add_command(cli_fleet.fleet)
main.add_command(cli_forget.forget)
main.add_command(cli_report.report)
main.add_command(cli_alerts.alerts)
main.add_command(cli_alerts.suppress)
main.add_command(cli_alerts.feedback)
main.add_command(cli_top.top)


@main.command()
@click.option("--user", type=option_types.UserName(), metavar="NAME", required=True, help="Whose model.")
@click.option("--own", type=option_types.Place(), multiple=True, help="A log of the user's; may be given again.")
@click.option(
    "--other", type=option_types.Place(), multiple=True, help="A log of somebody else; may be given again."
)
@click.option(
    "--labels", type=option_types.Place(), help="Table whose column 'line' names others' lines in --own."
)
@options.algorithms
@options.models
@options.adapt
@options.alarm
@click.option("--plot", type=option_types.Place(), help="Write a picture of it to this HTML file.")
@options.output_format
def evaluate(
    user: str,
    own: Sequence[Path],
    other: Sequence[Path],
    labels: Path | None,
    algorithms: Sequence[str],
    models: Path,
    adapt: bool,
    alarm: float,
    plot: Path | None,
    output: str,
) -> None:
    """Say how well a user's model tells the user from others, by logs of which that is known.

    Blocks of 100 actions are judged by the risk after the last. A block is somebody else's if at least half of
    it is. Shares are in per cent; delay is in actions.

    \b
    Example:
      anomaly evaluate --user alice --own alice.log --other bob.log
      anomaly evaluate --user alice --own week.log --labels week.csv -a OCSVM -a BOTH
    """
    from anomaly.assessment import Assessment, assess, row, sheet
    from anomaly.detectors.interface import Algorithm

    chosen = tuple(Algorithm(name) for name in algorithms)
    asked = Assessment(user, models, tuple(own), tuple(other), labels, chosen, alarm, adapt)
    outcomes = list(assess(asked, terminal.watch()))
    rows = [row(outcome) for outcome in outcomes] if output == "json" else sheet(outcomes, alarm)
    terminal.print_rows(rows, output)
    if plot is not None:
        from anomaly.plot import write_plot

        write_plot(plot, f"How well {user} is told from others", outcomes, alarm)


@main.command()
@options.logs
@options.olddir
@options.models
@options.output_format
def users(logs: Sequence[Path], olddir: Path | None, models: Path, output: str) -> None:
    """List who acts in a log, how much, and whether there is a model.

    \b
    Example:
      anomaly users -l /var/log/osquery/osqueryd.results.log
    """
    from anomaly.overview import user_rows

    terminal.print_rows(user_rows(tuple(logs), models, terminal.watch(), olddir), output)


@main.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--seed", type=int, default=7, show_default=True, help="Equal seeds give equal logs.")
@click.option("--days", type=click.IntRange(3, 60), default=14, show_default=True, help="Days of normal life.")
def simulate(directory: Path, seed: int, days: int) -> None:
    """Write simulated logs of three users, and two intrusions with labels.

    \b
    Example:
      anomaly simulate --seed 7 /tmp/sample
    """
    from anomaly.simulation import write

    for path in write(directory, seed, days):
        terminal.say(f"{path}: simulated, {path.stat().st_size:,} bytes")


@main.command()
@click.option(
    "-a",
    "--algorithm",
    type=click.Choice(options.ALGORITHMS, case_sensitive=False),
    default="OCSVM",
    show_default=True,
    help="What to learn with; OCSVM is done in seconds.",
)
def demo(algorithm: str) -> None:
    """Train on the simulated sample logs, replay an intrusion, and say what was found.

    \b
    Example:
      anomaly demo
    """
    from anomaly.demonstration import demonstrate
    from anomaly.detectors.interface import Algorithm

    demonstrate(Algorithm(algorithm), lambda: terminal.sink("text"), click.echo, terminal.watch())
