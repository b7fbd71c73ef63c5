"""Offsets of the patterns for one task: a hierarchy global -> number of present modalities -> pattern.

The offset of a node is added to that of its parent. It is the maximum a posteriori of an intercept-only logistic
regression with the parent's logits as offset and prior N(0, s²); where the labels are numbers, of a normal model of the
residuals. Each level has one estimate of s² (docs/method.md,
section 3).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from data_modules.vocabulary import TaskKind

Array = NDArray[np.float64]
Int = NDArray[np.int64]

MIN_SUBJECTS = 2
"""Fewest subjects of a node: the variance between subjects needs two."""
MAX_STEPS = 100
TOLERANCE = 1e-12
TINY = 1e-12
"""Smallest variance of residuals."""
MAX_STEP = 2.0
"""Longest Newton step."""


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """Least data of an estimated node, each at least 1; a node with less inherits.

    Attributes:
        rows: with a known label.
        class_rows: positives, and negatives, among them.
    """

    rows: int
    class_rows: int


@dataclass(frozen=True, kw_only=True)
class Level:
    """The J nodes of one level.

    Attributes:
        offset: (J,) total addition to the logit, those of the parents included.
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
    """The three levels, with one node, one node per number of modalities (M + 1) and one node per pattern (P)."""

    overall: Level
    count: Level
    pattern: Level


@dataclass(frozen=True)
class Rows:
    """Rows in a canonical order, so that sums do not depend on the order of the input.

    Attributes:
        logit: (N,).
        label: (N,) 0 or 1, or numbers.
        subject: (N,) int64.
        pattern: (N,) int64 in [0, P).
        variance: of the residuals, where the labels are numbers; None where they are 0 or 1.
    """

    logit: Array
    label: Array
    subject: Int
    pattern: Int
    variance: float | None = None

    @classmethod
    def of(cls, logit: Array, label: Array, subject: Int, pattern: Int, *, kind: TaskKind = "binary") -> "Rows":
        """Sort rows; rows that are equal in all columns are interchangeable."""
        order = np.lexsort((label, logit, subject, pattern))
        found = cls(logit[order], label[order], subject[order], pattern[order])
        return replace(found, variance=found.residual_variance()) if kind == "value" else found

    def take(self, chosen: NDArray[np.bool_]) -> "Rows":
        """Select rows, (N,) bool."""
        return Rows(self.logit[chosen], self.label[chosen], self.subject[chosen], self.pattern[chosen], self.variance)

    def residual_variance(self) -> float:
        """The variance of the residuals around their mean, above 0; 1 without rows."""
        residual = self.label - self.logit
        return max(float(residual.var()), TINY) if len(residual) else 1.0


