"""What each part should earn, written before any method was run (docs/phases.md)."""

import math
from dataclasses import dataclass

PARTS = {
    "conditioning": "full minus without conditioning",
    "reconstruction": "full minus without reconstruction",
    "contrast": "full minus without contrast",
    "rectifier": "full minus without rectifier",
    "additive": "full minus without additive head",
    "piecewise": "full minus without piecewise encoding",
    "columns": "full on all columns minus full on 8 components",
    "pretraining": "full after pre-training minus full",
    "canonical": "full minus without canonical axes",
    "axes": "piecewise regression with canonical axes minus without",
    "fusion": "full minus piecewise regression",
    "lead": "full minus best fair baseline",
    "trees": "boosted trees minus linear regression",
    "headroom": "oracle minus linear regression",
}
"""Name of a difference -> what it subtracts from what."""


@dataclass(frozen=True)
class Prediction:
    """A range of a difference of mean AUROC.

    Attributes:
        cell: of the plan.
        part: of `PARTS`.
        low: lower end.
        high: upper end.
    """

    cell: str
    part: str
    low: float
    high: float

    def verdict(self, value: float, low: float, high: float) -> str:
        """Compare what was found with the range.

        Args:
            value: the difference.
            low: lower end of its interval.
            high: upper end.

        Returns:
            `holds`: the value is in the range; `open`: only its interval meets the range; `fails`.

        >>> Prediction("base", "lead", 0.0, 0.003).verdict(0.004, 0.002, 0.006)
        'open'
        """
        if self.low <= value <= self.high:
            return "holds"
        return "open" if low <= self.high and high >= self.low else "fails"


def _about(cell: str, width: float, *parts: str) -> list[Prediction]:
    return [Prediction(cell, part, -width, width) for part in parts]


def _from(cell: str, part: str, low: float) -> Prediction:
    return Prediction(cell, part, low, math.inf)


NOT_HERE = ("conditioning", "reconstruction", "contrast", "rectifier")
PREDICTIONS = (
    *_about("base", 0.002, *NOT_HERE, "additive", "piecewise"),
    *(entry for cell in ("base", "base-2k", "base-30k", "base-60k") for entry in _about(cell, 0.003, "lead")),
    Prediction("base-60k", "headroom", -math.inf, 0.0045),
    Prediction("nu-0.4", "piecewise", 0.001, 0.005),
    _from("nu-0.8", "piecewise", 0.005),
    _from("nu-0.8", "trees", 0.0),
    *_about("nu-0.8", 0.002, *NOT_HERE),
    *_about("kappa-0.7-2k", 0.003, "fusion"),
    _from("kappa-0.7", "fusion", 0.002),
    _from("kappa-0.7-30k", "fusion", 0.005),
    Prediction("pi-0.9", "conditioning", 0.005, 0.02),
    *_about("pi-0.9", 0.002, "reconstruction"),
    _from("phi-2.5", "columns", 0.01),
    Prediction("phi-2.5", "trees", -math.inf, 0.0),
    Prediction("shared-few", "pretraining", 0.01, 0.06),
    *_about("shared-all", 0.003, "pretraining"),
    Prediction("unshared-few", "pretraining", -0.02, 0.005),
    Prediction("shared-fewest", "pretraining", -0.005, 0.01),
    Prediction("shared-some", "pretraining", -0.003, 0.005),
    *(Prediction("shared-fewest", part, 0.005, 0.05) for part in ("canonical", "axes")),
    *(Prediction("shared-few", part, 0.005, 0.02) for part in ("canonical", "axes")),
    Prediction("shared-some", "canonical", 0.0, 0.012),
    Prediction("shared-all", "canonical", 0.0, 0.006),
    Prediction("unshared-few", "canonical", 0.005, 0.04),
    Prediction("unshared-few", "axes", 0.01, 0.05),
    *(entry for cell in ("base", "base-2k") for entry in _about(cell, 0.001, "canonical")),
    *_about("shift-0", 0.001, "rectifier"),
    _from("shift-0.5", "rectifier", 0.005),
    _from("shift-1", "rectifier", 0.015),
)
"""All ranges."""

BEST = {
    "base-2k": "linear regression",
    "base": "linear regression",
    "base-30k": "presence products",
    "base-60k": "presence products",
    "pi-0.9": "hierarchical slopes",
    "pi-0.9-30k": "one regression per pattern",
}
"""Cell -> the baseline that should have the highest mean AUROC."""
