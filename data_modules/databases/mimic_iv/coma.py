"""The total of the Glasgow Coma Scale, from its parts."""

import polars as pl

from data_modules.databases.mimic_iv.concepts import GCS_TOTAL, NEUROLOGY

GCS_PARTS = 3
"""The first concepts of `NEUROLOGY`."""
WRITTEN = (GCS_TOTAL, *NEUROLOGY[GCS_PARTS:])
"""Concepts of the columns of `neurology`."""


def coma_totals(events: pl.DataFrame) -> pl.DataFrame:
    """Replace the parts of the coma scale by their sum at the times when all of them were charted.

    Args:
        events: settled events of `NEUROLOGY`.

    Returns:
        Events of `WRITTEN`; a sum without a value, and with the reason, where a part has none.

    >>> part = {"row_id": 0, "source": 0, "known": True, "problem": "usable", "unit": None, "specimen": None,
    ...         "stored": 0, "censored": False}
    >>> parts = [(0, -2.0, 3.0), (1, -2.0, 4.0), (2, -2.0, 6.0), (0, -1.0, 4.0), (2, -1.0, 6.0), (4, -1.0, -2.0)]
    >>> rows = [{**part, "concept": concept, "hours": hours, "value": value} for concept, hours, value in parts]
    >>> coma_totals(pl.DataFrame(rows)).select("concept", "hours", "value").rows()
    [(0, -2.0, 13.0), (2, -1.0, -2.0)]
    """
    is_part = pl.col("concept") < GCS_PARTS
    value = pl.col("value")
    reasons = pl.col("problem").filter(value.is_null())
    others = [name for name in events.columns if name not in {"row_id", "hours", "concept", "value", "problem"}]
    sums = events.filter(is_part).group_by("row_id", "hours").agg(
        pl.col("concept").n_unique().alias("parts"),
        pl.when(value.null_count() == 0).then(value.sum()).alias("value"),
        pl.when(value.null_count() == 0).then(pl.col("problem").first()).otherwise(reasons.first()).alias("problem"),
        *(pl.col(name).first() for name in others),
    )  # fmt: skip
    totals = sums.filter(pl.col("parts") == GCS_PARTS).with_columns(concept=pl.lit(0, events.schema["concept"]))
    rest = events.filter(~is_part).with_columns(pl.col("concept") - (GCS_PARTS - 1))
    return pl.concat([totals.select(events.columns), rest])
