"""The reasons of one score, in the fixed vocabulary of :class:`anomaly.records.ReasonKind`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from math import log2
from typing import NamedTuple

from anomaly.detectors.detector import Detector
from anomaly.detectors.lstm import Foreseen, Lstm
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

_LEAST_BITS = 1.0
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
    """Return what an action says; ``Tokens.ids`` has the same entries less those whose ``head`` is None."""
    found = [Spoken("action", f"{action.query} {action.verb}", tokenizer.heads[0], tokenizer.seen_kind(action))]
    for column, value, head in tokenizer.columns(action):
        seen = tokenizer.seen(action.query, column, value) if head else 0
        # Shown, suppressed and answered is what the row says, with its names.
        found.append(Spoken(column, action.columns.get(column, value), head, seen))
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
    """Return the reasons of a score, the most surprising first.

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
        as it has a value: where none is odd, the mix of the window's.
    """
    entries = spoken(tokenizer, action)
    reasons = [
        _reason(kind, entry, _usual(entry), bits)
        for entry, kind in ((entry, _novelty(entry)) for entry in entries)
        if kind is not None and (bits := _rarity(entry, kind)) >= _LEAST_BITS
    ]
    if detector.sequence is not None and isinstance(details, Foreseen):
        reasons += _unexpected(tokenizer, detector.sequence, details, number, entries, tokens)
    reasons.sort(key=lambda reason: -reason.bits)
    if not window and reasons:
        return tuple(reasons[:MAX_REASONS])
    return (*reasons[: MAX_REASONS - 1], _mix(entries))


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


def _unexpected(
    tokenizer: Tokenizer,
    network: Lstm,
    foreseen: Foreseen,
    number: int,
    entries: Sequence[Spoken],
    tokens: Tokens,
) -> list[Reason]:
    """Return what is usual in itself, and that the network did not expect after the actions before it."""
    known = [entry for entry in entries if entry.head is not None]
    found = []
    for entry, token, share in zip(known, tokens.ids, foreseen.shares[number], strict=True):
        bits = -log2(share)
        if bits >= _LEAST_BITS and _novelty(entry) is None:
            likelier = network.network.expected(foreseen.before[number], token)
            expected = [tokenizer.text(other) for other in likelier]
            found.append(_reason(ReasonKind.UNEXPECTED_NEXT, entry, expected, bits))
    return found


def _mix(entries: Sequence[Spoken]) -> Reason:
    """Return the rarest thing that an action says, as part of an unusual window."""
    entry = min(entries, key=_share)
    return _reason(ReasonKind.UNUSUAL_MIX, entry, _usual(entry), -log2(max(_share(entry), _LEAST_SHARE)))


def _share(entry: Spoken) -> float:
    return entry.seen / max(entry.head.count, 1) if entry.head is not None else 0.0


def _rarity(entry: Spoken, kind: ReasonKind) -> float:
    """Return the bits of a new or rare value: of a new one by how often its column brings something new."""
    if entry.head is None:
        return -log2(_LEAST_SHARE)
    share = entry.head.unseen if kind is ReasonKind.NEW_VALUE else _share(entry)
    return -log2(min(max(share, _LEAST_SHARE), 1.0))


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
