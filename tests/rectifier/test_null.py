"""Labels that depend on nothing: no rectifier may find anything on rows outside of its fit."""

import numpy as np
import pytest
import torch

from data_modules import patterns
from mmnar_lightning.metrics.functional import auroc
from mmnar_lightning.rectifier.config import RectifierConfig
from mmnar_lightning.rectifier.estimate import Minimum, Rows, estimate
from mmnar_lightning.rectifier.rectifier import Rectifier

REPLICATES, FITTED, SCORED, FOLDS, MODALITIES = 200, 240, 160, 4, 4
SETTINGS = RectifierConfig(gate=False, min_rows=2, min_positives=1, min_negatives=1)


def noise(seed: int, count: int = FITTED + SCORED):
    """Logits, labels, pattern codes: independent of each other."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, 1, generator=generator)
    label = (torch.rand(count, 1, generator=generator) < 0.3).double()
    return logits, label, torch.randint(2**MODALITIES, (count,), generator=generator)


def rectified(logits, label, code, fit, scored) -> torch.Tensor:
    rectifier = Rectifier(1, MODALITIES, range(2**MODALITIES), len(label), SETTINGS)
    present, subject = patterns.decode(code, MODALITIES), torch.arange(len(label))
    known = torch.ones_like(label, dtype=torch.bool)
    columns = {"logits": logits, "label": label, "label_mask": known, "present": present, "subject": subject}
    rectifier.fit(**{name: column[fit] for name, column in columns.items()}, cohort="one")
    return rectifier.rectify(logits[scored], present[scored], subject[scored], "one").ranking


def on_one_split(seed: int) -> float:
    logits, label, code = noise(seed)
    fit, scored = torch.arange(FITTED), torch.arange(FITTED, FITTED + SCORED)
    found = rectified(logits, label, code, fit, scored)
    return auroc(found.sigmoid()[:, 0], label[scored, 0])


def cross_fitted(seed: int) -> float:
    """The mean of the logits of K models, each with the offsets of the fold that it held out."""
    logits, label, code = noise(seed)
    scored = torch.arange(FITTED, FITTED + SCORED)
    found = [
        rectified(logits + torch.randn(logits.shape, generator=torch.Generator().manual_seed(fold)), label, code,
                  torch.arange(fold, FITTED, FOLDS), scored)
        for fold in range(FOLDS)
    ]  # fmt: skip
    return auroc(torch.stack(found).mean(0).sigmoid()[:, 0], label[scored, 0])


def on_the_scored_rows(seed: int) -> float:
    """What the guard forbids, by way of the estimate itself."""
    logits, label, code = noise(seed, SCORED)
    columns = logits[:, 0].double().numpy(), label[:, 0].numpy(), np.arange(SCORED), code.numpy()
    modalities = patterns.decode(torch.arange(2**MODALITIES), MODALITIES).sum(1).numpy()
    least = Minimum(rows=2, positives=1, negatives=1)
    raw = np.nan_to_num(estimate(Rows.of(*columns), modalities, MODALITIES, least, "logit").pattern.raw)
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
