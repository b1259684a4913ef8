from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.admission import MOST
from anomaly.corpus import Corpus
from anomaly.detectors.counts_fit import SMOOTH
from anomaly.osquery import Action
from anomaly.population import Population
from anomaly.vocabulary import Head

TIME = 1_793_000_000
WORDS = ("ls", "cat", "grep", "make", "vi", "top")


def act(number: int, word: str, *, baseline: bool = False) -> Action:
    """Make an action, a minute after the one before."""
    columns = {"name": word, "pid": str(400 + number * 7919 % 32_003)}
    return Action(TIME + 60 * number, "ws1", "", "processes", "added", columns, baseline)


def corpus_of(actions: Iterable[Action]) -> Corpus:
    """Gather actions."""
    corpus = Corpus()
    for number, action in enumerate(actions):
        corpus.append(number, action)
    return corpus


def words(*said: str) -> Corpus:
    """Make a corpus of a user who says these words."""
    return corpus_of(act(number, word) for number, word in enumerate(said))


def around(*said: str, count: int = 300) -> Corpus:
    """Make a corpus of a user who says these words again and again."""
    return words(*(said[number % len(said)] for number in range(count)))


def named(population: Population) -> Head:
    """Return the column of the words."""
    return next(head for head in population.tokenizer.heads if head.column == "name")


def token(population: Population, word: str) -> int:
    """Return the token of a word that has one."""
    head = named(population)
    return head.start + next(n for n, t in enumerate(head.tokens) if t.exact and t.text == word)


def read(population: Population, user: str) -> list[str]:
    """Return what those who never saw a user read of the user's words; nothing where a word is unknown."""
    head = named(population)
    ids = population.as_stranger(user).ids
    found = ids[(ids >= head.start) & (ids < head.stop)]
    return [t.text if (t := head.tokens[i - head.start]).exact else "" for i in found.tolist()]


USERS = st.dictionaries(
    st.sampled_from("abcde"),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=40),
    min_size=2,
)


class TestWithout:
    """What all but some users do."""

    @settings(max_examples=60, deadline=None)
    @given(USERS, st.data())
    def test_no_count_of_theirs_is_left(self, said: dict[str, list[str]], data: st.DataObject) -> None:
        """A token is as probable as it is frequent among the others, and among nobody else."""
        gone = data.draw(st.sets(st.sampled_from(sorted(said)), max_size=2))
        population = Population({user: words(*own) for user, own in said.items()})
        expected = population.without(*gone)
        head = named(population)
        left = Counter(word for user, own in said.items() if user not in gone for word in own)
        total = left.total() + SMOOTH * len(head.tokens)
        for place, entry in enumerate(head.tokens):
            if entry.exact:
                assert expected[head.start + place] == pytest.approx((left[entry.text] + SMOOTH) / total)

    @settings(max_examples=60, deadline=None)
    @given(USERS, st.data())
    def test_columns_are_distributions(self, said: dict[str, list[str]], data: st.DataObject) -> None:
        """Each column's probabilities are above 0 and add up to 1, whoever is left out, even everybody."""
        gone = data.draw(st.sets(st.sampled_from(sorted(said))))
        population = Population({user: words(*own) for user, own in said.items()})
        expected = population.without(*gone)
        assert expected.shape == (population.tokenizer.size,)
        assert (expected[1:] > 0.0).all()
        for head in population.tokenizer.heads:
            assert expected[head.start : head.stop].sum() == pytest.approx(1.0)

    def test_a_users_own_word_is_nobody_elses(self) -> None:
        """What only one user says is a hundred times rarer without that user than with."""
        population = Population({"a": around("ls", "mine"), "b": around("ls", "cat"), "c": around("cat")})
        mine, cat = token(population, "mine"), token(population, "cat")
        assert population.without()[mine] > 0.1
        assert population.without("b")[mine] > 0.1
        assert population.without("a")[mine] < 1e-3
        assert population.without("a")[cat] > population.without()[cat]

    def test_everybody_counts(self) -> None:
        """Where nobody is left out, the counts are those of the log."""
        population = Population({"a": around("ls", count=30), "b": around("cat", count=90)})
        ls, cat = (population.without()[token(population, word)] for word in ("ls", "cat"))
        assert cat / ls == pytest.approx(3.0, rel=1e-3)

    def test_an_unknown_user(self) -> None:
        """Who is not in the log cannot be left out of it by mistake."""
        with pytest.raises(KeyError):
            Population({"a": around("ls"), "b": around("ls")}).without("z")


class TestAsStranger:
    """A user as read by those who never saw this user."""

    @settings(max_examples=60, deadline=None)
    @given(USERS)
    def test_no_word_is_known_by_its_user_alone(self, said: dict[str, list[str]]) -> None:
        """A word is a token only where the others alone make it one, by saying it twice; else it is unknown."""
        population = Population({user: words(*own) for user, own in said.items()})
        for user, own in said.items():
            others = Counter(word for other, theirs in said.items() if other != user for word in theirs)
            assert read(population, user) == [word if others[word] > 1 else "" for word in own]

    def test_what_all_have_is_known(self) -> None:
        """Words that others say too are read as such, and those of this user alone are not."""
        population = Population({"a": around("ls", "mine", "cat"), "b": around("ls", "cat"), "c": around("top")})
        assert read(population, "a")[:6] == ["ls", "", "cat"] * 2
        assert set(read(population, "c")) == {""}
        assert "mine" in {entry.text for entry in named(population).tokens if entry.exact}

    def test_general_forms_are_the_others(self) -> None:
        """A value of this user alone is read by the form that it shares with what others have."""
        corpora = {}
        for place, user in enumerate("abc"):
            actions = [
                Action(TIME + 60 * n, "ws1", "", "files", "added", {"path": f"/srv/data/{user}{n // 2 % 40}.txt"})
                for n in range(place, 150)
            ]
            corpora[user] = corpus_of(actions)
        population = Population(corpora)
        ids = population.as_stranger("a").ids[:, 1]
        texts = {population.tokenizer.text(number) for number in ids.tolist()}
        assert not any(text.startswith("/srv/data/a") for text in texts)
        assert all(text.startswith(("path /srv/data/", "in /srv/data/")) for text in texts)

    def test_reads_what_is_admitted(self) -> None:
        """Baseline rows, and what of a flood does not come into the window, are left out."""
        actions = [act(number, WORDS[number % 6]) for number in range(120)]
        flood = [act(200, "spam")] * 1000
        inventory = [act(0, "ls", baseline=True)] * 30
        population = Population({"a": corpus_of([*inventory, *actions, *flood]), "b": around(*WORDS)})
        assert len(read(population, "a")) == 120 + MOST
        assert read(population, "a")[:120] == [WORDS[number % 6] for number in range(120)]

    def test_reads_once(self) -> None:
        """A user is read once, however often asked for."""
        population = Population({"a": around("ls"), "b": around("ls")})
        assert population.as_stranger("a") is population.as_stranger("a")


def test_all_have_one_vocabulary() -> None:
    """Whose values are whose is a matter of counts: the tokens of all are the same, whoever they came from."""
    population = Population({"a": around("ls", "mine"), "b": around("ls", "theirs")})
    texts = {entry.text for entry in named(population).tokens if entry.exact}
    assert texts == {"ls", "mine", "theirs"}
    assert population.users == ("a", "b")
    again = Population({"a": around("ls", "mine"), "b": around("ls", "theirs")})
    assert again.tokenizer.to_state()[0] == population.tokenizer.to_state()[0]
