"""What the numbers say, in sentences chosen by rule: they turn with the numbers.

A difference is called better or worse where three seeds or more are paired, its interval over seeds (and, of an
accuracy, that over problems) leaves out 0, and p adjusted by Holm is at most 0.05; else it cannot be told from 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from mcpo_rl.comparison.seeds import LEVEL
from mcpo_rl.data.procedural.conventions import SOURCE_DOMAIN
from study.results.dials import COSINE, EFFECT, EXPECTED
from study.results.differences import ACCURACY, HEADLINE_QUANTITIES, HEADLINE_SETTINGS, TOGETHER
from study.results.numbers import Results, estimate, listed, probability, share, signed
from study.results.positives import BEFORE, DURING
from study.results.reading import MEAN
from study.results.tables import QUANTITIES

LEAST_GAIN = 0.15
"""What GRPO alone should gain in every domain, for there to be something to learn."""
FULL = 0.95
"""An accuracy above which there is no room left for a better method."""
NONE = "There are no runs of this yet."


def headline(results: Results, together: str = TOGETHER) -> str:
    """Does MCPO beat GRPO at the settings of a family? One sentence per quantity, one for the whole."""
    settings = HEADLINE_SETTINGS[together]
    found = [row for row in results.rows("headline") if row["comparison"] in (*settings, together)]
    if not found:
        return NONE
    lines = [f"- {_whole(found, settings, together.removeprefix('mean of the '))}"]
    for quantity in HEADLINE_QUANTITIES:
        rows = [row for row in found if row["quantity"] == quantity]
        said = [f"{_word(row)} {_where(row)} ({estimate(row, plus=True)})" for row in rows]
        lines.append(f"- {_upper(QUANTITIES[quantity])}: MCPO is {'; '.join(said)}.")
    return "\n".join(lines)


def claims(results: Results) -> str:
    """The paper's claims, each with what was found here."""
    return "\n".join([f"- **Every domain improves over GRPO on the mixture.** {_every_domain(results)}",
                      f"- **Joint training sometimes beats single-domain training.** {_joint(results)}",
                      f"- **Representations become harmonious but distinct.** {_geometry(results)}"])  # fmt: skip


def headroom(results: Results) -> str:
    """Is there something to learn at every setting, and room for more?"""
    short: list[str] = []
    full: list[str] = []
    roomy: list[str] = []
    rows = {setting: row for setting in results.on_the_testbed if (row := results.method(setting, "grpo")) is not None}
    for setting, row in rows.items():
        gains, ends = ({d: row[what][d]["value"] for d in results.domains} for what in ("gain", "accuracy"))
        little = [f"{d} at `{setting}` ({signed(gain)})" for d, gain in gains.items() if gain < LEAST_GAIN]
        much = [f"{d} at `{setting}` ({share(end)})" for d, end in ends.items() if end > FULL]
        short, full = short + little, full + much
        roomy += [] if little or much else [f"`{setting}`"]
    if not rows:
        return NONE
    gained = f"GRPO gains less than {LEAST_GAIN} in {listed(short)}" if short else (
        f"GRPO gains {LEAST_GAIN} or more in every domain at every setting")  # fmt: skip
    said = (
        f"it ends above {FULL}, with little room left, in {listed(full)}" if full else f"it ends above {FULL} nowhere"
    )
    both = f" There is room in every domain at {listed(roomy)}." if roomy and (short or full) else ""
    return f"{gained}; {said}.{both}"


def dials(results: Results) -> str:
    """Do the dials order the settings as expected: shared, then apart, then conflict?"""
    lines = []
    for measure, said in ((EFFECT, "the effect of training on mathematics alone"), (COSINE, "the gradient cosine")):
        for domain in [name for name in results.domains if name != SOURCE_DOMAIN]:
            values = [results.dial(name, measure, SOURCE_DOMAIN, domain) for name in EXPECTED]
            if not all(values):
                continue
            means = [row["value"] for row in values if row is not None]
            holds = means == sorted(means, reverse=True) and len(set(means)) == len(means)
            gaps = [results.dial(a, measure, SOURCE_DOMAIN, domain, minus=b) for a, b in pairwise(EXPECTED)]
            told = " and ".join(
                f"{'clear' if row['clear'] else 'not clear'} from `{row['comparison']}` to `{row['minus']}`"
                for row in gaps
                if row is not None
            )
            ends = results.dial(EXPECTED[0], measure, SOURCE_DOMAIN, domain, minus=EXPECTED[-1])
            order = ", ".join(f"{signed(mean)} (`{name}`)" for name, mean in zip(EXPECTED, means, strict=True))
            verdict = f"holds; {told}" if holds else "does not hold"
            lines.append(
                f"- For {said}, {SOURCE_DOMAIN} to {domain}, the expected order {verdict}: {order}; from end to end "
                f"{estimate(ends, plus=True)}."
            )
    return "\n".join(lines) or NONE


