"""Labels that depend on nothing: no rectifier may find anything on rows outside of its fit."""

import numpy as np
import polars as pl
import pytest
import torch

from data_modules import patterns
from mmnar_lightning.metrics.functional import auroc
from mmnar_lightning.rectifier.config import RectifierConfig
from mmnar_lightning.rectifier.estimate import Minimum, Rows, estimate
from mmnar_lightning.rectifier.rectifier import Rectifier
from mmnar_lightning.runs import gather
from mmnar_lightning.runs.plan import Child

REPLICATES, FITTED, SCORED, FOLDS, MODALITIES = 60, 240, 160, 4, 4
SETTINGS = RectifierConfig(gate=False, min_rows=2)


def noise(seed: int, count: int = FITTED + SCORED):
    """Logits, labels, pattern codes: independent of each other."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, 1, generator=generator)
    label = (torch.rand(count, 1, generator=generator) < 0.3).double()
    return logits, label, torch.randint(2**MODALITIES, (count,), generator=generator)


class Fit:
    """Rectifiers of one draw of noise."""

    def __init__(self, label: torch.Tensor, code: torch.Tensor) -> None:
        self.columns = {
            "label": label,
            "label_mask": torch.ones_like(label, dtype=torch.bool),
            "present": patterns.decode(code, MODALITIES),
            "subject": torch.arange(len(label)),
        }

    def of(self, method: str, logits: torch.Tensor, rows: torch.Tensor) -> Rectifier:
        """`fit` or `fit_centred` on some rows."""
        rectifier = Rectifier(1, MODALITIES, range(2**MODALITIES), len(logits), SETTINGS)
        columns = {name: column[rows] for name, column in self.columns.items()}
        getattr(rectifier, method)(logits=logits[rows], **columns, cohort="one")
        return rectifier

    def apply(self, rectifier: Rectifier, logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Logits of some rows, shifted."""
        present, subject = (self.columns[name][rows] for name in ("present", "subject"))
        return rectifier.rectify(logits[rows], present, subject, "one").logit()


def on_one_split(seed: int) -> float:
    logits, label, code = noise(seed)
    fit, scored = torch.arange(FITTED), torch.arange(FITTED, FITTED + SCORED)
    made = Fit(label, code)
    found = made.apply(made.of("fit", logits, fit), logits, scored)
    return auroc(found.sigmoid()[:, 0], label[scored, 0])


def cross_fitted(seed: int) -> float:
    """K models, each with τ⁰ of one fold and the rectifier of another; their logits averaged as a parent does."""
    logits, label, code = noise(seed)
    scored, made, frames = torch.arange(FITTED, FITTED + SCORED), Fit(label, code), []
    for fold in range(FOLDS):
        own = logits + torch.randn(logits.shape, generator=torch.Generator().manual_seed(fold))
        half_b, half_a = (torch.arange(place % FOLDS, FITTED, FOLDS) for place in (fold, fold + 1))
        shifted = own.double().clone()
        offset = made.of("fit_centred", own, half_a)
        for rows in (half_b, scored):
            shifted[rows] = made.apply(offset, own, rows)
        found = made.apply(made.of("fit", shifted, half_b), shifted, scored)
        columns = {"logit/x": shifted[scored, 0].numpy(), "rectified/x": found[:, 0].numpy()}
        frames.append(pl.DataFrame({"row_id": scored.numpy(), **columns}))
    children = [Child(f"fold{fold}", seed=0, fold=fold) for fold in range(FOLDS)]
    mean = gather.average_folds(gather.pool(children, frames))["rectified/x"]
    return auroc(torch.from_numpy(mean.to_numpy(writable=True)).sigmoid(), label[scored, 0])


def on_the_scored_rows(seed: int) -> float:
    """What the guard forbids, by way of the estimate itself."""
    logits, label, code = noise(seed, SCORED)
    columns = logits[:, 0].double().numpy(), label[:, 0].numpy(), np.arange(SCORED), code.numpy()
    modalities = patterns.decode(torch.arange(2**MODALITIES), MODALITIES).sum(1).numpy()
    least = Minimum(rows=2, class_rows=1)
    raw = np.nan_to_num(estimate(Rows.of(*columns), modalities, MODALITIES, least).pattern.raw)
    return auroc(torch.from_numpy(columns[0] + raw[columns[3]]).sigmoid(), label[:, 0])


def error_of_mean(method) -> tuple[float, float]:
    values = np.array([method(seed) for seed in range(REPLICATES)])
    return values.mean() - 0.5, values.std(ddof=1) / np.sqrt(REPLICATES)


@pytest.mark.parametrize("method", [on_one_split, cross_fitted])
def test_outside_of_the_fit_noise_stays_noise(method) -> None:
    off, error = error_of_mean(method)
    assert abs(off) < 2 * error
    assert error < 0.01


def test_on_the_rows_of_the_fit_noise_looks_like_skill() -> None:
    off, error = error_of_mean(on_the_scored_rows)
    assert off > 0.05
    assert off > 10 * error
