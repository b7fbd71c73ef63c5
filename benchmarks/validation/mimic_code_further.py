"""Further concepts of the MIMIC-IV demo by the rules of mimic-code.

`python -m benchmarks.validation.mimic_code_further` prints how many cells of the first day in the unit differ from
ours, by concept, and for the scores by rule. Both sides are loops; nothing of mimic-code is executed or copied, and no
cell of a record is printed.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from benchmarks.scale import demo
from benchmarks.validation import mimic_code_scores, mimic_iv, mimic_iv_events, mimic_iv_support
from benchmarks.validation.demo_support import Measured, Support, settled
from benchmarks.validation.mimic_code_scores import Events
from benchmarks.validation.mimic_iv import DAY, Admission
from benchmarks.validation.mimic_iv_events import Rules
from benchmarks.validation.plain import Act, summary
from benchmarks.validation.reasons import PO2
from data_modules.databases.mimic_iv import concepts, sets, vasoactives
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.respiration import RESPIRATION
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.features.concepts import Concept
from data_modules.raw.reader import Release

NO_RULES = Rules(stored=False, texts=False, ranges=False, revisions=False)
"""Numbers alone, of any size, known when they happen; the largest of several at one time counts."""
SETTINGS = {
    "respiratory_rate_set", "respiratory_rate_spontaneous", "minute_volume", "tidal_volume_set", "tidal_volume",
    "tidal_volume_spontaneous", "plateau_pressure", "peep_set", "oxygen_flow", "oxygen_flow_additional",
}  # fmt: skip
"""Concepts of `respiration` that ventilator_setting and oxygen_delivery have."""
SHARES = {f"{name}_absolute": name for name in ("neutrophils", "lymphocytes", "monocytes", "eosinophils", "basophils")}
GASES = [one for one in concepts.SPECIAL_LABS if one.name.endswith("_gas")]
COUNTED = {one.name: one for one in concepts.SPECIAL_LABS if one.name in SHARES}
Cells = Mapping[str, float]
Pair = tuple[Cells, Cells]
"""Ours and theirs of one row: name -> value."""


class Further:
    """Pairs of cells of a row."""

    def __init__(self, release: Release, hospital: mimic_iv.Hospital) -> None:
        diff = [one for one in concepts.LABS if one.name in {*SHARES.values(), "wbc"}]
        self.parts = {one.name: one for one in diff}
        po2 = next(one for one in concepts.LABS if one.name == "po2")
        labs = [*COUNTED.values(), *diff, *GASES, po2]
        charted = [*sets.WEIGHT, *sets.SCORED_VITALS]
        measured = Measured(release, [*labs, *sets.SCORED_LABS], [*charted, *RESPIRATION])
        self.support = Support(release, hospital, measured)
        self.machines = mimic_iv_events.chosen(measured.charted, RESPIRATION)
        self.labs = mimic_iv_events.chosen(measured.labs, labs)

    def rates(self, row: Admission, at: datetime) -> Pair:
        """The highest and the last rate of each vasoactive drug and of the equivalent."""
        given = self.support.given.get(row["subject_id"], [])
        sides = [mimic_iv_support.acts(given, row, at, stored=stored) for stored in (True, False)]
        return _pair([
            {f"{one.name}/{part}": summary(acts.get(one.name, []))[part] for one in vasoactives.WRITTEN
             for part in ("max", "last")}
            for acts in sides
        ])  # fmt: skip

    def urine(self, row: Admission, at: datetime) -> Pair:
        """Urine of 24 h, in mL and by weight and hour."""
        ours = self.support.fluids(row, at)
        names = ("urine_ml/24h", "urine_ml_per_kg_hour/24h")
        records = mimic_code_scores.urine_records(self.support, row, at)
        day = [volume for time, volume, _ in records if at - DAY < time <= at]
        sums = mimic_code_scores.daily_urine(records, at)
        volume, hours = sums[-1] if sums else (math.nan, math.nan)
        rate = volume / hours / self._weight(row, records[-1][0]) if hours >= 24 else math.nan
        return {name: ours.get(name, math.nan) for name in names}, {
            names[0]: sum(day) if day else math.nan, names[1]: rate
        }  # fmt: skip

    def _weight(self, row: Admission, at: datetime) -> float:
        """The weight charted last by a time, or else the first one."""
        charted = [
            (event["charted"], float(event["valuenum"]))
            for event in self.support.weights.get(row["subject_id"], [])
            if event["valuenum"] and mimic_iv_events.belongs(event, row)
        ]
        before = [one for one in charted if one[0] <= at]
        return max(before)[1] if before else min(charted, default=(at, math.nan))[1]

    def coma(self, row: Admission, at: datetime) -> Pair:
        """The lowest and the last total."""
        raw = self.support.charted.get(row["subject_id"], [])
        acts = settled(raw, row, at, sets.SCORED_VITALS, drawn=False)
        ours = summary(mimic_iv_events.with_totals(acts)["gcs_total"])
        totals = [total for _, total in mimic_code_scores.coma(raw, row, at)]
        theirs = {"min": min(totals), "last": totals[-1]} if totals else {}
        return _pair([{name: side.get(name, math.nan) for name in ("min", "last")} for side in (ours, theirs)])

    def ventilation(self, row: Admission, at: datetime) -> Pair:
        """Whether a machine ventilates through a tube at the landmark."""
        raw = self.support.charted.get(row["subject_id"], [])
        acts = settled(raw, row, at, sets.SCORED_VITALS, drawn=False)
        last = summary(acts.get("ventilated", []))["last"]
        spans = mimic_code_scores.support_spans(raw, row)
        running = any(one.kind == "invasive" and one.start <= at <= one.end for one in spans)
        return {"ventilated": float(last == 1)}, {"ventilated": float(running)}

    def settings(self, row: Admission, at: datetime) -> Pair:
        """The mean of each setting and flow."""
        raw = self.machines.get(row["subject_id"], [])
        chosen = [one for one in RESPIRATION if one.name in SETTINGS]
        theirs = [replace(one, names=(220339, 224700)) if one.name == "peep_set" else one for one in chosen]
        return _pair([_means(raw, row, at, chosen, drawn=False), _loose(raw, row, at, theirs, drawn=False)])

    def counts(self, row: Admission, at: datetime) -> Pair:
        """The mean of each absolute count; theirs is that of the white cells and the share where none was reported."""
        raw = self.labs.get(row["subject_id"], [])
        wanted = [*COUNTED.values(), *self.parts.values()]
        acts = mimic_iv_events.acts_of(raw, row, at, wanted, drawn=True, rules=NO_RULES)
        values = {name: {act.specimen: act for act in _valued(found)} for name, found in acts.items()}
        white = {specimen: act.value or 0.0 for specimen, act in values.get("wbc", {}).items()}
        theirs = {}
        for name, share in SHARES.items():
            reported = dict(values.get(name, {}))
            for specimen, act in values.get(share, {}).items():
                if specimen not in reported and white.get(specimen):
                    reported[specimen] = act._replace(value=(act.value or 0.0) * white[specimen] / 100)
            theirs[name] = summary(list(reported.values()))["mean"]
        return _means(raw, row, at, list(COUNTED.values()), drawn=True), theirs

    def gases(self, row: Admission, at: datetime) -> Pair:
        """The mean of what a blood gas measures beside the gases; theirs is that of specimens with a pO2."""
        raw = self.labs.get(row["subject_id"], [])
        with_po2 = frozenset(one["specimen_id"] for one in raw if one["itemid"] == PO2 and one["valuenum"])
        rules = replace(NO_RULES, specimens=with_po2)
        return _means(raw, row, at, GASES, drawn=True), _loose(raw, row, at, GASES, drawn=True, rules=rules)


def _pair(sides: Sequence[Cells]) -> Pair:
    return sides[0], sides[1]


def _means(raw: Events, row: Admission, at: datetime, of: Sequence[Concept], *, drawn: bool) -> Cells:
    acts = settled(raw, row, at, of, drawn=drawn)
    return {one.name: summary(acts.get(one.name, []))["mean"] for one in of}


def _loose(
    raw: Events, row: Admission, at: datetime, of: Sequence[Concept], *, drawn: bool, rules: Rules = NO_RULES
) -> Cells:
    """Means by their rules: the largest value of a time."""
    acts = mimic_iv_events.acts_of(raw, row, at, of, drawn=drawn, rules=rules)
    return {one.name: summary(_largest(acts.get(one.name, [])))["mean"] for one in of}


def _valued(acts: Sequence[Act]) -> list[Act]:
    """Acts with a value, the largest last."""
    return sorted((act for act in acts if act.value is not None), key=lambda act: act.value or 0.0)


def _largest(acts: Sequence[Act]) -> list[Act]:
    return list({act.hours: act for act in _valued(acts)}.values())


CONCEPTS: Mapping[str, Callable[[Further, Admission, datetime], Pair]] = {
    "vasoactives": Further.rates,
    "urine": Further.urine,
    "coma scale": Further.coma,
    "ventilation": Further.ventilation,
    "settings and oxygen": Further.settings,
    "absolute counts": Further.counts,
    "electrolytes of a gas": Further.gases,
}
SCORES = ("sofa", "saps_ii", "oasis", "charlson")


def differs(one: float, other: float) -> bool:
    """Whether two cells are not the same number, or one of them has none."""
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) != math.isnan(other)
    return not math.isclose(one, other, rel_tol=2e-4, abs_tol=2e-4)


def counted(folder: Path) -> Iterator[tuple[str, int, int, str]]:
    """Concept, cells, cells that differ, and by rule."""
    release = Release.parse(MIMIC_IV, f"{folder}:{folder / 'reconstructed_from_meds'}")
    hospital = mimic_iv.Hospital(folder)
    admissions = {int(row["hadm_id"]): row for rows in hospital.admissions.values() for row in rows}
    rows = database("mimic").build_rows(release, MIMICCohortConfig(index="every", landmark="icu_24h")).rows
    keys = [(admissions[row["hadm_id"]], row["landmark_at"]) for row in rows.iter_rows(named=True)]
    further = Further(release, hospital)
    for name, derive in CONCEPTS.items():
        pairs = [derive(further, *key) for key in keys]
        wrong = sum(differs(ours[cell], theirs[cell]) for ours, theirs in pairs for cell in ours)
        yield name, sum(len(ours) for ours, _ in pairs), wrong, "-"
    ours = [mimic_code_scores.columns(further.support, *key, ()) for key in keys]
    by_rule = {rule: _changed(further.support, keys, ours, (rule,)) for rule in mimic_code_scores.RULES}
    every = _changed(further.support, keys, ours, mimic_code_scores.RULES)
    for score in SCORES:
        reasons = ", ".join(f"{rule}: {wrong[score]}" for rule, wrong in by_rule.items() if wrong[score])
        yield score, len(keys), every[score], reasons


def _changed(
    support: Support, keys: Sequence[tuple[Admission, datetime]], ours: Sequence[Cells], rules: Sequence[str]
) -> Counter[str]:
    theirs = [mimic_code_scores.columns(support, *key, rules) for key in keys]
    pairs = zip(ours, theirs, strict=True)
    return Counter(name for one, other in pairs for name in SCORES if differs(one[name], other[name]))


def main() -> None:
    """Print the table, as markdown."""
    folder = demo("mimic-iv-demo")
    if folder is None:
        return
    print("| concept | cells | differ | by rule alone: cells |\n|---|---|---|---|")
    for name, cells, wrong, reasons in counted(folder):
        print(f"| {name} | {cells:,} | {wrong:,} | {reasons} |")


if __name__ == "__main__":
    main()
