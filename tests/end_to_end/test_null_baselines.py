"""Labels that depend on nothing: no baseline may predict them in rows that it was not fitted on.

Every file of experiments/baselines is built from its settings and fitted on the rows that a protocol gives it: a single
model and its held-out rows (`split`), a model of each fold and that fold (`kfold`), and for those with a network also
models whose rectifiers are fitted on folds of their own (`crossfit`). Whole runs of the three follow for a few.
"""

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from data_modules.batch import Batch
from data_modules.errors import UserError
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.metrics.functional import auroc
from mmnar_lightning.runs import folders, protocols
from mmnar_lightning.runs.plan import child_config, plan, protocol_of
from tests.helpers.paths import ROOT
from tests.helpers.shipped import (
    METHODS,
    OVER,
    POSITIVE,
    TASKS,
    Fitted,
    baseline,
    experiment,
    fit,
    is_estimator,
    narrow,
    write_noise,
)
from tests.helpers.small_runs import results_of

ROWS, FEWEST = 1800, 600
"""Rows of the cohort, and the fewest that are scored."""
ERRORS = 4
"""Standard errors that a score may differ from 0.5: luck alone exceeds them in one of 16 000. That is an AUROC of 0.54
with 900 rows; nearly every method has more in the rows of its fit, which the first test requires."""
DRAWS, FEW = 12, 150
"""Draws of other labels for the rectifiers, and the test rows that they are scored on: so few that offsets of patterns
which were fitted on them would show."""
WORDS = (
    "trainer.progress_bar=false", "trainer.accelerator=cpu", "wandb.enabled=false", "evaluation.num_replicates=100",
    "cohort.split.train=0.15", "cohort.split.val=0.1", "cohort.split.calibration=0.2", "cohort.split.test=0.55",
)  # fmt: skip
KFOLD = ("evaluation.protocol=kfold", "cohort.split.num_folds=2")
CROSSFIT = ("rectifier.fit=crossfit", "cohort.split.num_folds=3", "rectifier.gate=false", "rectifier.min_rows=4")
"""Without a gate, so that a rectifier does something although there is nothing to find."""
NETWORK = ("trainer.max_epochs=4", "optim.lr=0.01", "loader.batch_size=64")
FEWER = ("model.additive.inverse_penalties=[0.1,1]",)
OWN = {
    "bagged_trees": ("evaluation.inner_folds=2",),
    "hierarchical_slopes": FEWER,
    "joint_refit": ("cohort.split.target_calibration=0.3", *FEWER),
    "modality_dropout": ("model.fusion.dim=32",),
    "modality_stack": FEWER,
    "pattern_submodels": FEWER,
    "presence_products": FEWER,
}
"""Words that a method needs, or that make it smaller."""
ONE_FOLD = {"joint_refit": ("cohort.split.test_fold=0", "cohort.split.num_folds=2")}
"""Of a single model that needs a target, which is here a fold."""
LEARNS_NOTHING = "published_score"
FITTED = [method for method in METHODS if method != LEARNS_NOTHING]
NETWORKS = [method for method in FITTED if not is_estimator(method)]
HARDLY_OVERFITS = {"modality_stack"}
"""Its second level is fitted on logits of subjects that the first did not see."""
Compose = Callable[..., ExperimentConfig]


@pytest.fixture(scope="module", autouse=True)
def narrow_networks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        narrow(patch)
        yield


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Compose:
    """Settings of a method on the cohort of noise."""
    place = tmp_path_factory.mktemp("noise")
    given = write_noise(place / "given", ROWS)
    paths = (f"paths.cohort={given}", f"paths.data={place / 'data'}", f"paths.runs={place / 'runs'}")

    def settings(method: str, *words: str) -> ExperimentConfig:
        os.environ.pop(folders.RUN_ID_VARIABLE, None)
        return load([experiment(method), *paths, *WORDS, *OWN.get(method, ()), *words])

    return settings


def fits(config: ExperimentConfig, folder: Path) -> list[Fitted]:
    """The model of every run that the settings define."""
    protocol = protocol_of(config)
    if protocol is None:
        return [fit(config, folder)]
    runs = [(child_config(config, protocol, child), folder / child.name) for child in plan(config, protocol)]
    for _, own in runs:
        own.mkdir()
    return [fit(*run) for run in runs]


def scores(logits: Tensor, label: Tensor) -> Tensor:
    """The AUROC of each task."""
    return torch.tensor([auroc(logits[:, task].sigmoid(), label[:, task]) for task in range(label.shape[1])])


def standard_error(positives: list[int], rows: int) -> float:
    """Of the mean AUROC of tasks whose labels are independent of the predictions and of each other.

    That of a task is √((n + 1) / 12 n₁ n₀), the deviation of Mann and Whitney's statistic; less with equal predictions.
    Over 40 cohorts (0.5 − AUROC) / error had deviations from 0.9 to 1.1, by fold, for a regression and `mask_only`.
    """
    return math.sqrt(sum((rows + 1) / (12 * own * (rows - own)) for own in positives)) / len(positives)


def check_chance(batch: Batch, logits: Tensor) -> None:
    assert len(batch) > FEWEST
    error = standard_error([int(own) for own in batch.label.sum(0)], len(batch))
    assert abs(float(scores(logits, batch.label).mean()) - 0.5) < ERRORS * error


def test_every_file_of_baselines_is_a_method_here_and_every_exception_is_one_of_them() -> None:
    files = {path.stem for path in (ROOT / "experiments" / "baselines").glob("*.yaml")}
    assert {layer for layers in METHODS.values() for layer in layers} == files
    assert {LEARNS_NOTHING, *OVER, *OWN, *ONE_FOLD, *HARDLY_OVERFITS} <= files


