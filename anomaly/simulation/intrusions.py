"""The two intrusions: another person's hands on an account, and a textbook attack."""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING

from anomaly.simulation.attack import FIRST_NIGHT, SECOND_DAY, STAGE
from anomaly.simulation.session import HOUR, Seat, Span, log_in
from anomaly.simulation.system import DAY
from anomaly.simulation.timeline import FOREVER
from anomaly.simulation.worker import Worker, cron

if TYPE_CHECKING:
    from anomaly.simulation.system import Plan
    from anomaly.simulation.timeline import Timeline

_SITTING_LINES = 52
"""Command lines of one sitting at a stranger's account: somewhat over two actions each."""
_ATTACKER_PAUSE = 8.0
"""Median seconds between two lines of the attack, much of which is pasted."""


def sittings(plan: Plan) -> tuple[Span, Span]:
    """Return when the masquerade's two sittings may take place."""
    first = plan.masquerade + 13.6 * HOUR
    second = plan.masquerade + DAY + 18.9 * HOUR
    return (first, first + 3 * HOUR), (second, second + 4 * HOUR)


def masquerade(timeline: Timeline, victim: Worker, stranger: Worker, seed: str) -> None:
    """Let the stranger, with their own habits, use the victim's account.

    First at the desk, which the victim left unlocked; on the second evening over ssh, with the victim's key.
    """
    hands = Worker(timeline, victim.plan, stranger.persona, victim.account, victim.seat, seed)
    hands.words.known = {pool: list(words) for pool, words in stranger.words.known.items()}
    for number, span in enumerate(sittings(victim.plan), start=1):
        step = f"sitting {number}"
        desk = next((each for each in victim.desktops if each.span[0] < span[0] < each.span[1]), None)
        if number == 1 and desk:
            parent, until = desk.terminal, span[1]
        else:
            until = span[1]
            parent = log_in(
                timeline, victim.account, Seat("pts/5", "app02", "sshd"), (span[0], FOREVER), step=step
            )
        shell = hands.shell(parent, span[0] + 2, "pts/5", step)
        end = hands.walk(shell, (span[0] + 5, until), _SITTING_LINES)
        shell.close(end + 5)
        if parent.step:
            log_out(timeline, parent.login.name if parent.login else "", span[0], end + 6)
            parent.end = end + 6


def log_out(timeline: Timeline, name: str, start: float, end: float) -> None:
    """End the session that began at a time."""
    for state in timeline.states:
        if state.query == "logged_in_users" and state.columns["username"] == name and state.start == start + 0.2:
            state.end = end


def attack(timeline: Timeline, victim: Worker, seed: str) -> None:
    """Let somebody take the victim's account with a stolen password, come back the next day, and leave."""
    rng = Random(seed)
    nights = ((FIRST_NIGHT, victim.plan.attack + 1.7 * HOUR), (SECOND_DAY, victim.plan.attack + DAY + 14.3 * HOUR))
    for script, start in nights:
        parent = log_in(
            timeline,
            victim.account,
            Seat("pts/4", "vps-114.example", "sshd"),
            (start, FOREVER),
            step="initial access",
        )
        time = start + rng.uniform(2, 6)
        shell = victim.shell(parent, time, "pts/4", "initial access")
        for step, lines in script:
            shell.step = step
            for line in lines:
                time = shell.run(line, time) + rng.lognormvariate(math.log(_ATTACKER_PAUSE), 0.8)
        shell.close(time)
        parent.end = time + 1
        log_out(timeline, victim.account.name, start, time + 1)
    for day in range(2):  # what was put into the crontab
        start = victim.plan.attack + day * DAY + 5 * HOUR + 1020
        cron(timeline, victim.account, f"{STAGE}/agent -q", start, rng.uniform(100, 900), step="persistence")
