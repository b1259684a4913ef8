"""Synthetic users with habits of their own, for tests of what is learned of several users together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

from anomaly.corpus import Corpus
from anomaly.osquery import Action

USERS = ("ann", "ben", "cem", "dora", "emil", "fay", "gus", "hana")

BEGIN = 1_793_000_000

_PACE = 1800
"""Seconds between two actions of a user: 1,000 take three weeks."""

_TOOLS = (
    "git status", "git commit -m", "make", "vim", "pytest", "ssh", "psql -l", "docker ps", "kubectl get",
    "npm test", "cargo build", "R --vanilla", "latexmk", "rsync -a", "curl -s", "grep -r", "less", "htop",
    "systemctl status", "tar xf", "ls", "cd", "cat", "python3 -m",
)  # fmt: skip
_COMMON = 4
"""Of the tools, the last ones are everybody's."""


def actions_of(user: str, count: int, seed: int = 0, first: int = 0) -> list[Action]:
    """Return what a user does: seven tools in runs on a few files of the user's own, and what everybody does.

    ``first`` is the number of the first action, by which they are dated.
    """
    habits, draw = Random(user), Random(f"{user} {seed} {first}")  # noqa: S311 - sample data
    tools = habits.sample(_TOOLS[:-_COMMON], 7)
    files = [f"{habits.choice(('src', 'doc', 'data', 'conf'))}/{user}-{number}.txt" for number in range(6)]
    tool, found = draw.choice(tools), []
    for number in range(first, first + count):
        if draw.random() < 0.4:
            tool = draw.choice(tools)
        used = draw.choice(_TOOLS[-_COMMON:]) if draw.random() < 0.25 else tool
        argument = draw.choice(files) if draw.random() < 0.9 else f"tmp/{draw.randrange(10**6)}"
        time = BEGIN + _PACE * number + draw.randrange(_PACE)
        columns = {"command": f"{used} {argument}", "uid": "1000"}
        found.append(Action(time, "ws1", user, "shell_history", "added", columns))
    return found


def corpus_of(actions: Iterable[Action]) -> Corpus:
    """Gather actions."""
    corpus = Corpus()
    for number, action in enumerate(actions):
        corpus.append(number, action)
    return corpus


def corpora_of(count: int, users: Sequence[str] = USERS) -> dict[str, Corpus]:
    """Return so many actions of each user."""
    return {user: corpus_of(actions_of(user, count)) for user in users}
