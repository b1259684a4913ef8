"""TOML that somebody else wrote."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, strategies

from anomaly.errors import ConfigError
from anomaly.toml_text import parse


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a = 1\nb = '\xff'", "line 2 is not UTF-8"),
        (b"\xa1", "line 1 is not UTF-8"),
        (b"a: 1", "Expected '=' after a key in a key/value pair (at line 1, column 2)"),
        (b"a = " + b"9" * 5000, "a number in it is too long, or it nests too deeply"),
        (b"a = " + b"[" * 5000, "a number in it is too long, or it nests too deeply"),
    ],
)
def test_what_is_no_toml(data: bytes, reason: str) -> None:
    """The file and the place are named, and what to do; nothing of Python's own words about bytes."""
    with pytest.raises(ConfigError) as caught:
        parse(data, Path("s.toml"))
    assert str(caught.value) == f"s.toml is not valid TOML: {reason}. Mend it, or move it away."


@given(strategies.binary() | strategies.text().map(str.encode))
def test_any_content_is_read_or_refused(data: bytes) -> None:
    """Nothing else comes of it."""
    with suppress(ConfigError):
        assert isinstance(parse(data, Path("s.toml")), dict)
