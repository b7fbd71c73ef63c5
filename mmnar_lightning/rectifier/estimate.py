"""Offsets of the patterns for one task: a hierarchy global -> number of present modalities -> pattern.

The offset of a node is added to that of its parent: the maximum a posteriori of a logistic regression on a constant,
with the parent's logits as offset and prior N(0, s²). s² is estimated once a level (docs/method.md, section 3).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]
Int = NDArray[np.int64]

MIN_SUBJECTS = 2
"""Fewest subjects of a node: a variance between subjects needs two."""
MAX_STEPS = 100
TOLERANCE = 1e-12
MAX_STEP = 2.0
"""Longest Newton step."""


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """What a node must hold to be estimated, each at least 1; otherwise it inherits.

    Attributes:
        rows: with a known label.
        class_rows: positives, and negatives, among them.
    """

    rows: int
    class_rows: int


@dataclass(frozen=True, kw_only=True)
class Level:
    """Nodes of one level.

    Attributes:
        offset: (J,) what is added to the logit in all.
        variance: (J,) of the offset, clustered by subject.
        raw: (J,) the offset without prior and parents; NaN where it is not estimable.
        rows, positives, subjects: (J,) int64.
        estimated: (J,) bool; False inherits from the parent.
        spread: s², the variance of the level's prior.
    """

    offset: Array
    variance: Array
    raw: Array
    rows: Int
    positives: Int
    subjects: Int
    estimated: NDArray[np.bool_]
    spread: float


@dataclass(frozen=True)
class Offsets:
    """The three levels: one node, one a number of modalities (M + 1), one a pattern (P)."""

    overall: Level
    count: Level
    pattern: Level


@dataclass(frozen=True)
class Rows:
    """Rows in an order of their own, so that sums do not depend on the order in which they came.

    Attributes:
        logit: (N,).
        label: (N,) 0 or 1.
        subject: (N,) int64.
        pattern: (N,) int64 in [0, P).
    """

    logit: Array
    label: Array
    subject: Int
    pattern: Int

    @classmethod
    def of(cls, logit: Array, label: Array, subject: Int, pattern: Int) -> "Rows":
        """Sort rows; those that are alike in all columns are interchangeable."""
        order = np.lexsort((label, logit, subject, pattern))
        return cls(logit[order], label[order], subject[order], pattern[order])


def estimate(rows: Rows, modalities: Int, num_modalities: int, minimum: Minimum) -> Offsets:
    """Estimate the offsets of all patterns.

    Args:
        rows: known labels of one task.
        modalities: (P,) int64, how many modalities each pattern has.
        num_modalities: M.
        minimum: of a node.

    >>> alike = Rows.of(np.zeros(40), np.repeat([0.0, 1.0], [10, 30]), np.arange(40), np.zeros(40, dtype=np.int64))
    >>> found = estimate(alike, np.array([1]), 1, Minimum(rows=1, class_rows=1))
    >>> round(float(found.overall.raw[0]), 2)  # log(30 / 10)
    1.1
    """
    count = modalities[rows.pattern]
    alone = np.isin(modalities, (0, num_modalities))  # the only pattern of its count: the level above has estimated it
    overall = _level(rows, np.zeros_like(count), None, np.zeros(1, dtype=np.int64), minimum)
    by_count = _level(rows, count, overall, np.zeros(num_modalities + 1, dtype=np.int64), minimum)
    by_pattern = _level(rows, rows.pattern, by_count, modalities, minimum, inherits=alone)
    return Offsets(overall, by_count, by_pattern)


def _level(
    rows: Rows,
    node: Int,
    above: Level | None,
    parent: Int,
    minimum: Minimum,
    inherits: NDArray[np.bool_] | None = None,
) -> Level:
    """One level, given the one above.

    Args:
        rows: N rows.
        node: (N,) int64, the node of each row.
        above: None for the root, whose prior is N(0, 1) about 0.
        parent: (J,) int64, the node of the level above that each node hangs on.
        minimum: of a node.
        inherits: (J,) bool, nodes that are not estimated.
    """
    size = len(parent)
    parent_offset = np.zeros(size) if above is None else above.offset[parent]
    parent_variance = np.zeros(size) if above is None else above.variance[parent]
    nodes = _Nodes(rows, node, size)
    counted, positives, subjects = nodes.tally()
    enough = (counted >= minimum.rows) & (positives >= minimum.class_rows)
    enough &= (counted - positives >= minimum.class_rows) & (subjects >= MIN_SUBJECTS)
    estimated = enough if inherits is None else enough & ~inherits
    spread = 1.0 if above is None else _spread(nodes, parent_offset, parent, estimated)
    own = _fit(nodes, parent_offset, spread, estimated)
    kept = 1.0 / (1.0 + spread * nodes.precision(parent_offset + own))  # how much of a node is its parent
    unknown = np.full(size, spread) if above is None else parent_variance  # what a node that inherits is left with
    return Level(
        offset=parent_offset + own,
        variance=np.where(estimated, spread * kept + kept**2 * parent_variance, unknown),
        raw=np.where(enough, _fit(nodes, np.zeros(size), np.inf, enough), np.nan),
        rows=counted,
        positives=positives,
        subjects=subjects,
        estimated=estimated,
        spread=spread,
    )


class _Nodes:
    """The rows of one level's nodes, and sums over them."""

    def __init__(self, rows: Rows, node: Int, size: int) -> None:
        self.rows, self.node, self.size = rows, node, size
        self.pairs, pair = np.unique(np.stack([node, rows.subject]), axis=1, return_inverse=True)
        self.pair = pair.ravel()

    def tally(self) -> tuple[Int, Int, Int]:
        """Rows, positives and subjects of each node, (J,) int64."""
        positives = np.bincount(self.node, self.rows.label, self.size).astype(np.int64)
        subjects = np.bincount(self.pairs[0], minlength=self.size)
        return np.bincount(self.node, minlength=self.size), positives, subjects

    def residuals(self, offset: Array) -> tuple[Array, Array]:
        """Label - probability of every row at its node's offset, and what minus its derivative is, (N,) each."""
        probability = expit(self.rows.logit + offset[self.node])
        return self.rows.label - probability, probability * (1 - probability)

    def slope(self, offset: Array) -> tuple[Array, Array]:
        """Score and information of each node, (J,)."""
        residual, weight = self.residuals(offset)
        return _sums(self.node, residual, self.size), _sums(self.node, weight, self.size)

    def precision(self, offset: Array) -> Array:
        """1 / variance of each node's estimate, clustered by subject, (J,); 0 where nothing is known."""
        residual, weight = self.residuals(offset)
        by_subject = _sums(self.pair, residual, self.pairs.shape[1])
        noise = _sums(self.pairs[0], by_subject**2, self.size)
        information = _sums(self.node, weight, self.size)
        return np.divide(information**2, noise, out=np.zeros(self.size), where=noise > 0)


