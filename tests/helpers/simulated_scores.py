"""AUROC, and the standard error of it and of paired differences by the method of DeLong (Biometrics 1988)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

TASKS = ("readmission_30d", "icu_90d", "mortality_180d")
Floats = NDArray[np.float64]


def placements(label: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats]:
    """Of every positive the share of negatives below it, of every negative the share of positives above it."""
    positive, value = np.asarray(label, bool), np.asarray(score, float)
    rank, inside, outside = rankdata(value), rankdata(value[positive]), rankdata(value[~positive])
    return (rank[positive] - inside) / len(outside), 1 - (rank[~positive] - outside) / len(inside)


def auroc(label: ArrayLike, score: ArrayLike) -> float:
    return float(placements(label, score)[0].mean())


def auroc_error(label: ArrayLike, score: ArrayLike) -> float:
    return float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in placements(label, score))))


def mean_difference(labels: Sequence[ArrayLike], first: Sequence[ArrayLike], second: Sequence[ArrayLike]) -> Floats:
    """Mean over tasks of AUROC(first) - AUROC(second) for the same rows, and an upper bound of its standard error."""
    gaps, errors = [], []
    for label, one, other in zip(labels, first, second, strict=True):
        parts = [a - b for a, b in zip(placements(label, one), placements(label, other), strict=True)]
        gaps.append(parts[0].mean())
        errors.append(np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts)))
    return np.array([np.mean(gaps), np.mean(errors)])