def estimate(rows: Rows, modalities: Int, num_modalities: int, minimum: Minimum) -> Offsets:
    """Estimate the offsets of all patterns.

    Args:
        rows: known labels of one task.
        modalities: (P,) int64, number of present modalities of each pattern.
        num_modalities: M.
        minimum: of a node.

    Returns:
        The offsets of all nodes.

    >>> alike = Rows.of(np.zeros(40), np.repeat([0.0, 1.0], [10, 30]), np.arange(40), np.zeros(40, dtype=np.int64))
    >>> found = estimate(alike, np.array([1]), 1, Minimum(rows=1, class_rows=1))
    >>> round(float(found.overall.raw[0]), 2)  # log(30 / 10)
    1.1
    """
    count = modalities[rows.pattern]
    alone = np.isin(modalities, (0, num_modalities))  # the only pattern with this number: estimated one level above
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
    """Estimate one level, given the level above.

    Args:
        rows: N rows.
        node: (N,) int64, the node of each row.
        above: None for the root, whose prior is N(0, 1).
        parent: (J,) int64, the parent of each node in the level above.
        minimum: of a node.
        inherits: (J,) bool, nodes that are never estimated.

    Returns:
        The level.
    """
    size = len(parent)
    parent_offset = np.zeros(size) if above is None else above.offset[parent]
    parent_variance = np.zeros(size) if above is None else above.variance[parent]
    nodes = _Nodes(rows, node, size)
    counted, positives, subjects = nodes.tally()
    enough = (counted >= minimum.rows) & (subjects >= MIN_SUBJECTS)
    if rows.variance is None:
        enough &= (positives >= minimum.class_rows) & (counted - positives >= minimum.class_rows)
    estimated = enough if inherits is None else enough & ~inherits
    spread = 1.0 if above is None else _spread(nodes, parent_offset, parent, estimated)
    own = _fit(nodes, parent_offset, spread, estimated)
    kept = 1.0 / (1.0 + spread * nodes.precision(parent_offset + own))  # weight of the parent in a node
    unknown = np.full(size, spread) if above is None else parent_variance  # of a node that inherits
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
    """Sums over the rows of each node of one level."""

    def __init__(self, rows: Rows, node: Int, size: int) -> None:
        self.rows, self.node, self.size = rows, node, size
        # As np.unique of the pairs, which would compare them one by one.
        subjects, subject = np.unique(rows.subject, return_inverse=True)
        several = max(1, len(subjects))
        pairs, self.pair = np.unique(node * several + subject, return_inverse=True)
        self.pairs = np.stack([pairs // several, subjects[pairs % several]])

    def tally(self) -> tuple[Int, Int, Int]:
        """Count rows, positives and subjects of each node, (J,) int64."""
        positives = np.zeros(self.size, dtype=np.int64)
        if self.rows.variance is None:
            positives = np.bincount(self.node, self.rows.label, self.size).astype(np.int64)
        subjects = np.bincount(self.pairs[0], minlength=self.size)
        return np.bincount(self.node, minlength=self.size), positives, subjects

    def residuals(self, offset: Array) -> tuple[Array, Array]:
        """Derivative of each row's log-likelihood by its node's offset, and the negative second one, (N,) each.

        Returns:
            Of labels 0 and 1 label − probability and p (1 − p); of numbers, with normal residuals, residual / variance
            and 1 / variance.
        """
        variance = self.rows.variance
        if variance is not None:
            residual = self.rows.label - self.rows.logit - offset[self.node]
            return residual / variance, np.full(len(residual), 1.0 / variance)
        probability = expit(self.rows.logit + offset[self.node])
        return self.rows.label - probability, probability * (1 - probability)

    def slope(self, offset: Array) -> tuple[Array, Array]:
        """Sum score and information of each node, (J,)."""
        residual, weight = self.residuals(offset)
        return _sums(self.node, residual, self.size), _sums(self.node, weight, self.size)

    def precision(self, offset: Array) -> Array:
        """1 / variance of each node's estimate, clustered by subject, (J,); 0 without information."""
        residual, weight = self.residuals(offset)
        by_subject = _sums(self.pair, residual, self.pairs.shape[1])
        noise = _sums(self.pairs[0], by_subject**2, self.size)
        information = _sums(self.node, weight, self.size)
        return np.divide(information**2, noise, out=np.zeros(self.size), where=noise > 0)


def _sums(node: Int, values: Array, size: int) -> Array:
    return np.bincount(node, values, size).astype(np.float64)


def _spread(nodes: _Nodes, offset: Array, parent: Int, estimated: NDArray[np.bool_]) -> float:
    """Estimate s² of a level by moments of Newton's first steps θ from 0, unweighted (Hedges, 1983).

    In a family of J nodes with variances v, E Σ θ² is about (J − 1) · (s² + mean v): the parent's offset is close to
    the mean of its nodes, which costs one degree of freedom. Weights by precision, as in meta-analysis, would let the
    largest node dominate. That node determines its parent's offset and lies near 0, so rare patterns would shrink too
    far.

    Args:
        nodes: of the level.
        offset: (J,) offset of each node's parent.
        parent: (J,) int64.
        estimated: (J,) bool.

    Returns:
        s², at least 0; 0 where no family has two estimated nodes.
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
    """Maximise each node's likelihood times its prior N(0, spread) by Newton's method, all nodes in parallel.

    The posterior is concave; a step is cut at `MAX_STEP`.

    Args:
        nodes: of the level.
        start: (J,) offset of each node's parent.
        spread: variance of the prior; infinite for none.
        free: (J,) bool, nodes to fit.

    Returns:
        (J,) offset beyond the parent's; 0 where a node is not free.
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
