"""A login and what comes with it: the desktop, the programs on it, and what they do on their own."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from anomaly.simulation.personas.desktop import CHORES, SESSION, SESSION_FILES
from anomaly.simulation.timeline import FOREVER, Process, Timeline, address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from anomaly.simulation.persona import App, Vocabulary
    from anomaly.simulation.timeline import Account

HOUR = 3600.0
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a session comes from: the console, or another machine."""

    tty: str
    host: str = ""
    """Name of the other machine; empty at the console."""
    service: str = "gdm"
    """The daemon that lets the user in: ``gdm``, ``xrdp-sesman`` or ``sshd``."""


_DAEMONS = {
    "gdm": ("/usr/libexec/gdm-session-worker", "gdm-session-worker [pam/gdm-password]"),
    "xrdp-sesman": ("/usr/sbin/xrdp-sesman", "/usr/sbin/xrdp-sesman"),
    "sshd": ("/usr/sbin/sshd", "/usr/sbin/sshd -D -R"),
}


def log_in(timeline: Timeline, account: Account, seat: Seat, span: Span, *, step: str = "") -> Process:
    """Log an account in; return the process that everything in the session descends from."""
    start, end = span
    path, cmdline = _DAEMONS[seat.service]
    guard = timeline.execute(path, cmdline, start=start - 2, end=end + 1)
    tty = "ssh" if seat.service == "sshd" else seat.tty
    leader = timeline.execute(
        path,
        cmdline,
        start=start,
        end=end,
        parent=guard,
        runs_as=account,
        login=account,
        name=path.rsplit("/", 1)[-1],
    )
    leader.step = step
    for offset, kind, operation in (
        (-1.5, 1100, "PAM:authentication"),
        (-1.4, 1101, "PAM:accounting"),
        (-1.3, 1103, "PAM:setcred"),
        (0.0, 1105, "PAM:session_open"),
        (0.1, 1112, "login"),
    ):
        # Until the session is open the record carries no login user.
        timeline.audit(
            leader if offset >= 0 else guard,
            kind,
            operation,
            account.name,
            time=start + offset,
            tty=tty,
            host=seat.host or "?",
        )
    if end < FOREVER:
        timeline.audit(leader, 1106, "PAM:session_close", account.name, time=end, tty=tty, host=seat.host or "?")
    if seat.service == "sshd":
        port = 40000 + int(start) % 20000
        where = address(seat.host)
        message = f"Accepted publickey for {account.name} from {where} port {port} ssh2"
        timeline.log(start - 1, "sshd", message, "auth", step)
        timeline.connect(leader, seat.host, port, start, end)
    opened = f"pam_unix({seat.service}:session): session opened for user {account.name}(uid={account.uid})"
    timeline.log(start, "systemd-logind", f"New session of user {account.name}.", "auth", step)
    timeline.log(start, seat.service, opened, "authpriv", step)
    columns = {
        "host": address(seat.host) if seat.host else "",
        "time": str(int(start)),
        "tty": seat.tty,
        "username": account.name,
    }
    timeline.hold("logged_in_users", columns, start + 0.2, end, step)
    return leader


class Desktop:
    """The graphical session of one user, with the programs that live on it for hours."""

    def __init__(self, timeline: Timeline, vocabulary: Vocabulary, seat: Seat, span: Span) -> None:
        self.timeline = timeline
        self.words = vocabulary
        self.rng = vocabulary.rng
        self.span = span
        self.leader = log_in(timeline, vocabulary.account, seat, span)
        self.terminal = self._start_session()

    def _start_session(self) -> Process:
        time, end = self.span
        process = self.leader
        home = self.words.account.home
        for path in SESSION:
            time += self.rng.uniform(0.05, 1.5)
            process = self.timeline.execute(path, start=time, end=end, parent=self.leader, cwd=home)
        for file in SESSION_FILES:
            self.timeline.open(process, self.words.fill(file), time, end)
        return process  # the last one is the terminal

    def work(self, spans: Iterable[Span], upgrade: float) -> None:
        """Use the programs of the desktop while somebody sits at it."""
        rng = self.rng
        for begin, finish in spans:
            for app in self.words.persona.apps:
                if rng.random() > app.chance:
                    continue
                start = begin + rng.uniform(20, 900)
                until = start + rng.lognormvariate(math.log(app.hours * HOUR), 0.4) if app.hours else self.span[1]
                until = min(until, self.span[1])
                for version, life in _versions(app, (start, until), upgrade, rng.uniform(40, 400)):
                    self._open(version, life, finish)
            for time in self._times((begin, finish), 2.5):
                argv = shlex.split(rng.choice(CHORES))
                end = time + rng.lognormvariate(1.5, 1.2)
                self.timeline.execute(argv[0], " ".join(argv), start=time, end=end, parent=self.leader)

    def _open(self, app: App, life: Span, finish: float) -> None:
        """Run one program; it acts of itself until its user leaves, and a little even then."""
        timeline, words, rng = self.timeline, self.words, self.rng
        start, end = life
        if end <= start:
            return
        process = timeline.execute(
            app.path, app.cmdline, start=start, end=end, parent=self.leader, cwd=words.account.home
        )
        for name, cmdline in app.helpers:
            begin = start + rng.uniform(0.2, 600)
            timeline.execute(cmdline.split()[0], cmdline, start=begin, end=end, parent=process, name=name)
        for file in app.files:
            timeline.open(process, words.fill(file), start + 1, end)
        if app.port:
            timeline.listen(process, app.port, start + 2, end)
        active = (start, min(end, finish))
        for time in (*self._times(active, app.sites), *self._times((active[1], end), app.sites / 12)):
            words.forget()
            site = words.fill(f"{{{app.site}}}")
            port = 443 if rng.random() < 0.93 else 80
            timeline.connect(process, site, port, time, time + rng.lognormvariate(4.6, 1.0))
        for time in self._times(active, app.documents):
            words.forget()
            words.time = time
            file = words.fill(f"{{{app.document}}}")
            timeline.open(process, file, time, time + rng.lognormvariate(5.2, 0.9))

    def _times(self, span: Span, rate: float) -> Iterator[float]:
        """Yield moments at random, so many an hour."""
        time, end = span
        while rate and (time := time + self.rng.expovariate(rate / HOUR)) < end:
            yield time


def _versions(app: App, life: Span, upgrade: float, pause: float) -> Iterator[tuple[App, Span]]:
    """Yield a program before and after the upgrade of packages, between which it is restarted."""
    old, new = app.upgrade
    start, end = life
    if not old or end < upgrade:
        yield app, life
        return
    later = replace(
        app,
        path=app.path.replace(old, new),
        cmdline=app.cmdline.replace(old, new),
        helpers=tuple((name, cmdline.replace(old, new)) for name, cmdline in app.helpers),
    )
    if start < upgrade:
        yield app, (start, upgrade)
    yield later, (max(start, upgrade + pause if start < upgrade else start), end)
