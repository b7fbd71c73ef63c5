"""The harmonised modalities of both demos, compared."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.validation import (
    compare,
    eicu,
    eicu_events,
    eicu_infusions,
    eicu_nursing,
    eicu_respiration,
    mimic_iv_events,
    mimic_iv_support,
)
from benchmarks.validation.compare import Part
from benchmarks.validation.demo_support import Measured, Support, settled
from benchmarks.validation.eicu import DAY
from benchmarks.validation.harmonised import CHARTED, LABORATORY, Acts, body, columns, held, person
from benchmarks.validation.mimic_iv import Admission
from benchmarks.validation.mimic_iv_events import Events, chosen
from benchmarks.validation.plain import Act, Row, last_revisions, number, summary
from data_modules.databases.eicu import concepts as eicu_concepts
from data_modules.databases.eicu import infusions, nursing
from data_modules.databases.harmonised import concepts as shared
from data_modules.databases.mimic_iv import concepts as mimic_concepts
from data_modules.databases.mimic_iv import vasoactives
from data_modules.features.concepts import Concept
from data_modules.raw.reader import Release

RUNNING_HOURS = 4
"""How long a rate of eICU holds."""
LARGEST = {"urine": 5_000, "output": 10_000, "intake": 10_000}
MOST = 30_000
SOFA = ("respiration", "coagulation", "liver", "cardiovascular", "nervous", "renal")
Table = dict[str, float]


class Mimic:
    """The rows of MIMIC-IV."""

    def __init__(self, support: Support, measured: Measured) -> None:
        self.support = support
        self.charted = chosen(measured.charted, shared.MIMIC_CHARTED)
        self.labs = chosen(measured.labs, shared.MIMIC_LABORATORY)

    def _of(
        self, events: Events, of: Sequence[Concept], row: Admission, at: datetime, *, drawn: bool
    ) -> dict[str, list[Act]]:
        return settled(events.get(row["subject_id"], ()), row, at, of, drawn=drawn)

    def rows(self, row: Admission, at: datetime) -> dict[str, Table]:
        """Modality -> its columns."""
        found = {
            name: columns(self._of(self.charted, of, row, at, drawn=False), of, CHARTED)
            for name, of in (
                ("vitals", shared.MIMIC_VITALS),
                ("respiration", shared.MIMIC_RESPIRATION),
                ("nurse_vitals", shared.MIMIC_NURSE_VITALS),
            )
        }
        for panel in shared.PANELS:
            of = shared.MIMIC_LABS[shared.of_panel(panel)]
            found[panel] = columns(self._of(self.labs, of, row, at, drawn=True), of, LABORATORY)
        gas = self._of(self.labs, shared.MIMIC_GAS_OXYGEN, row, at, drawn=False)
        charted = self._of(self.charted, shared.MIMIC_OXYGEN, row, at, drawn=False)
        both = {"fio2": [*gas.get("fio2", ()), *charted.get("fio2", ())]}
        found["oxygen"] = columns(both, shared.MIMIC_OXYGEN, CHARTED)
        scale = self._of(self.charted, mimic_concepts.NEUROLOGY, row, at, drawn=False)
        totals = mimic_iv_events.with_totals(scale)["gcs_total"]
        found["neurology"] = columns({**scale, "gcs_total": totals}, shared.NEUROLOGY, CHARTED)
        found["person"] = person(
            self.support.hospital.age(row), female=self.support.hospital.patients[row["subject_id"]]["gender"] == "F"
        )
        found["body"] = body(*self._body(row, at))
        return found | self._care(row, at)

    def _body(self, row: Admission, at: datetime) -> tuple[float, float]:
        acts = self._of(self.charted, shared.MIMIC_BODY, row, at, drawn=False)
        height, weight = (summary(list(acts.get(name, ())))["last"] for name in shared.BODY_NAMES)
        return height, weight

    def _care(self, row: Admission, at: datetime) -> dict[str, Table]:
        """Drugs, fluids and SOFA."""
        given = self.support.given.get(row["subject_id"], [])
        until_the_end = partial(held, longest=math.inf)
        rates = mimic_iv_support.acts(given, row, at)
        others = mimic_iv_support.acts(given, row, at, drugs=mimic_concepts.INFUSED, dose=_dose)
        organs = self.support.scores(row, at)
        sofa = {name: organs.get(name, math.nan) for name in (*(f"sofa/{organ}" for organ in SOFA), "sofa")}
        known = any(not math.isnan(sofa[f"sofa/{organ}"]) for organ in SOFA)
        return {
            "vasoactives": columns(rates, vasoactives.WRITTEN, CHARTED, until_the_end),
            "infusion_rates": columns(others, mimic_concepts.INFUSED, CHARTED, until_the_end),
            "fluids": self._fluids(given, row, at),
            "scores": {**(sofa if known else dict.fromkeys(sofa, math.nan)), "present": float(known)},
        }

    def _fluids(self, given: Sequence[dict[str, Any]], row: Admission, at: datetime) -> Table:
        lost, into = self.support.lost.get(row["subject_id"], []), mimic_iv_support.taken(given, row, at)
        cells = [("intake", 0.0, volume) for volume in into]
        for event, hours in mimic_iv_support.given_off(lost, row, at):
            is_urine = event["itemid"] in {*mimic_iv_support.FOLEY_AND_OTHERS, mimic_iv_support.IRRIGANT}
            cells.append(("urine" if is_urine else "output", hours, mimic_iv_support.milliliters(event)))
        if not cells:
            return {"present": 0.0}
        plausible = [cell for cell in cells if cell[2] <= LARGEST[cell[0]]]
        weight = self._body(row, at)[1]
        table = {"present": 1.0, "weight_kg": weight}
        for hours in (6, 12, 24):
            urine = table[f"urine_ml/{hours}h"] = _total(plausible, ("urine",), hours)
            whole = mimic_iv_support.in_unit_for(hours, self.support.hospital.stays[row["subject_id"]], row, at)
            table[f"urine_ml_per_kg_hour/{hours}h"] = urine / hours / weight if whole else math.nan
        table["intake_ml/24h"] = _total(plausible, ("intake",), 24)
        table["output_ml/24h"] = _total(plausible, ("urine", "output"), 24)
        table["balance_ml/24h"] = table["intake_ml/24h"] - table["output_ml/24h"]
        return table | {"balance_ml_per_kg/24h": table["balance_ml/24h"] / weight}


def _total(cells: Sequence[tuple[str, float, float]], names: Sequence[str], hours: int) -> float:
    """The sum of hours, of a kind that was recorded in the 24 h; NaN if it was not, or the sum is implausible."""
    chosen = [(before, volume) for name, before, volume in cells if name in names]
    found = sum(volume for before, volume in chosen if before < hours)
    return found if chosen and found <= MOST else math.nan


def _dose(event: dict[str, Any], concept: Concept) -> float | None:
    """The rate of a row in the unit of its concept, by the weight of the row where it needs one."""
    found = eicu_infusions.parts(event["rateuom"].lower().replace("hour", "h"))
    wanted = eicu_infusions.parts(concept.unit.lower())
    if found is None or wanted is None or found[0] != wanted[0]:
        return None
    return eicu_infusions.converted(float(event["rate"]), found, wanted, number(event["patientweight"]), concept)


def stay_rows(tables: Mapping[str, Sequence[Row]], patient: Row) -> dict[str, Table]:
    """Modality -> its columns, of a unit stay of eICU and the tables that there are."""
    first = eicu_events.earliest(patient)
    found = {"person": _person(patient), "body": body(*(_size(one, patient) for one in shared.EICU_BODY))}
    if "lab" in tables:
        for panel in shared.PANELS:
            of = shared.EICU_LABS[shared.of_panel(panel)]
            drawn = eicu_events.lab_acts(tables["lab"], of, first)
            acts = {name: last_revisions(eicu_events.uncontradicted(own)) for name, own in drawn.items()}
            found[panel] = columns(acts, of, LABORATORY)
    if {"vitalPeriodic", "vitalAperiodic"} <= set(tables):
        cuffs = [
            {"observationoffset": row["observationoffset"], **{line: row[cuff] for line, cuff in shared.CUFF.items()}}
            for row in tables["vitalAperiodic"]
        ]
        line = eicu_events.vital_acts(tables["vitalPeriodic"], shared.EICU_VITALS, first)
        pressures = [one for one in shared.EICU_VITALS if one.names[0] in shared.CUFF]
        cuff = eicu_events.vital_acts(cuffs, pressures, first)
        both = {one.name: [*line.get(one.name, ()), *cuff.get(one.name, ())] for one in shared.EICU_VITALS}
        found["vitals"] = columns(both, shared.EICU_VITALS, CHARTED)
    if {"lab", "respiratoryCharting", "treatment"} <= set(tables):
        found["oxygen"] = columns(_oxygen(tables, patient), shared.EICU_OXYGEN, CHARTED)
        breathing = eicu_respiration.acts_of(
            tables["respiratoryCharting"], tables["treatment"], shared.EICU_RESPIRATION, patient
        )
        found["respiration"] = columns(breathing, shared.EICU_RESPIRATION, CHARTED)
    if "infusionDrug" in tables:
        for name, of in (("vasoactives", infusions.WRITTEN), ("infusion_rates", eicu_concepts.INFUSED)):
            rates = eicu_infusions.rate_acts(tables["infusionDrug"], of, patient)
            found[name] = columns(rates, of, CHARTED, partial(held, longest=RUNNING_HOURS))
    if "nurseCharting" in tables:
        nursed = eicu_nursing.with_sums(eicu_nursing.acts_of(tables["nurseCharting"], nursing.NEUROLOGY, patient))
        found["neurology"] = columns(nursed, nursing.NEUROLOGY, CHARTED)
        signs = eicu_nursing.acts_of(tables["nurseCharting"], nursing.NURSE_VITALS, patient)
        found["nurse_vitals"] = columns(signs, nursing.NURSE_VITALS, CHARTED)
    return found


def _person(patient: Row) -> Table:
    sex = patient["gender"].strip().lower()
    years = eicu.age(patient)
    return person(math.nan if years is None else years, female=sex == "female" if sex in {"female", "male"} else None)


def _size(concept: Concept, patient: Row) -> float:
    size = number(patient[str(concept.names[0])])
    return size if size is not None and concept.low <= size <= concept.high else math.nan


def _oxygen(tables: Mapping[str, Sequence[Row]], patient: Row) -> Acts:
    """Inspired oxygen that was charted, or recorded with a gas whose result was known."""
    of, first = shared.EICU_OXYGEN, eicu_events.earliest(patient)
    gases = eicu_events.lab_acts(tables["lab"], of, first).get("fio2", [])
    acts: dict[str, list[Act]] = defaultdict(list)
    acts["fio2"] = [act._replace(specimen="gas") for act in gases if act.stored <= DAY]
    for row in tables["respiratoryCharting"]:
        at = int(row["respchartoffset"])
        stored = int(row["respchartentryoffset"] or at)
        value = eicu_respiration.decimal(row["respchartvalue"])
        if row["respchartvaluelabel"] in of[0].names and first <= at <= DAY and stored <= DAY and value is not None:
            plausible = eicu_respiration.in_range(of[0], value)
            acts["fio2"].append(Act((at - DAY) / 60, "", row["respchartvaluelabel"], True, stored, plausible))
    return {name: last_revisions(eicu_events.uncontradicted(found)) for name, found in acts.items()}


def compared(
    database: str, title: str, release: Release, rows: pl.DataFrame, expected: Sequence[dict[str, Table]], scratch: Path
) -> Iterator[Part]:
    """Compare every modality that the rows have."""
    for name in expected[0]:
        columns_of, found = compare.write(database, release, rows, f"harmonised_{name}", scratch)
        empty = dict.fromkeys(columns_of, math.nan)
        yield compare.cells(
            Part(title, f"harmonised_{name}"), columns_of, found, [empty | one[name] for one in expected]
        )
