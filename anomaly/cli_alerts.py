"""``anomaly alerts``, ``suppress`` and ``feedback``: what was told, what is not to be, and what it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from anomaly import option_types, options, options_alerts
from anomaly.terminal import print_lines, print_rows, say

DAYS = 30
"""How long something is suppressed, unless told otherwise."""


@click.group()
def alerts() -> None:
    """Look at the alerts that were told.

    \b
    Example:
      anomaly alerts list
    """


@alerts.command(name="list")
@click.option("--user", type=option_types.UserName(), metavar="NAME", help="Of this user alone.")
@click.option(
    "--since", type=option_types.Moment(), help="That began or went on since this time of the log (UTC)."
)
@options.state
@options.output_format
def list_(user: str | None, since: int | None, state: Path, output: str) -> None:
    """List the newest alerts, the newest last.

    \b
    Example:
      anomaly alerts list --user alice --since 2026-10-19
    """
    from anomaly.alert_overview import alert_lines, alert_records

    if output == "json":
        print_rows(alert_records(state, user, since), output)
        return
    lines = list(alert_lines(state, user, since))
    print_lines(lines)
    if not lines:
        what = "There is no such alert" if user is not None or since is not None else "No alert has been told"
        say(f"{what} in {state}.")


@click.group()
def suppress() -> None:
    """Say what raises no alert, for a while.

    What is suppressed is still scored and shown, and does not count for the risk of the user's window.

    \b
    Example:
      anomaly suppress add --user alice --field command --pattern "make *"
      anomaly suppress list
    """


@suppress.command(name="add")
@click.option(
    "--user",
    type=option_types.UserName(),
    metavar="NAME",
    help="Of this user alone, as the log names the user, or NAME@HOST.",
)
@click.option("--query", metavar="NAME", help="Of this query alone, without its pack's prefix.")
@click.option("--field", metavar="COLUMN", help="Where this column...")
@click.option("--value", help="...has this value...")
@click.option("--pattern", help="...or is like this: * is any text, ? any character, all else itself.")
@click.option("--for", "days", type=click.IntRange(1, 3650), help=f"Days from today. [default: {DAYS}]")
@click.option("--until", type=click.DateTime(("%Y-%m-%d",)), help="Instead, up to this day (UTC).")
@click.option("--note", default="", help="Why; for whoever reviews it.")
@options.state
@options_alerts.suppressions
def add(
    user: str | None,
    query: str | None,
    field: str | None,
    value: str | None,
    pattern: str | None,
    days: int | None,
    until: object,
    note: str,
    state: Path,
    suppressions: Path | None,
) -> None:
    """Raise no alert about a user, a query or a value, until a day. All that is given must hold.

    \b
    Example:
      anomaly suppress add --user alice --query shell_history \\
        --field command --pattern "make *" --for 30 --note "builds"
    """
    from datetime import datetime

    from anomaly import suppression_edit
    from anomaly.suppression import FILE, day_of

    if days is not None and until is not None:
        raise click.UsageError("Give either --for or --until.")
    expires = until.date() if isinstance(until, datetime) else suppression_edit.until(days or DAYS)
    scope = {"user": user, "query": query, "field": field, "value": value, "pattern": pattern}
    path = suppressions or state / FILE
    entry = suppression_edit.new(expires, note=note, **scope)
    if (known := suppression_edit.covering(path, entry)) is not None:
        say(f"{known.id}: {known.scope()} raises no alert before {known.expires} already; nothing was added.")
        return
    suppression_edit.add(path, entry)
    over = "" if entry.applies(day_of(0)) else " By the clock it has expired: it is of use for older logs alone."
    say(f"{entry.id}: {entry.scope()} raises no alert before {entry.expires}.{over}")


@suppress.command(name="list")
@options.state
@options_alerts.suppressions
@options.output_format
def list_suppressions(state: Path, suppressions: Path | None, output: str) -> None:
    """List what raises no alert, and what has expired.

    \b
    Example:
      anomaly suppress list
    """
    from anomaly.alert_overview import suppression_lines, suppression_records
    from anomaly.suppression import FILE

    path = suppressions or state / FILE
    if output == "json":
        print_rows(suppression_records(path), output)
        return
    lines = list(suppression_lines(path))
    print_lines(lines)
    if not lines:
        say("Nothing is suppressed.")


@suppress.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@options.state
@options_alerts.suppressions
def rm(ids: Sequence[str], state: Path, suppressions: Path | None) -> None:
    """Take suppressions out: what they are about raises alerts again.

    \b
    Example:
      anomaly suppress rm 5848443c
    """
    from anomaly import suppression_edit
    from anomaly.suppression import FILE

    for entry in suppression_edit.remove(suppressions or state / FILE, ids):
        say(f"{entry.id}: {entry.scope()} raises alerts again.")


@click.command()
@click.argument("identity", metavar="ID")
@click.option("--expected", is_flag=True, help="It was fine: suppress it, and learn it.")
@click.option("--incident", is_flag=True, help="It was not: never learn it.")
@click.option("--for", "days", type=click.IntRange(1, 3650), help=f"Days to suppress it. [default: {DAYS}]")
@click.option("--until", type=click.DateTime(("%Y-%m-%d",)), help="Instead, up to this day (UTC).")
@click.option("--note", default="", help="What it was; for whoever reviews it.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@options.state
@options_alerts.suppressions
def feedback(
    identity: str,
    expected: bool,
    incident: bool,
    days: int | None,
    until: object,
    note: str,
    dry_run: bool,
    state: Path,
    suppressions: Path | None,
) -> None:
    """Say what an alert was. ID is that of an action that it told of, or the alert's.

    Expected: that action is learned, and no other of the alert, and its like raises no more alerts: the same user,
    query and value that weighed most. Where no value names it, nothing is suppressed, and it says how you could.
    Incident: nothing that the alert told of is ever learned, nor what waits to be learned beside it.

    \b
    Example:
      anomaly feedback 9f2c41d07b3e5a68:18230 --expected --for 90 --note "new job"
      anomaly feedback 9f2c41d07b3e5a68:18230 --incident
    """
    from datetime import datetime

    from anomaly.answering import answer
    from anomaly.feedback import Verdict
    from anomaly.suppression import FILE

    if expected is incident:
        raise click.UsageError("Say what it was: either --expected or --incident.")
    for name, given in (("--for", days), ("--until", until)):
        if incident and given is not None:
            raise click.UsageError(f"{name} is for what was --expected.")
    if days is not None and until is not None:
        raise click.UsageError("Give either --for or --until.")
    expires = until.date() if isinstance(until, datetime) else days or DAYS
    verdict = Verdict.EXPECTED if expected else Verdict.INCIDENT
    said = answer(state, suppressions or state / FILE, identity, verdict, expires, note, dry_run=dry_run)
    for sentence in said:
        say(sentence)
