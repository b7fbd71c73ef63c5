"""Outcomes of MIMIC-IV admissions as polars expressions and joins."""

import polars as pl


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