@pytest.mark.parametrize("method", FITTED)
def test_a_single_model_finds_nothing_in_held_out_rows_but_much_in_those_of_its_fit(
    method: str, compose: Compose, tmp_path: Path
) -> None:
    (model,) = fits(compose(method, *ONE_FOLD.get(method, ())), tmp_path)
    check_chance(*model.test)
    seen, logits = model.of(model.cohort.rows("train"))
    assert not {*seen.row_id.tolist()} & {*model.test[0].row_id.tolist()}
    tested = model.test[0].label
    noticed = 0.5 + ERRORS * standard_error([int(own) for own in tested.sum(0)], len(tested))
    assert method in HARDLY_OVERFITS or float(scores(logits, seen.label).mean()) > noticed


@pytest.mark.parametrize("method", FITTED)
def test_the_model_of_each_fold_finds_nothing_in_that_fold(method: str, compose: Compose, tmp_path: Path) -> None:
    models = fits(compose(method, *KFOLD), tmp_path)
    tested = [{*model.test[0].row_id.tolist()} for model in models]
    assert len(tested) == 2
    assert not tested[0] & tested[1]
    for model in models:
        check_chance(*model.test)


@pytest.mark.parametrize("method", NETWORKS)
def test_cross_fitted_models_find_nothing_in_test_rows(method: str, compose: Compose, tmp_path: Path) -> None:
    """Nor do their rectifiers in a few test rows, given other labels that are drawn again: the gain is 0 on average."""
    models = [Rectified(model) for model in fits(compose(method, *CROSSFIT, "rectifier.loss_offset=false"), tmp_path)]
    assert len(models) == 3
    batch, label = models[0].batch, models[0].label
    assert all(torch.equal(model.batch.row_id, batch.row_id) for model in models)
    before = torch.stack([model.before for model in models]).mean(0)
    check_chance(batch, before)
    check_chance(batch, torch.stack([model.after(label) for model in models]).mean(0))
    generator, gains = torch.Generator().manual_seed(0), []
    for _ in range(DRAWS):
        drawn = (torch.rand(label.shape, generator=generator) < POSITIVE).float()
        after = torch.stack([model.after(drawn) for model in models]).mean(0)
        own = drawn[batch.row_id[:FEW]]
        gains.append((scores(after[:FEW], own) - scores(before[:FEW], own)).mean())
    error = torch.stack(gains).std() / math.sqrt(DRAWS)
    assert abs(torch.stack(gains).mean()) < ERRORS * error


class Rectified:
    """The test rows before and after the rectifier of a network, which half B of its calibration rows fits.

    Args:
        model: a network with a rectifier.
    """

    def __init__(self, model: Fitted) -> None:
        assert model.module is not None
        assert model.module.rectifier is not None
        self.rectifier, self.cohort = model.module.rectifier, model.module.cohort
        self.label = model.cohort.arrays.label
        self.batch, self.before = model.test
        self.half, self.logits = model.of(model.cohort.calibration_half("B"))

    def after(self, label: Tensor) -> Tensor:
        """Rectified logits, given labels (N, T) of all rows of the cohort."""
        self.rectifier.fit(
            logits=self.logits,
            label=label[self.half.row_id],
            label_mask=self.half.label_mask,
            present=self.half.present,
            subject=self.half.subject,
            cohort=self.cohort,
        )
        shifted: Tensor = self.rectifier(self.before, self.batch.present, self.batch.subject, self.cohort)
        return shifted


@pytest.mark.parametrize("method", [method for method in METHODS if is_estimator(method) and method not in ONE_FOLD])
def test_a_method_without_a_network_cannot_be_cross_fitted_and_is_refused_by_name(
    method: str, compose: Compose
) -> None:
    with pytest.raises(ConfigError, match=rf"rectifier\.fit=crossfit: .*{baseline(method)}"):
        protocols.train(compose(method, *CROSSFIT[:2]))


@pytest.mark.parametrize("words", [(), KFOLD, CROSSFIT[:2]], ids=["split", "kfold", "crossfit"])
def test_a_refit_at_a_target_is_refused_by_name_where_there_is_none(words: tuple[str, ...], compose: Compose) -> None:
    with pytest.raises(ConfigError, match=r"logistic_regression\.refit=joint adds calibration rows of a target"):
        protocols.train(compose("joint_refit", "cohort.split.target_calibration=0", *words))


@pytest.mark.parametrize("words", [(), KFOLD], ids=["split", "kfold"])
def test_published_scores_learn_nothing_and_are_refused_by_name_where_there_are_none(
    words: tuple[str, ...], compose: Compose
) -> None:
    with pytest.raises(UserError, match=r"baseline\.published_score\.name=apache_iva: this cohort has none"):
        protocols.train(compose(LEARNS_NOTHING, *words))


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("logistic_regression", ()),
        ("logistic_regression", KFOLD),
        ("late_fusion", (*NETWORK, *CROSSFIT, "rectifier.start_epoch=1")),
    ],
)
def test_a_whole_run_reports_chance(method: str, words: tuple[str, ...], compose: Compose) -> None:
    """Of two folds, whose models learn from each other's rows and err alike, the mean is no surer than one."""
    found = results_of(protocols.train(compose(method, *words)))
    parts = ["tasks", "rectified"] if "rectifier.fit=crossfit" in words else ["tasks"]
    assert ("rectified" in found) == ("rectified" in parts)
    shares = 2 if "evaluation.protocol=kfold" in words else 1
    for part in parts:
        cells = [found[part][task]["all"] for task in TASKS]
        positives, rows = [own["positives"] // shares for own in cells], cells[0]["count"] // shares
        assert rows > FEWEST
        mean = sum(own["auroc"]["value"] for own in cells) / len(cells)
        assert abs(mean - 0.5) < ERRORS * standard_error(positives, rows)
