"""Removes from a row whatever says whose account it is.

A model of alice that knows her uid, her home directory or her host by name learns "another uid is another person".
An intruder in alice's account has her uid, so that knowledge hides exactly what we look for. Numbers become a role
(root, a person, a service; the user's own are left out), home directories become ``~`` and ``~other``, and the
user's and the host's own names become placeholders. Acting as somebody else (sudo, su, setuid) stays visible.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from anomaly.identity import NAMELESS, NUMBER, UNSET
from anomaly.osquery import Action

MAX_FIELDS = 24
"""Columns of one action that are looked at, in the order of their names; osquery's widest tables have more."""

NAME_COLUMNS = frozenset({"username", "user", "auid"})
"""Columns that say who acted: the model is already that user's."""

USER_NUMBERS = frozenset({"uid", "euid", "suid", "fsuid", "login_uid", "owner_uid", "uid_signed"})
"""Columns that hold a user's number; ``auid`` says who acted."""

GROUP_NUMBERS = frozenset({"gid", "egid", "sgid", "fsgid", "owner_gid", "gid_signed"})
"""Columns that hold a group's number."""

OWN_HOME, OTHER_HOME, ROOT_HOME = "~", "~other", "~root"
OWN_RUN, OTHER_RUN = "~run", "~other-run"
"""In place of ``/run/user/NUMBER``."""
OWN_NAME, OTHER_NAME, OWN_HOST = "{user}", "{other}", "{host}"

ROOT, PERSON, SERVICE, NOBODY = "root", "person", "service", "unset"
"""Roles of a number that is not the user's own."""

_ROLES = frozenset({ROOT, PERSON, SERVICE, NOBODY})
_NAMED, _USER, _GROUP = range(3)
_SPECIAL = (
    dict.fromkeys(NAME_COLUMNS, _NAMED) | dict.fromkeys(USER_NUMBERS, _USER) | dict.fromkeys(GROUP_NUMBERS, _GROUP)
)

_FIRST_PERSON, _LAST_PERSON = 1000, 60_000
"""Numbers of people, as login.defs(5) has them; directory services number people from far above."""

_LEAST_NAME = 3
"""Shorter names are parts of too many words to be replaced."""

# What comes out of a replacement stays as it is, so that normalising twice changes nothing.
_KEPT = r"\{(?:user|other|host)\}|~(?:other-run|other|root|run)(?![\w-])"
_PLACEHOLDERS = frozenset({"other", "other-run", "run"})

_END = r"\s/:;,'\"`()\[\]{}<>|&=?#*\\$~!."
_HOME = rf"/(?:var/|usr/|export/|private/)?(?:home|Users)/+%s([^{_END}]+(?:\.+[^{_END}]+)*)"
_RUN = r"(?:/var)?/run/user/+([0-9]+)(?![\w.-])"
_SLICE = r"(?<![\w-])user[-@]([0-9]+)(?=\.(?:slice|service))"
_ROOT_HOME = r"(?<![\w./~}-])/root(?![\w.-])"
_HINTS = ("/home/", "/Users/", "/root", "/run/user/", "user-", "user@")

# An account's name begins and ends as a word; of others it is not clear where they begin and end in a text.
_NAME = re.compile(r"\w(?:[\w. +-]*\w)?")


def normalise(action: Action) -> dict[str, str]:
    """Return the columns of an action, ordered by name, without what says whose account it is.

    Normalising twice changes nothing.

    Examples
    --------
    >>> def row(**columns): return normalise(Action(0, "ws1", "alice", "process_events", "added", columns))
    >>> row(uid="1000", auid="1000", euid="0", cwd="/home/alice/src", cmdline="ls /home/bob")
    {'cmdline': 'ls ~other', 'cwd': '~/src', 'euid': 'root'}
    >>> row(username="alice", uid="1007", cmdline="ssh alice@ws1")
    {'cmdline': 'ssh {user}@{host}'}
    """
    columns = action.columns
    own = _own_number(action)
    replacer = _replacer(action.user, action.host, own)
    everything = "\0".join(columns.values())
    hints = [hint for hint in replacer.hints if hint in everything]
    found: dict[str, str] = {}
    for column in sorted(columns):
        value = columns[column]
        special = _SPECIAL.get(column)
        if special is None:
            for hint in hints:
                if hint in value:
                    value = replacer.replaced(value)
                    break
        elif special == _NAMED:
            continue
        else:
            value = _user_role(value, own) if special == _USER else _group_role(column, columns, own)
            if not value:
                continue
        found[column] = value
        if len(found) == MAX_FIELDS:
            break
    return found


