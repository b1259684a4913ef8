"""What ``--metrics`` takes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.errors import ConfigError
from anomaly.metrics_address import Served, Written, place


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:9469", Served("127.0.0.1", 9469)),
        ("localhost:0", Served("127.0.0.1", 0)),
        ("[::1]:9469", Served("::1", 9469)),
        ("textfile:/srv/x.prom", Written(Path("/srv/x.prom"))),
    ],
)
def test_this_machine_and_files_for_node_exporter_are_taken(text: str, expected: Served | Written) -> None:
    """A loopback address with a port, and an absolute path that ends in .prom."""
    assert place(text) == expected


@pytest.mark.parametrize("text", ["0.0.0.0:9469", "[::]:9469", "192.0.2.7:80", "example.org:80", ":9469"])
def test_an_address_that_others_reach_is_refused_with_the_way_out(text: str) -> None:
    """Metrics name suspects: other machines come by a proxy that asks who they are."""
    with pytest.raises(ConfigError) as refused:
        place(text)
    assert str(refused.value) == (
        f"{text}: metrics name users and say who is suspected, and there is no password before them;"
        " so only 127.0.0.1 and [::1] are taken. For other machines, put a proxy that asks for one before it,"
        " or give textfile:/PATH/anomaly.prom to node_exporter."
    )


@pytest.mark.parametrize("text", ["9469", "127.0.0.1", "127.0.0.1:99999", "http://127.0.0.1:80", "[::1]", "x"])
def test_what_is_no_address_is_told_what_would_be_one(text: str) -> None:
    """The three forms are named."""
    with pytest.raises(
        ConfigError, match=r"give 127\.0\.0\.1:PORT, \[::1\]:PORT or textfile:/PATH/anomaly\.prom\.$"
    ):
        place(text)


@pytest.mark.parametrize("text", ["textfile:", "textfile:x.prom", "textfile:/srv/x.txt", "textfile:/srv/\0.prom"])
def test_a_file_that_node_exporter_would_not_read_is_refused(text: str) -> None:
    """It reads .prom files alone; and a path that depends on where one stands is a mistake."""
    with pytest.raises(ConfigError, match=r"node_exporter reads files that end in \.prom"):
        place(text)


@given(st.text(max_size=30))
def test_anything_is_a_place_or_a_sentence(text: str) -> None:
    """No text raises anything but ConfigError."""
    with suppress(ConfigError):
        assert isinstance(place(text), Served | Written)
