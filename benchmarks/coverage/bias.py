"""Bias of three ways to free the calibration error of the part that sampling noise adds."""

import math

import numpy as np
import polars as pl

from benchmarks.coverage.grid import PREVALENCES, ROWS
from benchmarks.coverage.worlds import World, draw, truth
from mmnar_lightning.metrics import functional
from mmnar_lightning.metrics.calibration import bins_of, calibration_error
from mmnar_lightning.metrics.parts import Part, parts_of

SAMPLES = 40
MODELS = {"first": "calibrated", "overconfident": "overconfident"}


def candidates(part: Part) -> dict[str, float]:
    """Estimates of the calibration error from bins of one part.

    Returns:
        Name -> estimate. `minus expectation`: the error of the same bins minus that which a calibrated model is
        expected to have, at least 0. `squares`: the root of the squared gaps minus their variances (Kumar, Liang and
        Ma, NeurIPS 2019), at least 0.
    """
    bins = bins_of(part.probability)
    count = np.maximum(np.bincount(bins), 1)
    gap = np.bincount(bins, part.probability - part.label) / count
    variance = np.bincount(bins, part.probability * (1 - part.probability)) / count**2
    rate = np.bincount(bins, part.label) / count
    share = count / count.sum()
    expected = float((share * np.sqrt(variance)).sum()) * math.sqrt(2 / math.pi)
    own = rate * (1 - rate) / np.maximum(count - 1, 1)
    return {
        "minus expectation": max(float((share * np.abs(gap)).sum()) - expected, 0.0),
        "squares": math.sqrt(max(float((share * (gap**2 - own)).sum()), 0.0)),
    }


def biases(seed: int) -> pl.DataFrame:
    """Mean error of each estimate, by model, rows and prevalence.

    Returns:
        `model`, `rows`, `prevalence`, `estimate`, `bias`.
    """
    found = []
    for rows in ROWS:
        for prevalence in PREVALENCES:
            generator = np.random.default_rng([seed, rows])
            world = World(rows=rows, prevalence=prevalence, rows_per_subject=1, folds=1)
            for _ in range(SAMPLES):
                sample = draw(world, generator)
                for model, name in MODELS.items():
                    probability = getattr(sample, model)
                    parts = parts_of(probability, sample.label, sample.subject)
                    estimates = {
                        "15 bins": functional.calibration_error(probability, sample.label),
                        **candidates(parts.rows[0]),
                        "shrunk gaps": calibration_error(parts, 1.96)[0],
                    }
                    true = truth(prevalence)[model]["calibration_error"]
                    found += [(name, rows, prevalence, key, value - true) for key, value in estimates.items()]
    columns = ["model", "rows", "prevalence", "estimate", "bias"]
    frame = pl.DataFrame(found, schema=columns, orient="row")
    return frame.group_by(columns[:-1], maintain_order=True).agg(pl.col("bias").mean())
