"""Settings of runs whose rectifier is fitted at the target: what contradicts them is refused by name."""

import pytest

from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.config.ignored import check_ignored

SHARE = "cohort.split.target_calibration=0.2"
NO_OFFSET = "rectifier.loss_offset=false"


@pytest.mark.parametrize(
    ("words", "reported"),
    [
        ([SHARE, NO_OFFSET], r"target_calibration=0\.2 is a share of the held-out folds, but none is held out"),
        ([SHARE, NO_OFFSET, "evaluation.protocol=leave_pattern_out"], r"but none is held out"),
        (
            [SHARE, "evaluation.protocol=kfold"],
            r"the offset in the loss would train .* set rectifier\.loss_offset=false",
        ),
        ([SHARE, "cohort.split.test_fold=0"], r"set rectifier\.loss_offset=false"),
        ([SHARE, "cohort.split.test_fold=0", "rectifier.fit=crossfit"], r"use rectifier\.fit=calibration"),
        (["evaluation.protocol=temporal", "cohort.split.test_from=1"], r"temporal runs every fold, but .*test_from=1"),
        (["evaluation.protocol=kfold", "cohort.split.test_from=1"], r"kfold runs every fold, but .*test_from=1"),
        (
            ["evaluation.protocol=temporal", "rectifier.fit=crossfit"],
            r"cannot be used with evaluation\.protocol=temporal",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(words, reported) -> None:
    with pytest.raises(ConfigError, match=reported):
        load(words)


@pytest.mark.parametrize(
    "words",
    [
        [SHARE, NO_OFFSET, "evaluation.protocol=kfold"],
        [SHARE, NO_OFFSET, "evaluation.protocol=temporal"],
        [SHARE, NO_OFFSET, "cohort.split.test_fold=0"],
        [SHARE, NO_OFFSET, "cohort.split.test_from=1"],
        [SHARE, "rectifier.fit=none", "cohort.split.test_fold=0"],
    ],
)
def test_a_share_of_a_held_fold_is_accepted_where_no_label_of_it_trains_the_model(words) -> None:
    assert load(words).cohort.split.target_calibration == 0.2


JOINT = "baseline={name: logistic_regression, logistic_regression: {refit: joint}}"


@pytest.mark.parametrize(
    ("words", "reported"),
    [
        ([], r"refit=joint adds .* but there is none: set cohort\.split\.target_calibration, .* or transfer\.target"),
        (
            [SHARE, NO_OFFSET, "cohort.split.test_fold=0", "transfer.target=eicu"],
            r"there are two: omit cohort\.split\.target_calibration=0\.2 or transfer\.target=eicu",
        ),
    ],
)
def test_a_refit_needs_the_calibration_rows_of_one_target(words, reported) -> None:
    with pytest.raises(ConfigError, match=reported):
        load([JOINT, *words])
    assert load([*words, "baseline.logistic_regression.refit=joint"]).baseline.refit == "none", "of no other method"


@pytest.mark.parametrize("words", [[SHARE, NO_OFFSET, "evaluation.protocol=kfold"], ["transfer.target=eicu"]])
def test_a_refit_is_accepted_where_one_target_is_named(words) -> None:
    assert load([JOINT, *words]).baseline.refit == "joint"


@pytest.mark.parametrize("experiment", ["transfer", "transfer_back", "eicu,protocols/leave_hospital_out"])
def test_the_layer_of_the_joint_refit_needs_a_target(experiment: str) -> None:
    config = load([f"experiment={experiment},baselines/joint_refit"])
    assert (config.baseline.name, config.baseline.refit) == ("logistic_regression", "joint")
    check_ignored(config)
    with pytest.raises(ConfigError, match=r"refit=joint adds .* but there is none"):
        load(["experiment=mimic,baselines/joint_refit"])


@pytest.mark.parametrize(
    ("experiment", "protocol", "fold_by"),
    [
        ("eicu,protocols/leave_hospital_out", "kfold", "hospital"),
        ("eicu,protocols/temporal", "temporal", "year_group"),
        ("mimic,protocols/temporal", "temporal", "year_group"),
        ("eicu,baselines/boosted_trees,protocols/leave_hospital_out", "kfold", "hospital"),
    ],
)
def test_the_layers_hold_out_what_their_names_say(experiment, protocol, fold_by) -> None:
    config = load([f"experiment={experiment}"])
    assert config.evaluation.protocol == protocol
    assert vars(config.cohort)["fold_by"] == fold_by
    assert config.cohort.split.target_calibration == 0.25
    assert not config.rectifier.loss_offset
