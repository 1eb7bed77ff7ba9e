"""docs/results.md: what stands between `<!-- begin: NAME -->` and `<!-- end: NAME -->` is written from `results/`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mcpo_rl.errors import RunError
from mcpo_rl.runs.files import write_text
from study.results import tables, verdicts
from study.results.differences import ROOM_TOGETHER
from study.results.numbers import Results

PAGE = Path(__file__).parents[2] / "docs" / "results.md"

BLOCKS: dict[str, Callable[[Results], str]] = {
    "headline-verdict": verdicts.headline,
    "headline": tables.headline,
    "room-headline-verdict": partial(verdicts.headline, together=ROOM_TOGETHER),
    "room-headline": partial(tables.headline, together=ROOM_TOGETHER),
    "room-accuracies": partial(tables.accuracies, of="room"),
    "room-domains": partial(tables.domains, of="room"),
    "claims": verdicts.claims,
    "domains": tables.domains,
    "accuracies": tables.accuracies,
    "headroom-verdict": verdicts.headroom,
    "gains": tables.gains,
    "dials-verdict": verdicts.dials,
    "effects": tables.effects,
    "cosines": tables.cosines,
    "families": tables.families,
    "effect-matrix": tables.effect_matrix,
    "joint": tables.joint,
    "methods-verdict": partial(verdicts.methods, name="middle"),
    "methods": partial(tables.methods, name="middle"),
    "sweep-verdict": partial(verdicts.methods, name="sweep"),
    "sweep": partial(tables.methods, name="sweep"),
    "sweep-spread": partial(verdicts.spread, name="sweep"),
    "fresh-verdict": partial(verdicts.methods, name="fresh"),
    "fresh": partial(tables.methods, name="fresh"),
    "fresh-conflict-verdict": partial(verdicts.methods, name="fresh-conflict"),
    "fresh-conflict": partial(tables.methods, name="fresh-conflict"),
    "fresh-conflict-domains": partial(tables.domains, of="fresh-conflict"),
    "positives-verdict": verdicts.positives,
    "positives": tables.positives,
    "scorers": tables.scorers,
    "openings": tables.openings,
    "term-verdict": verdicts.term,
    "term": tables.term,
    "geometry": tables.geometry,
    "smollm2-verdict": partial(verdicts.methods, name="smollm2"),
    "smollm2": partial(tables.methods, name="smollm2"),
    "smollm2-accuracies": partial(tables.accuracies, of="smollm2"),
    "smollm2-domains": partial(tables.domains, of="smollm2"),
    "machine": tables.machine,
}
"""Name to what is written there."""

FIGURES = {
    "curves": "Learning curves by setting and domain (trailing means of five steps): mean and 95% band over the seeds",
    "room-curves": "Learning curves with room in every domain, as above",
    "effects": "What training on one domain did to every domain, by setting; *: the interval leaves out 0",
    "cosines": "Cosine between the gradients of two domains over the steps, by setting: means and 95% bands",
    "methods": "Differences to GRPO of every method at the middle setting; filled: clear",
    "sweep": "Differences to GRPO of every setting and variant; filled: clear",
    "positives": "What chosen positives have in common with their anchors, against chance",
}
"""Figure to what it shows; its block is `figure-NAME`."""

_BLOCK = re.compile(r"<!-- begin: (?P<name>[\w-]+) -->\n(?P<inside>.*?)<!-- end: (?P=name) -->", re.DOTALL)


def filled(text: str, results: Results, page: Path = PAGE) -> str:
    """Return the page with its blocks written from `results`.

    Args:
        text: The page.
        results: What the blocks are written from.
        page: Where it lies: links to figures begin there.

    Raises:
        RunError: A block that is not known, or one that does not end.
    """
    links = {f"figure-{name}": partial(_figure, page=page, name=name) for name in FIGURES}
    known: dict[str, Callable[[Results], str]] = {**BLOCKS, **links}
    begun = set(re.findall(r"<!-- begin: ([\w-]+) -->", text))
    closed = {match["name"] for match in _BLOCK.finditer(text)}
    for name in sorted(begun):
        if name not in known:
            raise RunError(f"The page has a block `{name}`, which is not known; there are {', '.join(known)}.")
        if name not in closed:
            raise RunError(f"The page's block `{name}` does not end; expected <!-- end: {name} -->.")

    def write(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- begin: {name} -->\n\n{known[name](results)}\n\n<!-- end: {name} -->"

    return _BLOCK.sub(write, text)


def write_page(results: Path, page: Path = PAGE) -> None:
    """Write the blocks of a page; one that is not there yet begins as a copy of docs/results.md.

    Raises:
        RunError: As `filled`; there are no results; or a file cannot be written.
    """
    if not (results / "machine.json").is_file():
        raise RunError(f"{results} holds no results; `python -m study results` writes them.")
    text = (page if page.is_file() else PAGE).read_text(encoding="utf-8")
    write_text(page, filled(text, Results(results), page))


def _figure(results: Results, *, page: Path, name: str) -> str:
    file = results.folder / "figures" / f"{name}.svg"
    if not file.is_file():
        return "There is no figure of this yet."
    return f"![{FIGURES[name]}]({os.path.relpath(file.absolute(), page.absolute().parent)})"
