"""Labels of a cohort: outcomes that a death precludes, and the check that they vary in every split."""

import warnings
from collections.abc import Mapping
from typing import Any

import polars as pl

from data_modules.errors import UserError
from data_modules.vocabulary import SPLITS


class OneClassWarning(UserWarning):
    """A split has only one class of a task, so discrimination is undefined in it."""


def check_outcomes(manifest: Mapping[str, Any]) -> None:
    """Refuse a cohort whose outcomes cannot be learned or monitored; warn of those that cannot be scored.

    Args:
        manifest: of the cohort.
    """
    if "values" in manifest:
        check_values(manifest["values"])
    else:
        check_classes(manifest["prevalence"])


def check_values(values: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
    """Refuse numbers to predict that do not vary in train, or are unknown in val.

    Args:
        values: task -> split -> counts of `known` values and of `distinct` ones.

    Raises:
        UserError: naming the first such task.

    >>> check_values({"days": {"train": {"known": 9, "distinct": 1}}})
    Traceback (most recent call last):
    data_modules.errors.UserError: days has fewer than two different values in the train split, so ...
    """
    for task, splits in values.items():
        if splits.get("train", {}).get("distinct", 0) < 2:
            raise UserError(
                f"{task} has fewer than two different values in the train split, so no model can be trained; use a "
                "larger cohort, or remove it from cohort.tasks"
            )
        if splits.get("val", {}).get("distinct", 0) < 2:
            raise UserError(
                f"{task} has fewer than two different values in the val split, so the monitored metric val/r2 is "
                "undefined; use a larger cohort, another cohort.split.salt or other fractions"
            )


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


def after_death(event: pl.Expr, died: pl.Expr, rule: str) -> pl.Expr:
    """Return the outcome of rows without an event whose subject died in the window, by `cohort.death_in_window`.

    Args:
        event: whether the event occurred in the window.
        died: whether the subject died in the window; null = unknown.
        rule: `negative` leaves the outcome False, `exclude` makes it unknown, `composite` makes it True.

    >>> frame = pl.DataFrame({"event": [True, False, False], "died": [True, True, None]})
    >>> for rule in ("negative", "exclude", "composite"):
    ...     frame.select(after_death(pl.col("event"), pl.col("died"), rule)).to_series().to_list()
    [True, False, False]
    [True, None, None]
    [True, True, None]
    """
    if rule == "negative":
        return event
    if rule == "composite":
        return event | died
    return pl.when(event).then(pl.lit(value=True)).when(~event & ~died).then(pl.lit(value=False))
