"""Attributes of the rows by which an evaluation is divided; no model reads them.

`subgroups.parquet` lies beside cohort.parquet: `row_id` and one text column for each attribute, null = unknown.
"""

from itertools import pairwise
from pathlib import Path

import polars as pl

from data_modules.cohorts.columns import ContractError, check_name

SUBGROUPS = "subgroups.parquet"
SUBGROUP = "subgroup/"
"""Prefix of the columns in the cohort.parquet of a custom cohort, and in predictions.parquet."""
OF_COHORT = {"hospital_id": "hospital", "year_group": "year_group"}
"""Column of cohort.parquet -> attribute that it is."""
AGES = (18, 45, 65, 75, 85)
"""Ages in years at which a band begins."""


def age_band(age: pl.Expr) -> pl.Expr:
    """Return the band of ages in years, text; null = unknown.

    Args:
        age: whole years, or fractions of them.

    >>> pl.DataFrame({"age": [17.0, 44.9, 45.0, 91.0, None]}).select(age_band(pl.col("age"))).to_series().to_list()
    ['under 18', '18 to 44', '45 to 64', '85 or more', None]
    """
    band: pl.Expr = pl.when(age >= AGES[-1]).then(pl.lit(f"{AGES[-1]} or more"))
    for first, after in reversed(list(pairwise(AGES))):
        band = pl.when(age < after).then(pl.lit(f"{first} to {after - 1}")).otherwise(band)
    return pl.when(age < AGES[0]).then(pl.lit(f"under {AGES[0]}")).otherwise(band).alias("age_band")


def write_given(frame: pl.DataFrame, place: Path, folder: Path) -> None:
    """Write the attributes of a custom cohort; without any, no file.

    Args:
        frame: its cohort.parquet, with columns `subgroup/<attribute>`.
        place: of that file, for messages.
        folder: to write into.

    Raises:
        ContractError: if an attribute is neither text, integer nor Boolean, or has a name that no file can have.
    """
    names = [name for name in frame.columns if name.startswith(SUBGROUP)]
    for name in names:
        check_name(place, SUBGROUP, "attribute", name.removeprefix(SUBGROUP))
        dtype = frame[name].dtype
        if not (dtype.is_integer() or dtype.base_type() in {pl.String, pl.Categorical, pl.Enum, pl.Boolean, pl.Null}):
            raise ContractError(
                place, name, 0, f"must be text, integer or Boolean, but is {dtype}; use bands of numbers"
            )
    if names:
        levels = [pl.col(name).cast(pl.String).alias(name.removeprefix(SUBGROUP)) for name in names]
        frame.select(pl.col("row_id").cast(pl.UInt32), *levels).sort("row_id").write_parquet(folder / SUBGROUPS)


def read(folder: Path, cohort: pl.DataFrame) -> pl.DataFrame:
    """Read the attributes of a cohort: those of its file, and the hospital and year group of its rows.

    Args:
        folder: of the cohort.
        cohort: the rows of cohort.parquet.

    Returns:
        `subgroup/<attribute>` of the rows, text, null = unknown; no column for an attribute that no row has.
    """
    path, row = folder / SUBGROUPS, cohort.select(pl.col("row_id").cast(pl.UInt32))
    found = row.join(pl.read_parquet(path), on="row_id", how="left", maintain_order="left") if path.is_file() else row
    own = {name: column for column, name in OF_COHORT.items() if column in cohort.columns and name not in found.columns}
    found = found.with_columns(cohort[column].cast(pl.String).alias(name) for name, column in own.items())
    filled = [name for name in found.columns if name != "row_id" and found[name].null_count() < found.height]
    return found.select(pl.col(name).alias(SUBGROUP + name) for name in filled)
