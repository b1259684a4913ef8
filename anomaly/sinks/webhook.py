"""Alerts posted to an address: kept on disk first, then handed on in order, as often as it takes."""

from __future__ import annotations

import errno
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime

from anomaly.errors import ConfigError
from anomaly.records import Alert
from anomaly.sinks.formats import Encode
from anomaly.sinks.http_post import Post
from anomaly.sinks.interface import AlertSink, Health
from anomaly.sinks.queued import ENDED, ended
from anomaly.sinks.spool import Entry, Spool

LATEST = 3600.0
"""Seconds that a receiver may make us wait (Retry-After); one that says more is asked earlier."""

SLOW = 10.0
"""Seconds that a receiver may take for an answer until that is told as trouble."""

_FIRST, _LONGEST = 1.0, 300.0
_KEY = re.compile(r"[^A-Za-z0-9:._-]")
_TOO_EARLY = frozenset({408, 425, 429})


class Courier:
    """Hands on what waits, one entry a step; it never sleeps, but says for how long to.

    2xx is delivered. What will not get better by itself (4xx but 408, 425 and 429) is put aside with what was
    refused. Everything else is tried again: after a second, then after twice as long each time, up to five
    minutes, and half of that at random, so that many do not come back at once.

    Parameters
    ----------
    spool
        What waits.
    post
        How it is handed on.
    clock
        Seconds since 1970.
    chance
        Gives numbers from 0 to 1.
    """

    def __init__(
        self,
        spool: Spool,
        post: Post,
        *,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._spool, self._post, self._clock, self._chance = spool, post, clock, chance
        self._pause = _FIRST
        self._asked: float | None = None
        self._trouble: str | None = None
        self.delivered = 0
        """Entries that the receiver has taken."""
        self.refused = 0
        """Entries that it would not have."""

    @property
    def trouble(self) -> str | None:
        """Why the last try failed, or that this one takes long."""
        asked = self._asked
        if asked is not None and self._clock() - asked > SLOW:
            return f"there is no whole answer for more than {SLOW:.0f} s"
        return self._trouble

    def step(self) -> float | None:
        """Try the first entry once; return after how many seconds to go on, None when nothing waits."""
        try:
            entry = self._spool.head()
            if entry is None:
                return None
            self._asked = self._clock()
            try:
                status, later = self._post.send(entry.body.encode("utf-8", "replace"), entry.key)
            finally:
                self._asked = None
            if 200 <= status < 300:
                self._spool.done()
                self.delivered += 1
                self._pause, self._trouble = _FIRST, None
                return 0.0
            if 400 <= status < 500 and status not in _TOO_EARLY:
                self._spool.bury(f"HTTP {status}")
                self.refused += 1
                self._pause, self._trouble = _FIRST, f"the last one was refused with HTTP {status}"
                return 0.0
        except OSError as error:
            return self._again(error.strerror or type(error).__name__)
        if 300 <= status < 400:
            return self._again(f"it redirects (HTTP {status}), which is not followed: give the new address")
        return self._again(f"it answers with HTTP {status}", wanted=self._wanted(later))

    def _again(self, trouble: str, wanted: float = 0.0) -> float:
        self._trouble = trouble
        pause = self._pause * (0.5 + 0.5 * self._chance())
        self._pause = min(2 * self._pause, _LONGEST)
        return max(pause, wanted)

    def _wanted(self, later: str | None) -> float:
        """Read Retry-After: seconds, or a date."""
        text = (later or "").strip()
        if text.isascii() and text.isdecimal():
            return min(float(text[:9]), LATEST)
        try:
            moment = parsedate_to_datetime(text)
            at = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return min(max(at.timestamp() - self._clock(), 0.0), LATEST)
        except (ValueError, TypeError, OverflowError, IndexError):
            return 0.0


class WebhookSink(AlertSink):
    """Keeps alerts in a spool; a thread posts them, each with a key of its own, at least once.

    Parameters
    ----------
    spool
        Where they wait; closed with the sink. What it holds from an earlier run goes first.
    post
        How they are posted.
    encode
        What an alert looks like.
    """

    def __init__(self, spool: Spool, post: Post, encode: Encode) -> None:
        self._spool, self._post, self._encode = spool, post, encode
        self._courier = Courier(spool, post)
        self._changed = threading.Condition()
        self._has_news = self._is_asked = self._is_closing = False
        self._lost, self._told = 0, 0.0
        self._thread: threading.Thread | None = None
        if spool.waiting:
            self._begin()

    def write(self, alerts: Sequence[Alert]) -> None:
        """Keep the alerts on disk; raises OSError where that is not possible, or there is no room for some."""
        entries = [Entry(_key(alert), self._encode(alert).decode("utf-8").rstrip("\n")) for alert in alerts]
        try:
            refused = self._spool.append(entries)
        except OSError:
            self._lost += len(entries)
            raise
        self._begin()
        if refused:
            self._lost += refused
            what = f"too much waits to be delivered; {refused:,} of {len(entries):,} alerts are lost"
            raise OSError(errno.ENOBUFS, what)

    def reopen(self) -> None:
        """Read the secret anew, and try again at once."""
        try:
            self._post.reload()
        except ConfigError as error:
            raise OSError(errno.EACCES, str(error)) from error
        with self._changed:
            self._is_asked = True
            self._changed.notify()

    def stop(self) -> None:
        """Begin no other post."""
        with self._changed:
            if not self._is_closing:
                self._is_closing, self._told = True, time.monotonic()
            self._changed.notify()

    def close(self) -> None:
        """Stop; what waits is delivered by the next run."""
        self.stop()
        if ended(self._thread, self._told, self._post.interrupt):
            self._post.close()
        # One that is left looks for an address, and ends with the process; what it would take out stays.
        self._spool.close()

    def health(self) -> Health:
        """Tell what waits, what is lost or was refused, and why."""
        lost = self._lost + self._courier.refused + self._spool.damaged
        has_ended = self._thread is not None and not self._thread.is_alive() and not self._is_closing
        return Health(self._spool.waiting, lost, ENDED if has_ended else self._courier.trouble)

    def _begin(self) -> None:
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="anomaly-webhook", daemon=True)
                self._thread.start()
            self._has_news = True
            self._changed.notify()

    def _run(self) -> None:
        while not self._is_closing:
            pause = self._courier.step()
            with self._changed:
                if pause is None:
                    self._changed.wait_for(lambda: self._has_news or self._is_closing)
                elif pause > 0:
                    # More alerts are no reason to ask earlier a receiver that has no time.
                    self._changed.wait_for(lambda: self._is_asked or self._is_closing, pause)
                self._has_news = self._is_asked = False


def _key(alert: Alert) -> str:
    """Give what tells this word on this alert from all others, in characters that a header may have."""
    return f"{_KEY.sub('_', alert.id)[:200]}.{alert.update}"
