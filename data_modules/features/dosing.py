"""Doses with and without body weight."""

from collections.abc import Sequence

import polars as pl

from data_modules.features.concepts import Concept


def by_weight(rows: pl.LazyFrame, drugs: Sequence[Concept]) -> pl.LazyFrame:
    """Divide or multiply doses by the weight, where the drug is dosed by weight and the dose is not, or vice versa.

    Args:
        rows: `name` of a drug, `number`, `unit` in lower case, `weight` in kg (null = unknown), any other columns.
        drugs: concepts whose unit is that of a rate.

    Returns:
        The rows without `weight`; where it is unknown, and for volumes, they are as they were.

    >>> drugs = [Concept(name="dopamine", unit="ug/kg/min", low=0, high=100, names=("dopamine",)),
    ...          Concept(name="insulin", unit="units/h", low=0, high=200, names=("insulin",))]
    >>> cells = {"name": ["dopamine", "insulin"], "number": [80.0, 0.1], "unit": ["mcg/min", "units/kg/hr"]}
    >>> by_weight(pl.LazyFrame(cells).with_columns(weight=80.0), drugs).collect().rows()
    [('dopamine', 1.0, 'mcg/kg/min'), ('insulin', 8.0, 'units/hr')]
    """
    dosed = {name: "/kg/" in one.unit for one in drugs for name in one.names}
    wanted = pl.col("name").replace_strict(dosed, default=None, return_dtype=pl.Boolean)
    given = pl.col("unit").str.contains("/kg/", literal=True)
    known = pl.col("weight").is_not_null() & ~pl.col("unit").str.starts_with("ml")
    divided, multiplied = known & wanted & ~given, known & ~wanted & given
    number, unit, weight = pl.col("number"), pl.col("unit"), pl.col("weight")
    return rows.with_columns(
        number=pl.when(divided).then(number / weight).when(multiplied).then(number * weight).otherwise(number),
        unit=pl.when(divided)
        .then(unit.str.replace("/", "/kg/", literal=True))
        .when(multiplied)
        .then(unit.str.replace("/kg/", "/", literal=True))
        .otherwise(unit),
    ).drop("weight")
