from __future__ import annotations

import json
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.records import Score
from anomaly.sinks.jsonline import LONGEST, WIDEST, clip, clipped, filled, finite, line, shortened

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), _JSON, max_size=4))
def test_a_line_reads_back(document: dict[str, Any]) -> None:
    """Whatever well-formed text is in it, a document is one line of printable ASCII that reads back as it was."""
    written = line(document)
    assert written[:-1].decode("ascii").isprintable()
    assert written.endswith(b"\n")
    assert json.loads(written) == document


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=()) | st.sampled_from("\ud800\udc80\x7f\\")))
def test_half_a_pair_does_not_go_out(text: str) -> None:
    """A lone surrogate, which strict readers refuse, becomes U+FFFD; the rest stays."""
    found = json.loads(line({"a": text}))["a"]
    assert (
        found.encode("utf-8") == text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
    )


@pytest.mark.parametrize("value", [nan, inf, -inf, None])
def test_what_is_no_number_is_null(value: float | None) -> None:
    """JSON knows neither NaN nor infinity."""
    assert finite(value) is None


def test_numbers_have_four_decimals() -> None:
    """More digits than that are noise."""
    assert finite(12.345678) == 12.3457


def test_what_is_not_known_is_left_out() -> None:
    """Zero and False are known; None and what is empty are not, at any depth."""
    assert filled({"a": 0, "b": False, "c": None, "d": {"e": "", "f": []}, "g": {"h": 1}}) == {
        "a": 0,
        "b": False,
        "g": {"h": 1},
    }


def test_long_values_are_cut() -> None:
    """A text has at most so many characters, and says that it was cut."""
    assert clip("x" * LONGEST) == "x" * LONGEST
    assert clip("x" * (LONGEST + 1)) == "x" * (LONGEST - 3) + "..."


def test_wide_rows_are_cut() -> None:
    """Of a row with very many columns the first are repeated, and a row that is short enough is itself."""
    row = {str(number): "" for number in range(WIDEST + 1)}
    assert list(clipped(row)) == list(row)[:WIDEST]
    assert clipped({"n" * 200: "v"}) == {"n" * 125 + "...": "v"}
    short = {"a": "b"}
    assert clipped(short) is short


@settings(deadline=None)
@given(st.from_type(Score))
def test_a_shortened_score_is_bounded(score: Score) -> None:
    """No text of the action is longer than the bound, and what was short enough is unchanged."""
    action = shortened(score).action
    texts = (action.user, action.host, action.query, *action.columns.values())
    assert all(len(text) <= LONGEST for text in texts)
    if shortened(score) is not score:
        assert max(map(len, action.columns), default=0) <= 128
