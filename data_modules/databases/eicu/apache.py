"""APACHE's own predictions of eICU's unit stays: what a model is compared with, and never reads.

They are kept beside the cohort, apart from every modality. They read the admission diagnosis and day 1, so they are
known for rows whose landmark lies no earlier than 24 h into the unit.
"""

import polars as pl

from data_modules.raw.reader import Release

TABLE, KEY, STAY = "apachePatientResult", "apachepatientresultsid", "patientunitstayid"
VERSION = "IVa"
DAY_ONE_MINUTES = 24 * 60
PREDICTED = {"in_hospital_mortality": "predictedhospitalmortality", "unit_mortality": "predictedicumortality"}
"""Task -> the column that predicts it."""


def predicted_mortality(release: Release, rows: pl.DataFrame) -> pl.DataFrame:
    """APACHE IVa's probabilities.

    Args:
        release: the raw tables, with apachePatientResult.
        rows: of the cohort: `row_id`, `stay_id`, `prediction_offset_minutes`.

    Returns:
        Every row in order: `row_id`, and `apache_iva/<task>`, Float64, null where APACHE made none (−1 in the table),
        or none that is a probability.
    """
    columns = [STAY, KEY, "apacheversion", *PREDICTED.values()]
    results = release.scan(TABLE, columns).filter(pl.col("apacheversion").str.strip_chars() == VERSION).collect()
    # A stay has one row of each version; were there several, the one entered first counts.
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
