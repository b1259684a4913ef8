"""The page as text: it holds everything, loads nothing, and takes nothing from the log for markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.errors import ModelRefused
from anomaly.report import page
from anomaly.report.anew import Asked
from anomaly.report.collect import collect
from tests.report.conftest import HOSTILE, NAME

if TYPE_CHECKING:
    from anomaly.harvest import Watch
    from tests.report.conftest import Sample

ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "section", "script", "noscript"),
    *("h1", "h2", "h3", "h4", "p", "a", "b", "br", "span", "ul", "li", "pre", "code", "button", "div"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd", "figure", "figcaption"),
    *("details", "summary"),
}


class Reader(HTMLParser):
    """Reads a page as a browser does, but for mistakes."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag."""
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag in self.raw:
            self.raw[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        """Take the end of one."""
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        """Take what stands between."""
        if self._inside in self.raw:
            self.raw[self._inside][-1] += data
        else:
            self.text.append(data)


@pytest.fixture(scope="module")
def html(hostile: Sample, silent: Watch) -> str:
    """Give the page of the hostile log."""
    report = collect(Asked(hostile.log, hostile.models, None), lambda _: None, silent)
    return page.render(report, "2026-11-26 12:00 UTC").decode("utf-8")


@pytest.fixture(scope="module")
def read(html: str) -> Reader:
    """Give the page as a browser reads it."""
    return Reader(html)


def test_no_tag_and_no_handler_comes_from_the_log(read: Reader) -> None:
    """There are only the tags of the template, and no attribute that runs or loads anything."""
    assert {tag for tag, _ in read.tags} <= ALLOWED
    names = {name for _, attributes in read.tags for name in attributes}
    assert not [name for name in names if name.startswith("on") or name in ("src", "srcset", "style", "action")]
    links = [attributes["href"] for tag, attributes in read.tags if tag == "a"]
    assert links
    assert all(re.fullmatch(r"#[a-z]+(-\d+)?", link or "") for link in links)


def test_a_reader_sees_what_was_there(read: Reader) -> None:
    """Each hostile text is on the page as text, with whatever cannot be seen made visible."""
    text = " ".join(read.text)
    for hostile in HOSTILE:
        assert (
            hostile.replace("\u2028", "\\u2028").replace("\u202e", "\\u202e").replace("\u2066", "\\u2066") in text
        )
    assert NAME.replace("\u202e", "\\u202e") in text


def test_no_invisible_character_is_left(html: str) -> None:
    """Bidirectional controls and odd separators are nowhere on the page but in plotly's own text."""
    own = html.replace(str(page._plotly().text), "")
    assert len(own) < len(html)
    assert [character for character in set(own) - {"\n"} if not character.isprintable()] == []


def test_only_what_the_policy_names_may_run(read: Reader) -> None:
    """Every script and style sheet has its hash in the policy, and nothing is loaded from anywhere."""
    policy = next(a["content"] or "" for tag, a in read.tags if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert "unsafe" not in policy
    assert "http" not in policy
    kinds = [attributes.get("type") for tag, attributes in read.tags if tag == "script"]
    assert kinds == ["application/json", None, None]
    for text, rule in [(t, "script-src") for t in read.raw["script"][1:]] + [
        (t, "style-src") for t in read.raw["style"]
    ]:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in rules[rule].split()


def test_the_page_says_what_was_found(read: Reader) -> None:
    """Overview, alerts with reasons and lines, what is new, hours, card, calibration, and lines skipped."""
    text = re.sub(r"\s+", " ", " ".join(read.text))
    for words in (
        "Users, those with the highest risk first",
        "3 lines skipped: ",
        "Score and risk over time",
        "never seen in",
        "The line of the log",
        "New this week",
        "Activity: actions by hour and weekday",
        "Surprise: mean score by hour and weekday",
        "By the log's time, in UTC",
        "learned from",
        "How often scores and risks were reached",
        "120 actions of users without a model",
    ):
        assert words in text
    names = json.loads(read.raw["script"][0])
    assert sorted(names) == [f"{kind}-{n}" for kind in ("calibration", "tails", "timeline") for n in (1, 2)]
    assert {a["data-chart"] for _, a in read.tags if "data-chart" in a} == set(names)


def test_every_chart_and_table_is_told_in_words(read: Reader) -> None:
    """A chart names its caption, every table has one, and headings do not skip a level."""
    ids = {attributes["id"] for _, attributes in read.tags if "id" in attributes}
    told = [a["aria-labelledby"] for _, a in read.tags if a.get("role") == "img"]
    assert told
    assert set(told) <= ids
    tags = [tag for tag, _ in read.tags]
    assert tags.count("table") == tags.count("caption")
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_data_cannot_end_its_script(value: object) -> None:
    """Whatever the data are: ASCII without angle brackets and ampersands, and the same when read."""
    text = str(page._data({"x": value}))
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"x": value}


@pytest.mark.parametrize("text", ["a</script>b", "a</STYLE >", "<!--", "a\r\nb"])
def test_a_script_that_would_not_be_read_as_written_is_an_error(text: str) -> None:
    """Its hash would be of something else than what a browser runs."""
    with pytest.raises(ValueError, match="would not be read"):
        page._hashed(text)


def test_a_model_that_went_bad_meanwhile_is_left_out(
    hostile: Sample, silent: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the user's section is there all the same."""
    report = collect(Asked(hostile.log, hostile.models, "alice"), lambda _: None, silent)

    def refused(*_: object) -> None:
        raise ModelRefused("no")

    monkeypatch.setattr("anomaly.report.page.Store.load", refused)
    text = page.render(report, "now").decode()
    assert "It cannot be used." in text
    assert 'data-chart="timeline-1"' in text
    assert 'data-chart="tails-1"' not in text


def test_many_users_share_the_page(hostile: Sample, silent: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound a user is in the table alone, with the command that shows the rest."""
    report = collect(Asked(hostile.log, hostile.models, None), lambda _: None, silent)
    monkeypatch.setattr(page, "SECTIONS", 1)
    read = Reader(page.render(report, "now").decode())
    assert [a["href"] for tag, a in read.tags if tag == "a"] == ["#content", "#user-1"]
    assert "anomaly report --user NAME" in " ".join(read.text)
