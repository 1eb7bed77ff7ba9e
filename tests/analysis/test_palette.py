"""The promise of the palette: every colour can be seen on both grounds of the page."""

import re
from importlib import resources
from itertools import combinations

import numpy as np
import pytest

from mcpo_rl.analysis.sections import matrices
from mcpo_rl.analysis.sections.palette import domain_colours, ordered, run_line


def luminance(colour: str) -> float:
    """Relative luminance, as the Web Content Accessibility Guidelines define it."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


NEGATIVE, POSITIVE = ([int(x) for x in rgb.split(",")] for rgb in (matrices.NEGATIVE, matrices.POSITIVE))
_CSS = resources.files("mcpo_rl.analysis").joinpath("page", "report.css").read_text()
GROUNDS = sorted(set(re.findall(r"--ground: (#\w{6})", _CSS)))
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
    assert len({tuple(run_line(place).items()) for place in range(15)}) == 15


def test_a_domain_keeps_its_colour_and_place() -> None:
    assert domain_colours(["logic"])["logic"] == domain_colours(["math", "logic"])["logic"]
    assert ordered(["zoo", "logic", "math", "art", "logic"]) == ["math", "logic", "art", "zoo"]


DEFICIENCIES = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""How linear RGB is seen: Machado, Oliveira and Fernandes 2009, full severity."""


def seen(colour: str, deficiency: str) -> np.ndarray:
    """CIE L*a*b* of a colour as it is seen with a deficiency."""
    channels = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(DEFICIENCIES[deficiency]) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ linear / np.array([0.9505, 1.0, 1.089])
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_told_apart_with_every_kind_of_colour_vision(deficiency: str) -> None:
    """A distance of 10 in L*a*b* is seen at a glance. Lines of runs that are nearer than that differ in their dash."""
    known = domain_colours(DOMAINS[:4]).values()
    assert min(np.linalg.norm(seen(a, deficiency) - seen(b, deficiency)) for a, b in combinations(known, 2)) > 10
    for a, b in combinations([run_line(place) for place in range(10)], 2):
        apart = np.linalg.norm(seen(str(a["color"]), deficiency) - seen(str(b["color"]), deficiency))
        assert apart > 10 or a["dash"] != b["dash"], (a, b)
    signs = [seen(f"#{red:02X}{green:02X}{blue:02X}", deficiency) for red, green, blue in (NEGATIVE, POSITIVE)]
    assert np.linalg.norm(signs[0] - signs[1]) > 50, "for and against"
