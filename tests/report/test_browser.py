"""The page of a hostile log as Chromium shows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anomaly.report.anew import Asked
from anomaly.report.collect import collect
from anomaly.report.page import render
from tests.report.conftest import NAME

if TYPE_CHECKING:
    from anomaly.harvest import Watch
    from tests.browsing import Browser
    from tests.report.conftest import Sample

TITLE = "anomaly: report"


@pytest.fixture(scope="module")
def page(hostile: Sample, silent: Watch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the page of the hostile log, all users, as a file."""
    report = collect(Asked(hostile.log, hostile.models, None), lambda _: None, silent)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_bytes(render(report, "2026-11-26 12:00 UTC"))
    return path


def test_the_charts_are_drawn_and_nothing_of_the_log_runs(page: Path, browser: Browser) -> None:
    """There is no word on the console, no request but for the page itself, and the title is ours."""
    browser.open(page)
    assert browser.complaints() == []
    assert browser.requests() == [page.as_uri()]
    assert browser.value("document.title") == TITLE
    charts = "[...document.querySelectorAll('[data-chart]')]"
    drawn = browser.value(f"{charts}.map(chart => [chart.dataset.chart, chart.querySelectorAll('.trace').length])")
    lines = dict(drawn)
    assert sorted(lines) == [f"{kind}-{n}" for kind in ("calibration", "tails", "timeline") for n in (1, 2)]
    assert all(lines.values())
    # What plotly makes of the texts: neither a link nor anything that can be clicked away.
    assert (
        browser.value("document.querySelectorAll('main a:not([href^=\"#\"]), main img, main script').length") == 0
    )


def test_a_hover_shows_the_logs_markup_as_text(page: Path, browser: Browser) -> None:
    """What plotly draws over an alarm holds the hostile text letter by letter, and no element of it."""
    browser.open(page)
    shown = browser.value(
        """(() => {
            const chart = document.querySelector('[data-chart="timeline-1"]');
            const curve = chart.data.findIndex(trace => trace.text);
            const point = chart.data[curve].text.findIndex(text => text.includes('&lt;b&gt;bold'));
            Plotly.Fx.hover(chart, [{curveNumber: curve, pointNumber: point}]);
            const hover = chart.querySelector('.hoverlayer');
            return [hover.textContent, hover.querySelectorAll('a').length];
        })()"""
    )
    assert "<b>bold</b><a href=" in shown[0]
    assert shown[1] == 0


@pytest.mark.parametrize("dark", [False, True])
def test_a_narrow_window_is_enough(page: Path, browser: Browser, *, dark: bool) -> None:
    """At 400 pixels nothing sticks out, with all alerts unfolded, by day and by night."""
    browser.open(page, width=400, dark=dark)
    browser.value("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert browser.value("document.documentElement.scrollWidth") == 400
    assert browser.value("document.querySelector('#user-1').textContent") in (
        NAME.replace("\u202e", "\\u202e"),
        "alice",
    )
    colours = "getComputedStyle(document.body).backgroundColor"
    assert browser.value(colours) == ("rgb(22, 22, 22)" if dark else "rgb(255, 255, 255)")
    assert browser.complaints() == []


def test_the_chart_obeys_the_keyboard(page: Path, browser: Browser) -> None:
    """Buttons zoom and go back to all, and say which way of counting is chosen."""
    browser.open(page)
    span = (
        "(() => { const axis = document.querySelector('[data-chart=\"timeline-1\"]')._fullLayout.xaxis;"
        " return axis.r2l(axis.range[1]) - axis.r2l(axis.range[0]) })()"
    )
    press = "document.querySelector('[data-for=\"timeline-1\"][data-%s]').click()"
    whole = browser.value(span)
    browser.value(press % 'zoom="in"')
    assert browser.value(span) == pytest.approx(whole / 2)
    browser.value(press % 'zoom="all"')
    assert browser.value(span) == pytest.approx(whole)
    browser.value(press % 'by="number"')
    assert browser.value(span) < 2000 < whole
    assert browser.value("document.querySelectorAll('[aria-pressed=true]')[0].textContent") == "By action"
    assert browser.complaints() == []


def test_what_the_policy_forbids_does_not_run(page: Path, browser: Browser, tmp_path: Path) -> None:
    """A script, a handler or a picture that found its way into the page would be refused, and be told."""
    broken = tmp_path / "broken.html"
    intruder = (
        "<img src=x onerror=\"document.title='owned'\"><img src='http://127.0.0.1:9/x'>"
        "<script>document.title='owned'</script>"
    )
    broken.write_text(page.read_text("utf-8").replace("</main>", f"{intruder}</main>"), "utf-8")
    browser.open(broken)
    assert browser.value("document.title") == TITLE
    assert len(browser.complaints()) >= 3
