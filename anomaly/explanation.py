"""The reasons of one score, in the fixed vocabulary of :class:`anomaly.records.ReasonKind`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from math import log2
from typing import NamedTuple

from anomaly.detectors.both import Both
from anomaly.detectors.interface import Detector
from anomaly.detectors.lstm import Foreseen, Lstm
from anomaly.detectors.ocsvm import OneClassSvm, Surroundings
from anomaly.osquery import Action
from anomaly.records import Reason, ReasonKind
from anomaly.tokenizer import Tokenizer
from anomaly.tokens import Tokens
from anomaly.vocabulary import Head

MAX_REASONS = 3
MAX_TEXT = 120
"""Characters of a value that are shown."""

RARE = 0.01
"""A value is called rare below this share of the column's actions."""

_LEAST_BITS = 3.0
_LEAST_SHARE = 2.0**-16
_FEWEST_DAYS = 7
_RARE_HOUR = 0.002


class Spoken(NamedTuple):
    """One thing an action says: its kind, or one column's value."""

    column: str
    value: str
    head: Head | None
    """None for a column that training never saw."""
    seen: int


def spoken(tokenizer: Tokenizer, action: Action) -> list[Spoken]:
    """Give what an action's tokens stand for, in the order of ``Tokens.buckets``.

    ``Tokens.ids`` has the same entries less those whose ``head`` is None.
    """
    found = [Spoken("action", f"{action.query} {action.verb}", tokenizer.heads[0], tokenizer.seen_kind(action))]
    for column, value, head in tokenizer.columns(action):
        found.append(Spoken(column, value, head, tokenizer.seen(action.query, column, value) if head else 0))
    return found


def explain(
    tokenizer: Tokenizer,
    detector: Detector,
    details: object,
    number: int,
    action: Action,
    tokens: Tokens,
    *,
    window: bool,
) -> tuple[Reason, ...]:
    """Give the reasons of a score, the most surprising first.

    Parameters
    ----------
    tokenizer, detector
        The model's.
    details, number
        Of the :class:`Evidence` that the action is part of, and its place in it.
    action, tokens
        What was judged.
    window
        Whether the recent window, too, asks for an explanation. The action alone has a reason in any case, as far
        as the detector's view has one: where no value is odd, the mix of the window's.
    """
    entries = spoken(tokenizer, action)
    if isinstance(detector, Both) and type(details) is tuple:  # the parts, and no part alone: those are named
        foreseen, around = details
        reasons = explain(tokenizer, detector.sequence, foreseen, number, action, tokens, window=window)
        mix = _mix(tokenizer, around, number, entries) if window or not reasons else None
        return reasons if mix is None else (*reasons[: MAX_REASONS - 1], mix)
    if isinstance(detector, Lstm) and isinstance(details, Foreseen):
        heard = [entry for entry in entries if entry.head is not None]
        return _surprises(tokenizer, detector, details, number, heard, tokens)
    if isinstance(detector, OneClassSvm) and isinstance(details, Surroundings):
        return _strangers(tokenizer, details, number, entries, window=window)
    raise TypeError(f"no explanation for {type(detector).__name__}")


def unusual_hour(time: int, hours: Sequence[int], days: int) -> Reason | None:
    """Give the reason that nobody was active at this hour in training, where enough days were seen.

    It explains a score and is no part of it: the hour in the score did harm where training covered few days.

    Examples
    --------
    >>> hours = [0] * 9 + [500] * 8 + [0] * 7
    >>> unusual_hour(1_700_000_000 // 86_400 * 86_400 + 2 * 3600, hours, days=14).value
    '02:00 UTC'
    >>> unusual_hour(0, hours, days=14) is None
    True
    """
    total = sum(hours)
    if not time or days < _FEWEST_DAYS or not total:
        return None
    hour = datetime.fromtimestamp(time, UTC).hour
    share = (hours[hour] + 0.5) / (total + 12)
    if share >= _RARE_HOUR:
        return None
    usual = sorted(range(24), key=lambda h: -hours[h])[:MAX_REASONS]
    return Reason(
        ReasonKind.UNUSUAL_HOUR,
        "time",
        _hour(hour),
        tuple(_hour(h) for h in usual),
        hours[hour],
        total,
        round(-log2(share), 2),
    )


