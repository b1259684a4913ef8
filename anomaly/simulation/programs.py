"""What the programs do that people type: how long they live, whom they start, talk to, and keep open."""
# ruff: noqa: SIM905 - a list of words reads best as text

from __future__ import annotations

from dataclasses import dataclass

from anomaly.simulation.timeline import HOSTS


@dataclass(frozen=True, slots=True)
class Program:
    """The effects of one program."""

    path: str = ""
    """Where it lies, unless it is /usr/bin/NAME."""
    seconds: float = 0.05
    """Median of its life."""
    children: tuple[str, ...] = ()
    """Command lines it starts, one after another."""
    remote: tuple[str, int] | None = None
    """Host and port it connects to; ``{target}`` is the host on its command line."""
    files: tuple[str, ...] = ()
    """Files it keeps open; ``{file}`` is the last word of its command line, ``{name}`` that without the folder."""
    script: str = ""
    """The interpreter that runs it, which is what the kernel reports."""
    listens: int = 0
    """The port it listens on, unless its command line says ``--port``."""
    sweeps: bool = False
    """Whether it tries many hosts of the network that its command line names."""


PYTHON = "/usr/bin/python3.12"
_EDITOR = ("{folder}/.{name}.swp",)
_GIT_REMOTE = ("/usr/bin/ssh git@git.corp git-upload-pack", "git rev-list --objects --stdin")
_COMPILE = (
    "sh -c 'cc -c -O2 src/*.c'",
    "/usr/libexec/gcc/x86_64-linux-gnu/13/cc1 -quiet -O2",
    "as -o build/main.o",
)

