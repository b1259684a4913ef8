"""Each sentence is said once, and of many of a kind a few."""

from __future__ import annotations

import pytest

from anomaly.once import FEW, Once, few


@pytest.fixture
def said() -> list[str]:
    """Give what was said."""
    return []


def test_a_sentence_is_said_once(said: list[str]) -> None:
    """What was said is not said again, and what is new is."""
    say = Once(said.append)
    for sentence in ("a", "b", "a", "c", "b"):
        say(sentence)
    assert said == ["a", "b", "c"]


def test_there_is_an_end(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what can be remembered nothing is said: names in it are the log's to choose."""
    monkeypatch.setattr("anomaly.once._MOST", 3)
    say = Once(said.append)
    for number in range(9):
        say(f"{number}")
    assert said == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("count", "more"), [(0, []), (1, []), (FEW, []), (FEW + 1, ["1 more"]), (5000, ["4,995 more"])]
)
def test_of_many_a_few_are_said(count: int, more: list[str], said: list[str]) -> None:
    """The first ones are said, and how many more there are, which is exact however many."""
    sentences = [f"{number}" for number in range(count)]
    few(said.append, sentences, "of them")
    assert said == sentences[:FEW] + [f"{number} of them" for number in more]
    again: list[str] = []
    Once(again.append).few(sentences, "of them")
    assert again == said


def test_what_was_counted_is_not_said_later(said: list[str]) -> None:
    """Those that were only counted are as well known as those that were said, and the other way round."""
    say = Once(said.append)
    say("3")
    say.few([f"{number}" for number in range(9)], "of them")
    assert said == ["3", "0", "1", "2", "4", "5", "3 more of them"]
    say("8")
    assert len(said) == 7
