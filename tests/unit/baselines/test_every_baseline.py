"""What holds for every baseline, of this project and of other packages."""

from dataclasses import fields, replace
from functools import cache

import pytest
import torch

from data_modules.errors import UserError
from mmnar_lightning.baselines import testing
from mmnar_lightning.baselines.config import NAMES, BaselineConfig
from mmnar_lightning.baselines.registry import BASELINES, EstimatorBaseline, find
from mmnar_lightning.baselines.testing import TASKS, Trained, simulated_batch
from mmnar_lightning.metrics import functional
from tests.helpers import outside_baselines
from tests.helpers.baselines import CONFIGS, LEARNT
from tests.helpers.batches import make_batch

READS_INPUTS = sorted(set(CONFIGS) - {"mask_only"})
ESTIMATORS = [name for name, found in BASELINES.items() if isinstance(found, EstimatorBaseline)]
WITHOUT_SETTINGS = {
    "mask_only",
    "pattern_submodels",
    "modality_stack",
    "mmtm",
    "medfuse",
    "m3care",
    "muse",
    "grape",
}
OUTSIDE = "tests.helpers.outside_baselines"
QUICK, SLOW = (600, 25), {"muse": (1500, 60)}
"""Rows and steps in which a baseline learns the three tasks, fewer than `check_baseline` needs for any model."""


@cache
def trained(name: str) -> Trained:
    rows, steps = SLOW.get(name, QUICK)
    return Trained(CONFIGS[name], simulated_batch(rows), simulated_batch(300, seed=1), steps=steps)


def test_every_baseline_has_a_name_and_settings_in_the_configuration() -> None:
    assert set(NAMES) == {"none", *BASELINES}
    own = {field.name for field in fields(BaselineConfig)} - {"name", "settings", "inverse_probability"}
    assert own == set(BASELINES) - WITHOUT_SETTINGS


@pytest.mark.parametrize("name", LEARNT)
def test_every_baseline_passes_the_test_of_all(name: str) -> None:
    testing.check_rows(trained(name))
    testing.check_absent(trained(name))
    testing.check_labels(CONFIGS[name])
    testing.check_learnt(trained(name), ["c"] if name == "mask_only" else TASKS)


def test_late_fusion_of_encodings_passes_it_too() -> None:
    model = trained("late_fusion_concatenation")
    testing.check_rows(model)
    testing.check_absent(model)
    testing.check_labels(CONFIGS["late_fusion_concatenation"])


@pytest.mark.parametrize("name", ["Network", "Estimator", "DECLARED"])
def test_a_baseline_of_another_package_passes_it_too(name: str) -> None:
    testing.check_baseline(f"{OUTSIDE}:{name}", {} if name == "DECLARED" else {"width": 24}, learns=["a", "c"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ReadsAbsent", "in the place of an absent modality changes a prediction"),
        ("MixesRows", "Tensor-likes are not close"),
        ("ReadsUnknownLabels", "change the fit"),
        ("LearnsNothing", "predicts the task a with an AUROC of 0"),
    ],
)
def test_the_test_of_all_sees_what_a_wrong_baseline_does(name: str, message: str) -> None:
    assert hasattr(outside_baselines, name)
    with pytest.raises(AssertionError, match=message):
        testing.check_baseline(f"{OUTSIDE}:{name}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_package:Model", "No module named 'no_such_package'; install the package"),
        (f"{OUTSIDE}:Missing", "has no attribute 'Missing'"),
        (f"{OUTSIDE}:WIDTH", r"expected a subclass of torch\.nn\.Module, or a class with `fit\(train, val\)`"),
    ],
)
def test_what_is_no_baseline_is_refused_by_its_name(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        testing.check_baseline(name)


def test_a_name_that_is_neither_ours_nor_a_path_is_refused() -> None:
    with pytest.raises(ValueError, match=r"baseline\.name=late_fusoin: expected one of none, late_fusion"):
        BaselineConfig(name="late_fusoin")


def test_mask_only_learns_presence_and_reads_no_input() -> None:
    test = simulated_batch(1000, seed=4)
    predicted = trained("mask_only").predict(test)
    assert functional.auroc(predicted[:, 2], test.label[:, 2]) > 0.8
    other = replace(test, inputs=make_batch(test.present, seed=9).inputs)
    assert torch.equal(trained("mask_only").predict(other), predicted)
    assert torch.equal(trained("mask_only").predict(replace(test, inputs={})), predicted)


@pytest.mark.parametrize("name", READS_INPUTS)
def test_the_others_read_what_is_present(name: str) -> None:
    batch = simulated_batch(40, seed=2)
    shifted = replace(batch, inputs=batch.inputs | {"m0": -batch.inputs["m0"]})
    changed = (trained(name).predict(shifted) - trained(name).predict(batch)).abs().amax(1) > 1e-3
    assert not bool(changed[~batch.present[:, 0]].any())
    assert bool(changed.any())


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "boosted_trees"])
def test_a_batch_without_a_row_passes(name: str) -> None:
    assert trained(name).predict(simulated_batch(0)).shape == (0, len(TASKS))


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "published_score"])
def test_every_estimator_is_fitted_with_the_weights_of_its_rows(name: str) -> None:
    train, val, test = simulated_batch(QUICK[0]), simulated_batch(300, seed=1), simulated_batch(200, seed=4)
    alike = Trained(CONFIGS[name], replace(train, weight=torch.ones(len(train))), val).predict(test)
    torch.testing.assert_close(alike, trained(name).predict(test), atol=1e-4, rtol=0)
    positive = replace(train, weight=1 + 4 * train.label[:, 0])
    heavier = Trained(CONFIGS[name], positive, val).predict(test)
    assert heavier[:, 0].mean() > alike[:, 0].mean() + 0.1


def test_an_estimator_says_whether_it_reads_weights() -> None:
    assert not BASELINES["published_score"].weighted
    assert not find(f"{OUTSIDE}:Estimator").weighted, "one of another package must say so"
    assert all(BASELINES[name].weighted for name in ESTIMATORS if name != "published_score")
