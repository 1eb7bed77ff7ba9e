"""The tables of docs/results.md, each from the files of `results/`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.plan import ROOM
from study.results.dials import COSINE, EFFECT, EXPECTED, OPENING
from study.results.differences import ACCURACY, AREA, HEADLINE_QUANTITIES, HEADLINE_SETTINGS, TOGETHER, WORST
from study.results.files import read_json
from study.results.geometry import METHODS
from study.results.numbers import NOTHING, Results, estimate, probability, share, signed, table
from study.results.positives import DURING
from study.results.reading import MEAN

COSINE_SCORER = ("mcpo-cosine", "scorer-cosine")
"""Names of MCPO with the plain cosine as scorer, in the testbed and in the sweep."""
OF_PAIRS = ("transferability", "similarity_positive")
"""What the term's log has of cross-domain pairs: 0 where there are none."""
QUANTITIES = {ACCURACY: "held-out accuracy, mean of the domains", AREA: "area under the learning curve", WORST: WORST}


def headline(results: Results, together: str = TOGETHER) -> str:
    """MCPO minus GRPO at the settings of a family, with p adjusted over them."""
    family = (*HEADLINE_SETTINGS[together], together)
    rows = [
        [
            QUANTITIES[quantity],
            row["comparison"],
            estimate(row, plus=True),
            f"{row['better']} of {row['seeds']}",
            probability(row["p"]),
            probability(row["p_holm"]),
            probability(row["p_sign_flip"]),
        ]
        for quantity in HEADLINE_QUANTITIES
        for row in results.rows("headline", quantity=quantity)
        if row["comparison"] in family
    ]
    head = ["MCPO minus GRPO", "setting", "difference", "seeds with more", "p", "p (Holm, settings)", "p (sign flips)"]
    return table(head, rows, texts=2)


def domains(results: Results, of: str = "testbed") -> str:
    """MCPO minus GRPO in every domain (did each improve?), in a comparison or a group of them."""
    names = results.domains
    rows = []
    for setting in results.group(of):
        found = {d: results.difference(setting, "mcpo", "grpo", d) for d in names}
        if any(found.values()):
            rows.append([setting, *(estimate(found[d], plus=True) for d in names)])
    return table(["MCPO minus GRPO, held-out accuracy", *names], rows)


def accuracies(results: Results, of: str = "testbed") -> str:
    """Start, GRPO and MCPO by domain, in a comparison or a group of them."""
    names = results.domains
    rows = []
    for setting in results.group(of):
        data = results.comparison(setting)
        if not data:
            continue
        start = data["start"]["accuracy"]
        cells = [share(start[d]["value"]) for d in names]
        rows.append([setting, "start", "", *cells, share(data["start"]["mean"]["value"]), ""])
        for method in METHODS:
            row = results.method(setting, method)
            if row is not None:
                cells = [estimate(row["accuracy"][d]) for d in names]
                rows.append([setting, row["label"], str(len(row["seeds"])), *cells, estimate(row["mean"]), _steps(row)])
    return table(["held-out accuracy", "", "seeds", *names, "mean", "steps to the target"], rows, texts=2)


def gains(results: Results) -> str:
    """What GRPO gains, and where it ends (is there something to learn, and room for more?); and what MCPO does."""
    names = results.domains
    rows = []
    for setting in results.on_the_testbed:
        for method in METHODS:
            row = results.method(setting, method)
            if row is not None:
                gained = [f"{signed(row['gain'][d]['value'])} to {share(row['accuracy'][d]['value'])}" for d in names]
                rows.append([setting, row["label"], *gained])
    return table(["gain, and accuracy reached", "", *names], rows, texts=2)


def joint(results: Results) -> str:
    """Training on all domains minus a specialist for each."""
    names = results.domains
    rows = []
    for setting in results.testbed:
        for method in ("grpo", "mcpo"):
            found = {d: results.difference(setting, method, "single", d) for d in [*names, MEAN]}
            if found[MEAN] is not None:
                cells = [estimate(found[d], plus=True) for d in [*names, MEAN]]
                rows.append([setting, found[MEAN]["label"], str(found[MEAN]["seeds"]), *cells])
    return table(["minus single-domain training", "", "seeds", *names, "mean"], rows, texts=2)


