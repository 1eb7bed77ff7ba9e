"""What a linear classifier can read out of the representations: the domain, and whether the rollout is correct.

Ridge classifiers of scikit-learn, always judged on problems that they were not fitted on. Without scikit-learn (the
`report` extra) these measures are left out. Axes: N rollouts, r <= N - 1 directions that the rows span.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import numpy.typing as npt

from mcpo_rl.analysis.geometry.rows import BoolArray, FloatArray, ProbeRows

FOLDS = 5
PENALTY = 1.0
"""On the squared length of the weights, for rows whose mean square is 1."""
FEWEST = 4
"""Rollouts of each verdict that a domain needs before a classifier is fitted on its verdicts."""


def available() -> bool:
    """Whether scikit-learn is there."""
    return importlib.util.find_spec("sklearn") is not None


def domain_separability(rows: ProbeRows) -> dict[str, float]:
    """Return how well a linear classifier tells the domains from x, on problems that it has not seen.

    Returns:
        `separability/<D>`: the share of the domain's rollouts that it assigns to it; `separability`: the mean over the
        domains (balanced accuracy). 1 / number of domains is chance. Empty where a domain has fewer than two problems.
    """
    folds = _folds(rows.domains, rows.problems) if len(rows.names) > 1 and available() else 0
    if folds < 2:
        return {}
    predicted = _held_out(_spanned(rows.directions), rows.domains, rows.problems, folds, "predict")
    found = {
        f"separability/{name}": float((predicted[rows.of_domain(name)] == number).mean())
        for number, name in enumerate(rows.names)
    }
    return found | {"separability": float(np.mean(list(found.values())))}


def verdict_probe(rows: ProbeRows) -> dict[str, float]:
    """Return how well correct rollouts can be told from incorrect ones, within a domain and from one to another.

    The mean of each domain is taken out first. AUC: the share of the pairs of a correct and an incorrect rollout in
    which the classifier gives the correct one more; 0.5 is chance.

    Returns:
        `verdict/<D>`: fitted and judged in the domain, on different problems; `verdict_transfer/<A>/<B>`: fitted on A
        and judged on B, above 0.5 where what marks a correct rollout of A marks one of B too; `verdict` and
        `verdict_transfer`: their means.
    """
    if not available():
        return {}
    from sklearn.metrics import roc_auc_score

    centred = rows.features - np.stack([rows.features[rows.domains == d].mean(axis=0) for d in rows.domains])
    spanned = _spanned(centred)
    judged = [name for name in rows.names if _both_verdicts(rows.correct[rows.of_domain(name)])]
    own, across = {}, {}
    for a in judged:
        chosen = rows.of_domain(a)
        correct = rows.correct[chosen]
        folds = _folds(correct.astype(np.int64), rows.problems[chosen])
        if folds >= 2:
            values = _held_out(spanned[chosen], correct, rows.problems[chosen], folds, "decision_function")
            own[f"verdict/{a}"] = float(roc_auc_score(correct, values))
        others = [b for b in judged if b != a]
        if others:
            fitted = _classifier().fit(spanned[chosen], correct)
            for b in others:
                there = rows.of_domain(b)
                values = fitted.decision_function(spanned[there])
                across[f"verdict_transfer/{a}/{b}"] = float(roc_auc_score(rows.correct[there], values))
    means = {
        name: float(np.mean(list(parts.values())))
        for name, parts in (("verdict", own), ("verdict_transfer", across))
        if parts
    }
    return own | across | means


def _both_verdicts(correct: BoolArray) -> bool:
    return min(int(correct.sum()), int((~correct).sum())) >= FEWEST


def _folds(labels: npt.NDArray[np.int64], problems: npt.NDArray[np.int64]) -> int:
    """Return how many folds there can be: each needs a problem of every label."""
    fewest = min(len(set(problems[labels == label].tolist())) for label in set(labels.tolist()))
    return min(FOLDS, fewest)


def _held_out(rows: FloatArray, labels: Any, problems: npt.NDArray[np.int64], folds: int, method: str) -> Any:
    """Return (N,): what classifiers fitted on the other folds say of each row; a problem is never in two folds."""
    from sklearn import config_context
    from sklearn.model_selection import StratifiedGroupKFold

    said = np.zeros(len(rows))
    # Two dozen small fits a step: scikit-learn's checks of arguments that are ours would take most of the time.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        for fitted_on, held_out in StratifiedGroupKFold(n_splits=folds).split(rows, labels, problems):
            fitted = _classifier().fit(rows[fitted_on], labels[fitted_on])
            said[held_out] = getattr(fitted, method)(rows[held_out])
    return said


def _classifier() -> Any:
    from sklearn.linear_model import RidgeClassifier

    return RidgeClassifier(alpha=PENALTY, class_weight="balanced", solver="cholesky")


def _spanned(rows: FloatArray) -> FloatArray:
    """Return the (N, d) rows in the (N, r) coordinates of their own span, scaled to a mean square of 1.

    A turn changes nothing for a classifier with a penalty on the length of its weights, and r is far below d.
    """
    values, vectors = np.linalg.eigh(rows @ rows.T)  # many times faster than decomposing the wide rows themselves
    kept = values > max(values[-1], 0.0) * 1e-12
    turned = vectors[:, kept] * np.sqrt(values[kept])
    size = np.sqrt((turned**2).sum(axis=1).mean()) if kept.any() else 0.0
    return turned / size if size > 0 else np.zeros((len(rows), 1))
