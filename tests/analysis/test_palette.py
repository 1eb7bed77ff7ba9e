"""The promise of the palette: every colour can be seen on both grounds of the page."""

import re
from importlib import resources

import pytest

from mcpo_rl.analysis.palette import domain_colours, ordered, run_line


def luminance(colour: str) -> float:
    """Relative luminance, as the Web Content Accessibility Guidelines define it."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


GROUNDS = re.findall(
    r"--ground: (#\w{6})", resources.files("mcpo_rl.analysis").joinpath("page", "report.css").read_text()
)
DOMAINS = ["math", "code", "logic", "choice", "science", "law", "music", "chess"]
COLOURS = [*domain_colours(DOMAINS).values(), *(str(run_line(place)["color"]) for place in range(5))]


def test_the_formula() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21.0)


@pytest.mark.parametrize("colour", COLOURS)
def test_contrast_to_both_grounds(colour: str) -> None:
    assert len(GROUNDS) == 2
    assert all(contrast(colour, ground) >= 3 for ground in GROUNDS)


def test_colours_and_lines_tell_apart() -> None:
    assert len(set(domain_colours(DOMAINS).values())) == 8
    assert len({tuple(run_line(place).items()) for place in range(10)}) == 10


def test_a_domain_keeps_its_colour_and_place() -> None:
    assert domain_colours(["logic"])["logic"] == domain_colours(["math", "logic"])["logic"]
    assert ordered(["zoo", "logic", "math", "art", "logic"]) == ["math", "logic", "art", "zoo"]