def positives(results: Results) -> str:
    """Are the chosen positives structurally alike?"""
    lines = []
    for setting in results.names:
        said = [told for when in (DURING, BEFORE) if (told := _alike(results, setting, when))]
        if said:
            lines.append(f"- `{setting}`: the positives that MCPO chooses have {'; '.join(said)}.")
    return "\n".join(lines) or NONE


def _alike(results: Results, setting: str, when: str) -> str:
    own = {"comparison": setting, "method": "mcpo", "when": when}
    found = {row["quantity"]: row for row in results.rows("positives_summary", **own)}
    if "same strategy" not in found:
        return ""
    said = [f"{_likeness(found[f'same {what}'])} the same {what}" for what in ("strategy", "opening")]
    return f"{when} {', and '.join(said)}"


def term(results: Results) -> str:
    """Does the term's gradient reach the policy?"""
    lines = []
    for setting in results.names:
        found = {row["quantity"]: row for row in results.rows("term_summary", comparison=setting, method="mcpo")}
        if "grad_ratio" not in found:
            continue
        ratio, idle = found["grad_ratio"]["value"], found["without_anchor"]["value"]
        size = (
            "drowned by"
            if ratio < 0.02
            else "dominating over"
            if ratio > 1
            else "neither drowned by nor dominating over"
        )
        cosines = [
            f"{estimate(one, plus=True)} in {d}"
            for d in results.domains
            if (one := found.get(f"cosine_{d}")) is not None
        ]
        way = f" Its cosine with the policy's gradient is {listed(cosines)}." if cosines else ""
        lines.append(
            f"- `{setting}`: the gradient of the term has {ratio:.3f} times the norm of the policy's on the "
            f"hidden states, {size} it; {idle:.1%} of the steps had no anchor.{way}{_parts(results, setting)}"
        )
    return "\n".join(lines) or NONE


def _parts(results: Results, setting: str) -> str:
    row = results.row("parting", comparison=setting, method="mcpo")
    if row is None or row["median"] is None:
        return ""
    return (
        f" With the same seed the accuracies of its rollouts differ from GRPO's from step {row['median']:g} on "
        f"(median; {row['first']} to {row['last']}), of {row['steps']}."
    )


def methods(results: Results, name: str) -> str:
    """Which methods of a comparison differ clearly from GRPO, in final accuracy, in area and in the worst gain?"""
    lines = []
    for quantity in QUANTITIES:
        found = results.rows("differences", comparison=name, minus="grpo", quantity=quantity, domain=MEAN)
        if not found:
            continue
        lines.append(f"- {_upper(QUANTITIES[quantity])}: {_one(found[0]) if len(found) == 1 else _several(found)}")
    return "\n".join(lines) or NONE


def spread(results: Results, name: str) -> str:
    """Do the methods of a comparison differ among each other at all?"""
    lines = []
    for row in results.rows("spread", comparison=name):
        far = "further apart than" if row["p"] <= 1 - LEVEL else "no further apart than"
        lines.append(
            f"- {_upper(QUANTITIES[row['quantity']])}: the {row['methods']} means, from {share(row['lowest'])} to "
            f"{share(row['highest'])}, lie {far} {row['seeds']} seeds explain: their standard deviation is "
            f"{share(row['deviation'])}, by seeds alone {share(row['by_seeds'])} would be expected "
            f"(p = {probability(row['p'])}). With the variance of all of them together, a difference between two is "
            f"known to within {share(row['reach'])}."
        )
    return "\n".join(lines) or NONE


def _one(row: Mapping[str, Any]) -> str:
    return f"{row['label']} against GRPO is {_word(row)} ({estimate(row, plus=True)})."


def _several(rows: Sequence[Mapping[str, Any]]) -> str:
    parts = [_apart(rows, "better", 1), _apart(rows, "worse", -1)]
    ends = [pick(rows, key=lambda row: row["value"]) for pick in (max, min)]
    top, bottom = (f"that of {row['label']} ({estimate(row, plus=True)})" for row in ends)
    return (
        f"of {len(rows)} methods held against GRPO, {', '.join(parts)}. The largest difference is {top}, the smallest "
        f"{bottom}."
    )


def _apart(rows: Sequence[Mapping[str, Any]], word: str, sign: int) -> str:
    own = [row for row in rows if row["clear"] and row["value"] * sign > 0]
    clear = [f"{row['label']} ({estimate(row, plus=True)})" for row in own]
    if not clear:
        return f"none is clearly {word}"
    return f"clearly {word} {'is' if len(clear) == 1 else 'are'} {listed(clear)}"


