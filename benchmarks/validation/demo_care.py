"""Infusions, fluids, breathing support and flow sheets of eICU, compared; the demo has no flow sheets of nurses."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from benchmarks.validation import (
    compare,
    eicu_fluids,
    eicu_infusions,
    eicu_nursing,
    eicu_respiration,
    eicu_scores,
)
from benchmarks.validation.compare import Part
from benchmarks.validation.eicu_events import by_stay
from benchmarks.validation.plain import Act, Row, read, summary
from data_modules.databases.eicu import concepts, infusions, nursing, respiration
from data_modules.features.concepts import Concept
from data_modules.raw.reader import Release

CHARTED = ("count", "first", "last", "min", "max", "mean", "slope", "hours_since_last", "observed")
TABLES = (
    "infusionDrug", "intakeOutput", "respiratoryCharting", "treatment", "lab", "vitalPeriodic", "vitalAperiodic",
)  # fmt: skip
NURSED = "nurseCharting"
Tables = Mapping[str, Sequence[Row]]
"""Table -> rows of a unit stay."""


def columns_of(acts: Mapping[str, Sequence[Act]], of: Sequence[Concept]) -> dict[str, float]:
    """The columns of charted concepts of one unit stay, and their presence."""
    table = {"present": float(any(acts.get(concept.name) for concept in of))}
    for concept in of:
        found = summary(list(acts.get(concept.name, ())))
        table |= {f"{concept.name}/{part}": found[part] for part in CHARTED}
    return table


def _rates(of: Sequence[Concept]) -> Callable[[Tables, Row], dict[str, float]]:
    return lambda tables, patient: columns_of(eicu_infusions.rate_acts(tables["infusionDrug"], of, patient), of)


def _breathing(tables: Tables, patient: Row) -> dict[str, float]:
    of = respiration.RESPIRATION
    acts = eicu_respiration.acts_of(tables["respiratoryCharting"], tables["treatment"], of, patient)
    return columns_of(acts, of)


def _neurology(tables: Tables, patient: Row) -> dict[str, float]:
    acts = eicu_nursing.acts_of(tables[NURSED], nursing.NEUROLOGY, patient)
    return columns_of(eicu_nursing.with_sums(acts), nursing.NEUROLOGY)


def _nurse_vitals(tables: Tables, patient: Row) -> dict[str, float]:
    return columns_of(eicu_nursing.acts_of(tables[NURSED], nursing.NURSE_VITALS, patient), nursing.NURSE_VITALS)


MODALITIES: Mapping[str, Callable[[Tables, Row], dict[str, float]]] = {
    "vasoactives": _rates(infusions.WRITTEN),
    "infusion_rates": _rates(concepts.INFUSED),
    "fluids": lambda tables, patient: eicu_fluids.columns(tables["intakeOutput"], patient),
    "respiration": _breathing,
    "neurology": _neurology,
    "nurse_vitals": _nurse_vitals,
    "scores": eicu_scores.columns,
}
"""Modality -> its columns for one unit stay."""
READ: Mapping[str, Sequence[str]] = {
    "vasoactives": ("infusionDrug",),
    "infusion_rates": ("infusionDrug",),
    "fluids": ("intakeOutput",),
    "respiration": ("respiratoryCharting", "treatment"),
    "neurology": (NURSED,),
    "nurse_vitals": (NURSED,),
    "scores": TABLES,
}
"""Modality -> the tables that it is derived from."""


def recorded(release: Release) -> dict[str, dict[int, list[Row]]]:
    """Table -> unit stay -> its rows, of the tables that the release has."""
    return {name: by_stay(read(release.files[name])) for name in (*TABLES, NURSED) if name in release.files}


def parts(
    title: str,
    release: Release,
    rows: pl.DataFrame,
    stays: Mapping[int, Row],
    tables: Mapping[str, Mapping[int, Sequence[Row]]],
    scratch: Path,
) -> Iterator[Part]:
    """Compare every modality whose tables, of `recorded`, the release has, for the rows of the cohort."""
    mine = {stay: {name: found.get(stay, []) for name, found in tables.items()} for stay in rows["stay_id"]}
    for name, derive in MODALITIES.items():
        if not set(READ[name]) <= set(tables):
            continue
        columns, found = compare.write("eicu", release, rows, name, scratch / name)
        expected = [derive(mine[stay], stays[stay]) for stay in rows["stay_id"]]
        yield compare.cells(Part(title, name), columns, found, expected)
