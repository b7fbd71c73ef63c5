"""Outcomes of a row, as columns: `label/<task>` (null = unknown) and when the event was.

A task's name carries its window: `readmission_30d`, `icu_90d`, `mortality_180d`.
"""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from data_modules.vocabulary import SPLITS

MAX_WINDOW_DAYS = 365
"""Deaths after discharge are recorded for one year (MIMIC-IV documentation of `dod`)."""

_WINDOWED = re.compile(r"(readmission|icu|mortality)_([1-9]\d*)d")


@dataclass(frozen=True, kw_only=True)
class Task:
    """An outcome: its name, kind, and window in days (None where it has none)."""

    name: str
    kind: str
    window_days: int | None = None

    @property
    def needs_later_admission(self) -> bool:
        """Whether the outcome can only be seen in an admission after the index."""
        return self.kind in {"readmission", "icu"}


def parse_task(name: str) -> Task:
    """Read a task's name.

    Raises:
        ValueError: for an unknown name or a window that the data cannot show.

    >>> parse_task("icu_90d").window_days
    90
    """
    if name == "in_hospital_mortality":
        return Task(name=name, kind=name)
    match = _WINDOWED.fullmatch(name)
    if match is None:
        raise ValueError(
            f"cohort.tasks: unknown task {name!r}; known are readmission_<days>d, icu_<days>d, "
            "mortality_<days>d and in_hospital_mortality"
        )
    days = int(match[2])
    if days > MAX_WINDOW_DAYS:
        raise ValueError(
            f"cohort.tasks: {name!r} looks {days} days ahead, but nothing is known beyond {MAX_WINDOW_DAYS} days"
        )
    return Task(name=name, kind=match[1], window_days=days)


def next_event(index: pl.DataFrame, events: pl.DataFrame, at: str) -> pl.DataFrame:
    """The first event of another admission of the same subject after the index ends.

    Args:
        index: `subject_id`, `hadm_id`, `dischtime`.
        events: `subject_id`, `hadm_id` and the time column.
        at: the time column of `events`.

    Returns:
        `hadm_id` of the index, `other` (the admission of the event) and `event_at`, for rows that have one.

    An event of the index itself never counts; one at or before `dischtime` (a transfer or an overlapping
    admission) is passed over.
    """
    others = events.select("subject_id", pl.col("hadm_id").alias("other"), pl.col(at).alias("event_at"))
    return (
        index.select("subject_id", "hadm_id", "dischtime")
        .join(others, on="subject_id")
        .filter((pl.col("other") != pl.col("hadm_id")) & (pl.col("event_at") > pl.col("dischtime")))
        .group_by("hadm_id", maintain_order=True)
        .agg(pl.col("other", "event_at").sort_by("event_at", "other").first())
    )


def within_days(event_at: str, days: int) -> pl.Expr:
    """True where 0 < event − dischtime ≤ days; no event is False.

    Durations are compared, not whole days: `.dt.total_days() <= 30` would mean less than 31 days.
    """
    gap = pl.col(event_at) - pl.col("dischtime")
    return (gap <= pl.duration(days=days)).fill_null(value=False)


def dies_within_days(days: int) -> pl.Expr:
    """True where 0 ≤ dod − date(dischtime) ≤ days; dates with dates, because `dod` has no hour.

    A null `dod` is a survivor: deaths are recorded for a year after the last discharge.
    """
    gap = pl.col("dod") - pl.col("dischtime").dt.date()
    inside = (gap >= pl.duration(days=0)) & (gap <= pl.duration(days=days))
    return inside.fill_null(value=False)


class OneClassWarning(UserWarning):
    """A split holds one class only of a task: its discrimination is undefined there."""


def check_classes(prevalence: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
    """Refuse a cohort that nothing can be learnt or chosen on; warn of splits with one class.

    Args:
        prevalence: task -> split -> `known` rows and `positive` among them, as a manifest holds it.

    Raises:
        ValueError: if no task has both classes in train, or none in val, on which training is monitored.

    Warns:
        OneClassWarning: for every other task and split with one class.
    """
    for split, why in (("train", "nothing can be learnt"), ("val", "the monitored metric val/auroc is undefined")):
        if not any(has_both_classes(splits.get(split)) for splits in prevalence.values()):
            raise ValueError(
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
