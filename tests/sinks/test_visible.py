from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.sinks.visible import columns, visible

# Any code point, lone surrogates included, and often one of those that matter.
_TROUBLE = "\x00\x07\t\n\r\x1b\x7f\x85\x9b\u061c\u200b\u200e\u202e\u2028\u2066\u2069\ufeff\ud800\ue000日é"
_CHARACTERS = st.characters(exclude_categories=()) | st.sampled_from(_TROUBLE)
_TEXT = st.text(_CHARACTERS)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ls -l /tmp", "ls -l /tmp"),
        ("naïve 日本", "naïve 日本"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("one\ntwo\tthree\r", r"one\ntwo\tthree\r"),
        ("\x7f\x9b31m", r"\x7f\x9b31m"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("\u2066\u2069\u200e\u200f\u061c", r"\u2066\u2069\u200e\u200f\u061c"),
        ("\u200b\u200c\u200d\u2060\ufeff", r"\u200b\u200c\u200d\u2060\ufeff"),
        ("\u2028\u2029\xa0\u3000", r"\u2028\u2029\xa0\u3000"),
        ("\udc80\ue000\U000e0041", r"\udc80\ue000\U000e0041"),
    ],
)
def test_shows_what_could_hide(text: str, shown: str) -> None:
    """What is printable stays; controls, format characters, odd spaces and surrogates become escapes."""
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("nmap", 4, "nmap"),
        ("nmap -sS", 7, "nmap..."),
        ("日本語日本語", 9, "日本語..."),
        ("日本語日本語", 8, "日本..."),
        ("ab\x1b\x1b", 7, "ab..."),
        ("nmap", 2, ".."),
        ("nmap", 0, ""),
    ],
)
def test_cuts_to_columns(text: str, limit: int, shown: str) -> None:
    """The limit counts terminal columns, a wide character as two, and never cuts an escape in two."""
    assert visible(text, limit) == shown


@given(_TEXT)
def test_is_printable(text: str) -> None:
    """Whatever goes in, what comes out is printable, on one line, and stays as it is a second time."""
    shown = visible(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    assert visible(shown) == shown


@given(_TEXT, st.integers(0, 40))
def test_keeps_the_limit(text: str, limit: int) -> None:
    """A limited result is printable, fits, and begins like the full one."""
    full, shown = visible(text), visible(text, limit)
    assert shown.isprintable()
    assert columns(shown) <= limit
    assert shown == full or full.startswith(shown.removesuffix("."[:limit]).rstrip("."))
