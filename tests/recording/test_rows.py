"""Values as osquery writes them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anomaly.recording.rows import MAX_VALUE, row, told

ANY = st.text(st.characters(codec=None, categories=None))


@given(ANY)
def test_a_value_cannot_break_a_line(value: str) -> None:
    """Whatever a program calls itself becomes UTF-8 without control characters, of bounded length."""
    found = told(value)
    found.encode("utf-8")
    assert not set(found) & set(map(chr, range(32)))
    assert len(found) <= MAX_VALUE


@given(st.text())
def test_printable_text_comes_through(text: str) -> None:
    """What a person can read is not changed, in whatever script."""
    if text.isprintable():
        assert told(text) == text


@given(st.text(st.characters(min_codepoint=32, codec="utf-8")), st.integers(0x80, 0xFF))
def test_a_stray_byte_is_marked(text: str, byte: int) -> None:
    """A byte that is no UTF-8 shows as four characters, and the text before it stays."""
    raw = text.encode() + bytes([byte])
    assert told(raw.decode("utf-8", "surrogateescape")) == f"{text}\\x{byte:02X}"


def test_escapes_are_those_of_osquery() -> None:
    """Control characters and stray bytes are written in capital hexadecimals, a backslash as it is."""
    assert told("a\nb\x1b[0m") == "a\\x0Ab\\x1B[0m"
    assert told(b"\xff\xc3\xa9".decode("utf-8", "surrogateescape")) == "\\xFFé"
    assert told("C:\\x") == "C:\\x"
    assert told("\ud800") == "\\xED\\xA0\\x80"


def test_rows_are_sorted_strings() -> None:
    """Columns come in the order of their names, numbers as text, NULL as nothing."""
    assert row(uid=0, name="sh", path=None) == (("name", "sh"), ("path", ""), ("uid", "0"))


def test_a_long_value_is_cut() -> None:
    """No value grows the line beyond what readers take, also not by its escapes."""
    assert len(told("x" * 10**6)) == MAX_VALUE
    assert len(told("\n" * 10**6)) == MAX_VALUE
