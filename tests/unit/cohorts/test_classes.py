"""Which cohorts are refused or warned of because a task has one class only."""

import warnings

import pytest

from data_modules.cohorts.labels import OneClassWarning, check_classes
from data_modules.errors import UserError

BOTH = {"known": 9, "positive": 4}
NEGATIVE, POSITIVE = {"known": 9, "positive": 0}, {"known": 9, "positive": 9}
EVERYWHERE = dict.fromkeys(("train", "calibration", "val", "test"), BOTH)


def warned(**tasks):
    """What is said of each task; fails where the cohort is refused."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_classes(tasks)
    assert {entry.category for entry in caught} <= {OneClassWarning}
    return [str(entry.message) for entry in caught]


def test_a_cohort_whose_tasks_have_both_classes_everywhere_is_let_by_in_silence():
    assert warned(death=EVERYWHERE, stay=EVERYWHERE) == []


@pytest.mark.parametrize("split", EVERYWHERE)
@pytest.mark.parametrize("counts", [NEGATIVE, POSITIVE, None])
def test_one_task_with_one_class_is_named_and_the_cohort_is_not_refused(split, counts):
    lacking = {**EVERYWHERE, split: counts}
    if counts is None:
        del lacking[split]
    (said,) = warned(death=lacking, stay=EVERYWHERE)
    assert said == f"death has only one class in {split}: its AUROC and average precision are NaN there"


def test_every_split_that_lacks_a_class_is_named():
    (said,) = warned(death={**EVERYWHERE, "test": NEGATIVE, "calibration": POSITIVE}, stay=EVERYWHERE)
    assert "death has only one class in calibration, test:" in said


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_cohort_without_any_task_to_learn_or_to_choose_by_is_refused(split):
    lacking = {"death": {**EVERYWHERE, split: NEGATIVE}, "stay": {**EVERYWHERE, split: POSITIVE}}
    with pytest.raises(UserError, match=f"no task has both classes in the {split} split"):
        check_classes(lacking)


@pytest.mark.parametrize("split", ["calibration", "test"])
def test_a_split_that_training_does_not_need_is_warned_of_and_never_refused(split):
    lacking = {**EVERYWHERE, split: NEGATIVE}
    assert len(warned(death=lacking, stay=lacking)) == 2
