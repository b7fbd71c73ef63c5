"""Outcomes of a row, as columns: `label/<task>` (null = unknown) and when the event was.

A task's name carries its window: `readmission_30d`, `icu_90d`, `mortality_180d`.
"""

import warnings
from collections.abc import Mapping

from data_modules.errors import UserError
from data_modules.vocabulary import SPLITS


class OneClassWarning(UserWarning):
    """A split holds one class only of a task: its discrimination is undefined there."""


def check_classes(prevalence: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
    """Refuse a cohort that nothing can be learnt or chosen on; warn of splits with one class.

    Args:
        prevalence: task -> split -> `known` rows and `positive` among them, as a manifest holds it.

    Raises:
        UserError: if no task has both classes in train, or none in val, on which training is monitored.

    Warns:
        OneClassWarning: for every other task and split with one class.
    """
    for split, why in (("train", "nothing can be learnt"), ("val", "the monitored metric val/auroc is undefined")):
        if not any(has_both_classes(splits.get(split)) for splits in prevalence.values()):
            raise UserError(
                f"no task has both classes in the {split} split, so {why}; use a larger cohort, other cohort.tasks, "
                "or another cohort.split.salt or other fractions"
            )
    for task, splits in prevalence.items():
        lacking = [split for split in SPLITS if not has_both_classes(splits.get(split))]
        if lacking:
            places = ", ".join(lacking)
            warnings.warn(
                f"{task} has one class only in {places}: its AUROC and average precision are NaN there",
                OneClassWarning,
                stacklevel=2,
            )


def has_both_classes(counts: Mapping[str, int] | None) -> bool:
    """Whether `known` rows hold positives and negatives; None, of a split without rows, holds none.

    >>> has_both_classes({"known": 3, "positive": 1}), has_both_classes({"known": 3, "positive": 3})
    (True, False)
    """
    return counts is not None and 0 < counts["positive"] < counts["known"]
