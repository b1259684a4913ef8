"""Of what the JVM says a person is shown what is of use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from anomaly.fleet.noise import Noise

CHATTER = b"Starting Streaming TransformWithStateInPandas Python worker.\n\n"


@pytest.fixture
def shown() -> Iterator[tuple[int, Callable[[], bytes]]]:
    """Give where a person is shown something, and what was."""
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)

    def read() -> bytes:
        try:
            return os.read(ours, 1 << 16)
        except BlockingIOError:
            return b""

    yield theirs, read
    os.close(ours)
    os.close(theirs)


def end(noise: Noise) -> None:
    """Let the JVM end."""
    noise.close()
    noise._reader.join(10)


def test_what_is_said_while_spark_starts_is_forgotten_once_it_has(shown: tuple[int, Callable[[], bytes]]) -> None:
    """Unless somebody wants to hear it; what is said later is told, but for chatter."""
    to, read = shown
    for told in (False, True):
        noise = Noise(to)
        os.write(noise.fileno(), b"WARNING: incubator\n")
        while not noise._held:
            pass
        assert read() == b""
        noise.release(told=told)
        os.write(noise.fileno(), b"ERROR: it burns\n" + CHATTER + b"\r[Stage 1:>]\r  \rno end")
        end(noise)
        assert read() == b"WARNING: incubator\n" * told + b"ERROR: it burns\n\r[Stage 1:>]\r  \rno end"


def test_the_last_words_are_no_line_of_a_trace(shown: tuple[int, Callable[[], bytes]]) -> None:
    """They say why there is no session."""
    to, read = shown
    noise = Noise(to)
    os.write(noise.fileno(), b"Error: old\nException: too old\n\tat java.lang.Thread\n\t... 3 more\n")
    noise.close()
    assert noise.last_words() == "Exception: too old"
    assert read() == b""


def test_a_jvm_that_is_to_end_is_not_listened_to(shown: tuple[int, Callable[[], bytes]]) -> None:
    """Nor does it wait for somebody to listen."""
    to, read = shown
    noise = Noise(to)
    noise.release(told=False)
    noise.mute()
    os.write(noise.fileno(), b"x" * 40_000)
    os.write(noise.fileno(), b"x" * 40_000)
    end(noise)
    assert read() == b""
