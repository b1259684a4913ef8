"""Tables for people."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anomaly.overview import table
from anomaly.sinks.visible import columns

ROW = {
    "user": "alice",
    "version": 1,
    "in_use": True,
    "algorithm": "OCSVM",
    "actions": 10_657,
    "last": "2026-11-02",
}


def test_a_table_that_fits_is_as_wide_as_it_is() -> None:
    """Numbers stand to the right, and nothing is cut."""
    assert list(table([ROW, ROW | {"user": "bob", "actions": 9, "in_use": False}])) == [
        "user   version  in_use  algorithm  actions  last",
        "alice        1  yes     OCSVM       10,657  2026-11-02",
        "bob          1  no      OCSVM            9  2026-11-02",
    ]
    assert list(table([])) == []


@given(st.lists(st.text(max_size=300), min_size=1, max_size=3))
def test_names_do_not_make_it_wider_than_80_columns(users: list[str]) -> None:
    """Whoever writes the log chooses the names; what else is in the row stays whole."""
    rows = [ROW | {"user": user, "first": "2026-10-05"} for user in users]
    for line, row in zip(table(rows), [None, *rows], strict=True):
        assert columns(line) <= 80
        assert row is None or line.endswith("  yes     OCSVM       10,657  2026-11-02  2026-10-05")


def test_an_id_is_never_cut() -> None:
    """It is there to be typed again; the name beside it gives way."""
    row = {"id": "9f2c41d07b3e5a68:18446744073709551", "user": "x" * 99, "note": "y" * 99, "state": "in force"}
    _, line = table([row])
    assert line.startswith("9f2c41d07b3e5a68:18446744073709551  xxx")
