"""Single records of measurements, as they are converted."""

from collections.abc import Sequence

import polars as pl

from data_modules.features.concepts import Concept, Name, convert


def converted(
    concepts: Sequence[Concept], name: Name, number: float | None, unit: str | None = None, text: str | None = None
) -> list[tuple[str, float | None, str]]:
    """Concept, value and problem of what is kept of one record, by concept."""
    cells = {"name": [name], "number": [number], "unit": [unit], "text": [text]}
    schema = {"number": pl.Float64, "unit": pl.String, "text": pl.String}
    kept = convert(pl.LazyFrame(cells, schema_overrides=schema), concepts).sort("concept").collect()
    return [
        (concepts[concept].name, value, problem)
        for concept, value, problem in kept.select("concept", "value", "problem").iter_rows()
    ]
