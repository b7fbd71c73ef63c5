"""Hospitals: the hospital of each subject, and presence by hospital."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from data_modules.cohorts.columns import PRESENT

MIN_ROWS = 10
"""Hospitals with fewer rows are pooled."""


def home_hospitals(stays: pl.DataFrame) -> pl.DataFrame:
    """Assign each subject to a hospital for splitting: the lowest id of all stays, whichever rows a cohort keeps.

    Args:
        stays: all stays: `subject_id`, `hospital_id`.

    Returns:
        One row per `subject_id`, sorted, with `home`, a hospital_id; null = unknown.

    >>> home_hospitals(pl.DataFrame({"subject_id": ["a", "a", "b"], "hospital_id": [9, 8, 9]})).rows()
    [('a', 8), ('b', 9)]
    """
    return stays.group_by("subject_id").agg(pl.col("hospital_id").min().alias("home")).sort("subject_id")


def split_keys(hospital: str) -> pl.Expr:
    """Return the split key of a column of hospitals, String; unknown hospitals share one key.

    >>> pl.DataFrame({"hospital_id": [7, None]}).select(split_keys("hospital_id")).to_series().to_list()
    ['hospital 7', 'hospital unknown']
    """
    return "hospital " + pl.col(hospital).cast(pl.String).fill_null("unknown")


def presence_by_hospital(cohort: pl.DataFrame, modalities: Sequence[str]) -> dict[str, Any]:
    """Count the hospitals in which a modality is ever present, and the rows with it by hospital.

    Args:
        cohort: `hospital_id` and `present/<modality>`.
        modalities: the modalities to count.

    Returns:
        Counts for the manifest. Hospitals with fewer than `MIN_ROWS` rows are pooled into one entry with id None.

    >>> frame = pl.DataFrame({"hospital_id": [7] * 10 + [8], "present/labs": [True] * 9 + [False, False]})
    >>> counts = presence_by_hospital(frame, ["labs"])
    >>> counts["hospitals"], counts["hospitals with"]
    (2, {'labs': 1})
    >>> [tuple(entry.values()) for entry in counts["presence by hospital"]]
    [(7, 1, 10, 9), (None, 1, 1, 0)]
    """
    present = [pl.col(PRESENT + name).sum().alias(name) for name in modalities]
    counted = cohort.group_by("hospital_id").agg(pl.len().alias("rows"), *present)
    ever = counted.select((pl.col(name) > 0).sum() for name in modalities).row(0, named=True)
    named = pl.when(pl.col("rows") >= MIN_ROWS).then(pl.col("hospital_id"))
    pooled = (
        counted.with_columns(hospital_id=named)
        .group_by("hospital_id")
        .agg(pl.len().alias("hospitals"), pl.col("rows").sum(), pl.col(*modalities).sum())
        .sort("rows", "hospital_id", descending=[True, False])
        .sort(pl.col("hospital_id").is_null(), maintain_order=True)
    )
    return {
        "hospitals": counted.height,
        "hospitals with": ever,
        "presence by hospital": pooled.to_dicts(),
    }
