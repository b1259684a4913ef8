"""One person's two weeks: when they sit down, which task follows which, what they type."""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING

from anomaly.simulation.persona import Vocabulary
from anomaly.simulation.session import HOUR, Desktop, Seat, Span, log_in
from anomaly.simulation.shell import Shell
from anomaly.simulation.system import DAY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anomaly.simulation.persona import Persona, Task
    from anomaly.simulation.system import Plan
    from anomaly.simulation.timeline import Account, Process, Timeline

_SATURDAY = 5


class Worker:
    """A persona that lives on an account.

    Parameters
    ----------
    timeline
        Where all that the worker does is told.
    plan
        The days, and what happens to the host in them.
    persona, account
        The habits, and the account on which they are lived.
    seat
        Where the worker logs in.
    seed
        Seed of the worker's own chance, so that a change to one person leaves the others as they were.
    """

    def __init__(
        self, timeline: Timeline, plan: Plan, persona: Persona, account: Account, seat: Seat, seed: str
    ) -> None:
        self.timeline = timeline
        self.plan = plan
        self.persona = persona
        self.account = account
        self.seat = seat
        self.rng = Random(seed)
        self.words = Vocabulary(persona, account, self.rng)
        self.absent: list[Span] = []
        """When somebody else's hands are on the keyboard."""
        self.desktops: list[Desktop] = []

    def live(self) -> None:
        """Work through all days: log in, sit down, go home."""
        days = [self._day(midnight) for midnight in self.plan.midnights()]
        for desktop, spans in self._sessions([day for day in days if day]):
            desktop.work(spans, self.plan.upgrade)
            for span in spans:
                self._sit(desktop.terminal, span)
        self._nights()
        self._crontab()

    def _day(self, midnight: float) -> list[Span]:
        """Return when the worker sits at the desk on one day."""
        rng, hours = self.rng, self.persona.hours
        weekday = int(midnight // DAY + 3) % 7  # 1970 began on a Thursday
        if weekday >= _SATURDAY:
            begin = midnight + rng.uniform(10, 18) * HOUR
            return [(begin, begin + rng.uniform(0.4, 1.6) * HOUR)] if rng.random() < hours.weekend else []
        begin = midnight + rng.gauss(hours.begin, hours.jitter) * HOUR
        lunch = midnight + rng.gauss(hours.lunch, 0.2) * HOUR
        back = lunch + rng.uniform(0.4, 1.0) * HOUR
        finish = midnight + rng.gauss(hours.finish, hours.jitter) * HOUR
        spans = [(begin, lunch), (back, finish)]
        down, up = self.plan.down, self.plan.up
        cut: list[Span] = []
        for start, end in spans:
            if start < down < end:
                cut += [(start, down), (up + rng.uniform(100, 500), end)]
            else:
                cut.append((start, end))
        return cut

    def _sessions(self, days: list[list[Span]]) -> Iterator[tuple[Desktop, list[Span]]]:
        """Yield each desktop session with the times of work in it; some evenings it is only locked."""
        spans: list[Span] = []
        for day in days:
            for span in day:
                spans.append(span)
                evening = span is day[-1]
                leaves = day is days[-1] or self.rng.random() > self.persona.stays
                if (evening and leaves) or span[1] == self.plan.down:
                    life = (spans[0][0] - 45, span[1] + self.rng.uniform(10, 200))
                    desktop = Desktop(self.timeline, self.words, self.seat, life)
                    self.desktops.append(desktop)
                    yield desktop, spans
                    spans = []

    def _nights(self) -> None:
        """Answer the calls at night, over ssh from home."""
        for midnight in self.plan.midnights():
            if self.rng.random() < self.persona.hours.night:
                begin = midnight + self.rng.uniform(0.3, 5) * HOUR
                end = begin + self.rng.uniform(0.3, 1.0) * HOUR
                self.visit((begin, end), f"home-{self.account.name}.example")

    def visit(self, span: Span, host: str) -> None:
        """Log in over ssh, work for a while, log out."""
        seat = Seat("pts/7", host, "sshd")
        leader = log_in(self.timeline, self.account, seat, span)
        shell = self.shell(leader, span[0] + 1, "pts/7")
        shell.close(self.walk(shell, span))

    def _sit(self, terminal: Process, span: Span) -> None:
        """Spend the time at the desk in stints at the shell, with rests between them."""
        rng, persona = self.rng, self.persona
        time = span[0] + rng.uniform(60, 900)
        while time < span[1]:
            end = min(span[1], time + rng.lognormvariate(math.log(persona.stint * 60), 0.4))
            if not any(start < end and time < stop for start, stop in self.absent):
                shell = self.shell(terminal, time, f"pts/{rng.randint(0, 3)}")
                end = self.walk(shell, (time + 1, end))
                shell.close(end + rng.uniform(1, 30))
            time = end + rng.lognormvariate(math.log(persona.rest * 60), 0.6)

    def shell(self, parent: Process, start: float, terminal: str, step: str = "") -> Shell:
        """Open a shell of this worker."""
        return Shell(
            self.timeline,
            self.rng,
            self.account,
            parent,
            start,
            terminal=terminal,
            prompt=self.persona.prompt,
            step=step,
        )

    def walk(self, shell: Shell, span: Span, lines: int = 1 << 30) -> float:
        """Go from task to task until the time or the number of lines is up; return when that was."""
        time, end = span
        rng, persona, words = self.rng, self.persona, self.words
        progress = self.plan.progress(time)
        known = [path for path, since in persona.projects if since <= progress]
        # The newest project gets most of the attention, which is one way a person drifts.
        words.project = words.fill(known[-1 - int(len(known) * rng.random() ** 1.6)])
        time = shell.run(f"cd {words.project.replace(self.account.home, '~')}", time) + rng.uniform(1, 5)
        task = persona.tasks[persona.first]
        while True:
            for line in self._lines(task, time):
                if time >= end or lines <= 0:
                    return time
                lines -= 1
                time = self._type(shell, line, time) + rng.lognormvariate(math.log(persona.pause), 0.9)
            if rng.random() >= task.again:
                task = self._next(task, progress)

    def _lines(self, task: Task, time: float) -> Iterator[str]:
        self.words.forget()
        self.words.time = time
        for step in task.steps:
            if self.rng.random() < step.chance:
                weights = [1 / (1 + rank) ** 1.2 for rank in range(len(step.lines))]
                yield self.words.fill(self.rng.choices(step.lines, weights)[0])

    def _next(self, task: Task, progress: float) -> Task:
        tasks = self.persona.tasks
        open_now = {name: weight for name, weight in task.then.items() if tasks[name].since <= progress}
        weights = [weight * tasks[name].trend ** progress for name, weight in open_now.items()]
        return tasks[self.rng.choices(list(open_now), weights)[0]]

    def _type(self, shell: Shell, line: str, time: float) -> float:
        """Type a line, now and then wrongly at first."""
        word = line.split(maxsplit=1)[0]
        if self.rng.random() < self.persona.typos and len(word) > 1:
            at = self.rng.randrange(len(word) - 1)
            wrong = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
            if wrong != word:
                shell.mistype(line.replace(word, wrong, 1), wrong, time)
                time += self.rng.uniform(1.5, 6)
        return shell.run(line, time)

    def _crontab(self) -> None:
        for hours, command in self.persona.jobs:
            time = self.plan.begin + self.rng.uniform(0, hours) * HOUR
            while time < self.plan.end:
                cron(self.timeline, self.account, f"/bin/bash {command}", time, self.rng.uniform(1, 50))
                time += hours * HOUR


def cron(
    timeline: Timeline, account: Account, command: str, time: float, seconds: float, *, step: str = ""
) -> None:
    """Run a line of somebody's crontab; PAM gives cron's child the owner's auid before it becomes the owner."""
    end = time + seconds
    child = timeline.execute("/usr/sbin/cron", "/usr/sbin/CRON -f -P", start=time, end=end + 0.1, login=account)
    child.step = step
    shell = timeline.execute(
        "/usr/bin/dash",
        f"/bin/sh -c {command}",
        start=time + 0.1,
        end=end,
        parent=child,
        runs_as=account,
        cwd=account.home,
        name="sh",
    )
    path = command.split(maxsplit=1)[0]
    timeline.execute(path.replace("/bin/bash", "/usr/bin/bash"), command, start=time + 0.2, end=end, parent=shell)
    opened = f"pam_unix(cron:session): session opened for user {account.name}(uid={account.uid}) by root(uid=0)"
    timeline.log(time, "CRON", opened, "authpriv", step)
