"""Estimators over inner folds: common choices over the held-out rows, and averages."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from data_modules.batch import Batch
from mmnar_lightning.baselines.boosted_trees import BoostedTrees
from mmnar_lightning.baselines.config import BoostedTreesConfig
from mmnar_lightning.baselines.folded import FoldedEstimator
from mmnar_lightning.baselines.logistic_regression import LogisticRegression
from mmnar_lightning.baselines.testing import TASKS, inputs_of, simulated_batch
from mmnar_lightning.metrics.functional import auroc

FOLDS = 3


def with_folds(rows: int = 300) -> Batch:
    batch = simulated_batch(rows)
    return replace(batch, fold=(torch.arange(rows) % FOLDS).unsqueeze(1))


def log_loss(probability: Tensor, batch: Batch, task: int) -> float:
    known = batch.label_mask[:, task]
    own = probability[known, task].double()
    label = batch.label[known, task].double()
    return float(-(label * own.log() + (1 - label) * (1 - own).log()).mean())


def test_copies_share_the_penalty_with_the_least_log_loss_of_the_held_out_rows():
    batch = with_folds()
    folded = FoldedEstimator(lambda seed: LogisticRegression(inputs_of(batch)), TASKS, FOLDS, 0)
    folded.fit(batch, batch)
    for task, name in enumerate(TASKS):
        assert {member.iterations[name] for member in folded.members} == {folded.iterations[name]}
        best = folded.losses[name]
        assert folded.iterations[name] == int(np.argmin(best)) + 1
        np.testing.assert_allclose(log_loss(folded.predict(batch), batch, task), min(best), rtol=1e-5)


def test_rows_outside_of_the_folds_are_train_rows_of_every_copy():
    """As those of a target's calibration split, which choose nothing."""
    batch, target = with_folds(30), replace(simulated_batch(12, seed=1), site=torch.ones(12).bool())
    folded = FoldedEstimator(lambda seed: Noted(), TASKS, FOLDS, 0)
    folded.fit(Batch.concat([batch, replace(target, row_id=target.row_id + 100)]), batch)
    for fold, member in enumerate(folded.members):
        assert isinstance(member, Noted)
        assert member.held == list(range(fold, 30, FOLDS))
        assert member.fitted[-12:] == list(range(100, 112))
        assert len(member.fitted) == 32


class Noted:
    """Notes the rows that it is given, and predicts nothing."""

    def __init__(self) -> None:
        self.iterations = dict.fromkeys(TASKS, 1)
        self.losses: dict[str, list[float]] = {}
        self.remarks: list[str] = []

    def fit(self, train: Batch, val: Batch) -> None:
        self.fitted, self.held = train.row_id.tolist(), val.row_id.tolist()

    def predict(self, batch: Batch) -> Tensor:
        return torch.zeros(len(batch), len(TASKS))


def test_trees_of_all_folds_have_one_number():
    batch = with_folds()
    folded = FoldedEstimator(lambda seed: BoostedTrees(inputs_of(batch), BoostedTreesConfig(), seed), TASKS, FOLDS, 0)
    folded.fit(batch, batch)
    for task, name in enumerate(TASKS):
        assert {member.iterations[name] for member in folded.members} == {folded.iterations[name]}
        np.testing.assert_allclose(log_loss(folded.predict(batch), batch, task), min(folded.losses[name]), rtol=1e-5)


def test_a_copy_never_trains_on_its_held_out_rows_and_other_rows_get_the_mean_logit():
    seen: list[list[int]] = []

    class Constant:
        """Predicts its number, and keeps no choice."""

        def __init__(self) -> None:
            self.number = len(seen)
            self.iterations = dict.fromkeys(TASKS, 1)
            self.losses: dict[str, list[float]] = {}
            self.remarks = ["once"]

        def fit(self, train: Batch, val: Batch) -> None:
            assert sorted(train.row_id.tolist() + val.row_id.tolist()) == list(range(30))
            seen.append(val.row_id.tolist())

        def predict(self, batch: Batch) -> Tensor:
            return torch.full((len(batch), len(TASKS)), float(self.number)).double().sigmoid()

    batch = with_folds(30)
    folded = FoldedEstimator(lambda seed: Constant(), TASKS, FOLDS, 0)
    folded.fit(batch, batch)
    assert seen == [list(range(fold, 30, FOLDS)) for fold in range(FOLDS)]
    assert folded.remarks == ["once"]
    torch.testing.assert_close(folded.predict(batch).logit()[:, 0], batch.fold[:, 0].double())
    outside = folded.predict(replace(batch, fold=torch.full((30, 1), -1))).logit()
    torch.testing.assert_close(outside, torch.ones(30, 3).double())
    torch.testing.assert_close(folded.predict(replace(batch, fold=None)).logit(), outside)


def test_noise_stays_noise_outside_of_the_folds_and_within_each_of_them():
    generator = torch.Generator().manual_seed(0)
    held: list[float] = []
    outside: list[float] = []
    for seed in range(12):
        other = simulated_batch(240, seed=100 + seed)
        noise = (torch.rand(480, len(TASKS), generator=generator) < 0.3).float()
        batch = replace(simulated_batch(240, seed=seed), label=noise[:240], fold=with_folds(240).fold)
        inputs = inputs_of(batch)
        folded = FoldedEstimator(partial(lambda inputs, seed: LogisticRegression(inputs), inputs), TASKS, FOLDS, 0)
        folded.fit(batch, batch)
        within, rest = folded.predict(batch), folded.predict(other)
        for task in range(len(TASKS)):
            for fold in range(FOLDS):  # rows of different folds are predicted by different models
                known = batch.label_mask[:, task] & (batch.fold[:, 0] == fold)
                held.append(auroc(within[known, task], noise[:240][known, task]))
            known = other.label_mask[:, task]
            outside.append(auroc(rest[known, task], noise[240:][known, task]))
    for found in (held, outside):
        assert abs(np.mean(found) - 0.5) < 3 * np.std(found) / np.sqrt(len(found))
