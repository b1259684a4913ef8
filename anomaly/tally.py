"""What a run met: counted, summed up in a sentence, and said while it goes on, at most once a minute each."""

from __future__ import annotations

import re
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from anomaly.records import Score, Severity

EVERY = 60.0
"""Seconds between two sentences about one thing: a flood must not become another one."""

FIRST = 10.0
"""Seconds until skipped lines are first spoken of: a burst of them is one sentence."""

_MET = {
    "truncations": "it was cut, and there is no copy of it: what was in it and not yet read is lost",
    "copies": "it was copied and cut; reading goes on in the copy",
    "replacements": "it was deleted and made anew",
    "losses": "the file that was read last is gone: what was in it and not yet read is lost",
    "absences": "it has been gone for half a minute, and nothing is in its place; it is waited for",
    "read_errors": "it cannot be read at the moment (no permission, or no regular file); it is tried again",
    "archive_errors": "an archive of it could be read only in part, or not at all",
    "watch_errors": "inotify does not watch it; it is looked at four times a second instead",
}
_WIDTH = 80


@dataclass
class Tally:
    """What one run met."""

    lines: int = 0
    """Lines that were read, those that were skipped among them."""
    actions: int = 0
    scored: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    severities: Counter[Severity] = field(default_factory=Counter)
    checkpoint_errors: int = 0
    alerts: int = 0
    """Alerts told, without their updates."""
    alert_errors: int = 0
    """Times that alerts could not be handed on."""

    def count(self, scores: Sequence[Score]) -> None:
        """Count scores by severity."""
        self.severities.update([score.severity for score in scores])
        self.scored += len(scores) - [score.score for score in scores].count(None)

    def worst(self) -> Severity:
        """Return the most severe of what was scored."""
        return max(self.severities, key=lambda severity: severity.rank, default=Severity.NONE)

    def summary(self) -> list[str]:
        """Say it in a sentence, by lines of 80 columns; the most severe comes first."""
        ranked = sorted(self.severities.items(), key=lambda pair: -pair[0].rank)
        worst = ", ".join(f"{n:,} {severity}" for severity, n in ranked if severity.rank)
        sentence = (
            f"{counted(self.lines, 'line')}, {counted(self.actions, 'action')}, {self.scored:,} scored"
            + (f" ({worst})" if worst else "")
            + (f", {counted(self.alerts, 'alert')}" if self.alerts else "")
            + (f"; {skipped(self.skipped)}" if self.skipped.total() else "")
            + "."
        )
        whole = re.sub(r"(?<=\w) (?=[0-9])|(?<=[0-9]) ", "\N{NO-BREAK SPACE}", sentence)  # numbers stay with words
        return [
            line.replace("\N{NO-BREAK SPACE}", " ")
            for line in textwrap.wrap(whole, _WIDTH, subsequent_indent="  ")
        ]


def counted(count: int, what: str) -> str:
    """Write how many there are.

    >>> counted(1, "archive"), counted(1200, "archive")
    ('1 archive', '1,200 archives')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def skipped(counts: Counter[str]) -> str:
    """Say how many lines were skipped, and why: by each reason, of which there are few.

    >>> skipped(Counter(not_json=1200, truncated=1))
    '1,201 lines skipped: not_json 1,200, truncated 1'
    >>> skipped(Counter(not_json=1))
    '1 line skipped: not_json 1'
    """
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in counts.most_common() if count)
    return f"{counted(counts.total(), 'line')} skipped: {reasons}"


class Reports:
    """Says what goes wrong and is survived: a watch that has gone blind must not look quiet.

    Parameters
    ----------
    log
        The log's name.
    say
        Told, as a sentence.
    clock
        Gives seconds that never go back.
    """

    def __init__(self, log: str, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._say, self._clock = log, say, clock
        self._told: Counter[str] = Counter()
        self._told_skipped: Counter[str] = Counter()
        self._next: dict[str, float] = {}

    def tell(self, met: Mapping[str, int], lines: Counter[str]) -> None:
        """Say what is new.

        Parameters
        ----------
        met
            The source's counters.
        lines
            The lines skipped so far, by reason.
        """
        if not lines and not any(met.values()):
            return  # as after nearly every batch
        for name, sentence in _MET.items():
            count = met.get(name, 0) - self._told[name]
            if count > 0 and self._due(name):
                self._told[name] += count
                self._say(f"{self._log}: {sentence}{f' ({count:,} times)' if count > 1 else ''}.")
        if lines.total() > self._told_skipped.total() and self._due("skipped", FIRST):
            new = lines - self._told_skipped
            self._told_skipped = lines.copy()
            self._say(f"{self._log}: {skipped(new)}.")

    def _due(self, name: str, first: float = 0.0) -> bool:
        """Whether a thing may be spoken of; from now on not for a while, if so."""
        now = self._clock()
        if now < self._next.setdefault(name, now + first):
            return False
        self._next[name] = now + EVERY
        return True
