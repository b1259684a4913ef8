"""An interactive bash: a line that is typed becomes processes, connections, open files and history."""

from __future__ import annotations

import math
import re
import shlex
from typing import TYPE_CHECKING

from anomaly.simulation import programs
from anomaly.simulation.timeline import FOREVER, ROOT, Process, Timeline

if TYPE_CHECKING:
    from random import Random

    from anomaly.simulation.timeline import Account

_LOOP = re.compile(r"for (\w+) in (.+?); do (.+); done")
_RANGE = re.compile(r"\$\(seq (\d+) (\d+)\)")


class Shell:
    """One bash in one terminal.

    Parameters
    ----------
    timeline
        Where everything it causes is told.
    rng
        The source of chance.
    account
        Whose shell it is.
    parent
        The terminal or sshd it runs under.
    start
        When it starts, in seconds since 1970.
    terminal
        Its pseudo terminal, such as ``pts/1``.
    prompt
        Whether the history is appended at each prompt, instead of when the shell exits.
    step
        The step of an intrusion that its lines belong to; changes as the intrusion goes on.
    """

    def __init__(
        self,
        timeline: Timeline,
        rng: Random,
        account: Account,
        parent: Process,
        start: float,
        *,
        terminal: str,
        prompt: bool,
        step: str = "",
    ) -> None:
        self.timeline = timeline
        self.rng = rng
        self.account = account
        self.terminal = terminal
        self.prompt = prompt
        self.step = step
        self.cwd = account.home
        self.process = timeline.execute(
            "/usr/bin/bash", "bash", start=start, end=FOREVER, parent=parent, cwd=account.home
        )
        self.process.step = step
        self._history: list[tuple[dict[str, str], str]] = []

    def run(self, line: str, time: float) -> float:
        """Type a line at a time; return when the prompt is back."""
        end = time + 0.02
        for each in _unroll(line):
            for pipeline, waits in _parse(each, self.account.home):
                finished = self._pipeline(pipeline, end, adopted=not waits)
                end = finished if waits else end
        self._remember(line, time, end)
        return end

    def mistype(self, line: str, word: str, time: float) -> float:
        """Type a line whose first word is no program: bash asks which package might have it."""
        helper = "/usr/lib/command-not-found"
        end = time + self.rng.uniform(0.2, 0.6)
        self.timeline.execute(
            programs.PYTHON,
            f"/usr/bin/python3 {helper} -- {word}",
            start=time,
            end=end,
            parent=self.process,
            cwd=self.cwd,
            name="command-not-found",
        ).step = self.step
        self._remember(line, time, end)
        return end

    def _remember(self, line: str, typed: float, prompt: float) -> None:
        columns = {
            "command": line,
            "time": str(int(typed)),  # HISTTIMEFORMAT is set
            "uid": str(self.account.uid),
            "username": self.account.name,
        }
        if self.prompt:
            self.timeline.hold("shell_history", columns, prompt, FOREVER, self.step)
        else:
            self._history.append((columns, self.step))

    def close(self, time: float) -> None:
        """Leave the shell, or lose it with its session; only now does an ordinary bash write its history."""
        if self.process.parent:
            time = min(time, self.process.parent.end)
        self.process.end = time
        for columns, step in self._history:
            self.timeline.hold("shell_history", columns, time, FOREVER, step)

    def _pipeline(self, commands: list[list[str]], time: float, *, adopted: bool) -> float:
        ends = [time]
        for argv in commands:
            if argv[0] == "ll":
                argv[:1] = ["ls", "-alF"]  # Ubuntu's alias
            if argv[0] in programs.BUILTINS:
                self._builtin(argv)
                continue
            process = self.execute(argv, time, self.process)
            ends.append(process.end)
            time += 0.005
            if adopted:
                process.parent = None  # it outlives the shell, and init takes it
        return max(ends)

    def _builtin(self, argv: list[str]) -> None:
        if argv == ["history", "-c"]:
            self._history.clear()
        if argv[0] != "cd":
            return
        where = argv[1] if len(argv) > 1 else self.account.home
        if where == "..":
            self.cwd = self.cwd.rsplit("/", 1)[0] or "/"
        else:
            self.cwd = where if where.startswith("/") else f"{self.cwd}/{where}"
        if self.cwd.count("/") > 6:
            self.cwd = self.account.home

    def execute(self, argv: list[str], start: float, parent: Process, runs_as: Account | None = None) -> Process:
        """Run one program, and what it causes."""
        if argv[0] == "sudo" and len(argv) > 1:
            return self._sudo(argv, start, parent)
        program = programs.lookup(argv)
        name = argv[0].rsplit("/", 1)[-1]
        end = start + self.rng.lognormvariate(math.log(program.seconds), 0.7)
        path = program.path or (argv[0] if "/" in argv[0] else f"/usr/bin/{argv[0]}")
        cmdline = " ".join(argv)
        if program.script:
            cmdline, path = f"{program.script} {path} {' '.join(argv[1:])}".rstrip(), program.script
        if path.startswith("./"):
            path = self.cwd + path[1:]
        process = self.timeline.execute(
            path, cmdline, start=start, end=end, parent=parent, runs_as=runs_as, cwd=self.cwd, name=name
        )
        process.step = self.step
        self._effects(process, program, argv)
        return process

    def _effects(self, process: Process, program: programs.Program, argv: list[str]) -> None:
        timeline, start, end = self.timeline, process.start, process.end
        host = programs.target(argv)
        last = argv[-1] if argv[-1].startswith("/") else f"{self.cwd}/{argv[-1]}"
        folder, name = last.rsplit("/", 1)
        words = {
            "target": host,
            "cwd": self.cwd,
            "home": self.account.home,
            "file": last,
            "folder": folder,
            "name": name,
        }
        for file in program.files:
            timeline.open(process, file.format(**words), start + 0.05, end)
        if program.sweeps:
            network = host.rsplit(".", 1)[0]
            for _ in range(self.rng.randint(6, 10)):
                begin = start + self.rng.random() * (end - start)
                peer = f"{network}.{self.rng.randint(2, 60)}"
                timeline.connect(process, peer, self.rng.choice((22, 80, 443, 445, 5432)), begin, begin + 25)
        elif program.remote and (peer := program.remote[0].format(**words)):
            timeline.connect(process, peer, program.remote[1], start + 0.1, end)
        if program.listens:
            timeline.listen(process, programs.port(argv, program.listens), start + 0.5, end)
        for number, child in enumerate(program.children, start=1):
            begin = start + (end - start) * number / (len(program.children) + 2)
            child_argv = shlex.split(child.format(**words))
            path = child_argv[0] if "/" in child_argv[0] else f"/usr/bin/{child_argv[0]}"
            timeline.execute(path, " ".join(child_argv), start=begin, end=end, parent=process)

    def _sudo(self, argv: list[str], start: float, parent: Process) -> Process:
        timeline, tty = self.timeline, f"/dev/{self.terminal}"
        outer = timeline.execute(
            "/usr/bin/sudo", " ".join(argv), start=start, end=FOREVER, parent=parent, runs_as=ROOT, cwd=self.cwd
        )
        outer.step = self.step
        begin = start + self.rng.uniform(0.05, 3)
        command = [word for word in argv[1:] if word != "-u"]
        inner = self.execute(command, begin, outer, ROOT) if not command[0].startswith("-") else outer
        outer.end = (inner.end if inner is not outer else begin) + 0.01
        user = self.account
        timeline.audit(outer, 1123, "cmd", user.name, time=begin, tty=tty)
        timeline.audit(outer, 1105, "PAM:session_open", "root", time=begin, tty=tty)
        timeline.audit(outer, 1106, "PAM:session_close", "root", time=outer.end, tty=tty)
        message = f"{user.name} : TTY={self.terminal} ; PWD={self.cwd} ; USER=root ; COMMAND={' '.join(command)}"
        timeline.log(begin, "sudo", message, "authpriv", self.step)
        return outer


