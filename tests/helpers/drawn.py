"""Labs of one row of either database: the same events, written as each release writes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_modules.databases.eicu import concepts as eicu_concepts
from data_modules.databases.eicu.cohort import build_rows
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.mimic_iv import concepts as mimic_concepts
from tests.helpers import eicu, mimic_iv
from tests.helpers.mimic_iv import moment

LANDMARK = {"mimic": moment(2), "eicu": eicu.DAY}
"""Of row 1: 24 h into its stay in the unit."""
MIMIC: Mapping[str, Any] = {"landmark": "icu_24h", "index": "every"}
EICU: Mapping[str, Any] = {"landmark": "unit_24h", "index": "every"}


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A lab.

    Attributes:
        name: concept, item id or label.
        at: when it was drawn, in hours from the landmark.
        stored: when its result was stored, in hours from the landmark; None = not recorded.
        number: its number; None = none.
        text: its text.
        unit: unit as recorded.
        cells: further cells.
        row: hadm_id or stay_id.
        owner: subject_id, where it is not that of the row (MIMIC-IV).
    """

    name: str | int = "creatinine"
    at: float = -6
    stored: float | None = None
    number: float | None = None
    text: str = ""
    unit: str = ""
    cells: tuple[tuple[str, Any], ...] = ()
    row: int = 1
    owner: int = 0


@dataclass(frozen=True)
class Built:
    """What the rows get of the labs (None = absent), and the counts for the manifest of their table."""

    rows: Mapping[int, Mapping[str, float] | None]
    counts: Mapping[str, Mapping[str, int]]

    @property
    def one(self) -> Mapping[str, float]:
        """What row 1 gets, which is present."""
        cells = self.rows[1]
        assert cells is not None
        return cells


def _name(lab: Drawn, concepts: Any) -> Any:
    return {one.name: one.names[0] for one in concepts}.get(lab.name, lab.name)


def mimic_row(number: int, lab: Drawn) -> mimic_iv.Row:
    """A row of labevents; labs drawn at one time are of one specimen."""
    cells = {
        "labevent_id": number,
        "subject_id": lab.owner or lab.row,
        "hadm_id": lab.row,
        "specimen_id": 10_000 + round(lab.at * 60),
        "itemid": _name(lab, mimic_concepts.LABS),
        "charttime": moment(2, hours=lab.at),
        "storetime": "" if lab.stored is None else moment(2, hours=lab.stored),
        "value": lab.text,
        "valuenum": lab.number,
        "valueuom": lab.unit,
    }
    return {**cells, **dict(lab.cells)}


def eicu_row(number: int, lab: Drawn) -> eicu.Row:
    """A row of lab."""
    cells = {
        "labid": number,
        "patientunitstayid": lab.row,
        "labresultoffset": eicu.DAY + round(lab.at * 60),
        "labresultrevisedoffset": "" if lab.stored is None else eicu.DAY + round(lab.stored * 60),
        "labname": _name(lab, eicu_concepts.LABS),
        "labresult": lab.number,
        "labresulttext": lab.text,
        "labmeasurenameinterface": lab.unit,
    }
    return {**cells, **dict(lab.cells)}


def mimic_labs(folder: Path, *labs: Drawn) -> Built:
    """The labs of MIMIC-IV for rows 1 to 3, of subjects with the same number."""
    numbers = range(1, 4)
    release = mimic_iv.write_release(
        folder / "raw",
        patients=[mimic_iv.patient(one) for one in numbers],
        admissions=[mimic_iv.admission(one, one, moment(1), moment(9)) for one in numbers],
        icustays=[mimic_iv.stay(one, one, moment(1), moment(8)) for one in numbers],
        labevents=[mimic_row(number, lab) for number, lab in enumerate((*labs, Drawn(row=9000, owner=900, number=1)))],
    )
    context = mimic_iv.context_of(release, folder, **MIMIC)
    found = mimic_iv.features_of(context, "labs", folder)
    return Built(found, {what: tables["labevents"] for what, tables in context.counts.items()})


def eicu_labs(folder: Path, *labs: Drawn) -> Built:
    """The labs of eICU for rows 1 to 3; row 9 has a lab too."""
    release = eicu.write_release(
        folder / "raw",
        [eicu.stay(one) for one in (1, 2, 3, 9)],
        lab=[eicu_row(number, lab) for number, lab in enumerate((*labs, Drawn(row=9, number=1)))],
    )
    rows = build_rows(release, EICUCohortConfig(**EICU)).rows
    context = eicu.sources_of(release, rows, folder / "scratch")
    table, present = eicu.table_of(context, "labs", folder / "labs")
    cells = zip(rows["stay_id"], table.iter_rows(named=True), present, strict=True)
    found = {stay: row if there else None for stay, row, there in cells}
    return Built(found, {what: tables["lab"] for what, tables in context.counts.items()})
