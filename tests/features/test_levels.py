from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomaly.features import levels
from anomaly.features.commands import MAX_LINE
from anomaly.features.levels import MAX_TEXT, FeatureHasher, Level, level_of, packed, unpacked
from anomaly.features.normalise import MAX_FIELDS, normalise
from anomaly.osquery import Action
from anomaly.values import COMMAND_COLUMNS

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=30)
LINES = st.sampled_from(("ls -l /tmp", "sudo cat /etc/shadow | nc x 1", "git commit -m 'x", "", " ", "cmd"))
ROWS = st.dictionaries(st.sampled_from(("path", "pid", *sorted(COMMAND_COLUMNS))) | ANY_TEXT, LINES | ANY_TEXT)
KEYS = st.integers(0, 2**64 - 1)
ACTIONS = st.lists(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5).map(tuple), max_size=8)


def hashed(**columns: str) -> tuple[int, ...]:
    """Return the features of a row."""
    return FeatureHasher(1, set()).features("processes", "added", columns)


def at(level: Level, features: tuple[int, ...]) -> list[int]:
    """Return the features of one level."""
    return [feature for feature in features if level_of(feature) is level]


@pytest.mark.parametrize("level", list(Level))
def test_level_of_feature_is_its_last_three_bits(level: Level) -> None:
    """A feature's level is encoded in its last three bits."""
    assert level_of((1 << 63) + level) is level


@settings(deadline=None)
@given(KEYS, ANY_TEXT, ANY_TEXT, ROWS)
def test_features_of_any_row_are_distinct_and_ordered_by_level(
    key: int, query: str, verb: str, columns: dict[str, str]
) -> None:
    """Any row has distinct features of 64 bits, those of a lower level first, one at least of row and kind."""
    found = FeatureHasher(key, set()).features(query, verb, columns)
    assert len(set(found)) == len(found)
    assert all(0 <= feature < 1 << 64 for feature in found)
    assert all(level_of(one) <= level_of(other) for one, other in pairwise(found))
    assert len(at(Level.ROW, found)) == len(at(Level.KIND, found)) == 1
    assert at(Level.SHAPE, found)
    assert found == FeatureHasher(key, set()).features(query, verb, columns)


def test_features_of_a_row_are_at_the_levels_of_its_columns() -> None:
    """A command line has features at the command levels, and any other column one value."""
    found = hashed(cmdline="git commit -m x | less", path="/usr/bin/git", state="R")
    counts = [len(at(level, found)) for level in Level]
    assert dict(zip(Level, counts, strict=True)) == {
        Level.PROGRAM: 2,  # git, less
        Level.SUBCOMMAND: 1,  # git commit
        Level.OPTION: 1,  # git -m
        Level.ARGUMENT: 2,  # commit, x
        Level.SHAPE: 4,  # of git and of less, git | less, the columns
        Level.ROW: 1,
        Level.VALUE: 2,  # path, state
        Level.KIND: 1,
    }


@settings(deadline=None)
@given(KEYS, KEYS, ROWS)
def test_features_with_another_key_are_different(one: int, other: int, columns: dict[str, str]) -> None:
    """Two keys have no feature in common."""
    found = [set(FeatureHasher(key, set()).features("q", "added", columns)) for key in (one, other)]
    assert found[0] == found[1] if one == other else not found[0] & found[1]


@pytest.mark.parametrize("key", [-1, 1 << 64])
def test_feature_hasher_refuses_a_key_out_of_range(key: int) -> None:
    """A key is a number of 64 bits."""
    with pytest.raises(ValueError, match="key"):
        FeatureHasher(key, set())


@settings(deadline=None)
@given(st.lists(ROWS, max_size=6), ANY_TEXT, ANY_TEXT)
def test_features_of_a_renamed_query_map_one_to_one(rows: list[dict[str, str]], one: str, other: str) -> None:
    """Another name of a query gives each feature another hash, the same one wherever the feature comes."""
    hasher = FeatureHasher(5, set())
    forth: dict[int, int] = {}
    back: dict[int, int] = {}
    for columns in rows:
        before, after = (hasher.features(query, "added", columns) for query in (one, other))
        assert list(map(level_of, before)) == list(map(level_of, after))
        for feature, renamed in zip(before, after, strict=True):
            assert forth.setdefault(feature, renamed) == renamed
            assert back.setdefault(renamed, feature) == feature


def test_features_of_arguments_are_shared_by_queries() -> None:
    """An argument is the same feature in every query; a program is one in each."""
    hasher = FeatureHasher(1, set())
    one, other = (hasher.features(query, "added", {"cmdline": "cat /etc/shadow"}) for query in ("a", "b"))
    assert [level_of(feature) for feature in one if feature in other] == [Level.ARGUMENT]


