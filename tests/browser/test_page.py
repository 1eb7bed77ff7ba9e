"""The page as a whole: drawn without complaint, asking for nothing, in both themes, on a phone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcpo_rl.analysis import write_report
from mcpo_rl.runs import RunDirectory

pytestmark = pytest.mark.browser

Open = Callable[..., Any]


def test_every_figure_is_drawn_when_it_comes_near(opened: Any) -> None:
    page = opened.page
    figures = page.locator("[data-figure]")
    drawn = page.locator("[data-figure].js-plotly-plot .main-svg")
    assert figures.count() > 5
    for place in range(figures.count()):
        figures.nth(place).scroll_into_view_if_needed()
        page.wait_for_function(
            "place => document.querySelectorAll('[data-figure]')[place].dataset.drawn === ''", arg=place
        )
    assert page.locator("[data-figure]:not([data-drawn])").count() == 0
    assert drawn.count() >= figures.count()


def test_the_texts_of_models_stay_texts(opened: Any) -> None:
    page = opened.page
    page.locator("#map-run").select_option("1")
    opened.wait("explorer.run.run === 'evil'")
    opened.click_point(page.evaluate("explorer.visible.find(place => explorer.run.pairs[place])"))
    text = page.locator("#reader").inner_text()
    assert text.count("<script>window.hacked = true</script> <img src=x onerror='window.hacked = true'>") >= 4
    page.locator("#map-plot canvas").hover()
    assert page.locator("#reader script, #reader img, #reader pre b, main img").count() == 0
    assert page.evaluate("window.hacked") is None


def test_both_themes_and_the_button_between(opened: Any) -> None:
    page = opened.page

    def ground() -> int:
        code = "element => getComputedStyle(element).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
        return sum(page.locator("body").evaluate(code))

    def drawn_in(scheme: str) -> int:
        """Wait until the figures have the page's colours, and return the brightness of its ground."""
        opened.wait("scheme => isDark() === (scheme === 'dark') && drawing.size === 0", scheme)
        # Redrawn when the page comes to it: waited for, and a figure that never is ends the test.
        opened.wait(
            """() => {
                const soft = getComputedStyle(document.querySelector('#map-note')).color;
                const inks = [...document.querySelectorAll('#curves .xtick text')];
                return inks.length > 0 && inks.every(text => getComputedStyle(text).fill === soft);
            }"""
        )
        return ground()

    page.evaluate("Promise.all([...document.querySelectorAll('#curves [data-figure]')].map(drawFigure))")
    assert drawn_in("light") > 650
    page.locator("#theme").click()
    assert drawn_in("dark") < 120
    page.locator("#theme").click()
    assert drawn_in("light") > 650
    page.evaluate("delete document.documentElement.dataset.theme")
    page.emulate_media(color_scheme="dark")
    assert drawn_in("dark") < 120, "the page follows the system"
    page.evaluate("window.redrawn = 0; onTheme.push(() => { window.redrawn += 1; })")
    for turn, scheme in enumerate(("light", "dark") * 10, start=1):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("isDark()") == (scheme == "dark"), "asked before the page has heard of the change"
        opened.wait("turn => window.redrawn === turn", turn)
    page.emulate_media(color_scheme="light")
    assert drawn_in("light") > 650


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_is_wider_than_the_screen(opened: Any, width: int) -> None:
    page = opened.page
    page.set_viewport_size({"width": width, "height": 800})
    page.evaluate("allFigures().forEach(drawFigure)")
    opened.click_point(page.evaluate("explorer.visible.find(place => explorer.run.pairs[place])"))
    assert page.locator("#reader .card").count() > 3
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    size = "e => parseFloat(getComputedStyle(e).fontSize)"
    assert page.evaluate(f"Math.min(...[...document.querySelectorAll('p, dd, figcaption')].map({size}))") >= 13


def test_navigation_reaches_every_section(opened: Any) -> None:
    page = opened.page
    links = page.locator("nav a")
    for place in range(links.count()):
        anchor = links.nth(place).get_attribute("href")
        links.nth(place).click()
        page.wait_for_function(
            "a => Math.abs(document.querySelector(a).getBoundingClientRect().top) < innerHeight", arg=anchor
        )


@pytest.mark.slow
def test_a_run_without_anything(open_page: Open, tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "empty", {})
    page = open_page(write_report([run.path], tmp_path / "report.html")).page
    assert page.locator(".missing").count() > 2 and page.locator("#map-plot").count() == 0


def test_the_probe_moves_and_is_read(opened: Any) -> None:
    page = opened.page
    page.locator("#probe").scroll_into_view_if_needed()
    opened.wait("probeMap.probe !== undefined")
    assert page.locator("#probe-shown").inner_text() == "4"
    place = "() => probeMap.plane.toScreen(...probeMap.placeOf(0))"
    before = page.evaluate(place)
    page.locator("#probe-step").fill("0")
    assert page.locator("#probe-shown").inner_text() == "0" and page.evaluate(place) != before
    x, y = page.evaluate(place)
    page.locator("#probe-plot canvas").click(position={"x": x, "y": y})
    assert "Probe question" in page.locator("#probe-reader").inner_text()
    page.locator("#probe-kind").select_option("tsne")
    assert "Neighbours" in page.locator("#probe-note").inner_text()
