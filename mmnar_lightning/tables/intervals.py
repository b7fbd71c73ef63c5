"""Says how many cells of a table have no interval, and by which rule."""

from collections import Counter
from collections.abc import Sequence

from mmnar_lightning.evaluation.results import Score
from mmnar_lightning.metrics.profile import MAX_COEFFICIENT
from mmnar_lightning.metrics.small_samples import MIN_FOLD_POSITIVES
from mmnar_lightning.tables.score import METRICS, Line

NAMES = dict(zip(METRICS, ("AUROC", "average precision", "Brier", "calibration slope"), strict=True))
ONE_CLASS, ONE_SUBJECT = "no test set has both classes", "a single subject in a test set"
UNDEFINED = {
    "average_precision": "no positive",
    "calibration_slope": "no test set has both classes and two probabilities",
}
"""Metric -> why it has no value, if not because of `ONE_CLASS`."""
ENDLESS = {
    "average_precision": f"fewer than {MIN_FOLD_POSITIVES} positives a fold on average",
    "calibration_slope": f"the likelihood falls too little within {MAX_COEFFICIENT:.0f} of 0",
}
"""Metric -> why a value has no interval, if not because of `ONE_SUBJECT`; method.md, section 5."""


def without_interval(lines: Sequence[Line]) -> str:
    """For each metric, the number of cells that are not masked and have no interval, by rule.

    Args:
        lines: of a table.

    Returns:
        A sentence.
    """
    cells = [line for line in lines if line.rows is not None]
    counted = [f"{NAMES[metric]} {_text([_rule(line, metric) for line in cells])}" for metric in METRICS]
    pairs = [line.difference for line in cells if line.difference is not None]
    differences = _text([_reason(score, ONE_CLASS, ONE_SUBJECT) for score in pairs])
    return (
        f"Cells without an interval, of {len(cells)} that are not masked, patterns included: {', '.join(counted)}; of "
        f"{len(pairs)} differences {differences}."
    )


def _rule(line: Line, metric: str) -> str:
    """Why a cell has no interval of a metric; empty if it has one."""
    brier = line.scores.get("brier")
    lone = brier is not None and brier.value is not None and brier.low is None
    endless = ONE_SUBJECT if lone else ENDLESS.get(metric, ONE_SUBJECT)
    return _reason(line.scores.get(metric), UNDEFINED.get(metric, ONE_CLASS), endless)


def _reason(score: Score | None, undefined: str, endless: str) -> str:
    if score is None or score.value is None:
        return undefined
    return endless if score.low is None else ""


def _text(rules: Sequence[str]) -> str:
    """Return the number of rules, and that of each.

    >>> _text(["", "no positive", "one subject", "no positive"]), _text([""])
    ('3 (no positive: 2; one subject: 1)', '0')
    """
    counts = Counter(rule for rule in rules if rule)
    each = "; ".join(f"{rule}: {count}" for rule, count in counts.items())
    return f"{counts.total()} ({each})" if counts else "0"
