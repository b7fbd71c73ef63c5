"""Logistic regressions refitted with rows of a target: the held-out era of a cohort, and another cohort."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from data_modules.loading.opened import OpenedCohort
from mmnar_lightning.baselines.folded import FoldedEstimator
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.runs import build, estimator, single, transfer
from mmnar_lightning.runs.run import Run
from mmnar_lightning.saved import read
from tests.conftest import write_custom_cohort
from tests.helpers.penalised import Array, penalised

INVERSE = 0.5
WORDS = (
    "experiment=custom,baselines/logistic_regression", "trainer.progress_bar=false", "trainer.accelerator=cpu",
    "wandb.enabled=false", "evaluation.num_replicates=100", f"model.additive.inverse_penalties=[{INVERSE}]",
)  # fmt: skip
AT = {
    "era": ("cohort.split.num_folds=3", "cohort.split.test_fold=2", "cohort.split.target_calibration=0.4"),
    "elsewhere": ("transfer.target=elsewhere.yaml",),
}
Compose = Callable[..., ExperimentConfig]


@pytest.fixture
def settings(workplace: Path) -> Compose:
    """Settings of a refit at either target; in both, its labels follow another rule than those of the source."""
    path = write_custom_cohort(workplace / "given", num_subjects=180) / "cohort.parquet"
    rows = pl.read_parquet(path)
    rows.with_columns(fold=rows["subject_id"].str.slice(1).cast(pl.Int64) % 3).write_parquet(path)
    other = write_custom_cohort(workplace / "other", num_subjects=150, seed=1)
    target = f"dataset: custom\npaths: {{cohort: {other}}}\ncohort: {{name: other, split: {{salt: other}}}}\n"
    (workplace / "elsewhere.yaml").write_text(target)
    for folder, at_target in (("given", pl.col("fold") == 2), ("other", pl.lit(value=True))):
        turned = at_target & ~pl.col("present/vectors")
        change(workplace, folder, turned)

    def compose(target: str, refit: str, *words: str) -> ExperimentConfig:
        os.environ.pop("MMNAR_RUN_ID", None)
        given = [f"paths.cohort={workplace / 'given'}", f"baseline.logistic_regression.refit={refit}"]
        return load([*WORDS, *given, *AT[target], *words])

    return compose


def change(workplace: Path, folder: str, turned: pl.Expr) -> None:
    """Turn the labels of the first task in some rows of a custom cohort."""
    path = workplace / folder / "cohort.parquet"
    label = pl.col("label/first")
    pl.read_parquet(path).with_columns(pl.when(turned).then(~label).otherwise(label)).write_parquet(path)


class Refit:
    """A refit, its source and its target.

    Args:
        config: of the run.
        folder: of the run; fit.json is written into it.
    """

    def __init__(self, config: ExperimentConfig, folder: Path) -> None:
        datamodule = build.build_datamodule(config)
        datamodule.prepare_data()
        datamodule.setup()
        folder.mkdir()
        self.source = datamodule.cohort
        opened = transfer.open_target(config, self.source)
        self.target = self.source if opened is None else opened.cohort
        self.fitted = estimator.fit(Run(config, datamodule, folder))

    def logits(self, cohort: OpenedCohort) -> Array:
        """Of the test rows of a cohort."""
        return estimator.test_rows(cohort, self.fitted).logits.numpy()


def blocks(cohort: OpenedCohort, split: str) -> tuple[Array, Array, Array, Array]:
    """The table and the vectors of a split, zero where absent; whether vectors are present; labels, NaN if unknown."""
    return blocks_of(cohort, cohort.rows(split))


def blocks_of(cohort: OpenedCohort, rows: torch.Tensor) -> tuple[Array, Array, Array, Array]:
    """As `blocks`, of rows."""
    batch = cohort.arrays.gather(rows)
    seen = batch.present[:, 1].double().numpy()
    vectors = np.where(seen[:, None] > 0, batch.inputs["vectors"].numpy(), 0.0)
    label = batch.label.masked_fill(~batch.label_mask, torch.nan)
    return batch.inputs["table"].double().numpy(), vectors.astype(float), seen, label.double().numpy()


def expected(parts: list[Any], at_target: list[bool], tested: Any, *, is_target: bool, joint: bool) -> Array:
    """Logits of some rows by a regression on [table, vectors, pattern, site × pattern], each block of variance 1."""
    table, vectors, seen, label = (np.concatenate([part[column] for part in parts]) for column in range(4))
    site = np.repeat(at_target, [len(part[0]) for part in parts])
    scales = np.sqrt(table.var(axis=0).sum()), np.sqrt(vectors[seen > 0].var(axis=0).sum())

    def design(table: Array, vectors: Array, seen: Array, site: Any) -> Array:
        pattern = np.stack([seen, 1 - seen], axis=1).astype(float)
        return np.hstack([table / scales[0], vectors / scales[1], pattern, *([pattern * site[:, None]] * joint)])

    columns = design(table, vectors, seen, site)
    variance = np.ones(columns.shape[1])
    found = []
    for task in range(label.shape[1]):
        known = np.isfinite(label[:, task])
        weights = penalised(columns[known], variance, label[known, task], INVERSE)
        found.append(
            design(tested[0], tested[1], tested[2], np.full(len(tested[2]), is_target)) @ weights[:-1] + weights[-1]
        )
    return np.stack(found, axis=1)


@pytest.mark.parametrize("target", AT)
@pytest.mark.parametrize("refit", ["pooled", "joint"])
def test_a_refit_is_the_regression_on_train_rows_and_the_target_s_calibration_rows(
    target: str, refit: str, settings: Compose, workplace: Path
) -> None:
    run = Refit(settings(target, refit), workplace / "run")
    parts, joint = [blocks(run.source, "train"), blocks(run.target, "calibration")], refit == "joint"
    own = expected(parts, [False, True], blocks(run.target, "test"), is_target=True, joint=joint)
    np.testing.assert_allclose(run.logits(run.target), own, rtol=2e-2, atol=1e-2)
    alone = expected(parts[:1], [False], blocks(run.target, "test"), is_target=False, joint=False)
    assert np.abs(own - alone).max() > 0.2, "the target changes the regression"
    if target == "elsewhere":
        source = expected(parts, [False, True], blocks(run.source, "test"), is_target=False, joint=joint)
        np.testing.assert_allclose(run.logits(run.source), source, rtol=2e-2, atol=1e-2)


@pytest.mark.parametrize(("target", "folder"), [("era", "given"), ("elsewhere", "other")])
def test_labels_of_the_target_count_in_its_calibration_rows_and_never_in_its_test_rows(
    target: str, folder: str, settings: Compose, workplace: Path
) -> None:
    before = Refit(settings(target, "joint"), workplace / "before")
    rows = {split: before.target.rows(split).tolist() for split in ("test", "calibration")}
    change(workplace, folder, pl.col("row_id").is_in(rows["test"]))
    poisoned = Refit(settings(target, "joint"), workplace / "poisoned")
    assert (poisoned.logits(poisoned.target) == before.logits(before.target)).all()
    assert not (blocks(poisoned.target, "test")[3] == blocks(before.target, "test")[3])[:, 0].any()
    change(workplace, folder, pl.col("row_id").is_in(rows["calibration"]))
    turned = Refit(settings(target, "joint"), workplace / "turned")
    assert np.abs(turned.logits(turned.target) - before.logits(before.target))[:, 0].max() > 0.5


def test_a_run_scores_the_target_as_such_and_is_refused_on_another_one(settings: Compose, workplace: Path) -> None:
    results = {}
    for refit in ("none", "joint"):
        folder = single.train(settings("elsewhere", refit, f"paths.runs={refit}"))
        results[refit] = json.loads((folder / "results.json").read_text())
    risk = {refit: found["target"]["tasks"]["first"]["all"]["brier"]["value"] for refit, found in results.items()}
    assert risk["joint"] < risk["none"] - 0.02
    assert "rectified_gain" not in results["joint"]["target"]
    assert json.loads((folder / "fit.json").read_text())["target_fingerprint"] == results["joint"]["target"]["cohort"]
    source = build.build_datamodule(settings("elsewhere", "joint"))
    source.prepare_data()
    source.setup()
    found = read.load(folder).predict(source.cohort, split="test").logit
    expected = pl.read_parquet(folder / "predictions.parquet").select("logit/first", "logit/second").to_numpy()
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)
    for name in ("results.json", "DONE"):
        (folder / name).unlink()
    change(workplace, "other", pl.lit(value=True))
    with pytest.raises(ConfigError, match=r"was fitted on another cohort, .*target_fingerprint: "):
        single.evaluate(load([f"run={folder}"]))


def test_inner_folds_hold_out_no_row_of_the_target(settings: Compose, workplace: Path) -> None:
    run = Refit(settings("era", "joint", "evaluation.inner_folds=3"), workplace / "run")
    calibration, train = run.target.rows("calibration"), run.source.rows("train")
    assert run.target.arrays.site.nonzero().flatten().tolist() == sorted(
        calibration.tolist() + run.target.rows("test").tolist()
    )
    fold = run.source.arrays.fold[:, 0]
    assert set(fold[train].tolist()) == {0, 1, 2}
    assert set(fold[calibration].tolist()) == {-1}
    assert isinstance(run.fitted, FoldedEstimator)
    for number, member in enumerate(run.fitted.members):
        parts = [blocks_of(run.source, train[fold[train] != number]), blocks_of(run.target, calibration)]
        own = expected(parts, [False, True], blocks(run.target, "test"), is_target=True, joint=True)
        found = member.predict(run.target.arrays.gather(run.target.rows("test"))).logit().numpy()
        np.testing.assert_allclose(found, own, rtol=2e-2, atol=1e-2)


def test_a_target_without_a_calibration_row_is_refused(settings: Compose, workplace: Path) -> None:
    with pytest.raises(ConfigError, match=r"refit=pooled: the calibration split of the target has no row; raise coh"):
        Refit(settings("era", "pooled", "cohort.split.target_calibration=1e-9"), workplace / "run")
    (workplace / "elsewhere.yaml").write_text(
        (workplace / "elsewhere.yaml").read_text().replace("salt: other", "calibration: 0, test: 0.3")
    )
    with pytest.raises(ConfigError, match=r"elsewhere\.yaml: its calibration split has no row"):
        Refit(settings("elsewhere", "pooled"), workplace / "other_run")
