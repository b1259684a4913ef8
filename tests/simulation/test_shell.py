"""What is typed causes what a real shell would cause."""

from __future__ import annotations

from random import Random

import pytest

from anomaly.simulation.programs import target
from anomaly.simulation.shell import Shell, _parse, _unroll
from anomaly.simulation.timeline import Account, Timeline, address

CHANCE = Random(1)  # noqa: S311 - for how long programs run
DANA = Account("dana", 1007, "/home/dana")


def shell(timeline: Timeline, *, prompt: bool = True) -> Shell:
    """Return a shell of dana, in a terminal that lives for an hour."""
    terminal = timeline.execute("/usr/bin/terminal", start=0, end=3600, runs_as=DANA, login=DANA)
    return Shell(timeline, CHANCE, DANA, terminal, 1, terminal="pts/1", prompt=prompt)


def commands(timeline: Timeline) -> list[str]:
    """Return the command lines that were executed after the shell."""
    return [process.cmdline for process in timeline.processes[2:]]


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        ("ls -l", [([["ls", "-l"]], True)]),
        ("ls | wc -l", [([["ls"], ["wc", "-l"]], True)]),
        ("make && ./run; ls", [([["make"]], True), ([["./run"]], True), ([["ls"]], True)]),
        ("nohup ./agent -q &", [([["nohup", "./agent", "-q"]], False)]),
        ("ssh web01 'df -h | tail'", [([["ssh", "web01", "df -h | tail"]], True)]),
        ("find / 2>/dev/null > ~/out", [([["find", "/"]], True)]),
        ("cat ~/notes", [([["cat", "/home/dana/notes"]], True)]),
    ],
)
def test_parse(line: str, parsed: list[tuple[list[list[str]], bool]]) -> None:
    """A line is split at its operators, but not within quotes; redirections start no program."""
    assert _parse(line, DANA.home) == parsed


def test_loop_is_unrolled() -> None:
    """A loop runs its body once for each word or number."""
    assert _unroll("for i in $(seq 1 2); do ping 10.0.0.$i; done") == ["ping 10.0.0.1", "ping 10.0.0.2"]


def test_builtin_is_no_process() -> None:
    """A change of directory executes nothing, but moves what follows."""
    timeline = Timeline()
    shell(timeline).run("cd src && ls", 10)
    assert [(process.cmdline, process.cwd) for process in timeline.processes[2:]] == [("ls", "/home/dana/src")]


def test_ssh_connects() -> None:
    """An ssh holds a connection to its host for as long as it runs."""
    timeline = Timeline()
    shell(timeline).run("ssh root@web01", 10)
    (socket,) = (state for state in timeline.states if state.query == "open_sockets")
    assert socket.columns["remote_address"] == address("web01")
    assert socket.until == timeline.processes[-1].end


@pytest.mark.parametrize(("line", "port"), [("npm run dev", "5173"), ("python -m gateway --port 8090", "8090")])
def test_server_listens(line: str, port: str) -> None:
    """A server listens on the port that its command line names, or else on its usual one."""
    timeline = Timeline()
    shell(timeline).run(line, 10)
    (state,) = (state for state in timeline.states if state.query == "listening_ports")
    assert (state.columns["port"], state.columns["protocol"], state.columns["username"]) == (port, "6", "dana")


def test_sudo_keeps_the_login_user() -> None:
    """What sudo runs is root's, but audit still knows who logged in; and sudo leaves its records."""
    timeline = Timeline()
    shell(timeline).run("sudo apt update", 10)
    apt = next(process for process in timeline.processes if process.cmdline == "apt update")
    assert (apt.runs_as.name, apt.login) == ("root", DANA)
    records = [event.columns["type"] for event in timeline.events if event.query == "user_events"]
    assert records == ["1123", "1105", "1106"]


def test_history_at_the_prompt_or_on_exit() -> None:
    """Bash writes its history on exit, unless it is told to at every prompt."""
    for prompt, written in ((True, 1), (False, 0)):
        timeline = Timeline()
        typed = shell(timeline, prompt=prompt)
        typed.run("ls", 10)
        assert sum(state.query == "shell_history" for state in timeline.states) == written
        typed.close(20)
        assert sum(state.query == "shell_history" for state in timeline.states) == 1


def test_cleared_history_is_never_written() -> None:
    """What ``history -c`` forgot does not reach the file; the line itself does."""
    timeline = Timeline()
    typed = shell(timeline, prompt=False)
    typed.run("cat /etc/shadow", 10)
    typed.run("history -c", 20)
    typed.close(30)
    assert [s.columns["command"] for s in timeline.states if s.query == "shell_history"] == ["history -c"]


def test_typo_looks_for_a_package() -> None:
    """A word that is no program makes bash ask which package might have it."""
    timeline = Timeline()
    shell(timeline).mistype("gti status", "gti", 10)
    assert commands(timeline) == ["/usr/bin/python3 /usr/lib/command-not-found -- gti"]


@pytest.mark.parametrize(
    ("line", "host"),
    [
        ("ssh root@web01", "web01"),
        ("rsync -av db01:/etc /srv", "db01"),
        ("curl -s http://a.example:80/x", "a.example"),
        ("nc 10.0.0.4 22", "10.0.0.4"),
        ("ls web", ""),
    ],
)
def test_target(line: str, host: str) -> None:
    """The host that a command line names is found wherever it stands."""
    assert target(line.split()) == host


def test_outside_addresses_are_nobodys() -> None:
    """Names of the outside world get addresses of the range reserved for benchmarks."""
    assert address("news.example").startswith(("198.18.", "198.19."))
