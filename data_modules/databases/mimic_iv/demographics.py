"""Demographics, admission source and earlier admissions, as known at the landmark."""

from collections.abc import Mapping, Sequence

import polars as pl

from data_modules.cohorts.subgroups import age_band
from data_modules.features import categories

GROUPS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "gender": {"f": ["f"], "m": ["m"]},
    "race": {
        "asian": ["asian"],
        "black": ["black"],
        "hispanic": ["hispanic", "south american"],
        "native": ["american indian", "native hawaiian"],
        "white": ["white", "portuguese"],
        "unknown": ["unknown", "unable", "patient declined", "declined"],
    },
    "insurance": {"medicare": ["medicare"], "medicaid": ["medicaid"], "private": ["private"]},
    "marital_status": {
        "married": ["married"],
        "single": ["single"],
        "widowed": ["widowed"],
        "divorced": ["divorced"],
    },
    "language": {"english": ["english"]},
    "admission_type": {
        "emergency": ["ew emer", "direct emer", "emergency"],
        "urgent": ["urgent"],
        "observation": ["observation", "eu observation", "direct observation", "ambulatory observation"],
        "elective": ["elective"],
        "surgical": ["surgical"],
    },
    "admission_location": {
        "emergency": ["emergency"],
        "hospital": ["transfer from hosp"],
        "skilled": ["transfer from skilled"],
        "referral": ["physician referral", "phys referral", "clinic referral", "walk-in"],
        "procedure": ["procedure", "pacu", "ambulatory surgery"],
        "unknown": ["information not available"],
    },
}
"""Column -> group -> beginnings of its categories, which differ between versions of the release."""

_DAY, _HOUR = 86_400.0, 3_600.0


def _seconds(later: pl.Expr, earlier: pl.Expr) -> pl.Expr:
    return (later - earlier).dt.total_seconds().cast(pl.Float64)


def indicators() -> list[pl.Expr]:
    """Return the indicators of all categories; see `categories.indicators`.

    >>> frame = pl.DataFrame({column: ["F", None] for column in GROUPS})
    >>> frame.select(indicators())["gender/f"].to_list()
    [1.0, None]
    """
    return [one for column, groups in GROUPS.items() for one in categories.indicators(pl.col(column), column, groups)]


def subgroups(rows: pl.DataFrame) -> pl.DataFrame:
    """The attributes of the rows by which an evaluation is divided.

    Args:
        rows: `row_id`, `age` (years), and the columns of `GROUPS`.

    Returns:
        `row_id`, `sex`, `age_band`, `race`, `insurance`, `language`, text; null = unknown.

    >>> row = {"row_id": 0, "gender": "F", "age": 70.0, "race": "ASIAN", "insurance": "Medicaid", "language": "Spanish"}
    >>> subgroups(pl.DataFrame([row])).row(0)
    (0, 'female', '65 to 74', 'asian', 'medicaid', 'other')
    """
    named = {name: categories.group_of(pl.col(name), GROUPS[name]) for name in ("race", "insurance", "language")}
    sex = categories.group_of(pl.col("gender"), {"female": ["f"], "male": ["m"]})
    return rows.select("row_id", sex.alias("sex"), age_band(pl.col("age")), **named)


def history(rows: pl.DataFrame, admissions: pl.DataFrame) -> pl.DataFrame:
    """Summarise the admissions before the index admission; only those that ended by its admittime count.

    Args:
        rows: `row_id`, `subject_id`, `hadm_id`, `admittime`.
        admissions: all admissions of the subjects: `subject_id`, `hadm_id`, `admittime`, `dischtime`.

    Returns:
        One row per `row_id` with earlier admissions: their number, the number in the last 365 days, days in hospital,
        and days since the last discharge.

    >>> from datetime import datetime as day
    >>> past = {"subject_id": 7, "hadm_id": 1, "admittime": day(2150, 1, 1), "dischtime": day(2150, 1, 3)}
    >>> index = {"row_id": 0, "subject_id": 7, "hadm_id": 2, "admittime": day(2150, 1, 13)}
    >>> history(pl.DataFrame([index]), pl.DataFrame([past])).rows()
    [(0, 1.0, 1.0, 2.0, 10.0)]
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
    """Summarise the ICU stays that began by the landmark.

    Args:
        rows: `row_id`, `subject_id`, `hadm_id`, `admittime`, `landmark_at`.
        stays: `subject_id`, `hadm_id`, `intime`, `outtime` (null or after the landmark = still in the unit).

    Returns:
        One row per `row_id` with ICU stays: stays of this admission, their hours up to the landmark (null if one
        ends before it begins), and stays of earlier admissions.

    >>> from datetime import datetime as day
    >>> row = {"row_id": 0, "subject_id": 7, "hadm_id": 2, "admittime": day(2150, 1, 1), "landmark_at": day(2150, 1, 3)}
    >>> stay = {"subject_id": 7, "hadm_id": 2, "intime": day(2150, 1, 2), "outtime": day(2150, 1, 5)}
    >>> icu_use(pl.DataFrame([row]), pl.DataFrame([stay])).rows()
    [(0, 1.0, 24.0, 0.0)]
    """
    begun = (
        rows.select("row_id", "subject_id", "admittime", "landmark_at", index="hadm_id")
        .join(stays.select("subject_id", "hadm_id", "intime", "outtime"), on="subject_id")
        .filter(pl.col("intime") <= pl.col("landmark_at"))
    )
    here = pl.col("hadm_id") == pl.col("index")
    in_order = (pl.col("outtime") >= pl.col("intime")).fill_null(value=True)
    hours = pl.when(in_order).then(_seconds(pl.min_horizontal("outtime", "landmark_at"), pl.col("intime")) / _HOUR)
    return (
        begun.sort("row_id", "intime")
        .group_by("row_id", maintain_order=True)
        .agg(
            here.sum().cast(pl.Float64).alias("icu_stays"),
            pl.when(hours.filter(here).null_count() == 0).then(hours.filter(here).sum()).alias("icu_hours"),
            (~here & (pl.col("intime") < pl.col("admittime"))).sum().cast(pl.Float64).alias("earlier_icu_stays"),
        )
    )


def demographics(rows: pl.DataFrame, admissions: pl.DataFrame, stays: pl.DataFrame) -> pl.DataFrame:
    """Derive the columns of the demographics modality.

    Args:
        rows: rows of the cohort.
        admissions: as for `history`.
        stays: as for `icu_use`.

    Returns:
        One row per `row_id`, in order, Float64. Counts are 0 without earlier admissions; null = unknown.
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
    unknown = {"days_since_discharge", "icu_hours"}
    counts = [name for name in (*past.columns, *icu.columns) if name not in {"row_id", *unknown}]
    no_stay = pl.col("icu_stays").is_null()
    hours = pl.when(no_stay).then(0.0).otherwise(pl.col("icu_hours"))
    return joined.with_columns(icu_hours=hours).with_columns(pl.col(counts).fill_null(0.0)).drop("row_id")
