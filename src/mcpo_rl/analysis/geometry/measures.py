"""What is measured of a probe set at one step: how each domain lies, how the domains lie to each other, what moved.

Everything is a number with a formula (docs/geometry.md) and takes rollouts of several domains that stay the same over
the steps. A measure that has nothing to go by (no correct rollout, one domain only) is left out. Axes: N rollouts, d
width of the representation.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np

from mcpo_rl.analysis.geometry.linear import domain_separability, verdict_probe
from mcpo_rl.analysis.geometry.rows import BoolArray, FloatArray, ProbeRows

NEIGHBOURS = 10
"""Most nearest correct rollouts that the overlap looks at."""

Measured = dict[str, float]


def measure(rows: ProbeRows, base: ProbeRows | None = None) -> Measured:
    """Return every measure of `rows` by name: `<name>`, `<name>/<domain>`, `<name>/<domain>/<domain>`.

    Args:
        rows: The rollouts as the model of this step sees them.
        base: The same rollouts as the model sees them that training starts from; without it `cka` and `drift` are left
            out.
    """
    parts: list[Callable[[ProbeRows], Measured]] = [
        alignment,
        uniformity,
        distances,
        overlap,
        participation,
        domain_separability,
        verdict_probe,
    ]
    measured: Measured = {}
    for part in parts:
        measured |= part(rows)
    if base is not None:
        measured |= similarity_to_base(rows, base) | drift(rows, base)
    return {name: float(value) for name, value in measured.items()}


def alignment(rows: ProbeRows) -> Measured:
    """Return the mean of |x_i - x_j|^2 over pairs of correct rollouts of different problems (Wang & Isola 2020).

    Returns:
        `alignment/<D>` over pairs within a domain and `alignment`, their mean over the domains;
        `cross_alignment/<A>/<B>` over pairs of one rollout of each, and `cross_alignment`, their mean. From 0 to 4, 2
        for unrelated directions.
    """
    own: Measured = {}
    other = rows.problems[:, None] != rows.problems[None, :]
    correct = {name: rows.correct & rows.of_domain(name) for name in rows.names}
    for name, chosen in correct.items():
        pairs = np.triu(np.outer(chosen, chosen) & other, 1)
        if pairs.any():
            own[f"alignment/{name}"] = rows.distances[pairs].mean()
    across = {
        f"cross_alignment/{a}/{b}": rows.distances[np.ix_(correct[a], correct[b])].mean()
        for a, b in combinations(rows.names, 2)
        if correct[a].any() and correct[b].any()
    }
    return own | _mean("alignment", own) | across | _mean("cross_alignment", across)


def uniformity(rows: ProbeRows) -> Measured:
    """Return log of the mean of exp(-2 |x_i - x_j|^2) over the pairs i < j (Wang & Isola 2020).

    Returns:
        `uniformity` over all rollouts, `uniformity/<D>` over those of a domain. 0 is collapse to a point, -4 the value
        of orthogonal directions.
    """
    measured = {f"uniformity/{name}": _uniformity(rows, rows.of_domain(name)) for name in rows.names}
    measured["uniformity"] = _uniformity(rows, np.ones(len(rows), dtype=np.bool_))
    return {name: value for name, value in measured.items() if np.isfinite(value)}


def distances(rows: ProbeRows) -> Measured:
    """Return how wide the domains are and how far apart their centres lie.

    With v_D the mean of |h_i - m_D|^2 over a domain, m_D its centre and S^2 the mean over the domains of |h_i - m|^2:

    Returns:
        `spread/<D>`: sqrt(v_D) / S; `distance/<A>/<B>`: |m_A - m_B| / sqrt((v_A + v_B) / 2) and `distance`, its mean
        over the pairs; `domain_share`: the share of the variance that lies between the domains, mean |m_D - m|^2 / S^2.
    """
    within, centres = _widths(rows)
    between = float(np.mean([np.sum((centre - rows.centre) ** 2) for centre in centres.values()]))
    total = float(np.mean(list(within.values()))) + between
    if total <= 0:
        return {}
    apart = {
        f"distance/{a}/{b}": np.linalg.norm(centres[a] - centres[b]) / np.sqrt((within[a] + within[b]) / 2)
        for a, b in combinations(rows.names, 2)
        if within[a] + within[b] > 0
    }
    measured: Measured = {f"spread/{name}": np.sqrt(width / total) for name, width in within.items()}
    measured |= apart | _mean("distance", apart)
    if len(rows.names) > 1:
        measured["domain_share"] = between / total
    return measured


def overlap(rows: ProbeRows) -> Measured:
    """Return how mixed the correct rollouts of the domains are.

    Of each correct rollout, the share of other domains' among its k nearest correct rollouts of other problems (in x)
    over the share that they have among all of those. k is 10, or as many as its own domain has: fewer than k of the own
    would leave places that only others can take.

    Returns:
        `overlap/<D>`, the ratio of the means over a domain's rollouts, and `overlap`, the mean over the domains: 0
        where the domains are apart, 1 where they lie as if the domains were drawn by lot.
    """
    chosen = np.flatnonzero(rows.correct)
    domains, problems = rows.domains[chosen], rows.problems[chosen]
    eligible = problems[:, None] != problems[None, :]
    foreign = domains[:, None] != domains[None, :]
    between = np.where(eligible, rows.distances[np.ix_(chosen, chosen)], np.inf)
    found: Measured = {}
    for number, name in enumerate(rows.names):
        near, expected = [], []
        for row in np.flatnonzero(domains == number):
            own = int((eligible[row] & ~foreign[row]).sum())
            if own == 0:
                continue
            nearest = np.argsort(between[row], kind="stable")[: min(NEIGHBOURS, own)]
            near.append(foreign[row, nearest].mean())
            expected.append(foreign[row, eligible[row]].mean())
        if expected and np.mean(expected) > 0:
            found[f"overlap/{name}"] = float(np.mean(near) / np.mean(expected))
    return found | _mean("overlap", found)


def participation(rows: ProbeRows) -> Measured:
    """Return `dimensions`: the number of directions that the rollouts spread over, (sum l)^2 / sum l^2.

    l are the eigenvalues of the covariance of h. 1: all on a line; a fall over training tells of a collapse.
    """
    centred = rows.features - rows.features.mean(axis=0)
    gram = centred @ centred.T if len(centred) <= centred.shape[1] else centred.T @ centred
    squares = float((gram**2).sum())
    return {"dimensions": float(np.trace(gram)) ** 2 / squares} if squares > 0 else {}


def similarity_to_base(rows: ProbeRows, base: ProbeRows) -> Measured:
    """Return `cka` and `cka/<D>`: linear centred kernel alignment with the base model's representations."""
    measured = {"cka": cka(rows.features, base.features)}
    for name in rows.names:
        chosen = rows.of_domain(name)
        measured[f"cka/{name}"] = cka(rows.features[chosen], base.features[chosen])
    return {name: value for name, value in measured.items() if np.isfinite(value)}


