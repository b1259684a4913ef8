"""From an exact value to more general ones: what a value that was never seen is still known to be like.

``/home/alice/src/x83f2a91.tmp`` was never seen, but files in ``/home/alice/src/`` were. Each function here
takes a column's value and gives its levels, most specific first; the tokenizer takes the first one it knows.
"""

from __future__ import annotations

import ipaddress
import re
import shlex

MAX_VALUE = 1024
"""Characters of a value that are looked at; what is longer differs only in its hash."""

COMMAND_COLUMNS = frozenset({"command", "cmdline", "command_line", "cmd"})
"""Columns that hold what somebody typed or ran; osquery's tables use these names."""

_WRAPPERS = frozenset({"sudo", "doas", "nohup", "time", "env", "nice", "exec", "command", "xargs"})
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_NUMERIC = re.compile(r"[+-]?(?:\d+(?:\.\d+)?|0x[0-9a-fA-F]+)")
_ADDRESS = re.compile(r"[0-9a-fA-F.:]*[.:][0-9a-fA-F.:]*(?:%\w+)?")
_MAC = re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}")
_RANDOM = re.compile(
    r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"  # a UUID
    r"|(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{7,}"  # a hash, or a part of one
    r"|(?<![A-Za-z0-9])(?=[A-Za-z0-9]*\d)(?=[A-Za-z0-9]*[A-Za-z])[A-Za-z0-9]{10,}(?![A-Za-z0-9])"  # mktemp
    r"|\d+"
)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_SUBCOMMAND = re.compile(r"[a-z][a-z-]{1,15}")


def levels(column: str, value: str) -> tuple[str, ...]:
    """Give the general forms of a value, most specific first; none for a plain word.

    Examples
    --------
    >>> levels("path", "/var/tmp/build-8812/out.log")
    ('path /var/tmp/build-*/out.log', 'in /var/tmp/build-*/', 'in /var/tmp/')
    >>> levels("command", "git commit -m 'a message'")
    ('run git commit -m', 'run git')
    >>> levels("remote_address", "10.20.30.40")
    ('net 10.20.30.0/24', 'net private')
    >>> levels("remote_port", "51515")
    ('number of 5 digits',)
    >>> levels("name", "bash")
    ()
    """
    value = value[:MAX_VALUE]
    if column in COMMAND_COLUMNS:
        return _command(value)
    if _NUMBER.fullmatch(value):
        return (_magnitude(value),)
    if value.startswith("/"):
        return _path(value)
    if _MAC.fullmatch(value):
        return (f"mac {value[:8].lower()}",)
    if _ADDRESS.fullmatch(value):
        return _address(value)
    return _text(value)


def is_numeric(value: str) -> bool:
    """Say whether a value is a number or an address in memory, whose digits name nothing.

    >>> [is_numeric(v) for v in ("4121", "0xffffffffc038", "2.0", "v58", "")]
    [True, True, True, False, False]
    """
    return _NUMERIC.fullmatch(value) is not None


def _mask(text: str) -> str:
    return _RANDOM.sub("*", text)


def _magnitude(value: str) -> str:
    whole = value.lstrip("+-").partition(".")[0]
    sign = "negative " if value.startswith("-") else ""
    return f"{sign}number of {len(whole)} digits"


def _path(value: str) -> tuple[str, ...]:
    masked = _mask(value)
    directory = masked.rpartition("/")[0] + "/"
    top = "/".join(directory.split("/")[:3]) + "/"
    found = [f"path {masked}"] if masked != value else []
    found.append(f"in {directory}")
    if top not in (directory, directory + "/"):
        found.append(f"in {top}")
    return tuple(found)


def _address(value: str) -> tuple[str, ...]:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return _text(value)
    network = ipaddress.ip_network((int(address), 24 if address.version == 4 else 48), strict=False)
    kinds = ("unspecified", "loopback", "multicast", "link_local", "private", "global")
    kind = next((kind for kind in kinds if getattr(address, f"is_{kind}")), "reserved")
    return (f"net {network}", f"net {kind}")


def _command(value: str) -> tuple[str, ...]:
    words = _words(value)
    while words and _ASSIGNMENT.match(words[0]):
        words.pop(0)
    program: list[str] = []
    while words:
        word = words.pop(0).rpartition("/")[2]
        program.append(_mask(word))
        if word not in _WRAPPERS:
            break
    if not program:
        return ()
    name = "run " + " ".join(program)
    subcommand = [words[0]] if words and _SUBCOMMAND.fullmatch(words[0]) else []
    options = sorted({word.partition("=")[0] for word in words if word.startswith("-") and len(word) > 1})
    detailed = " ".join([name, *subcommand, *map(_mask, options)])
    return (detailed, name) if detailed != name else (name,)


def _words(value: str) -> list[str]:
    if not any(mark in value for mark in "'\"\\"):
        return value.split()  # shlex is ten times slower
    try:
        return shlex.split(value)
    except ValueError:  # an unclosed quote
        return value.split()


def _text(value: str) -> tuple[str, ...]:
    masked = _mask(value)
    found = [f"like {masked}"] if masked != value else []
    head = " ".join(masked.split()[:3])
    if " " in masked and head != masked:
        found.append(f"begins {head}")
    return tuple(found)
