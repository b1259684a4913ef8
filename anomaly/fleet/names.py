"""How the key of a model is written: by a user's name, or by the names of a user and a host.

What stands in a log chooses these names, and training and scoring must never take one key for another's. So ``@``
stands in a key only between user and host: in a name it is written ``%40``, and ``%`` is written ``%25``. Names
without these two, which are nearly all, are written as they are.
"""

from __future__ import annotations

from anomaly.identity import NAMELESS, capped


def bare(user: str) -> str:
    """Return the key of a name, on whichever host.

    >>> bare("alice"), bare("alice@corp.example")
    ('alice', 'alice%40corp.example')
    """
    return _written(user)


def specific(user: str, host: str) -> str:
    """Return the key of a user of one host.

    >>> specific("alice", "web"), specific("alice@corp.example", "web")
    ('alice@web', 'alice%40corp.example@web')
    """
    return f"{_written(user)}@{_written(host)}"


def is_nameless(user: str) -> bool:
    """Say whether a user is called like a machine, whose rows name nobody; the machine itself or not."""
    return user.startswith(NAMELESS)


def is_machine(user: str, host: str) -> bool:
    """Say whether a user stands for the rows of this very host that name nobody.

    Somebody who is called so on another host is another one, and gets the key of a user there.

    >>> is_machine("host:web", "web"), is_machine("host:web", "evil"), is_machine("web", "web")
    (True, False, False)
    """
    return is_nameless(user) and user == capped(f"{NAMELESS}{host or '-'}")


def _written(name: str) -> str:
    if "@" not in name and "%" not in name:
        return name
    return name.replace("%", "%25").replace("@", "%40")
