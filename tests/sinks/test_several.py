from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

import pytest

from anomaly.errors import ConfigError
from anomaly.records import Alert
from anomaly.sinks.interface import AlertSink, Health
from anomaly.sinks.several import QUIET, Several

Alerts = Callable[[int], list[Alert]]


class Fake(AlertSink):
    """Notes what it gets; fails with what it is told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.got: list[str] = []
        self.calls: list[str] = []
        self.state = Health()

    def _do(self, call: str) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error

    def write(self, alerts: Sequence[Alert]) -> None:
        """Note the alerts."""
        self._do("write")
        self.got += [alert.id for alert in alerts]

    def reopen(self) -> None:
        """Note the call."""
        self._do("reopen")

    def close(self) -> None:
        """Note the call."""
        self._do("close")

    def health(self) -> Health:
        """Give what the test has set."""
        return self.state


class Clock:
    """A clock that only the test moves."""

    now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def test_one_failing_does_not_stop_the_others(alerts: Alerts) -> None:
    """Each sink gets every call, whichever fails, and the failure is said by name and counted."""
    broken, well = Fake(OSError(errno.ENOSPC, "No space left on device")), Fake()
    said: list[str] = []
    failed: list[str] = []
    both = Several([("file", broken), ("hook", well)], said.append, Clock())
    both.failed = failed.append
    both.write(alerts(2))
    both.reopen()
    both.close()
    assert well.got == ["9f2c:0", "9f2c:1"]
    assert broken.calls == well.calls == ["write", "reopen", "close"]
    assert said[0] == "Alerts to file: No space left on device."
    assert failed == ["file"] * 3


def test_is_said_once_a_minute_for_each(alerts: Alerts) -> None:
    """However often a sink fails, a minute has one word about it; another sink has its own."""
    first, second, clock = Fake(OSError(errno.EIO, "one")), Fake(ConfigError("Two. Do this.")), Clock()
    said: list[str] = []
    both = Several([("a", first), ("b", second)], said.append, clock)
    for _ in range(100):
        both.write(alerts(1))
    assert said == ["Alerts to a: one.", "Alerts to b: Two. Do this."]
    clock.now = QUIET
    both.write(alerts(1))
    assert said[2:] == ["Alerts to a: one.", "Alerts to b: Two. Do this."]


def test_trouble_that_only_the_sink_knows(alerts: Alerts) -> None:
    """What keeps a sink from delivering is said while it lasts, and so is its end."""
    sink, clock = Fake(), Clock()
    said: list[str] = []
    several = Several([("hook", sink)], said.append, clock)
    several.write(alerts(1))
    assert said == []
    sink.state = Health(7, 0, "Connection refused")
    several.check()
    several.check()
    clock.now = QUIET
    sink.state = Health(8, 2, "Connection refused")
    several.check()
    sink.state = Health(0, 2, None)
    several.check()
    several.check()
    assert said == [
        "Alerts to hook: Connection refused (7 wait, 0 are lost).",
        "Alerts to hook: Connection refused (8 wait, 2 are lost).",
        "Alerts to hook go through again.",
    ]
    assert several.health() == Health(0, 2, None)


def test_losses_are_said(alerts: Alerts) -> None:
    """What is lost without any trouble left is said too, once."""
    sink, clock = Fake(), Clock()
    said: list[str] = []
    several = Several([("udp", sink)], said.append, clock)
    sink.state = Health(0, 3, None)
    several.write(alerts(1))
    clock.now = 2 * QUIET
    several.check()
    assert said[0] == "Alerts to udp: some cannot be handed on (0 wait, 3 are lost)."
    assert said[1:] == ["Alerts to udp go through again."]


def test_a_closed_output_ends_the_program(alerts: Alerts) -> None:
    """That whoever read our output has closed it is no failure to survive; the others get the alerts first."""
    well = Fake()
    several = Several([("standard output", Fake(BrokenPipeError())), ("hook", well)], lambda _: None, Clock())
    with pytest.raises(BrokenPipeError):
        several.write(alerts(1))
    assert well.got == ["9f2c:0"]


def test_no_alerts_are_no_call() -> None:
    """Of nothing nothing is handed on."""
    sink = Fake()
    Several([("x", sink)], lambda _: None).write([])
    assert sink.calls == []


def test_losses_without_a_failed_call_are_counted(alerts: Alerts) -> None:
    """What a receiver refuses afterwards counts too, and what a failed call lost is not counted twice."""
    hook, full = Fake(), Fake(OSError(errno.ENOBUFS, "full"))
    failed: list[str] = []
    several = Several([("hook", hook), ("full", full)], lambda _: None, Clock())
    several.failed = failed.append
    full.state = Health(0, 5, None)
    several.write(alerts(1))
    assert failed == ["full"]
    for lost in (3, 3, 4):
        hook.state = Health(0, lost, "the last one was refused with HTTP 403")
        several.check()
    assert failed == ["full", "hook", "hook"]
    hook.state = Health(0, 9, None)
    several.close()
    assert failed[3:] == ["full", "hook"]


def test_the_last_word_has_the_final_numbers() -> None:
    """What was said of a sink while the minute lasted is put right when all are closed; nothing is said twice."""
    sink, quiet, known = Fake(), Fake(), Fake()
    said: list[str] = []
    several = Several([("hook", sink), ("file", quiet), ("udp", known)], said.append, Clock())
    sink.state = Health(5, 0, "it answers with HTTP 500")
    known.state = Health(0, 2, None)
    several.check()
    sink.state = Health(30, 1, "it answers with HTTP 500")
    several.check()
    del said[:]
    several.close()
    several.close()
    assert said == ["Alerts to hook, at the end: 30 wait for the next run, 1 are lost."]


def test_all_stop_before_one_is_waited_for() -> None:
    """Sinks end together: each is told to before the first is closed, even where one fails at that."""
    order: list[str] = []

    class Slow(AlertSink):
        def __init__(self, name: str) -> None:
            self.name = name

        def write(self, _: Sequence[Alert]) -> None:
            """Take nothing."""

        def stop(self) -> None:
            order.append(f"stop {self.name}")
            if self.name == "a":
                raise OSError(errno.EIO, "one")

        def close(self) -> None:
            order.append(f"close {self.name}")

    Several([(name, Slow(name)) for name in "abc"], lambda _: None).close()
    assert order == ["stop a", "stop b", "stop c", "close a", "close b", "close c"]
