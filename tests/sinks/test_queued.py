from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from anomaly.sinks.queued import ENDED, Carrier, Queue


class Recorder(Carrier):
    """Notes what it is given; fails as often as told, or waits until closed."""

    def __init__(self, failures: int = 0, *, stuck: bool = False) -> None:
        self.sent: list[bytes] = []
        self.tries = 0
        self.arrived = threading.Semaphore(0)
        self.tried = threading.Semaphore(0)
        self._failures = failures
        self._stuck = stuck
        self._closed = threading.Event()

    def send(self, data: bytes) -> None:
        """Note the message."""
        self.tries += 1
        self.tried.release()
        if self._stuck:
            self._closed.wait(10)
            raise OSError(errno.ECONNABORTED, "closed")
        if self.tries <= self._failures:
            raise OSError(errno.ECONNREFUSED, "Connection refused")
        self.sent.append(data)
        self.arrived.release()

    def interrupt(self) -> None:
        """Let whoever waits fail."""
        self._closed.set()

    def close(self) -> None:
        """Do nothing more."""


@contextmanager
def queue(
    carrier: Recorder, *, room: int = 10_000, room_bytes: int = 1 << 20, pause: float = 0.001
) -> Iterator[Queue]:
    """Give a queue that is closed in the end."""
    made = Queue(carrier, room=room, room_bytes=room_bytes, pause=pause)
    try:
        yield made
    finally:
        made.close(0.05)


def test_in_order() -> None:
    """What is put is handed on in its order, and closing waits for the rest."""
    carrier = Recorder()
    with queue(carrier) as waiting:
        assert waiting.put(b"%d" % number for number in range(500)) == 0
        assert waiting.close() == 0
    assert carrier.sent == [b"%d" % number for number in range(500)]


def test_a_failure_is_tried_again() -> None:
    """A message that could not be handed on is the next to be tried; none is skipped or repeated."""
    carrier = Recorder(failures=3)
    with queue(carrier) as waiting:
        waiting.put([b"a", b"b"])
        for _ in range(2):
            assert carrier.arrived.acquire(timeout=10)
        assert (carrier.sent, carrier.tries) == ([b"a", b"b"], 5)
    assert (waiting.lost, waiting.trouble) == (0, None)


def test_what_has_no_room_is_counted() -> None:
    """More than the room is refused, and what was there first stays."""
    carrier = Recorder(stuck=True)
    with queue(carrier, room=3) as waiting:
        assert waiting.put([b"a", b"b"]) == 0
        assert waiting.put([b"c", b"d", b"e"]) == 2
        assert (waiting.waiting, waiting.lost) == (3, 2)


def test_long_messages_have_less_room() -> None:
    """What waits is bounded in bytes too, and a message that was handed on gives its bytes free."""
    carrier = Recorder(stuck=True)
    with queue(carrier, room_bytes=10) as waiting:
        assert waiting.put([b"a" * 4, b"b" * 4, b"c" * 4, b"d" * 2]) == 1
        assert (waiting.waiting, waiting.lost) == (3, 1)
    carrier = Recorder()
    with queue(carrier, room_bytes=10) as waiting:
        for _ in range(5):
            assert waiting.put([b"a" * 10]) == 0
            last = time.monotonic() + 5
            while waiting.waiting:
                assert time.monotonic() < last


def test_putting_never_waits() -> None:
    """While the receiver hangs, a burst is taken at once; closing gives up, and says what is lost."""
    carrier = Recorder(stuck=True)
    with queue(carrier) as waiting:
        waiting.put([b"a"])
        assert carrier.tried.acquire(timeout=10)
        waiting.put([b"b"] * 5000)
        assert waiting.close(0.01) == 5001
    assert waiting.lost == 5001


def test_says_what_is_in_the_way() -> None:
    """While it fails, the reason can be asked for; a burst meanwhile is no burst of tries."""
    carrier = Recorder(failures=10**6)
    with queue(carrier, pause=60.0) as waiting:
        waiting.put([b"a"])
        assert carrier.tried.acquire(timeout=10)
        for _ in range(1000):
            waiting.put([b"b"])
        waiting.close()
    assert waiting.trouble == "Connection refused"
    assert carrier.tries == 2  # the last is that of closing


@pytest.mark.parametrize("messages", [[], [b"a"]])
def test_without_a_message_there_is_no_thread(messages: list[bytes]) -> None:
    """The thread begins with the first message, and ends with closing."""
    before = threading.active_count()
    with queue(Recorder()) as waiting:
        waiting.put(messages)
        assert waiting._thread is None or messages
    assert threading.active_count() == before


class Faulty(Recorder):
    """Fails as nothing should."""

    def send(self, data: bytes) -> None:
        """Fail."""
        super().send(data)
        raise ZeroDivisionError


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_ours_is_not_silent() -> None:
    """If the thread ends by an error that nobody foresaw, the queue says so instead of filling up in silence."""
    carrier = Faulty()
    with queue(carrier) as waiting:
        waiting.put([b"a"])
        assert waiting._thread is not None
        waiting._thread.join(10)
        assert waiting.trouble == ENDED
        assert waiting.close() == 1


def test_the_time_to_end_begins_with_the_word_to_stop() -> None:
    """Queues that nothing can interrupt end within one patience if they are told together."""

    class Deaf(Recorder):
        def interrupt(self) -> None:
            """Go on, as one that looks for an address does."""

    carriers = [Deaf(stuck=True) for _ in range(6)]
    queues = [Queue(carrier) for carrier in carriers]
    threads = threading.active_count()
    try:
        for waiting, carrier in zip(queues, carriers, strict=True):
            waiting.put([b"x"])
            assert carrier.tried.acquire(timeout=5)
        begin = time.monotonic()
        for waiting in queues:
            waiting.stop()
        assert [waiting.close(0.2) for waiting in queues] == [1] * 6
        assert time.monotonic() - begin < 4 * 0.3  # one after another it is six times this
    finally:
        for carrier in carriers:
            Recorder.interrupt(carrier)
    while threading.active_count() > threads:
        time.sleep(0.001)