def _unroll(line: str) -> list[str]:
    """Return the lines that a loop stands for; any other line stands for itself."""
    if not (loop := _LOOP.fullmatch(line)):
        return [line]
    variable, words, body = loop.groups()
    words = _RANGE.sub(lambda match: " ".join(map(str, range(int(match[1]), int(match[2]) + 1))), words)
    return [body.replace(f"${variable}", word) for word in words.split()]


def _parse(line: str, home: str) -> list[tuple[list[list[str]], bool]]:
    """Split a line into pipelines, each with whether bash waits for it; redirections are dropped."""
    tokens = shlex.shlex(line.replace(" 2>", " >"), posix=True, punctuation_chars=";|&<>")
    tokens.whitespace_split = True
    tokens.commenters = ""
    pipelines: list[tuple[list[list[str]], bool]] = []
    commands: list[list[str]] = [[]]
    skip = False
    for word in (*tokens, ";"):
        if skip or word[0] in "<>":
            skip = not skip
        elif word == "|":
            commands.append([])
        elif word in {";", "&&", "||", "&"}:
            if commands := [command for command in commands if command]:
                pipelines.append((commands, word != "&"))
            commands = [[]]
        else:
            commands[-1].append(home + word[1:] if word.startswith("~") else word)
    return pipelines
