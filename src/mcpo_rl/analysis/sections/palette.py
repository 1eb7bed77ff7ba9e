"""Colours that mean the same on the whole page and hold on a light and on a dark ground.

The domains' are from or near Okabe and Ito's colour-blind-safe set, each with a contrast of at least 3 to both
grounds. Runs have colours of their own and, as a second sign, a dash.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_DOMAINS = {"math": "#1580C2", "code": "#D55E00", "logic": "#009E73", "choice": "#B8609A"}
_MORE_DOMAINS = ("#8C6D1F", "#7A68C9", "#6B7280", "#C0475B")
_RUNS = ("#6B7A8C", "#8A5BD6", "#B07A00", "#1690A3", "#C9466A")
# By turn and colour. Slate and teal look alike to those without the cones for red: in the first two turns, ten runs,
# they never share a dash.
_DASHES = (
    ("solid", "solid", "dash", "dot", "dashdot"),
    ("dash", "dot", "dashdot", "dashdot", "solid"),
    ("dot", "dashdot", "solid", "solid", "dash"),
)


def ordered(domains: Iterable[str]) -> list[str]:
    """Return the distinct `domains` in the order of the page: the known ones in theirs, then the others by name."""
    known = list(_DOMAINS)
    return sorted(set(domains), key=lambda name: (known.index(name) if name in known else len(known), name))


def domain_colours(domains: Sequence[str]) -> dict[str, str]:
    """Return a colour for every domain; the known ones always have the same."""
    others = [domain for domain in domains if domain not in _DOMAINS]
    extra = {domain: _MORE_DOMAINS[place % len(_MORE_DOMAINS)] for place, domain in enumerate(others)}
    return {domain: _DOMAINS.get(domain) or extra[domain] for domain in domains}


def run_line(place: int) -> dict[str, str | float]:
    """Return the line style of the run at `place` in the report; the first fifteen are all different."""
    turn, number = divmod(place, len(_RUNS))
    return {"color": _RUNS[number], "dash": _DASHES[turn % len(_DASHES)][number], "width": 2.4}
