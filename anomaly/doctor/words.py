"""Findings for people: 80 columns, each with the commands that mend it."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator

from anomaly.doctor.examination import Finding
from anomaly.doctor.interface import State
from anomaly.sinks.visible import visible
from anomaly.tally import counted

_WIDTH = 80
_LONGEST = 800
"""Most columns of what was found: a name in it may be of any length."""


def sheet(findings: list[Finding]) -> Iterator[str]:
    """Yield the lines of a report; commands are never cut, since they are to be copied."""
    left = max(len(finding.check) for finding in findings)
    for finding in findings:
        state, found, remedy = finding.verdict
        begin = f"{state.value:<8} {finding.check:<{left}}  "
        yield from textwrap.wrap(
            visible(found, _LONGEST),
            _WIDTH,
            initial_indent=begin,
            subsequent_indent=" " * len(begin),
            break_on_hyphens=False,
        )
        for command in remedy if state is not State.OK else ():
            yield f"         $ {visible(command)}"


def summary(findings: list[Finding]) -> str:
    """Say in a sentence how many checks there are of each state."""
    counts = Counter(finding.verdict.state for finding in findings)
    words = [_count(counts[state], state) for state in State]
    return f"{', '.join(words[:-1])} and {words[-1]}."


def _count(count: int, state: State) -> str:
    return counted(count, state.value) if state in (State.PROBLEM, State.WARNING) else f"{count} {state.value}"