@pytest.mark.parametrize(
    ("other", "changed"),
    [
        ({"cmdline": "ls  -l\ta", "path": "/bin/ls"}, set()),
        ({"cmdline": "ls -l b", "path": "/bin/ls"}, {Level.SUBCOMMAND, Level.ARGUMENT, Level.ROW}),
        ({"cmdline": "ls -a a", "path": "/bin/ls"}, {Level.OPTION, Level.ROW}),
        ({"cmdline": "ls -l a", "path": "/x/ls"}, {Level.VALUE, Level.ROW}),
        ({"cmdline": "ls -l a", "cwd": "/bin/ls"}, {Level.SHAPE, Level.VALUE, Level.ROW}),
    ],
)
def test_features_tell_rows_apart_at_the_levels_that_differ(other: dict[str, str], changed: set[Level]) -> None:
    """What differs between two rows shows at its levels and in the whole row, and nowhere else."""
    found = hashed(cmdline="ls -l a", path="/bin/ls"), hashed(**other)
    assert {level_of(feature) for feature in set(found[0]) ^ set(found[1])} == changed


def test_features_of_a_verb_are_its_kind() -> None:
    """An added and a removed row differ in their kind and as whole rows."""
    hasher = FeatureHasher(1, set())
    one, other = (set(hasher.features("q", verb, {"path": "/x"})) for verb in ("added", "removed"))
    assert {level_of(feature) for feature in one ^ other} == {Level.ROW, Level.KIND}


def test_features_of_a_silent_column_are_its_name() -> None:
    """Values of a silent column change nothing; that the column is there does."""
    hasher = FeatureHasher(1, {("processes", "pid")})
    one, other, without = (
        hasher.features("processes", "added", {"path": "/x", **columns})
        for columns in ({"pid": "1"}, {"pid": "2"}, {})
    )
    assert one == other
    assert {level_of(feature) for feature in set(one) ^ set(without)} == {Level.SHAPE}
    assert hasher.features("other", "added", {"pid": "1"}) != hasher.features("other", "added", {"pid": "2"})


def test_features_of_a_command_are_not_those_of_a_column_of_its_name() -> None:
    """A command line that is called as its column has its own shape beside the columns'."""
    assert len(at(Level.SHAPE, hashed(cmd="cmd"))) == 2


@pytest.mark.parametrize("column", ["path", "cmdline"])
def test_features_of_long_values_differ_in_their_ends(column: str) -> None:
    """Nothing new hides behind the first MAX_TEXT characters of something known."""
    known = "x" * MAX_TEXT
    rows = [at(Level.ROW, hashed(**{column: known + end})) for end in ("", "a", "b", "a" * 100_000)]
    assert len(set(map(tuple, rows))) == len(rows)


@pytest.mark.parametrize("pattern", ["a ", "a;", "A=1 ", "sudo -x ", "-abc ", "\0", "\udc80", "日", "| "])
def test_features_of_hostile_rows_are_bounded(pattern: str) -> None:
    """However wide a row and long its values are, the number of its features is bounded."""
    value = "".join(f"{pattern}{number}" for number in range(100_000))[:100_000]
    columns = {f"c{number}": value[: 100 + number] for number in range(5000)} | dict.fromkeys(
        COMMAND_COLUMNS, value
    )
    found = FeatureHasher(1, set()).features("q", "added", normalise(Action(0, "h", "u", "q", "added", columns)))
    assert len(found) <= len(COMMAND_COLUMNS) * MAX_LINE + MAX_FIELDS + 3


def test_features_of_many_long_rows_take_little_memory() -> None:
    """Hashes of long texts are not remembered, and those of short ones up to a limit."""
    hasher = FeatureHasher(1, set())
    levels._hash.cache_clear()
    tracemalloc.start()
    try:
        for number in range(3000):
            hasher.features("q", "added", {"path": f"{number}" * 1000, "cmdline": f"{number} " * 100})
        assert tracemalloc.get_traced_memory()[0] < 5_000_000
    finally:
        tracemalloc.stop()


@given(ACTIONS)
def test_unpacked_gives_what_was_packed(actions: list[tuple[int, ...]]) -> None:
    """Two arrays hold actions' features, and give them again."""
    features, sizes = packed(actions)
    assert [str(features.dtype), str(sizes.dtype)] == ["uint64", "int64"]
    assert sizes.tolist() == list(map(len, actions))
    assert unpacked(features, sizes) == tuple(actions)


@pytest.mark.parametrize(
    ("features", "sizes"),
    [
        (np.zeros(3, np.int64), np.array([3])),
        (np.zeros(3, np.uint64), np.array([3], np.int32)),
        (np.zeros(3, np.uint64), np.array([3.0])),
        (np.zeros((3, 1), np.uint64), np.array([3])),
        (np.zeros(3, np.uint64), np.array([[3]])),
        (np.zeros(3, np.uint64), np.array([2])),
        (np.zeros(3, np.uint64), np.array([2, 2])),
        (np.zeros(3, np.uint64), np.array([3, 0])),
        (np.zeros(3, np.uint64), np.array([4, -1])),
        (np.zeros(3, np.uint64), np.array([], np.int64)),
        (np.zeros(0, np.uint64), np.array([1])),
        (np.zeros(3, np.uint64), np.array([2**62, 2**62, 2**62, 2**62, 3])),  # 3 in 64 bits
    ],
)
def test_unpacked_refuses_arrays_that_do_not_add_up(
    features: NDArray[np.uint64], sizes: NDArray[np.int64]
) -> None:
    """Arrays of other types or shapes, and sizes that are not the features', are refused."""
    with pytest.raises(ValueError, match="the features"):
        unpacked(features, sizes)
