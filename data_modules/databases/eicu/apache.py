"""APACHE predictions for the unit stays of eICU, a baseline and never an input.

They are stored beside the cohort, outside of every modality. APACHE reads the admission diagnosis and day 1, so its
predictions are known for rows whose landmark is at least 24 h into the unit stay.
"""

import polars as pl

from data_modules.raw.reader import Release

TABLE, KEY, STAY = "apachePatientResult", "apachepatientresultsid", "patientunitstayid"
VERSION = "IVa"
DAY_ONE_MINUTES = 24 * 60
PREDICTED = {"in_hospital_mortality": "predictedhospitalmortality", "unit_mortality": "predictedicumortality"}
"""Task -> column of its predicted probability."""


def predicted_mortality(release: Release, rows: pl.DataFrame) -> pl.DataFrame:
    """Read the probabilities of APACHE IVa.

    Args:
        release: raw tables with apachePatientResult.
        rows: rows of the cohort: `row_id`, `stay_id`, `prediction_offset_minutes`.

    Returns:
        One row per row of the cohort, in order: `row_id` and `apache_iva/<task>`, Float64; null without a prediction
        (−1 in the table) or if the value is not a probability.
    """
    columns = [STAY, KEY, "apacheversion", *PREDICTED.values()]
    results = release.scan(TABLE, columns).filter(pl.col("apacheversion").str.strip_chars() == VERSION).collect()
    # A stay has one row per version; of several, the first entered counts.
    once = results.sort(STAY, KEY).unique(STAY, keep="first", maintain_order=True)
    known = pl.col("prediction_offset_minutes") >= DAY_ONE_MINUTES
    joined = rows.join(once, left_on="stay_id", right_on=STAY, how="left").sort("row_id")
    return joined.select(
        "row_id",
        *(pl.when(known).then(_probability(column)).alias(f"apache_iva/{task}") for task, column in PREDICTED.items()),
    )


def _probability(column: str) -> pl.Expr:
    value = pl.col(column).cast(pl.Float64, strict=False)
    return pl.when(value.is_between(0, 1)).then(value)
