"""Single records of measurements, as they are converted."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from data_modules.features.concepts import Concept, Name, convert

Record = tuple[Name, float | None, str | None, str | None]
"""Name, number, unit and text."""
Kept = tuple[str, float | None, str]


def converted(
    concepts: Sequence[Concept], name: Name, number: float | None, unit: str | None = None, text: str | None = None
) -> list[Kept]:
    """Concept, value and problem of what is kept of one record, by concept."""
    return converted_together(concepts, [(name, number, unit, text)])[0]


def converted_together(concepts: Sequence[Concept], given: Sequence[Record]) -> list[list[Kept]]:
    """The same of each of several records."""
    columns = dict(zip(("name", "number", "unit", "text"), zip(*given, strict=True), strict=True))
    schema = {"number": pl.Float64, "unit": pl.String, "text": pl.String}
    frame = pl.LazyFrame({"record": range(len(given)), **columns}, schema_overrides=schema)
    kept = convert(frame, concepts).sort("record", "concept").collect()
    found: list[list[Kept]] = [[] for _ in given]
    for record, concept, value, problem in kept.select("record", "concept", "value", "problem").iter_rows():
        found[record].append((concepts[concept].name, value, problem))
    return found


def at_the_ends(concepts: Sequence[Concept], own: Sequence[Concept]) -> dict[str, list[list[Kept]]]:
    """Name of some concepts -> their least and largest plausible values, and the next beyond either, converted."""
    given: list[Record] = []
    for concept in own:
        low, high = float(concept.low), float(concept.high)
        values = low, high, float(np.nextafter(low, -np.inf)), float(np.nextafter(high, np.inf))
        given += [(concept.names[0], value, None, None) for value in values]
    found = converted_together(concepts, given)
    return {concept.name: found[4 * place : 4 * place + 4] for place, concept in enumerate(own)}
