"""The rollout explorer in use: a click shows the pair, filters filter, thousands of rollouts stay few elements."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcpo_rl.analysis import write_report

from .conftest import make_run

pytestmark = pytest.mark.browser

Open = Callable[..., Any]


def test_a_link_leads_to_its_rollout(opened_once: Any) -> None:
    """First of all: the page has been opened by a link and nothing was done since."""
    opened_once.wait("explorer.state.place !== null")
    assert opened_once.page.evaluate("explorer.run.run") == "grpo"
    assert opened_once.page.locator("#reader pre").nth(1).inner_text() == "Thought 1-7.\nThe answer is 7."
    assert "This run has no contrastive term" in opened_once.page.locator("#reader").inner_text()


def anchor(opened: Any) -> int:
    place: int = opened.page.evaluate(
        "explorer.visible.find(place => explorer.run.pairs[place]?.positives.length === 3)"
    )
    return place


def test_a_click_on_a_point_shows_the_rollout_and_its_pairs(opened: Any) -> None:
    place = anchor(opened)
    opened.click_point(place)
    reader = opened.page.locator("#reader")
    first = reader.locator("pre")
    row = opened.page.evaluate("place => explorer.run.row[place]", place)
    assert first.nth(0).inner_text().startswith(f"Question 4-{row // 6}")
    assert first.nth(1).inner_text() == f"Thought 4-{row}.\nThe answer is {row}."
    assert (
        f"The verifier read {row}" in reader.inner_text() and "correct" in reader.locator(".reader-head").inner_text()
    )

    positives = reader.locator(".card.positive")
    expected = opened.page.evaluate("place => explorer.run.pairs[place].positives", place)
    assert positives.count() == len(expected) == 3
    own = opened.page.evaluate("place => domainOf(explorer.run, place)", place)
    for number, (other, similarity, transferability, _) in enumerate(expected):
        card = positives.nth(number).inner_text()
        other_row = opened.page.evaluate("place => explorer.run.row[place]", other)
        assert f"Thought 4-{other_row}." in card and positives.nth(number).locator(".chip").inner_text() != own
        assert f"{transferability:.2f}" in card and f"{similarity:.2f}".replace("-", "−") in card
    assert "15 correct rollouts of other domains" in reader.inner_text()
    assert "each domain's mean taken out first" in reader.inner_text()

    negatives = reader.locator(".card.negative")
    assert negatives.count() == 6 and all("✕ incorrect" in text for text in negatives.all_inner_texts())
    assert (
        "The 16 usable incorrect rollouts of all domains" in reader.inner_text()
        and "%" in negatives.nth(0).inner_text()
    )


def test_from_one_rollout_to_the_next(opened: Any) -> None:
    opened.click_point(anchor(opened))
    opened.page.locator(".card.positive .open").first.click()
    text = opened.page.locator("#reader").inner_text()
    assert "It was itself a positive of" in text
    opened.page.locator(".sibling.incorrect").first.click()
    text = opened.page.locator("#reader").inner_text()
    assert "It is incorrect, so it has no positives" in text and "It says expected 1" in text
    opened.page.locator(".sibling.error").first.click()
    assert "the verifier failed on it, so it is neither right nor wrong" in opened.page.locator("#reader").inner_text()


def test_filters_by_domain_verdict_step_and_words(opened: Any) -> None:
    page = opened.page
    assert opened.shown().startswith("48 of 48 rollouts shown")
    page.locator(".filter[data-name=math]").click()
    assert opened.shown().startswith("30 of 48") and not any("math" in text for text in opened.listed())
    page.locator(".filter[data-name=incorrect]").click()
    page.locator(".filter[data-name=error]").click()
    assert opened.shown().startswith("15 of 48") and all("correct" in text for text in opened.listed())
    page.locator(".filter[data-name=math]").click()
    assert opened.shown().startswith("24 of 48")

    page.locator("#map-step").fill("1")
    assert page.locator("#map-shown").inner_text() == "2" and all("step 2" in text for text in opened.listed())
    page.locator("#all-steps").check()
    assert opened.shown().startswith("96 of 192")
    page.locator("#words").fill("THOUGHT 3-1.")
    opened.wait("explorer.state.words !== ''")
    assert opened.shown().startswith("1 of 192") and "Thought 3-1." in opened.listed()[0]
    page.locator("#words").fill("question 2-0 of")  # words of a prompt
    opened.wait("explorer.visible.length === 3")
    page.locator("#words").fill("no such words")
    opened.wait("explorer.visible.length === 0")


def test_the_address_names_the_rollout(opened: Any) -> None:
    place = anchor(opened)
    opened.click_point(place)
    assert opened.page.evaluate("location.hash") == f"#rollout/2/{place}"


def test_keys_walk_through_the_list(opened: Any) -> None:
    rows = opened.page.locator("#rollout-list")
    rows.focus()
    for key, place in (("ArrowDown", 0), ("ArrowDown", 1), ("End", 47), ("ArrowUp", 46), ("Home", 0)):
        rows.press(key)
        chosen = opened.page.evaluate("explorer.visible.indexOf(explorer.state.place)")
        assert chosen == place
        selected = opened.page.locator("#rollout-list [aria-selected=true]")
        assert selected.count() == 1 and selected.get_attribute("aria-posinset") == str(place + 1)
        assert rows.get_attribute("aria-activedescendant") == selected.get_attribute("id")


def test_other_runs_and_spaces(opened: Any) -> None:
    page = opened.page
    page.locator("#map-space").select_option("embeddings")
    assert page.evaluate("explorer.map.at === explorer.run.at.embeddings")
    page.locator("#map-run").select_option("0")
    opened.wait("explorer.run.run === 'grpo'")
    assert page.evaluate("explorer.state.space") == "features" and page.locator("#map-space").is_hidden()
    opened.click_point(page.evaluate("explorer.visible[0]"))
    assert "This run has no contrastive term" in page.locator("#reader").inner_text()


def test_the_map_zooms_and_comes_back(opened: Any) -> None:
    page = opened.page
    scale = "explorer.map.plane.view.scale"
    before = page.evaluate(scale)
    page.locator("#map-plot .zoom button").first.click()
    assert page.evaluate(scale) == pytest.approx(1.5 * before)
    opened.click_point(anchor(opened))
    assert page.locator("#reader .card.positive").count() == 3
    page.locator("#map-plot .zoom button").last.click()
    assert page.evaluate(scale) == pytest.approx(before)


def test_points_upon_each_other_are_all_reached(opened: Any) -> None:
    page = opened.page
    page.evaluate("""() => {
        const [first, ...others] = explorer.visible.slice(0, 3);
        for (const axis of explorer.run.at.features) for (const other of others) axis[other] = axis[first];
        explorer.refresh();
    }""")
    first = page.evaluate("explorer.visible[0]")
    found = []
    for _ in range(3):
        opened.click_point(first)
        found.append(page.evaluate("explorer.state.place - explorer.visible[0]"))
    assert sorted(found) == [0, 1, 2]


@pytest.mark.slow
def test_five_thousand_rollouts_are_few_elements(open_page: Open, tmp_path: Path) -> None:
    run = make_run(tmp_path / "large", steps=10, count=510)
    opened = open_page(write_report([run], tmp_path / "report.html"))
    page = opened.page
    page.locator("#all-steps").check()
    assert opened.shown().startswith("5,000 of 5,000 rollouts shown")
    assert "the page holds 5,000 of the 5,100" in opened.shown()
    assert page.locator("#rollout-list .row").count() < 60
    assert page.locator("#map-plot *").count() < 20, "points are no elements"
    page.locator("#rollout-list").evaluate("list => list.scrollTo(0, list.scrollHeight)")
    opened.wait("document.querySelector('#rollout-list .row:last-child').ariaPosInSet === '5000'")
    page.locator("#rollout-list .row").last.click()
    assert page.locator("#reader pre").count() >= 2