def methods(results: Results, name: str) -> str:
    """Every method of a comparison against GRPO."""
    data = results.comparison(name)
    rows = []
    for row in data.get("rows", []):
        if not row["seeds"]:
            continue
        found = {q: results.difference(name, row["method"], "grpo", MEAN, q) for q in QUANTITIES}
        own = found[ACCURACY]
        rows.append(
            [
                row["label"],
                str(len(row["seeds"])),
                estimate(row["mean"]),
                estimate(own, plus=True),
                probability(own["p_holm"] if own else None),
                estimate(found[AREA], plus=True),
                estimate(found[WORST], plus=True),
                _steps(row),
                _parting(results, name, row["method"]),
            ]
        )
    head = [
        "",
        "seeds",
        "accuracy",
        "minus GRPO",
        "p (Holm)",
        "area minus GRPO",
        "worst-domain gain minus GRPO",
        "steps to the target",
        "rollouts differ from step",
    ]
    return table(head, rows)


def cosines(results: Results) -> str:
    """Mean cosine between the gradients of two domains, with GRPO."""
    return _dials(results, COSINE, "gradient cosine")


def effects(results: Results) -> str:
    """What training on mathematics alone did to the other domains."""
    return _dials(results, EFFECT, "change of held-out accuracy")


def effect_matrix(results: Results) -> str:
    """What training on each domain alone did to every domain, at every setting."""
    names = results.domains
    rows = []
    for setting in results.testbed:
        for source in names:
            found = {d: results.dial(setting, EFFECT, source, d) for d in names}
            if any(found.values()):
                rows.append([setting, source, *(estimate(found[d], plus=True) for d in names)])
    return table(["setting", "trained on", *(f"change in {name}" for name in names)], rows, texts=2)


def families(results: Results) -> str:
    """What training on mathematics alone did to each family of the others, by the convention that the family has."""
    rows = []
    for setting in results.testbed:
        for row in results.rows("dials_summary", comparison=setting, measure=EFFECT, minus=None, **{"from": "math"}):
            if row["convention"] and row["to"] != "math":
                key = {name: row[name] for name in ("comparison", "from", "to", "family", "minus")}
                opened = estimate(results.row("dials_summary", measure=OPENING, **key), plus=True)
                cells = [setting, f"{row['to']}: {row['family']}", row["convention"]]
                rows.append([*cells, estimate(row, plus=True), opened])
    head = ["trained on mathematics alone", "family", "convention", "change of held-out accuracy"]
    return table([*head, "of the answers opened with care"], rows, texts=3)


def positives(results: Results) -> str:
    """What the chosen positives have in common with their anchors, against choosing at random."""
    rows = []
    for key in _pairs(results, "positives_summary"):
        found = {row["quantity"]: row for row in results.rows("positives_summary", when=DURING, **key)}
        if "both careful" not in found:
            continue
        cells = [key["comparison"], found["careful"]["label"], share(found["has a positive"]["value"])]
        for quantity in ("both careful", "same strategy", "same opening"):
            row = found[quantity]
            cells.append(f"{share(row['value'])} ({share(row['by_chance'])})")
            cells.append(estimate(row, plus=True, value="excess"))
        rows.append(cells)
    head = ["pairs of anchor and positive", "", "anchors with one"]
    head += [cell for name in ("both careful", "same strategy", "same opening") for cell in (name, "above chance")]
    return table(head, rows, texts=2)


def scorers(results: Results) -> str:
    """Does a scorer whose positives are more alike do better?"""
    rows = []
    for setting in results.names:
        for method in ("mcpo", *COSINE_SCORER):
            own = {"comparison": setting, "method": method}
            alike = results.row("positives_summary", quantity="same strategy", when=DURING, **own)
            found = [results.difference(setting, method, "grpo", MEAN, q) for q in (ACCURACY, AREA)]
            if alike is None or not any(results.method(setting, name) for name in COSINE_SCORER):
                continue
            seeds = str(found[0]["seeds"]) if found[0] else NOTHING
            cells = [estimate(alike, plus=True, value="excess"), *(estimate(one, plus=True) for one in found)]
            rows.append([setting, alike["label"], seeds, *cells])
    head = ["", "", "seeds", "same strategy, above chance", "accuracy minus GRPO", "area minus GRPO"]
    return table(head, rows, texts=2)


