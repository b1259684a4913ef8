"""The page: one HTML file that holds all it needs, runs no script but its own, and asks no network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from anomaly import __version__
from anomaly.errors import ModelRefused
from anomaly.report import charts, view
from anomaly.report.collect import Report
from anomaly.report.novelty import DAYS
from anomaly.report.profile import Profile
from anomaly.sinks.visible import visible
from anomaly.store import Store, Stored
from anomaly.tally import skipped

SECTIONS = 50
"""Users who have a section of their own; the others are in the table of users alone."""

_POINTS, _ALARMS, _ALERTS = 8_000, 6_000, 120
"""What all sections share: points of each line, marked alarms, alerts with their lines."""

_EMPTY = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
"""A style sheet without content: plotly fills such ones rule by rule, which no policy forbids."""


class _Script(NamedTuple):
    text: Markup
    hash: str


def render(report: Report, made: str) -> bytes:
    """Return the page.

    Parameters
    ----------
    report
        What to show.
    made
        When the page was made, for people.
    """
    store = Store(report.asked.models)
    chosen = report.profiles[:SECTIONS]
    drawn: dict[str, charts.Chart] = {}
    users = [_user(number, profile, store, len(chosen), drawn) for number, profile in enumerate(chosen, 1)]
    library, own, style = _plotly(), _script("report.js"), _script("report.css")
    environment = _environment()
    page = environment.get_template("report.html.j2").render(
        policy=_policy([library, own], style),
        style=style.text,
        library=library.text,
        script=own.text,
        filled=_filled_by_plotly(),
        data=_data(drawn),
        report=report,
        users=users,
        rest=report.profiles[SECTIONS:],
        skipped=skipped(report.skipped) if report.skipped.total() else "No line was skipped",
        made=made,
        program=f"anomaly {__version__}",
        hours=range(24),
        days=DAYS,
    )
    return page.encode("utf-8")


def _user(
    number: int, profile: Profile, store: Store, users: int, drawn: dict[str, charts.Chart]
) -> view.UserView:
    """Make a user's section, and put its charts to the others."""
    most = max(_ALERTS // users, 3)
    stored = _stored(store, profile.user)
    found = {
        "timeline": charts.timeline(profile, max(_POINTS // users, 100), max(_ALARMS // users, 50)),
        "calibration": charts.calibration(profile),
    }
    if stored is not None:
        found["tails"] = charts.tails(stored.model.calibration)
    drawn |= {f"{name}-{number}": chart for name, chart in found.items()}
    shown = view.alerts(profile, most)
    news, more = view.news(profile)
    version = stored.version if stored is not None else None
    return view.UserView(
        number=number,
        profile=profile,
        version=version,
        heats=view.heats(profile),
        alerts=shown,
        hidden=len(profile.alerts) - len(shown) + profile.forgotten,
        news=news,
        more_news=more,
        levels=view.levels(profile),
        card=view.card(stored.model.card, version) if stored is not None else (),
        drawn=tuple(found),
    )


def _stored(store: Store, user: str) -> Stored | None:
    try:
        return store.load(user)
    except ModelRefused:  # it was told when it was to score
        return None


def _environment() -> Environment:
    """Return what fills templates: every value is escaped, and no character in it is invisible."""
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": view.moment, "commas": "{:,}".format, "points": "{:,.1f}".format}
    return environment


def _shown(value: object) -> object:
    return value if isinstance(value, Markup) else visible(str(value))


@cache
def _template(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text("utf-8")


def _script(name: str) -> _Script:
    return _hashed(_template(name))


def _plotly() -> _Script:
    return _hashed(get_plotlyjs())


def _hashed(text: str) -> _Script:
    """Return what stands between two tags, with what a policy calls it by; it must not end its tag."""
    if re.search(r"</(script|style)|<!--", text, re.IGNORECASE) or "\r" in text or "\0" in text:
        raise ValueError("a script or style sheet would not be read as it is written")
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return _Script(Markup(text), f"'sha256-{digest}'")  # noqa: S704 - our own file, or plotly's


def _filled_by_plotly() -> list[str]:
    """Return the ids of style elements that plotly would add, which the policy forbids: they are there already."""
    return ["plotly.js-style-global", *re.findall(r'document\.getElementById\("([0-9a-f]{64})"\)', get_plotlyjs())]


def _policy(scripts: list[_Script], style: _Script) -> Markup:
    """Return the Content-Security-Policy: nothing is loaded, and nothing runs that is not named by its hash."""
    rules = {
        "default-src": "'none'",
        "script-src": " ".join(script.hash for script in scripts),
        "style-src": f"{style.hash} {_EMPTY}",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return Markup("; ".join(f"{name} {value}" for name, value in rules.items()))  # noqa: S704 - no foreign text


def _data(drawn: dict[str, Any]) -> Markup:
    """Write data so that no HTML parser can see anything else in it: ASCII, and none of ``<``, ``>`` and ``&``."""
    text = json.dumps(drawn, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - see above
