"""An alert for people: who, when and how severe; what was worst; why; and what to do next."""

from __future__ import annotations

from collections.abc import Iterator

from anomaly.advice import shell_word
from anomaly.records import Alert
from anomaly.sinks.jsonline import finite
from anomaly.sinks.ndjson import timestamp
from anomaly.sinks.visible import columns, visible
from anomaly.sinks.wording import burst, sentence, summary

WIDTH = 80
_INDENT = "  "
_NAME = 24
_REASONS = 1
_ID = 80


def alert_text(alert: Alert) -> str:
    """Give two to five lines, each of at most 80 columns but the last two, which end in what is to be copied."""
    return "".join(f"{line}\n" for line in _lines(alert))


def _lines(alert: Alert) -> Iterator[str]:
    stamp = timestamp(alert.last)
    when = f"{stamp[:10]} {stamp[11:19]} " if stamp else ""
    who = visible(alert.user, _NAME) + (f" on {visible(alert.host, _NAME)}" if alert.host else "")
    yield visible(f"{when}{who}: {burst(alert)}", WIDTH)
    score = alert.worst
    figures = " ".join(
        f"{name} {value:.1f}"
        for name, figure in (("score", score.score), ("risk", score.risk))
        if (value := finite(figure)) is not None
    )
    room = WIDTH - len(_INDENT) - columns(figures) - 3
    yield f"{_INDENT}{visible(summary(score.action, room), room)}" + (f" ({figures})" if figures else "")
    for reason in alert.reasons[:_REASONS]:
        room = WIDTH - len(_INDENT)
        yield _INDENT + visible(sentence(reason, room), room)
    if not alert.closed:
        # By its action, which is shown: what is worst of the alert may be another when this is pasted.
        command = f"anomaly feedback {shell_word(score.id[:_ID])}"
        yield f"{_INDENT}Was it expected? {command} --expected"
        yield f"{_INDENT}Or an incident?  {command} --incident"