def _own_number(action: Action) -> str:
    """Return the number of the user who acted, as far as the row tells; empty if it does not."""
    columns = action.columns
    for column in ("auid", "uid", "euid"):
        number = columns.get(column, "")
        if number in UNSET or not (number.isascii() and number.isdecimal()):
            continue
        if number == "0" and _is_named(action.user) and action.user != ROOT:
            continue  # alice by sudo, in a query that does not ask for auid
        if column == "auid" or not _is_owner(action.query, columns):
            return number
    return ""


def _is_named(user: str) -> bool:
    return bool(user) and not user.startswith((NAMELESS, NUMBER))


def _is_owner(query: str, columns: Mapping[str, str]) -> bool:
    """Whether ``uid`` owns a file (osquery's table file_events), instead of having acted."""
    return ("target_path" in columns and "pid" not in columns) or (
        query.endswith("file_events") and query != "process_file_events"
    )


def _user_role(value: str, own: str) -> str:
    if value == own and own:
        return ""
    return NOBODY if value in UNSET else _role(value)


def _group_role(column: str, columns: Mapping[str, str], own: str) -> str:
    """Return a group's role if it is not the user's own: root's without root's uid, or another than ``gid``."""
    value = columns[column]
    if value in _ROLES:
        return value
    if value in UNSET or value == own or (column != "gid" and value == columns.get("gid")):
        return ""
    if column == "gid":
        return ROOT if value == "0" and own not in {"", "0"} else ""
    return _role(value)


def _role(value: str) -> str:
    if not (value.isascii() and value.isdecimal() and len(value) <= 10):
        return value if value in _ROLES else PERSON
    number = int(value)
    if number == 0:
        return ROOT
    return SERVICE if number < _FIRST_PERSON or _LAST_PERSON < number < _LAST_PERSON + 5536 else PERSON


class _Replacer:
    """Replaces homes, names and numbers in the values of one user on one host.

    Parameters
    ----------
    user, host
        Who acted, and where.
    own
        The user's number; empty if the row does not tell.
    """

    def __init__(self, user: str, host: str, own: str) -> None:
        self._own = own
        self._is_root = user in {ROOT, f"{NUMBER}0"}
        # A directory account is CORP\carol, CORP+carol or carol@corp.example; its home is that of carol.
        account = user if _is_named(user) else ""
        before, _, rest = account.replace("+", "\\").rpartition("\\")
        name, _, after = rest.partition("@")
        self._homes = {account, name} if account else frozenset[str]()
        domain = before or after
        inside = rf"(?:(?i:{re.escape(domain)})/+)?" if domain else ""
        words = {host: OWN_HOST, host.partition(".")[0]: OWN_HOST, name: OWN_NAME}
        self._words = {word: mark for word, mark in words.items() if _is_replaceable(word)}
        names = "|".join(map(re.escape, sorted(self._words, key=len, reverse=True)))
        # A name that a longer word goes on with is another name; so is one inside a word.
        word = rf"(?<![\w.-])({names})(?![\w-])" if names else "(?!)()"
        is_plain = name in self._words and name not in _PLACEHOLDERS
        tilde = rf"(?<![\w.~}}-])~{re.escape(name)}(?![\w.-])" if is_plain else "(?!)"
        parts = (f"({tilde})", f"({_KEPT})", _HOME % inside, _RUN, _SLICE, word, _ROOT_HOME)
        begins = re.escape("".join(sorted({"/", "~", "{", "u", *(word[0] for word in self._words)})))
        self._pattern = re.compile(f"(?=[{begins}])(?:{'|'.join(parts)})")  # most characters begin none of them
        self.hints = (*_HINTS, *self._words)
        """Texts of which a value holds one at least if anything is to be replaced in it."""

    def replaced(self, value: str) -> str:
        """Return a value with the placeholders in place."""
        return self._pattern.sub(self._replace, value)

    def _replace(self, match: re.Match[str]) -> str:
        tilde, kept, home, run, unit, word = match.groups()
        if kept is not None:
            return str(kept)
        if home is not None:
            return OWN_HOME if not self._homes or home in self._homes else OTHER_HOME
        if run is not None:
            return OWN_RUN if self._is_own(run) else OTHER_RUN
        if unit is not None:
            return OWN_NAME if self._is_own(unit) else OTHER_NAME
        if word is not None:
            return self._words[word]
        return OWN_HOME if tilde is not None or self._is_root else ROOT_HOME

    def _is_own(self, number: str) -> bool:
        return number == self._own or not self._own


def _is_replaceable(word: str) -> bool:
    return len(word) >= _LEAST_NAME and _NAME.fullmatch(word) is not None


@lru_cache(1024)  # bounded: the log chooses how many users and hosts there are
def _replacer(user: str, host: str, own: str) -> _Replacer:
    return _Replacer(user, host, own)