def cka(a: FloatArray, b: FloatArray) -> float:
    """Return linear CKA (Kornblith et al. 2019) with the unbiased estimate of HSIC (Song et al. 2012).

    HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), K = A A^T and L = B B^T with their diagonals set to 0. The plain estimate
    is near 1 for any two representations wider than there are rows; this one is 0 on average where they are unrelated.

    Args:
        a: (N, d).
        b: (N, e), the same N things.

    Returns:
        At most 1, which is a turn, shift and one scaling of all; NaN for fewer than four rows or rows all alike.
    """
    if len(a) < 4:
        return float("nan")
    # A shift of all rows leaves the estimate as it is and keeps the products small.
    k_a, k_b = (_hollow_gram(rows - rows.mean(axis=0)) for rows in (a, b))
    own = _hsic(k_a, k_a) * _hsic(k_b, k_b)
    return _hsic(k_a, k_b) / own**0.5 if own > 0 else float("nan")


def drift(rows: ProbeRows, base: ProbeRows) -> Measured:
    """Return `drift/<D>`: the mean of |h_i - h_i(base)| over the base's S (see `distances`); `drift`: their mean."""
    within, centres = _widths(base)
    between = np.mean([np.sum((centre - base.centre) ** 2) for centre in centres.values()])
    scale = np.sqrt(np.mean(list(within.values())) + between)
    if scale <= 0:
        return {}
    moved = np.linalg.norm(rows.features - base.features, axis=1) / scale
    found = {f"drift/{name}": float(moved[rows.of_domain(name)].mean()) for name in rows.names}
    return found | _mean("drift", found)


def _widths(rows: ProbeRows) -> tuple[dict[str, float], dict[str, FloatArray]]:
    """Return v_D and m_D of every domain."""
    within, centres = {}, {}
    for name in rows.names:
        own = rows.features[rows.of_domain(name)]
        centres[name] = own.mean(axis=0)
        within[name] = float(((own - centres[name]) ** 2).sum(axis=1).mean())
    return within, centres


def _uniformity(rows: ProbeRows, chosen: BoolArray) -> float:
    count = int(chosen.sum())
    if count < 2:
        return float("nan")
    pairs = rows.distances[np.ix_(chosen, chosen)][np.triu_indices(count, 1)]
    return float(np.log(np.exp(-2 * pairs).mean()))


def _hollow_gram(rows: FloatArray) -> FloatArray:
    gram = rows @ rows.T
    np.fill_diagonal(gram, 0.0)
    return gram


def _hsic(a: FloatArray, b: FloatArray) -> float:
    """Return the unbiased HSIC of two (N, N) kernels with zero diagonals; the factor 1 / (N (N - 3)) cancels in CKA."""
    n = len(a)
    of_sums = a.sum() * b.sum() / ((n - 1) * (n - 2))
    of_rows = 2 / (n - 2) * (a.sum(axis=0) @ b.sum(axis=0))
    return float((a * b).sum() + of_sums - of_rows)


def _mean(name: str, parts: Measured) -> Measured:
    return {name: float(np.mean(list(parts.values())))} if parts else {}
