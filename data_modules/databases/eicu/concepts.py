"""Clinical concepts of eICU: labels, units, plausible ranges and conversions.

Lab names are free text and case-sensitive. Ranges follow pivoted-lab of eicu-code, widened where the dictionary of ricu
is wider; a limit that neither gives is that of MIMIC-IV (mimic_iv/concepts.py). Concepts that MIMIC-IV also records
have the same names and units. The unit of a lab is labmeasurenameinterface; labmeasurenamesystem is the unit that
should have been used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from data_modules.features.concepts import UNIT_FACTORS, Concept

FLOWS = (
    "lpm",
    "lpm o2",
    "l",
    "l/m",
    "l/min",
    "l/minute",
    "lit/min",
    "liter",
    "liters",
    "liters/min",
    "liters/minute",
    "litres/min",
)
PRESSURES = ("mm(hg)", "mmhg", "mm hg", "torr")
"""Units of oxygen (lower case) other than a fraction: flows and pressures."""


@dataclass(frozen=True, kw_only=True)
class NamedConcept(Concept):
    """A quantity that eICU records under a name.

    Attributes:
        label: labname, or column of a table of vitals.
        also: further labnames of the same quantity.
        refused: units (lower case) of other quantities under the same label; such records are dropped.
        above: (threshold, factor, offset): a value above the threshold is in another unit than recorded and becomes
            value · factor + offset.
    """

    label: str
    also: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    items: tuple[int, ...] = ()
    above: tuple[float, float, float] | None = None


def _lab(label: str, name: str, unit: str, low: float, high: float) -> NamedConcept:
    factors = UNIT_FACTORS.get(name, {})
    return NamedConcept(name=name, label=label, unit=unit, low=low, high=high, unit_factors=factors)


LABS: tuple[NamedConcept, ...] = (
    _lab("albumin", "albumin", "g/dL", 0.5, 6.5),
    _lab("anion gap", "anion_gap", "mEq/L", -10, 100),
    _lab("bicarbonate", "bicarbonate", "mEq/L", 0, 100),
    _lab("BUN", "bun", "mg/dL", 1, 280),
    _lab("calcium", "calcium", "mg/dL", 1, 30),
    _lab("chloride", "chloride", "mEq/L", 50, 200),
    _lab("creatinine", "creatinine", "mg/dL", 0.1, 28.28),
    _lab("glucose", "glucose", "mg/dL", 25, 1500),
    _lab("bedside glucose", "glucose_bedside", "mg/dL", 25, 1500),
    _lab("magnesium", "magnesium", "mg/dL", 0.1, 20),
    _lab("phosphate", "phosphate", "mg/dL", 0.1, 40),
    _lab("potassium", "potassium", "mEq/L", 0.05, 12),
    _lab("sodium", "sodium", "mEq/L", 90, 215),
    _lab("total protein", "total_protein", "g/dL", 0.5, 20),
    _lab("Hct", "hematocrit", "%", 5, 75),
    _lab("Hgb", "hemoglobin", "g/dL", 1, 30),
    _lab("MCH", "mch", "pg", 5, 80),
    _lab("MCHC", "mchc", "g/dL", 10, 60),
    _lab("MCV", "mcv", "fL", 30, 180),
    _lab("platelets x 1000", "platelets", "K/uL", 1, 9999),
    _lab("RBC", "rbc", "m/uL", 0.1, 20),
    _lab("RDW", "rdw", "%", 5, 60),
    _lab("WBC x 1000", "wbc", "K/uL", 0.01, 1000),
    _lab("-polys", "neutrophils", "%", 0, 100),
    _lab("-lymphs", "lymphocytes", "%", 0, 100),
    _lab("-monos", "monocytes", "%", 0, 100),
    _lab("-eos", "eosinophils", "%", 0, 100),
    _lab("-basos", "basophils", "%", 0, 100),
    _lab("-bands", "bands", "%", 0, 100),
    _lab("fibrinogen", "fibrinogen", "mg/dL", 10, 3000),
    _lab("PT - INR", "inr", "1", 0.5, 15),
    _lab("PT", "pt", "s", 5, 300),
    _lab("PTT", "ptt", "s", 5, 500),
    _lab("ALT (SGPT)", "alt", "IU/L", 1, 30000),
    _lab("alkaline phos.", "alp", "IU/L", 1, 10000),
    _lab("AST (SGOT)", "ast", "IU/L", 1, 30000),
    _lab("amylase", "amylase", "IU/L", 1, 30000),
    _lab("lipase", "lipase", "IU/L", 1, 30000),
    _lab("total bilirubin", "bilirubin_total", "mg/dL", 0.05, 100),
    _lab("direct bilirubin", "bilirubin_direct", "mg/dL", 0.01, 70),
    _lab("CPK", "ck", "IU/L", 1, 500000),
    _lab("CPK-MB", "ck_mb", "ng/mL", 0.1, 3000),
    _lab("LDH", "ldh", "IU/L", 1, 50000),
    _lab("lactate", "lactate", "mmol/L", 0.1, 50),
    _lab("pH", "ph", "1", 6.5, 8.0),
    _lab("paO2", "po2", "mmHg", 5, 800),
    _lab("paCO2", "pco2", "mmHg", 5, 250),
    _lab("Base Excess", "base_excess", "mEq/L", -50, 50),
    _lab("O2 Sat (%)", "oxygen_saturation", "%", 10, 100),
    _lab("Carboxyhemoglobin", "carboxyhemoglobin", "%", 0, 100),
    _lab("Methemoglobin", "methemoglobin", "%", 0, 100),
    _lab("troponin - T", "troponin_t", "ng/mL", 0, 200),
    _lab("troponin - I", "troponin_i", "ng/mL", 0, 1000),
    _lab("BNP", "bnp", "pg/mL", 1, 200000),
    _lab("CRP", "crp", "mg/L", 0, 1000),
    NamedConcept(
        name="ionized_calcium", label="ionized calcium", unit="mmol/L", low=0.2, high=2.5, above=(2.5, 1 / 4.008, 0.0)
    ),
    NamedConcept(name="fio2", label="FiO2", unit="%", low=20, high=100, fraction=True, refused=(*FLOWS, *PRESSURES)),
)

_CELSIUS = (70.0, 1 / 1.8, -32 / 1.8)


def _vital(label: str, name: str, unit: str, low: float, high: float) -> NamedConcept:
    return NamedConcept(name=name, label=label, unit=unit, low=low, high=high)


PERIODIC: tuple[NamedConcept, ...] = (
    _vital("heartrate", "heart_rate", "1/min", 1, 299),
    _vital("respiration", "respiratory_rate", "1/min", 1, 69),
    _vital("sao2", "spo2", "%", 1, 100),
    NamedConcept(name="temperature", label="temperature", unit="C", low=21.2, high=49, above=_CELSIUS),
    _vital("systemicsystolic", "sbp", "mmHg", 1, 399),
    _vital("systemicdiastolic", "dbp", "mmHg", 1, 299),
    _vital("systemicmean", "mbp", "mmHg", 1, 299),
    _vital("cvp", "cvp", "mmHg", -10, 60),
    _vital("etco2", "etco2", "mmHg", 5, 120),
    _vital("pasystolic", "pulmonary_systolic", "mmHg", 1, 200),
    _vital("padiastolic", "pulmonary_diastolic", "mmHg", 1, 120),
    _vital("pamean", "pulmonary_mean", "mmHg", 1, 150),
    _vital("icp", "intracranial_pressure", "mmHg", -10, 120),
)
"""Recorded by the bedside monitor; systemic pressures come from an arterial line."""

APERIODIC: tuple[NamedConcept, ...] = (
    _vital("noninvasivesystolic", "noninvasive_sbp", "mmHg", 1, 399),
    _vital("noninvasivediastolic", "noninvasive_dbp", "mmHg", 1, 299),
    _vital("noninvasivemean", "noninvasive_mbp", "mmHg", 1, 299),
    _vital("paop", "wedge_pressure", "mmHg", 1, 60),
    _vital("cardiacoutput", "cardiac_output", "L/min", 0.5, 25),
    _vital("cardiacinput", "cardiac_index", "L/min/m2", 0.3, 15),
    _vital("svr", "systemic_resistance", "dyn·s/cm5", 50, 6000),
)


def label_table(concepts: Sequence[NamedConcept]) -> pl.DataFrame:
    """Return one row per label: `label`, `source` (position in its concept), `concept` (position), and its conversion.

    >>> label_table(PERIODIC[:1]).select("label", "source", "concept", "low", "high").rows()
    [('heartrate', 0, 0, 1.0, 299.0)]
    """
    schema = {
        "label": pl.String,
        "source": pl.UInt8,
        "concept": pl.UInt16,
        "low": pl.Float64,
        "high": pl.Float64,
        "fraction": pl.Boolean,
        "threshold": pl.Float64,
        "factor": pl.Float64,
        "offset": pl.Float64,
    }
    rows = [
        (label, source, position, one.low, one.high, one.fraction, *(one.above or (float("inf"), 1.0, 0.0)))
        for position, one in enumerate(concepts)
        for source, label in enumerate((one.label, *one.also))
    ]
    return pl.DataFrame(rows, schema=schema, orient="row")


def unit_table(concepts: Sequence[NamedConcept]) -> pl.DataFrame:
    """Return one row per label and other recorded unit: `label`, `unit` (lower case), `unit_factor`.

    >>> unit_table([concept for concept in LABS if concept.name == "crp"]).rows()
    [('CRP', 'mg/dl', 10.0)]
    """
    rows = [
        (label, unit, factor)
        for one in concepts
        for label in (one.label, *one.also)
        for unit, factor in one.unit_factors.items()
    ]
    schema = {"label": pl.String, "unit": pl.String, "unit_factor": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def refused_table(concepts: Sequence[NamedConcept]) -> pl.DataFrame:
    """Return one row per label and unit whose records are dropped: `label`, `unit` (lower case).

    >>> refused_table([concept for concept in LABS if concept.name == "fio2"]).row(0)
    ('FiO2', 'lpm')
    """
    rows = [(label, unit) for one in concepts for label in (one.label, *one.also) for unit in one.refused]
    return pl.DataFrame(rows, schema={"label": pl.String, "unit": pl.String}, orient="row")


def convert(events: pl.LazyFrame, concepts: Sequence[NamedConcept]) -> pl.LazyFrame:
    """Convert named records to concepts in one unit; `within_range` drops implausible values afterwards.

    A unit without a known conversion counts as the unit of the concept, because hospitals spell units in many ways.

    Args:
        events: `label`, `value`, `unit` and any other columns.
        concepts: the concepts to keep.

    Returns:
        The events with `concept` (UInt16 position) and `source` (position of the label) instead of `label` and `unit`,
        `value` converted, nulls and refused units dropped.

    >>> raw = pl.LazyFrame({"label": ["temperature", "x"], "value": [98.6, 5.0], "unit": ["", ""]})
    >>> convert(raw, PERIODIC).select(pl.col("value").round(3)).collect().to_series().to_list()
    [37.0]
    """
    named = events.filter(pl.col("value").is_not_null()).join(label_table(concepts).lazy(), on="label")
    recorded = named.with_columns(unit=pl.col("unit").str.strip_chars().str.to_lowercase())
    meant = recorded.join(refused_table(concepts).lazy(), on=["label", "unit"], how="anti")
    typed = meant.join(unit_table(concepts).lazy(), on=["label", "unit"], how="left")
    value = pl.col("value") * pl.col("unit_factor").fill_null(1.0)
    percent = pl.when(pl.col("fraction") & (value <= 1)).then(value * 100).otherwise(value)
    other_unit = percent > pl.col("threshold")
    converted = pl.when(other_unit).then(percent * pl.col("factor") + pl.col("offset")).otherwise(percent)
    return typed.with_columns(value=converted).drop(
        "label", "unit", "unit_factor", "low", "high", "fraction", "threshold", "factor", "offset"
    )


def within_range(events: pl.LazyFrame, concepts: Sequence[NamedConcept]) -> pl.LazyFrame:
    """Return the events within the plausible range of their `concept`; other values are recording errors.

    >>> schema = {"concept": pl.UInt16, "value": pl.Float64}
    >>> within_range(pl.LazyFrame([(0, 80.0), (0, 999.0)], schema, orient="row"), PERIODIC).collect().rows()
    [(0, 80.0)]
    """
    ranges = label_table(concepts).lazy().filter(pl.col("source") == 0).select("concept", "low", "high")
    return events.join(ranges, on="concept").filter(pl.col("value").is_between("low", "high")).drop("low", "high")