BUILTINS = frozenset("cd echo export source alias history exit jobs fg bg unset set type pushd popd ll".split())
PROGRAMS: dict[str, Program] = {
    "vim": Program("/usr/bin/vim.basic", 70, files=_EDITOR),
    "nano": Program(seconds=60, files=_EDITOR),
    "less": Program(seconds=25, files=("{file}",)),
    "man": Program(seconds=40, children=("less",)),
    "make": Program(seconds=14, children=_COMPILE),
    "pytest": Program("/usr/bin/pytest", 12, script=PYTHON, files=("{cwd}/.pytest_cache/v/cache/lastfailed",)),
    "python": Program(PYTHON, 20),
    "python3": Program(PYTHON, 20),
    "python -m": Program(PYTHON, 240, listens=8000),
    "gdb": Program(seconds=120),
    "git push": Program(
        seconds=3,
        children=("/usr/bin/ssh git@git.corp git-receive-pack", "git pack-objects --all"),
        remote=("git.corp", 22),
    ),
    "git pull": Program(seconds=3, children=(*_GIT_REMOTE, "git merge FETCH_HEAD"), remote=("git.corp", 22)),
    "git fetch": Program(seconds=2, children=_GIT_REMOTE, remote=("git.corp", 22)),
    "git clone": Program(seconds=8, children=(*_GIT_REMOTE, "git index-pack --stdin"), remote=("git.corp", 22)),
    "git diff": Program(seconds=8, children=("less -FRX",)),
    "git log": Program(seconds=8, children=("less -FRX",)),
    "git show": Program(seconds=8, children=("less -FRX",)),
    "git blame": Program(seconds=20, children=("less -FRX",)),
    "git commit": Program(seconds=0.5, children=("git gc --auto",)),
    "git st": Program(),
    "docker": Program(seconds=1),
    "docker logs": Program(seconds=60),
    "docker exec": Program(seconds=90),
    "docker build": Program(
        seconds=70,
        children=("/usr/libexec/docker/cli-plugins/docker-buildx build",),
        remote=("registry.corp", 443),
    ),
    "docker compose": Program(seconds=5, children=("/usr/libexec/docker/cli-plugins/docker-compose",)),
    "npm": Program("/usr/bin/node", 15, children=("sh -c 'node scripts/build.mjs'",)),
    "npm install": Program("/usr/bin/node", 40, remote=("registry.npmjs.org", 443)),
    "npm run": Program(
        "/usr/bin/node", 60, children=("sh -c vite", "/usr/bin/node node_modules/.bin/vite"), listens=5173
    ),
    "npx": Program("/usr/bin/node", 12),
    "kubectl": Program("/snap/kubectl/3358/kubectl", 3, remote=("app01", 6443)),
    "terraform": Program(
        seconds=25, children=(".terraform/providers/terraform-provider-proxmox",), remote=("app02", 8006)
    ),
    "ssh": Program(seconds=100, remote=("{target}", 22)),
    "scp": Program(seconds=8, children=("/usr/bin/ssh -x {target}",), remote=("{target}", 22)),
    "rsync": Program(seconds=45, children=("/usr/bin/ssh {target} rsync --server",), remote=("{target}", 22)),
    "curl": Program(seconds=1.5, remote=("{target}", 443)),
    "wget": Program(seconds=4, remote=("{target}", 443)),
    "nc": Program("/usr/bin/nc.openbsd", 4, remote=("{target}", 443)),
    "openssl": Program(seconds=4, remote=("{target}", 443)),
    "ping": Program(seconds=4),
    "mtr": Program(seconds=12, children=("/usr/bin/mtr-packet",)),
    "tcpdump": Program(seconds=90),
    "nmap": Program(seconds=70, sweeps=True),
    "ldapsearch": Program(seconds=1, remote=("ldap01", 389)),
    "tail": Program(seconds=0.1),
    "tail -f": Program(seconds=110, files=("{file}",)),
    "journalctl": Program(seconds=14, children=("less",)),
    "systemctl": Program(seconds=0.4),
    "systemctl status": Program(seconds=5, children=("less",)),
    "apt": Program(
        seconds=15,
        children=("/usr/lib/apt/methods/http", "/usr/bin/dpkg --print-foreign-architectures"),
        remote=("archive.ubuntu.com", 80),
    ),
    "apt list": Program(seconds=2),
    "ansible": Program(
        "/usr/bin/ansible", 20, ("/usr/bin/ssh web01", "/usr/bin/ssh web02"), ("web01", 22), script=PYTHON
    ),
    "ansible-playbook": Program(
        "/usr/bin/ansible-playbook",
        80,
        ("/usr/bin/ssh web01", "/usr/bin/ssh db01"),
        ("web01", 22),
        ("{home}/.ansible/tmp/local.json",),
        PYTHON,
    ),
    "ansible-lint": Program("/usr/bin/ansible-lint", 9, script=PYTHON),
    "psql": Program(
        "/usr/lib/postgresql/16/bin/psql", 75, remote=("{target}", 5432), files=("{home}/.psql_history",)
    ),
    "Rscript": Program("/usr/lib/R/bin/exec/R", 25, children=("sh -c 'uname -s'",)),
    "R": Program("/usr/lib/R/bin/exec/R", 200, children=("sh -c 'uname -s'",)),
    "duckdb": Program("/usr/local/bin/duckdb", 60, files=("{file}",)),
    "libreoffice": Program(
        "/usr/lib/libreoffice/program/oosplash",
        200,
        children=("/usr/lib/libreoffice/program/soffice.bin",),
        files=("{folder}/.~lock.{name}#",),
    ),
    "xdg-open": Program(seconds=1, children=("/usr/bin/evince",)),
    "csvstat": Program("/usr/bin/csvstat", 5, script=PYTHON),
    "find": Program(seconds=3),
    "du": Program(seconds=2),
    "grep": Program(seconds=0.2),
    "rg": Program(seconds=0.3),
    "tar": Program(seconds=6, children=("gzip",)),
    "zip": Program(seconds=5),
    "sudo": Program(seconds=1),
    "crontab": Program(seconds=0.2),
    "mtr-packet": Program("/usr/sbin/mtr-packet", 10),
    "usermod": Program("/usr/sbin/usermod"),
    "ss": Program(seconds=0.1),
    "john": Program(seconds=240),
    "hydra": Program(seconds=120, remote=("{target}", 22)),
    "linpeas.sh": Program(
        seconds=150,
        script="/usr/bin/bash",
        children=("find / -perm -4000 -type f", "ps auxwww", "cat /proc/version", "ss -tulpn"),
    ),
    "pspy64": Program(seconds=180),
    "agent": Program(seconds=5400, remote=("cdn-assets.example", 443)),
    "chisel": Program(seconds=1800, remote=("cdn-assets.example", 8443)),
}


def lookup(argv: list[str]) -> Program:
    """Return what is known of a command line: of its program and first argument, or of its program alone."""
    name = argv[0].rsplit("/", 1)[-1]
    pair = " ".join((name, *argv[1:2]))
    return PROGRAMS.get(pair) or PROGRAMS.get(name) or Program()


def target(argv: list[str]) -> str:
    """Return the host that a command line names, or nothing."""
    for word in argv[1:]:
        host = word.split("://")[-1].split("@")[-1].split("/")[0].split(":")[0]
        known = host in HOSTS or "://" in word or (host.count(".") == 3 and host.replace(".", "").isdigit())
        if known:
            return host
    return ""


def port(argv: list[str], default: int) -> int:
    """Return the port that a command line names, or the default."""
    at = argv.index("--port") + 1 if "--port" in argv else len(argv)
    return int(argv[at]) if at < len(argv) else default
