"""Count how often intervals hold the true value, over a grid of worlds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.coverage.worlds import THRESHOLDS, Sample, World, draw, truth
from mmnar_lightning.metrics.bootstrap import METRICS, RESAMPLED
from mmnar_lightning.metrics.cells import metric_intervals
from mmnar_lightning.metrics.intervals import Interval
from mmnar_lightning.metrics.net_benefit import net_benefits
from mmnar_lightning.metrics.paired import paired_difference

CALIBRATION = METRICS[3:]
"""Metrics that are also measured for a model that is not calibrated."""
REPLICATES = 200
ROWS = (20, 40, 60, 100, 200, 500, 2000)
PREVALENCES = (0.05, 0.1, 0.3, 0.5)


@dataclass(frozen=True, kw_only=True)
class Found:
    """An interval in a sample.

    Attributes:
        world: of the sample.
        small: rows of the smaller class in it.
        figure: metric, of a model.
        method: of the interval; None if there is none.
        holds: whether the interval has the true value.
        width: of the interval; NaN if there is none.
        error: value minus truth.
    """

    world: World
    small: int
    figure: str
    method: str | None
    holds: bool
    width: float
    error: float


def worlds() -> list[World]:
    """All worlds of the page."""
    return [
        World(rows=rows, prevalence=prevalence, rows_per_subject=size, folds=folds)
        for rows in ROWS
        for prevalence in PREVALENCES
        for size in (1, 2.5)
        for folds in (1, 5)
    ]


def measure(world: World, num_samples: int, seed: int, figures: Sequence[str] = ()) -> list[Found]:
    """Draw samples and score them.

    Args:
        world: where from.
        num_samples: how many.
        seed: of the samples; those of two worlds are independent.
        figures: only these; empty = all.

    Returns:
        One entry per sample and figure with a value.
    """
    place = [world.rows, round(1000 * world.prevalence), round(10 * world.rows_per_subject), world.folds]
    generator = np.random.default_rng([seed, *place])
    known, found = truth(world.prevalence), []
    places = torch.tensor(list(THRESHOLDS.values()), dtype=torch.float64) * world.prevalence
    for number in range(num_samples):
        sample = draw(world, generator)
        for figure, interval, true in _scored(sample, number, known, places, figures):
            if interval.value == interval.value:
                held = interval.low <= true <= interval.high
                width = interval.high - interval.low
                error = interval.value - true
                found.append(
                    Found(
                        world=world,
                        small=sample.small,
                        figure=figure,
                        method=interval.method,
                        holds=held,
                        width=width,
                        error=error,
                    )
                )
    return found


def _scored(
    sample: Sample, seed: int, known: dict[str, dict[str, float]], places: torch.Tensor, figures: Sequence[str]
) -> Iterator[tuple[str, Interval, float]]:
    rows: dict[str, Any] = {"label": sample.label, "subject": sample.subject, "fold": sample.fold, "seed": seed}
    whole = metric_intervals(sample.first, **rows, num_replicates=REPLICATES)
    for name in METRICS:
        yield name, whole[name], known["first"][name]
    if figures and not any("," in name for name in figures):
        return
    whole = metric_intervals(sample.overconfident, **rows, num_replicates=1)
    for name in CALIBRATION:
        yield f"{name}, overconfident", whole[name], known["overconfident"][name]
    pair = paired_difference(sample.first, sample.second, **rows, num_replicates=REPLICATES)
    for name in RESAMPLED:
        yield f"{name}, difference", pair[name], known["difference"][name]
    benefits = net_benefits(sample.first, sample.label, sample.subject, thresholds=places)
    for name, benefit in zip(THRESHOLDS, benefits, strict=True):
        yield name, benefit.model, known["net benefit"][name]
