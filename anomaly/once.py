"""Saying things to people once: not again when they are met again, and of many of a kind only a few."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Say = Callable[[str], None]
"""Tells a person something, as a sentence."""

FEW = 5
"""Sentences of a kind that are said; how many others there are is another one."""

_MOST = 2000  # sentences remembered; beyond, none is said, since names in them are the log's to choose


def few(say: Say, sentences: Sequence[str], more: str) -> None:
    """Say the first of some sentences, and how many more there are: ``more`` follows the number."""
    for sentence in sentences[:FEW]:
        say(sentence)
    if len(sentences) > FEW:
        say(f"{len(sentences) - FEW:,} more {more}")


class Once:
    """Says each sentence once: a model that is refused is met at the start and when its user acts, by any process.

    Parameters
    ----------
    say
        Told what has not been said yet.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._said: set[str] = set()

    def __call__(self, sentence: str) -> None:
        """Say it, unless it was said before."""
        if sentence not in self._said and len(self._said) < _MOST:
            self._said.add(sentence)
            self._say(sentence)

    def few(self, sentences: Sequence[str], more: str) -> None:
        """Say the first of some sentences, and how many more there are; none of them is said again."""
        new = [sentence for sentence in sentences if sentence not in self._said]
        few(self._say, new, more)
        self._said.update(new[: _MOST - len(self._said)])
