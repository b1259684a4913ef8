"""A command line as tokens at several levels: program, subcommand, options, arguments and their kinds.

A command line is cut at pipes and lists into simple commands. Nothing is run or expanded, and any text is taken;
only the first ``MAX_LINE`` characters, ``MAX_COMMANDS`` simple commands and ``MAX_ARGUMENTS`` arguments of each
count.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_LINE = 1024
MAX_COMMANDS = 6
MAX_ARGUMENTS = 8
MAX_WORD = 80
"""Characters of a word that are told apart."""

WRAPPERS = frozenset({"sudo", "doas", "nohup", "time", "env", "nice", "exec", "command", "xargs", "setsid"})
"""Programs that run the program named after them; both are tokens."""

_VALUED = frozenset(
    f"{program} {option}"
    for program, options in {
        "sudo": "-u -g -h -p -r -t -C -D -R -T -U --user --group --host --prompt --chdir --chroot",
        "doas": "-u -C",
        "env": "-u -C --unset --chdir",
        "exec": "-a",
        "nice": "-n --adjustment",
        "time": "-f -o --format --output",
        "xargs": "-a -d -E -I -L -n -P -s",
    }.items()
    for option in options.split()
)
"""Options of wrappers whose next word is their value, and not the program."""

_OPERATORS = re.compile(r"(\|\||&&|\||;|\n)")
_REDIRECTION = re.compile(r"(?:\d*|&)(?:>>?|<<?<?)(?:&[\d-])?")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")

# Which file it is matters less than what it is for: these kinds are the same on every Linux machine (hier(7)).
_KINDS = (
    ("option", r"-"),
    ("url", r"[a-z][a-z0-9+.-]*://"),
    ("variable", r"\$"),
    ("address", r"(?:\d{1,3}\.){3}\d{1,3}(?:[/:]\S*)?$|(?:[0-9a-f]{0,4}:){2,}[0-9a-f]*$"),
    ("number", r"(?=\D*\d)[\d.,:+%][\d.,:/+%-]*$"),
    ("remote", r"[\w.{}-]+@[\w.{}-]+|[\w.{}-]+:[~/]"),
    ("string", r"[\"']"),
    (
        "credentials",
        r"\S*(?:/etc/(?:g?shadow|passwd|sudoers|krb5\.keytab)|/id_(?:rsa|dsa|ecdsa|ed25519)|\.aws/cred|/\.netrc|\.pgpass)",
    ),
    (
        "startup",
        r"\S*(?:authorized_keys|/etc/(?:cron|systemd|init|profile|rc\.|ld\.so\.preload|pam\.d|modules)"  # noqa: ISC004
        r"|/var/spool/cron|\.bashrc|\.zshrc|\.profile|\.bash_profile|autostart)",
    ),
    ("history", r"\S*(?:_history\b|/var/log/|/var/run/utmp)"),
    ("temporary", r"/(?:var/)?tmp\b|/dev/shm\b"),
    ("device", r"/(?:dev|proc|sys)\b"),
    ("system", r"/(?:etc|usr|s?bin|lib|boot|opt|var|run)\b"),
    ("home", r"~"),
    ("path", r"\S*/"),
    ("file", r"\S*\.\w{1,5}$"),
)
_KIND = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _KINDS))


class CommandTokens(NamedTuple):
    """The tokens of one command line, level by level; see :func:`command_tokens`."""

    programs: tuple[str, ...]
    subcommands: tuple[str, ...]
    options: tuple[str, ...]
    arguments: tuple[str, ...]
    kinds: tuple[str, ...]


def command_tokens(line: str) -> CommandTokens:
    """Return the tokens of a command line.

    Examples
    --------
    >>> found = command_tokens("sudo git commit -m 'a message' && cat /etc/shadow > /tmp/x")
    >>> found.programs
    ('sudo', 'git', 'cat')
    >>> found.subcommands
    ('git commit', 'cat credentials')
    >>> found.options
    ('git -m',)
    >>> found.kinds
    ('git word option string word', 'cat credentials > temporary', 'sudo && cat')
    """
    parts = _OPERATORS.split(line[:MAX_LINE])[: 2 * MAX_COMMANDS - 1]
    found = _Found([], [], [], [], [])
    first = [_add_command(part.split(), found) for part in parts[::2]]
    for before, operator, after in zip(first, parts[1::2], first[1:], strict=False):
        if before and after:
            found.kinds.append(f"{before} {operator} {after}")
    return CommandTokens(*[tuple(dict.fromkeys(tokens)) for tokens in found])


class _Found(NamedTuple):
    """What becomes :class:`CommandTokens`."""

    programs: list[str]
    subcommands: list[str]
    options: list[str]
    arguments: list[str]
    kinds: list[str]


def _add_command(words: list[str], found: _Found) -> str:
    """Add the tokens of a simple command; return its first program, empty if it has none."""
    words.reverse()  # they are taken from the end
    while words and _ASSIGNMENT.match(words[-1]):
        found.kinds.append(words.pop().partition("=")[0][:MAX_WORD] + "=")
    first = program = _program(words.pop()) if words else ""
    while program in WRAPPERS:
        found.programs.append(program)
        _add_wrapper(program, words, found)
        program = _program(words.pop()) if words else ""
    if program:
        found.programs.append(program)
        _add_arguments(program, words[: -MAX_ARGUMENTS - 1 : -1], found)
    return first


def _add_wrapper(program: str, words: list[str], found: _Found) -> None:
    while words and (words[-1].startswith("-") or _ASSIGNMENT.match(words[-1])):
        option = f"{program} {words.pop().partition('=')[0][:MAX_WORD]}"
        found.options.append(option)
        if option in _VALUED and words:
            found.arguments.append(words.pop()[:MAX_WORD])


def _add_arguments(program: str, words: list[str], found: _Found) -> None:
    kinds = [program]
    plain = ""
    for word in words:
        word = word[:MAX_WORD]  # noqa: PLW2901 - cut
        kind = kind_of(word)
        if kind == "option":
            found.options.append(f"{program} {word.partition('=')[0]}")
        else:
            plain = plain or (word if kind == "word" else kind)
            found.arguments.append(word)
        if len(kinds) == 1 or kinds[-1] != kind:
            kinds.append(kind)
    if plain:
        found.subcommands.append(f"{program} {plain}")
    found.kinds.append(" ".join(kinds))


def kind_of(word: str) -> str:
    """Return what kind of argument a word is, ``word`` if it is a plain one; a redirection is its own kind.

    >>> [kind_of(word) for word in ("-l", "10.0.0.1", "/etc/shadow", "~/.ssh/authorized_keys", "a.py", "status")]
    ['option', 'address', 'credentials', 'startup', 'file', 'word']
    >>> [kind_of(word) for word in (">", "2>&1", ">>/etc/crontab")]
    ['>', '2>&1', '>> startup']
    """
    redirection = _REDIRECTION.match(word) if ">" in word or "<" in word else None
    if redirection is None:
        match = _KIND.match(word)
        return "word" if match is None else str(match.lastgroup)
    target = word[redirection.end() :]
    if not target:
        return redirection[0]
    match = _KIND.match(target)
    return f"{redirection[0]} {'word' if match is None else match.lastgroup}"


def _program(word: str) -> str:
    return (word.rpartition("/")[2] or word)[:MAX_WORD]
