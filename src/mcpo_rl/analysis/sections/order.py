"""The sections of the report that speak of numbers, in the order of the page."""

from __future__ import annotations

from collections.abc import Sequence

from mcpo_rl.analysis.reading.loading import RunData
from mcpo_rl.analysis.reading.seeds import families
from mcpo_rl.analysis.sections.comparison import comparison_sections
from mcpo_rl.analysis.sections.curves import curves_section, term_section
from mcpo_rl.analysis.sections.effects import effects_section
from mcpo_rl.analysis.sections.figures import borrowing_section
from mcpo_rl.analysis.sections.interference import interference_section
from mcpo_rl.analysis.sections.palette import domain_colours, ordered
from mcpo_rl.analysis.sections.panel import Section
from mcpo_rl.analysis.sections.probes import geometry_section


def sections(runs: Sequence[RunData]) -> list[Section]:
    """Return the sections between the summary and the rollouts; those with nothing to show say what is missing."""
    domains = ordered(domain for run in runs for domain in run.domains)
    colours = domain_colours(domains)
    groups = families(runs)
    return [
        *comparison_sections(groups),
        curves_section(groups, domains, colours),
        interference_section(groups, colours),
        effects_section(runs),
        borrowing_section(groups),
        term_section(groups),
        geometry_section(groups, colours),
    ]
