"""Samples with known truth: rows of subjects, and models that see a signal with more or less noise."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm
from torch import Tensor

from mmnar_lightning.metrics import calibration, functional
from mmnar_lightning.metrics.bootstrap import RESAMPLED
from mmnar_lightning.metrics.parts import parts_of

SIGNAL, SUBJECT, ROW = 1.0, 0.7, 1.0
"""Standard deviations of the latent risk: what the models see, what a subject's rows share beside it, and the rest."""
SHARED = 0.6
"""Share of the variance of the signal, and of the second model's noise, between subjects."""
NOISE = 0.5
"""Standard deviation of the second model's noise."""
OVERCONFIDENT = (0.3, 1.4)
"""Shift and factor of the logits of a model that is not calibrated."""
THRESHOLDS = {"net benefit, at the prevalence": 1.0, "net benefit, at 1.5 times it": 1.5}
"""Figure -> threshold, as a multiple of the prevalence."""
TRUTH_ROWS = 100_000


@dataclass(frozen=True, kw_only=True)
class World:
    """Where samples are drawn from.

    Attributes:
        rows: of a sample.
        prevalence: share of positives.
        rows_per_subject: mean number.
        folds: into which subjects are drawn.
    """

    rows: int
    prevalence: float
    rows_per_subject: float
    folds: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """N rows: probabilities of two calibrated models and of one that is not, labels, subjects and folds, each (N,)."""

    first: Tensor
    second: Tensor
    overconfident: Tensor
    label: Tensor
    subject: Tensor
    fold: Tensor | None

    @property
    def small(self) -> int:
        """Rows of the smaller class."""
        return int(min(self.label.sum(), (1 - self.label).sum()))


def draw(world: World, generator: np.random.Generator) -> Sample:
    """Draw a sample; the labels of a subject's rows are correlated beyond the signal, by a probit model."""
    if world.rows_per_subject == 1:
        subject = np.arange(world.rows)
    else:
        sizes = 1 + generator.poisson(world.rows_per_subject - 1, size=world.rows)
        subject = np.repeat(np.arange(world.rows), sizes)[: world.rows]
    number = int(subject.max()) + 1

    def correlated() -> NDArray[np.float64]:
        between, own = generator.normal(size=number)[subject], generator.normal(size=len(subject))
        signal: NDArray[np.float64] = np.sqrt(SHARED) * between + np.sqrt(1 - SHARED) * own
        return signal

    hidden = SUBJECT**2 + ROW**2
    mean = norm.ppf(world.prevalence) * np.sqrt(SIGNAL**2 + hidden)
    signal = SIGNAL * correlated()
    seen = signal + NOISE * correlated()
    kept = SIGNAL**2 / (SIGNAL**2 + NOISE**2)
    rest = SUBJECT * generator.normal(size=number)[subject] + ROW * generator.normal(size=len(subject))
    first = norm.cdf((mean + signal) / np.sqrt(hidden))
    second = norm.cdf((mean + kept * seen) / np.sqrt(hidden + SIGNAL**2 * (1 - kept)))
    shift, factor = OVERCONFIDENT
    fold = (generator.permutation(number) % world.folds)[subject]
    columns = (first, second, expit(factor * logit(first) + shift), (mean + signal + rest > 0).astype(float), subject)
    drawn = [torch.from_numpy(column) for column in columns]
    return Sample(
        first=drawn[0],
        second=drawn[1],
        overconfident=drawn[2],
        label=drawn[3],
        subject=drawn[4],
        fold=torch.from_numpy(fold) if world.folds > 1 else None,
    )


@cache
def truth(prevalence: float, rows: int = TRUTH_ROWS) -> dict[str, dict[str, float]]:
    """Metrics of the three models in a large sample of different subjects.

    Args:
        prevalence: share of positives.
        rows: of the sample.

    Returns:
        model -> metric -> value. The calibration error of a calibrated model is 0. "net benefit" is of the first model,
        at each of `THRESHOLDS`.
    """
    world = World(rows=rows, prevalence=prevalence, rows_per_subject=1, folds=1)
    sample = draw(world, np.random.default_rng(0))
    label, found = sample.label, {}
    for model in ("first", "second", "overconfident"):
        probability = getattr(sample, model)
        found[model] = {
            "auroc": functional.auroc(probability, label),
            "average_precision": functional.average_precision(probability, label),
            "brier": functional.brier_score(probability, label),
            "calibration_error": 0.0,
            "observed_expected": 1.0,
            "calibration_slope": 1.0,
            "calibration_intercept": 0.0,
        }
    shift = calibration.intercept(parts_of(sample.overconfident, label, sample.subject), 1.0)[0]
    found["overconfident"] |= {
        "calibration_error": _gap(sample.overconfident, sample.first),
        "observed_expected": float(sample.first.sum() / sample.overconfident.sum()),
        "calibration_slope": 1 / OVERCONFIDENT[1],
        "calibration_intercept": shift,
    }
    found["net benefit"] = {name: _benefit(sample.first, at * prevalence) for name, at in THRESHOLDS.items()}
    found["difference"] = {name: found["first"][name] - found["second"][name] for name in RESAMPLED}
    return found


def _benefit(risk: Tensor, threshold: float) -> float:
    """The net benefit of a calibrated model, without the noise of labels."""
    return float(((risk - (1 - risk) * threshold / (1 - threshold)) * (risk >= threshold)).mean())


def _gap(probability: Tensor, risk: Tensor) -> float:
    """The calibration error in 15 bins of a model whose rows have known risks, without the noise of labels."""
    bins = functional.equal_mass_bins(probability, 15)
    return float(bins.bincount(probability - risk, minlength=15).abs().sum() / len(risk))
