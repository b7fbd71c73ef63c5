"""Labels that depend on nothing: no baseline may predict them in rows that it was not fitted on."""

from dataclasses import replace
from functools import cache, partial

import pytest
import torch
from torch import Tensor

from data_modules import patterns
from data_modules.batch import Batch
from mmnar_lightning.baselines.folded import FoldedEstimator
from mmnar_lightning.baselines.registry import BASELINES, NetworkBaseline
from mmnar_lightning.ensemble import FoldEnsemble
from mmnar_lightning.metrics.functional import auroc
from tests.helpers.baselines import CONFIGS, COUNT, LEARNT, TASKS, fit_network, inputs_of
from tests.helpers.batches import make_batch

FOLDS, FITTED, NEW, STEPS = 2, 400, 2000, 20
OUT_OF_FOLD_ERROR, NEW_ERROR = 0.025, 0.008
"""Standard errors of the mean AUROC of three tasks, a third of whose labels are positive, √((n + 1) / 12 n₁ n₀) of a
task; that of one fold of two, because each is predicted from the other."""
NETWORKS = [name for name in LEARNT if isinstance(BASELINES[name], NetworkBaseline)]


def noise(rows: int, seed: int) -> Batch:
    """Inputs, presence and labels, independent of each other; two folds."""
    generator = torch.Generator().manual_seed(seed)
    present = patterns.decode(torch.randint(2**COUNT, (rows,), generator=generator), COUNT)
    label = (torch.rand(rows, len(TASKS), generator=generator) < 0.33).float()
    fold = torch.arange(rows)[:, None] % FOLDS
    return replace(make_batch(present, seed=seed), label=label, label_mask=torch.ones_like(label).bool(), fold=fold)


@torch.no_grad()
def predicted(model: torch.nn.Module, batch: Batch) -> Tensor:
    return model.eval()(batch).logits.sigmoid()


@cache
def network(name: str) -> FoldEnsemble:
    """A network of each fold, fitted on the other."""
    train = noise(FITTED, seed=1)
    baseline = BASELINES[name]
    assert isinstance(baseline, NetworkBaseline)
    torch.manual_seed(0)
    ensemble = FoldEnsemble([baseline.build(inputs_of(train), CONFIGS[name]) for _ in range(FOLDS)], FOLDS)
    for member, own in ensemble.parts(train):
        fit_network(member, own, STEPS)
    return ensemble


def within_folds(probability: Tensor, batch: Batch) -> float:
    """The mean AUROC over folds and tasks."""
    found = []
    for fold in range(FOLDS):
        rows = batch.fold[:, 0] == fold
        found += [auroc(probability[rows, task], batch.label[rows, task]) for task in range(len(TASKS))]
    return sum(found) / len(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNT)
def test_noise_stays_noise_in_rows_outside_of_the_fit(name: str) -> None:
    train, new = noise(FITTED, seed=1), replace(noise(NEW, seed=2), fold=None)
    baseline = BASELINES[name]
    if isinstance(baseline, NetworkBaseline):
        ensemble = network(name)
        held, unseen = predicted(ensemble, train), predicted(ensemble, new)
    else:
        estimator = FoldedEstimator(partial(baseline.build, inputs_of(train), CONFIGS[name]), TASKS, FOLDS, 0)
        estimator.fit(train, train)
        held, unseen = estimator.predict(train), estimator.predict(new)
    assert abs(within_folds(held, train) - 0.5) < 3 * OUT_OF_FOLD_ERROR
    whole = [auroc(unseen[:, task], new.label[:, task]) for task in range(len(TASKS))]
    assert abs(sum(whole) / len(TASKS) - 0.5) < 3 * NEW_ERROR


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "mask_only"])
def test_rows_of_the_fit_look_like_skill(name: str) -> None:
    train = noise(FITTED, seed=1)
    ensemble = network(name)
    other = replace(train, fold=1 - train.fold)
    assert within_folds(predicted(ensemble, other), train) > 0.6
