"""Vasoactive drugs, fluids and scores of the MIMIC-IV demo, compared."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.validation import compare, mimic_iv_events, mimic_iv_scores, mimic_iv_support
from benchmarks.validation.compare import Part
from benchmarks.validation.mimic_iv import Admission, Hospital
from benchmarks.validation.mimic_iv_events import chosen
from benchmarks.validation.plain import Act, last_revisions, read, summary
from data_modules.databases.mimic_iv import sets, vasoactives
from data_modules.features.concepts import Concept
from data_modules.raw.reader import Release

CHARTED = ("count", "first", "last", "min", "max", "mean", "slope", "hours_since_last", "observed")
TABLES = ("inputevents", "outputevents", "services", "diagnoses_icd")


class Measured:
    """The measurements of some concepts, by subject: each table is read once for all of them."""

    def __init__(self, release: Release, labs: Sequence[Concept], charted: Sequence[Concept]) -> None:
        self.labs = events_of(release, "labevents", labs)
        self.charted = events_of(release, "chartevents", charted)


class Support:
    """What the loops read of a release, by subject."""

    def __init__(self, release: Release, hospital: Hospital, measured: Measured | None = None) -> None:
        self.hospital = hospital
        self.release = release
        events = measured or Measured(release, sets.SCORED_LABS, [*sets.WEIGHT, *sets.SCORED_VITALS])
        self.given = mimic_iv_support.intervals(read(release.files["inputevents"]))
        self.lost = mimic_iv_support.outputs(read(release.files["outputevents"]))
        self.weights = chosen(events.charted, sets.WEIGHT)
        self.charted = chosen(events.charted, sets.SCORED_VITALS)
        self.labs = chosen(events.labs, sets.SCORED_LABS)
        self.services: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for one in read(release.files["services"]):
            self.services[one["subject_id"]].append({**one, "moved": datetime.fromisoformat(one["transfertime"])})
        self._scores: dict[tuple[str, datetime], dict[str, float]] = {}
        self.codes = defaultdict(list)
        for code in read(release.files["diagnoses_icd"]):
            self.codes[code["hadm_id"]].append(code)

    def parts(
        self, title: str, rows: pl.DataFrame, admissions: Sequence[tuple[Admission, datetime]], scratch: Path
    ) -> Iterator[Part]:
        """Compare the modalities for the rows, whose admissions and landmarks are listed in their order."""
        expected = {
            "vasoactives": [self.drugs(row, at) for row, at in admissions],
            "fluids": [self.fluids(row, at) for row, at in admissions],
            "scores": [self.scores(row, at) for row, at in admissions],
        }
        for name, table in expected.items():
            columns, found = compare.write("mimic", self.release, rows, name, scratch)
            empty = dict.fromkeys(columns, math.nan)
            yield compare.cells(Part(title, name), columns, found, [empty | row for row in table])

    def drugs(self, row: Admission, at: datetime) -> dict[str, float]:
        """The columns of the drugs."""
        acts = mimic_iv_support.acts(self.given.get(row["subject_id"], []), row, at)
        table = {"present": float(any(acts.values()))}
        for concept in vasoactives.WRITTEN:
            found = summary(acts.get(concept.name, []))
            table |= {f"{concept.name}/{part}": found[part] for part in CHARTED}
        return table

    def scores(self, row: Admission, at: datetime) -> dict[str, float]:
        """The columns of the scores; those of an admission at a landmark are derived once."""
        key = row["hadm_id"], at
        if key not in self._scores:
            self._scores[key] = self._scored(row, at)
        return self._scores[key]

    def _scored(self, row: Admission, at: datetime) -> dict[str, float]:
        subject = row["subject_id"]
        charted = settled(self.charted.get(subject, []), row, at, sets.SCORED_VITALS, drawn=False)
        labs = settled(self.labs.get(subject, []), row, at, sets.SCORED_LABS, drawn=True)
        drugs = mimic_iv_support.acts(self.given.get(subject, []), row, at)
        stays = self.hospital.stays[subject]
        lost = mimic_iv_support.fluids([], self.lost.get(subject, []), 1.0, row, at, stays)
        is_whole = mimic_iv_support.in_unit_for(24, stays, row, at)
        urine = lost.get("urine_ml/24h", math.nan) if is_whole else math.nan
        day = mimic_iv_scores.day_of(mimic_iv_events.with_totals(charted), labs, drugs, urine)
        past = mimic_iv_scores.past_of(
            row,
            at,
            self.hospital.age(row),
            self.hospital.admissions[subject],
            stays,
            self.services[subject],
            self.codes,
        )
        return mimic_iv_scores.columns(day, past, row["admission_type"])

    def fluids(self, row: Admission, at: datetime) -> dict[str, float]:
        """The columns of the fluids."""
        subject = row["subject_id"]
        charted = mimic_iv_events.acts_of(self.weights.get(subject, []), row, at, sets.WEIGHT, drawn=False)
        weight = summary(last_revisions(charted.get("weight", [])))["last"]
        given, lost = self.given.get(subject, []), self.lost.get(subject, [])
        return mimic_iv_support.fluids(given, lost, weight, row, at, self.hospital.stays[subject])


def events_of(release: Release, table: str, concepts: Sequence[Concept]) -> dict[str, list[dict[str, Any]]]:
    """Subject -> its rows of a table with items of the concepts."""
    items = {str(item) for concept in concepts for item in concept.names}
    return mimic_iv_events.parsed(read(release.files[table], "itemid", items))


def settled(
    events: Sequence[dict[str, Any]],
    row: Admission,
    at: datetime,
    concepts: Sequence[Concept],
    *,
    drawn: bool,
    rules: mimic_iv_events.Rules = mimic_iv_events.OURS,
) -> dict[str, list[Act]]:
    """Concept -> acts by the landmark without superseded revisions."""
    acts = mimic_iv_events.acts_of(events, row, at, concepts, drawn=drawn, rules=rules)
    return {name: last_revisions(found) for name, found in acts.items()}