def openings(results: Results) -> str:
    """Are careful rollouts the right ones? Of the rollouts with a contrastive term, over all kept steps."""
    rows = []
    for key in _pairs(results, "positives_summary"):
        if key["method"] != "mcpo":
            continue
        found = {row["quantity"]: row for row in results.rows("positives_summary", when=DURING, **key)}
        rows.append(
            [key["comparison"], *(estimate(found.get(q)) for q in ("careful", "correct, careful", "correct, hasty"))]
        )
    return table(["rollouts of MCPO", "careful", "correct where careful", "correct where hasty"], rows)


def term(results: Results) -> str:
    """Whether the term's gradient reaches the policy."""
    names = {
        "grad_ratio": "gradient of the term / of the policy",
        "anchors": "anchors",
        "positives": "cross-domain pairs",
        "without_anchor": "steps without an anchor",
        "transferability": "transferability of the chosen",
        "similarity_positive": "similarity of positives",
        "similarity_negative": "of negatives",
        **{f"cosine_{domain}": f"cosine of the two gradients in {domain}" for domain in results.domains},
    }
    rows = []
    for key in _pairs(results, "term_summary"):
        found = {row["quantity"]: row for row in results.rows("term_summary", **key)}
        label = next(iter(found.values()))["label"]
        idle = found["positives"]["value"] == 0
        cells = [NOTHING if idle and name in OF_PAIRS else _short(found.get(name)) for name in names]
        rows.append([key["comparison"], label, *cells])
    return table(["mean over the steps", "", *names.values()], rows, texts=2)


def geometry(results: Results) -> str:
    """How the domains lie at the end, with GRPO and with MCPO."""
    rows = [
        [
            row["comparison"],
            f"{row['measure'].replace('_', ' ')} ({row['on']})",
            *(share(row[name]) for name in ("start", *METHODS)),
            estimate(row, plus=True),
            probability(row["p_holm"]),
            str(row["seeds"]),
        ]
        for row in results.rows("geometry_summary")
    ]
    return table(["", "measure", "start", "GRPO", "MCPO", "MCPO minus GRPO", "p (Holm)", "seeds"], rows, texts=2)


def machine(results: Results) -> str:
    """What the runs were made with."""
    facts = read_json(results.folder / "machine.json")
    rows = []
    for name, own in facts.get("comparisons", {}).items():
        packages = own["packages"]
        shown = [
            f"{package} {packages[package]}" for package in ("torch", "trl", "transformers") if package in packages
        ]
        made = [", ".join(map(str, own[part])) for part in ("cores", "system", "python")]
        rows.append([name, str(own["runs"]), own["cpu"], *made, ", ".join(shown)])
    return table(["comparison", "runs", "processor", "cores", "system", "python", "packages"], rows)


def _dials(results: Results, measure: str, said: str) -> str:
    """Return a row per setting: in the expected order, the middle one, those with room; columns: math to the others."""
    others = [name for name in results.domains if name != "math"]
    settings = [name for name in (*EXPECTED, "middle", *ROOM) if name in results.names]
    rows = []
    for setting in settings:
        found = [results.dial(setting, measure, "math", domain) for domain in others]
        if any(found):
            seeds = next(str(row["seeds"]) for row in found if row)
            rows.append([setting, seeds, *(estimate(row, plus=True) for row in found)])
    return table([said, "seeds", *(f"math to {domain}" for domain in others)], rows)


def _pairs(results: Results, name: str) -> list[dict[str, str]]:
    """Return comparison and method of the rows of a table, each once."""
    found = dict.fromkeys((row["comparison"], row["method"]) for row in results.rows(name))
    return [{"comparison": comparison, "method": method} for comparison, method in found]


def _steps(row: Mapping[str, Any]) -> str:
    """Return when half of the seeds had reached the target in the mean of the domains, and how many did."""
    found = (row.get("steps_to_target") or {}).get("mean")
    if found is None:
        return NOTHING
    return f"{'never' if found['median'] is None else found['median']} ({found['reached']}/{found['of']})"


def _parting(results: Results, name: str, method: str) -> str:
    """Return the first step whose rollouts do not do as well as GRPO's with the same seed: median (first to last)."""
    row = results.row("parting", comparison=name, method=method)
    if row is None or row["median"] is None:
        return NOTHING
    return f"{row['median']:g} ({row['first']}–{row['last']})"


def _short(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return NOTHING
    return f"{row['value']:.1f}" if abs(row["value"]) >= 10 else f"{row['value']:.3f}"