def _sums(node: Int, values: Array, size: int) -> Array:
    return np.bincount(node, values, size).astype(np.float64)


def _spread(nodes: _Nodes, offset: Array, parent: Int, estimated: NDArray[np.bool_]) -> float:
    """s² of a level by moments of Newton's first steps θ from 0, each node counting alike (Hedges, 1983).

    In a family of J nodes with variances v, E Σ θ² is about (J − 1) · (s² + mean v): a parent's offset is about a mean
    of its nodes, so it takes a degree of freedom. Weighted by precision, as in meta-analysis, the largest node, which
    has made its parent's offset and lies near 0, would speak for all, and rare patterns would be pulled too far.
    """
    precision = nodes.precision(offset)
    known = estimated & (precision > 0)
    score, information = nodes.slope(offset)
    step = np.divide(score, information, out=np.zeros(nodes.size), where=known)
    variance = np.divide(1.0, precision, out=np.zeros(nodes.size), where=known)
    counted, squares, noise = (np.bincount(parent, column) for column in (known, step**2, variance))
    several = counted >= 2
    spare = (counted - 1)[several]
    excess = (squares[several] - noise[several] * spare / counted[several]).sum()
    return float(max(0.0, excess) / spare.sum()) if several.any() else 0.0


def _fit(nodes: _Nodes, start: Array, spread: float, free: NDArray[np.bool_]) -> Array:
    """What maximises each node's likelihood times its prior N(0, spread), (J,); 0 where it is not free.

    All nodes take Newton's steps together; the posterior is concave, and a step is cut at `MAX_STEP`.
    """
    own = np.zeros(nodes.size)
    if spread == 0:
        return own
    for _ in range(MAX_STEPS):
        score, information = nodes.slope(start + own)
        step = np.divide(score - own / spread, information + 1.0 / spread, out=np.zeros_like(own), where=free)
        own = own + step.clip(-MAX_STEP, MAX_STEP)
        if np.abs(step).max(initial=0.0) < TOLERANCE:
            break
    return own
