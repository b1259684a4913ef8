"""``anomaly doctor``: what is the matter, and what to type."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from anomaly import option_types, options, options_file
from anomaly.terminal import print_rows, say

EXIT_PROBLEM = 21
"""What ``doctor`` ends with when it has found a problem."""


@click.command()
@options_file.configuration
@options.log
@options.olddir
@options.max_line
@options.models
@options.state
@click.option(
    "--osquery-conf",
    type=option_types.Place(),
    default="/etc/osquery/osquery.conf",
    show_default=True,
    help="osquery's configuration.",
)
@click.option(
    "--osquery-flags",
    type=option_types.Place(),
    default="/etc/osquery/osquery.flags",
    show_default=True,
    help="osquery's flag file.",
)
@options.output_format
def doctor(
    log: Path,
    olddir: Path | None,
    max_line: int,
    models: Path,
    state: Path,
    osquery_conf: Path,
    osquery_flags: Path,
    output: str,
) -> None:
    """Look at osquery, the log, the models and the machine, and say what to mend, the worst first.

    Nothing is changed, and nothing but files is looked at. Ask as the user who runs the watch. A problem ends with
    exit code 21; warnings and what is unknown end with 0.

    \b
    Example:
      anomaly doctor
      anomaly doctor -l /srv/osqueryd.results.log --format json | jq 'select(.state != "ok")'
    """
    import time

    from anomaly.doctor.examination import examine
    from anomaly.doctor.interface import Places, State
    from anomaly.doctor.words import sheet, summary

    where = (log, olddir, models, state, osquery_conf, osquery_flags)
    findings = examine(Places(*where, max_line=max_line, now=time.time()))
    if output == "json":
        rows = [{"check": check, **verdict._asdict()} for check, verdict in findings]
        print_rows(rows, output)
    else:
        for line in sheet(findings):
            click.echo(line)
    say(summary(findings))
    if any(finding.verdict.state is State.PROBLEM for finding in findings):
        sys.exit(EXIT_PROBLEM)
