"""What becomes a token, what falls back to which form, and what is passed over."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.values import levels
from anomaly.vocabulary import MAX_EXACT, MAX_GENERAL, Head, Token, exact_tokens, general_tokens, is_silent

TABLES = st.lists(
    st.dictionaries(st.text("ab/1", max_size=4), st.integers(1, 5), max_size=12).map(Counter), max_size=4
)


class TestSilence:
    """Columns whose values name nothing are recognised by their values."""

    @pytest.mark.parametrize(
        ("column", "values", "novelty", "silent"),
        [
            ("pid", [str(n) for n in range(100, 160)], 0.95, True),
            ("pid", [str(n) for n in range(100, 160)], 0.0, True),  # hinted, and more than a few
            ("pid", ["1", "2"], 0.0, False),  # hinted, but they come back
            ("pid", ["1", "2"], 0.2, True),
            ("atime", ["1497052800", "1497052801"], 0.5, True),
            ("cookie", [hex(n) for n in range(4096, 4100)], 0.9, True),
            ("cookie", [hex(n) for n in range(4096, 4100)], 0.4, False),
            ("uid", [str(n) for n in range(60)], 0.0, False),
            ("path", [f"/srv/{n}" for n in range(60)], 1.0, False),
            ("pid", ["", "-", *map(str, range(98))], 0.9, True),  # two strays of a hundred
            ("pid", ["a", *map(str, range(9))], 0.9, False),
            ("pid", [], 1.0, False),
        ],
    )
    def test_is_read_off_the_values(self, column: str, values: list[str], novelty: float, *, silent: bool) -> None:
        """Nearly all of the values are numbers, and nearly always new ones; a column's name only hints at it."""
        assert is_silent(column, dict.fromkeys(values, 1), novelty) is silent


class TestExactTokens:
    """Values that become tokens of their own."""

    @given(TABLES)
    def test_are_seen_twice_or_more_and_the_frequent_come_first(self, tables: list[Counter[str]]) -> None:
        """Each column keeps just its values seen more than once, the most frequent first, ties by name."""
        for table, chosen in zip(tables, exact_tokens(tables), strict=True):
            expected = sorted((-count, value) for value, count in table.items() if count > 1)
            assert chosen == [value for _, value in expected]

    def test_are_so_many_at_most(self) -> None:
        """Over all columns the most frequent MAX_EXACT are kept."""
        often = Counter({f"often{n}": 3 for n in range(100)})
        twice = Counter({f"twice{n}": 2 for n in range(MAX_EXACT)})
        kept = exact_tokens([twice, often])
        assert list(map(len, kept)) == [MAX_EXACT - 100, 100]


class TestGeneralTokens:
    """Forms that values share."""

    def test_a_value_counts_once_for_its_most_specific_shared_form(self) -> None:
        """Two files of one directory count there and not in the directory above; a third counts above."""
        files = Counter(["/home/al/src/a", "/home/al/src/b", "/home/al/doc/c", "/home/al/mus/d", "/etc/e"])
        found, left = general_tokens(["path"], [files])
        assert found == [Counter({"in /home/al/src/": 2, "in /home/al/": 2})]
        assert left == [1]

    def test_columns_share_no_form(self) -> None:
        """One value in each of two columns makes no form."""
        found, left = general_tokens(["path", "directory"], [Counter(["/srv/a"]), Counter(["/srv/b"])])
        assert found == [Counter(), Counter()]
        assert left == [1, 1]

    @given(TABLES)
    def test_nothing_is_lost(self, tables: list[Counter[str]]) -> None:
        """Every value counts for one of its forms or is left, once."""
        columns = ["path"] * len(tables)
        found, left = general_tokens(columns, tables)
        for column, table, forms, nameless in zip(columns, tables, found, left, strict=True):
            assert sum(forms.values()) + nameless == sum(table.values())
            assert set(forms) <= {form for value in table for form in levels(column, value)}
            assert all(count > 1 for count in forms.values())

    def test_are_so_many_at_most(self) -> None:
        """Over all columns and levels MAX_GENERAL forms are kept."""
        values = Counter(f"/d{chr(97 + n % 26)}{chr(97 + n // 26)}/{name}" for n in range(600) for name in "xy")
        found, left = general_tokens(["path"], [values])
        assert len(found[0]) == MAX_GENERAL
        assert left == [2 * (600 - MAX_GENERAL)]


def test_a_head_ends_after_its_tokens() -> None:
    """The id after a head's last token is where the next one starts."""
    tokens = (Token("", exact=False, count=0), Token("ls", exact=True, count=3))
    assert Head("q", "name", 7, tokens, 3, 0.0, 0.1).stop == 9