def _surprises(
    tokenizer: Tokenizer,
    lstm: Lstm,
    foreseen: Foreseen,
    number: int,
    entries: list[Spoken],
    tokens: Tokens,
) -> tuple[Reason, ...]:
    reasons = []
    for entry, token, share in zip(entries, tokens.ids, foreseen.shares[number], strict=True):
        bits = -log2(share)
        if bits < _LEAST_BITS:
            continue
        kind = _novelty(entry)
        if kind is None:
            kind = ReasonKind.UNEXPECTED_NEXT
            expected = [tokenizer.text(other) for other in lstm.network.expected(foreseen.before[number], token)]
        else:
            expected = _usual(entry)
        reasons.append(_reason(kind, entry, expected, bits))
    return tuple(sorted(reasons, key=lambda reason: -reason.bits)[:MAX_REASONS])


def _strangers(
    tokenizer: Tokenizer, around: Surroundings, number: int, entries: list[Spoken], *, window: bool
) -> tuple[Reason, ...]:
    reasons = []
    kinds = [_novelty(entry) for entry in entries]
    if any(kinds):
        # Rounded: of equals, the order of the columns decides and not the last bit.
        ranked = sorted(zip(entries, kinds, around.shares(number), strict=True), key=lambda one: round(one[2], 9))
        for entry, kind, share in ranked:
            bits = -log2(max(share, _LEAST_SHARE))
            if kind is not None and bits >= 1.0:
                reasons.append(_reason(kind, entry, _usual(entry), bits))
    # What asks for a word has one: where each value is usual, the mix of them is not.
    mix = _mix(tokenizer, around, number, entries) if window or not reasons else None
    return (*reasons[:MAX_REASONS],) if mix is None else (*reasons[: MAX_REASONS - 1], mix)


def _mix(tokenizer: Tokenizer, around: Surroundings, number: int, entries: list[Spoken]) -> Reason | None:
    """Give what is strangest here to the windows of training, and what they hold that is missing."""
    pairs = list(zip(entries, around.shares(number), strict=True))
    if not pairs:
        return None
    entry, share = min(pairs, key=lambda pair: pair[1])
    # Two queries may show the same value in a column of the same name: to a reader that is one habit.
    texts = map(tokenizer.bucket_text, around.missing(number, 3 * MAX_REASONS))
    missing = [text for text in dict.fromkeys(texts) if text][:MAX_REASONS]
    return _reason(ReasonKind.UNUSUAL_MIX, entry, missing, -log2(max(share, _LEAST_SHARE)))


def _novelty(entry: Spoken) -> ReasonKind | None:
    if entry.seen == 0:
        return ReasonKind.NEW_VALUE
    if entry.head is not None and entry.seen < RARE * entry.head.count:
        return ReasonKind.RARE_VALUE
    return None


def _usual(entry: Spoken) -> list[str]:
    tokens = entry.head.tokens if entry.head is not None else ()
    return list(islice((token.shown for token in tokens if token.exact), MAX_REASONS))  # they may be thousands


def _reason(kind: ReasonKind, entry: Spoken, expected: list[str], bits: float) -> Reason:
    count = entry.head.count if entry.head is not None else 0
    shown = tuple(text[:MAX_TEXT] for text in expected)
    return Reason(kind, entry.column[:MAX_TEXT], entry.value[:MAX_TEXT], shown, entry.seen, count, round(bits, 2))


def _hour(hour: int) -> str:
    return f"{hour:02d}:00 UTC"
