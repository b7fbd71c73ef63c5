"""Demographics, the way in, and the history of earlier admissions, as known at the landmark."""

import polars as pl

INDICATORS: dict[str, tuple[str, tuple[str, ...]]] = {
    "gender": ("gender", ("F", "M")),
    "race": ("race", ("ASIAN", "BLACK", "HISPANIC", "WHITE", "OTHER", "UNKNOWN|UNABLE|DECLINED")),
    "insurance": ("insurance", ("MEDICARE", "MEDICAID", "PRIVATE")),
    "marital_status": ("marital_status", ("MARRIED", "SINGLE", "WIDOWED", "DIVORCED")),
    "language": ("language", ("ENGLISH",)),
    "admission_type": ("admission_type", ("EMER", "URGENT", "OBSERVATION", "ELECTIVE", "SURGICAL")),
    "admission_location": (
        "admission_location",
        ("EMERGENCY", "TRANSFER", "REFERRAL", "SKILLED", "PROCEDURE"),
    ),
}
"""Column -> texts to look for, without regard to case; categories differ between versions of the release."""

_DAY, _HOUR = 86_400.0, 3_600.0


def _seconds(later: pl.Expr, earlier: pl.Expr) -> pl.Expr:
    return (later - earlier).dt.total_seconds().cast(pl.Float64)


def indicators() -> list[pl.Expr]:
    """1 where a category's text is found, 0 where another one stands, null where the cell is empty."""
    return [
        pl.col(column).str.to_uppercase().str.contains(text).cast(pl.Float64).alias(f"{name}/{text.lower()}")
        for name, (column, texts) in INDICATORS.items()
        for text in texts
    ]


def history(rows: pl.DataFrame, admissions: pl.DataFrame) -> pl.DataFrame:
    """Use of the hospital before the index admission.

    Args:
        rows: `row_id`, `subject_id`, `hadm_id`, `admittime`.
        admissions: all admissions of the subjects: `subject_id`, `hadm_id`, `admittime`, `dischtime`.

    Returns:
        One row per `row_id`: earlier admissions, those of the last year, days in hospital, days since the last
        discharge (null = none). Only admissions that ended by the index admittime are counted.
    """
    earlier = (
        rows.select("row_id", "subject_id", "hadm_id", index_at="admittime")
        .join(admissions.select("subject_id", "admittime", "dischtime", other="hadm_id"), on="subject_id")
        .filter((pl.col("other") != pl.col("hadm_id")) & pl.col("dischtime").is_between("admittime", "index_at"))
    )
    since = _seconds(pl.col("index_at"), pl.col("dischtime")) / _DAY
    return (
        earlier.sort("row_id", "admittime", "other")
        .group_by("row_id", maintain_order=True)
        .agg(
            pl.len().cast(pl.Float64).alias("earlier_admissions"),
            (since <= 365).sum().cast(pl.Float64).alias("earlier_admissions_365_days"),
            (_seconds(pl.col("dischtime"), pl.col("admittime")) / _DAY).sum().alias("earlier_days_in_hospital"),
            since.min().alias("days_since_discharge"),
        )
    )


def icu_use(rows: pl.DataFrame, stays: pl.DataFrame) -> pl.DataFrame:
    """ICU stays that began by the landmark: of this admission, their hours so far, and of earlier ones.

    Args:
        rows: `row_id`, `subject_id`, `hadm_id`, `admittime`, `landmark_at`.
        stays: `subject_id`, `hadm_id`, `intime`, `outtime` (null or later = still there).
    """
    begun = (
        rows.select("row_id", "subject_id", "admittime", "landmark_at", index="hadm_id")
        .join(stays.select("subject_id", "hadm_id", "intime", "outtime"), on="subject_id")
        .filter(pl.col("intime") <= pl.col("landmark_at"))
    )
    here = pl.col("hadm_id") == pl.col("index")
    hours = _seconds(pl.min_horizontal("outtime", "landmark_at"), pl.col("intime")) / _HOUR
    return (
        begun.sort("row_id", "intime")
        .group_by("row_id", maintain_order=True)
        .agg(
            here.sum().cast(pl.Float64).alias("icu_stays"),
            hours.filter(here).sum().alias("icu_hours"),
            (~here & (pl.col("intime") < pl.col("admittime"))).sum().cast(pl.Float64).alias("earlier_icu_stays"),
        )
    )


def demographics(rows: pl.DataFrame, admissions: pl.DataFrame, stays: pl.DataFrame) -> pl.DataFrame:
    """All columns of the demographics modality, Float64, one row per `row_id` in order.

    Counts of the past are 0 where there is no past; other nulls are unknown.
    """
    waited = _seconds(pl.col("admittime"), pl.min_horizontal("edregtime", "admittime")) / _HOUR
    base = rows.select(
        "row_id",
        "age",
        *indicators(),
        hours_in_emergency=waited,
        hours_in_hospital=_seconds(pl.col("landmark_at"), pl.col("admittime")) / _HOUR,
    )
    past, icu = history(rows, admissions), icu_use(rows, stays)
    joined = base.join(past, on="row_id", how="left").join(icu, on="row_id", how="left").sort("row_id")
    counts = [name for name in (*past.columns, *icu.columns) if name not in {"row_id", "days_since_discharge"}]
    return joined.with_columns(pl.col(counts).fill_null(0.0)).drop("row_id")