def _whole(rows: Sequence[Mapping[str, Any]], settings: Sequence[str], called: str) -> str:
    own = [row for row in rows if row["quantity"] == ACCURACY and row["comparison"] in settings]
    clear = {word: [f"`{row['comparison']}`" for row in own if _word(row) == word] for word in ("better", "worse")}
    missing = [f"`{name}`" for name in settings if name not in {row["comparison"] for row in own}]
    if not any(clear.values()):
        said = f"In final accuracy MCPO cannot be told from GRPO at any of the {called}"
    else:
        parts = [f"{word} than GRPO at {listed(names)}" for word, names in clear.items() if names]
        rest = len(own) - sum(map(len, clear.values()))
        said = f"In final accuracy MCPO is {' and '.join(parts)}" + (
            f", and cannot be told from it at {rest} more" if rest else ""
        )
    return f"**{said}.**" + (
        f" {listed(missing)} {'has' if len(missing) == 1 else 'have'} not been run." if missing else ""
    )


def _where(row: Mapping[str, Any]) -> str:
    return f"in the {row['comparison']}" if row["comparison"] in HEADLINE_SETTINGS else f"at `{row['comparison']}`"


def _word(row: Mapping[str, Any]) -> str:
    if row["seeds"] < 3:
        return "undecided with fewer than three seeds"
    return ("better" if row["value"] > 0 else "worse") if row["clear"] else "not distinguishable"


def _every_domain(results: Results) -> str:
    said, every = [], []
    for setting in [*results.testbed, *results.with_room]:
        found = [(d, row) for d in results.domains if (row := results.difference(setting, "mcpo", "grpo", d))]
        if found:
            every += [(setting, d, row) for d, row in found]
            up = [d for d, row in found if row["value"] > 0]
            clear = [f"{d} {signed(row['value'])}" for d, row in found if row["clear"]]
            told = f"clear: {listed(clear)}" if clear else "none clear"
            said.append(f"at `{setting}` MCPO's mean is above GRPO's in {len(up)} of {len(found)} domains ({told})")
    if not said:
        return NONE
    held = sorted({setting for setting, _, _ in every} - {s for s, _, row in every if not _clearly_up(row)})
    verdict = f"Found at {listed([f'`{name}`' for name in held])}" if held else "Not found"
    setting, domain, far = max(every, key=lambda one: abs(one[2]["value"]))
    return (
        f"{verdict}: {'; '.join(said)}. The largest difference of all is that in {domain} at `{setting}` "
        f"({estimate(far, plus=True)})."
    )


def _clearly_up(row: Mapping[str, Any]) -> bool:
    return bool(row["clear"] and row["value"] > 0)


def _joint(results: Results) -> str:
    said = []
    for setting in results.testbed:
        for method in ("grpo", "mcpo"):
            row = results.difference(setting, method, "single", MEAN)
            if row is not None:
                said.append(f"{row['label']} at `{setting}` {_word(row)} ({estimate(row, plus=True)})")
    return f"Against a specialist per domain with as many rollouts of it: {'; '.join(said)}." if said else NONE


def _geometry(results: Results) -> str:
    found = results.rows("geometry_summary")
    if not found:
        return "No run kept its hidden states, so nothing is said of it here."
    clear = [f"{row['measure'].replace('_', ' ')} at `{row['comparison']}` ({estimate(row, plus=True)})"
             for row in found if row["clear"]]  # fmt: skip
    on = listed(sorted({row["on"] for row in found}))
    tests = sum(row["p"] is not None for row in found)
    lower = []
    for measure, where in (("alignment", "within a domain"), ("cross_alignment", "across domains")):
        own = [row["value"] < 0 for row in found if row["measure"] == measure]
        lower += [f"{where} MCPO's is lower in {sum(own)} of {len(own)} comparisons"] if own else []
    return (
        f"{'Found in part' if clear else 'Not found'}: of {tests} tests (on the {on}, at the last step kept; p "
        f"adjusted for all of them) MCPO differs clearly from GRPO in {listed(clear) if clear else 'none'}."
        + (f" The term means to lower the alignments: {', '.join(lower)}." if lower else "")
    )


def _likeness(row: Mapping[str, Any]) -> str:
    numbers = f"({share(row['value'])}, by chance {share(row['by_chance'])})"
    if row["seeds"] < 3:
        return f"at fewer than three seeds, too few to tell from chance, {numbers}"
    if not row["clear"]:
        return f"neither clearly more nor less often than by chance {numbers}"
    return f"{'more' if row['excess'] > 0 else 'less'} often than by chance {numbers}"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
