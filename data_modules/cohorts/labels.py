"""Checks that the labels of a cohort have both classes in every split."""

import warnings
from collections.abc import Mapping

from data_modules.errors import UserError
from data_modules.vocabulary import SPLITS


class OneClassWarning(UserWarning):
    """A split has only one class of a task, so discrimination is undefined in it."""


def check_classes(prevalence: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
    """Refuse a cohort without both classes for training or monitoring; warn of other splits with one class.

    Args:
        prevalence: task -> split -> counts of `known` labels and `positive` ones, as in the manifest.

    Raises:
        UserError: if no task has both classes in train, or none in val, where training is monitored.

    Warns:
        OneClassWarning: for every other task and split with one class.

    >>> check_classes({"death": {"train": {"known": 9, "positive": 0}}})
    Traceback (most recent call last):
    data_modules.errors.UserError: no task has both classes in the train split, so no model can be trained; ...
    """
    for split, why in (("train", "no model can be trained"), ("val", "the monitored metric val/auroc is undefined")):
        if not any(has_both_classes(splits.get(split)) for splits in prevalence.values()):
            raise UserError(
                f"no task has both classes in the {split} split, so {why}; use a larger cohort, other cohort.tasks, "
                "another cohort.split.salt or other fractions"
            )
    for task, splits in prevalence.items():
        lacking = [split for split in SPLITS if not has_both_classes(splits.get(split))]
        if lacking:
            places = ", ".join(lacking)
            warnings.warn(
                f"{task} has only one class in {places}: its AUROC and average precision are NaN there",
                OneClassWarning,
                stacklevel=2,
            )


def has_both_classes(counts: Mapping[str, int] | None) -> bool:
    """Return whether the known labels have both classes; None is a split without rows.

    >>> has_both_classes({"known": 3, "positive": 1}), has_both_classes({"known": 3, "positive": 3})
    (True, False)
    """
    return counts is not None and 0 < counts["positive"] < counts["known"]
