"""Clinical concepts of eICU: labels, units, plausible ranges and conversions.

Lab names are free text and case-sensitive. Ranges follow pivoted-lab of eicu-code, widened where the dictionary of ricu
is wider; a limit that neither gives is that of MIMIC-IV (mimic_iv/concepts.py). Concepts that MIMIC-IV also records
have the same names and units. The unit of a lab is labmeasurenameinterface; labmeasurenamesystem is the unit that
should have been used.
"""

from dataclasses import replace

from data_modules.features.concepts import Concept, lab

FLOWS = ("lpm", "lpmo2", "l", "l/m", "l/min", "l/minute", "lit/min", "liter", "liters", "liters/min", "liters/minute",
         "litres/min")  # fmt: skip
PRESSURES = ("mmhg", "torr")
"""Units of oxygen (normal form) other than a fraction: flows and pressures."""


def _lab(label: str, name: str, unit: str, low: float, high: float, *also: str) -> Concept:
    return lab(name, unit, low, high, label, *also)


LABS: tuple[Concept, ...] = (
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
    replace(_lab("Base Excess", "base_excess", "mEq/L", -50, 50, "Base Deficit"), negated=("Base Deficit",)),
    _lab("O2 Sat (%)", "oxygen_saturation", "%", 10, 100),
    _lab("Carboxyhemoglobin", "carboxyhemoglobin", "%", 0, 100),
    _lab("Methemoglobin", "methemoglobin", "%", 0, 100),
    _lab("troponin - T", "troponin_t", "ng/mL", 0, 200),
    _lab("troponin - I", "troponin_i", "ng/mL", 0, 1000),
    _lab("BNP", "bnp", "pg/mL", 1, 200000),
    _lab("CRP", "crp", "mg/L", 0, 1000),
    replace(
        _lab("ionized calcium", "ionized_calcium", "mmol/L", 0.2, 2.5),
        spellings={"mg/dl": 1.0},
        above=(2.5, 1 / 4.008, 0.0),
    ),
    Concept(name="fio2", names=("FiO2",), unit="%", low=20, high=100, fraction=True, refused=(*FLOWS, *PRESSURES)),
)

MORE_LABS: tuple[Concept, ...] = (
    _lab("TSH", "tsh", "uIU/mL", 0, 1000),
    _lab("urinary specific gravity", "urine_specific_gravity", "1", 1, 1.1),
    Concept(name="urine_white_cells", unit="1/hpf", low=0, high=10000, names=("WBC's in urine",), grades={"none": 0.0}),
)
"""Labs of MIMIC-IV that few subjects of eICU have, for the harmonised modalities; `labs` does not read them."""

_FAHRENHEIT = (70.0, 1 / 1.8, -32 / 1.8)


def _vital(label: str, name: str, unit: str, low: float, high: float) -> Concept:
    return Concept(name=name, names=(label,), unit=unit, low=low, high=high)


PERIODIC: tuple[Concept, ...] = (
    _vital("heartrate", "heart_rate", "1/min", 1, 299),
    _vital("respiration", "respiratory_rate", "1/min", 1, 69),
    _vital("sao2", "spo2", "%", 1, 100),
    Concept(name="temperature", names=("temperature",), unit="C", low=21.2, high=49, above=_FAHRENHEIT),
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

APERIODIC: tuple[Concept, ...] = (
    _vital("noninvasivesystolic", "noninvasive_sbp", "mmHg", 1, 399),
    _vital("noninvasivediastolic", "noninvasive_dbp", "mmHg", 1, 299),
    _vital("noninvasivemean", "noninvasive_mbp", "mmHg", 1, 299),
    _vital("paop", "wedge_pressure", "mmHg", 1, 60),
    replace(_vital("cardiacoutput", "cardiac_output", "L/min", 0.5, 25), zero_is_missing=True),
    replace(_vital("cardiacinput", "cardiac_index", "L/min/m2", 0.3, 15), zero_is_missing=True),
    replace(_vital("svr", "systemic_resistance", "dyn·s/cm5", 50, 6000), zero_is_missing=True),
)


def _rate(unit: str, high: float, *names: str) -> Concept:
    return Concept(name=names[0], names=names, unit=unit, low=0, high=high)


VASOACTIVES: tuple[Concept, ...] = (
    _rate("ug/kg/min", 10, "norepinephrine", "levophed"),
    _rate("ug/kg/min", 10, "epinephrine", "adrenalin"),
    _rate("ug/kg/min", 50, "phenylephrine", "neosynephrine"),
    _rate("ug/kg/min", 100, "dopamine"),
    _rate("units/min", 0.5, "vasopressin"),
    _rate("ug/kg/min", 100, "dobutamine"),
    _rate("ug/kg/min", 5, "milrinone"),
)
INFUSED: tuple[Concept, ...] = (
    _rate("ug/kg/min", 500, "propofol", "diprivan"),
    _rate("ug/h", 1000, "fentanyl"),
    _rate("mg/h", 50, "midazolam", "versed"),
    _rate("ug/kg/h", 5, "dexmedetomidine", "precedex"),
    _rate("units/h", 200, "insulin"),
    _rate("units/h", 10000, "heparin"),
    _rate("mg/min", 20, "amiodarone"),
    _rate("mg/h", 50, "diltiazem"),
    _rate("mg/h", 50, "nicardipine"),
)
"""Rates of infusionDrug, named by the first word of drugname in lower case. Units of vasoactive drugs are those of
MIMIC-IV; limits are far above any rate that is given, so that a rate beyond them is one in another unit."""


def _volume(name: str, high: float) -> Concept:
    return Concept(name=name, names=(name,), unit="mL", low=0, high=high)


VOLUMES: tuple[Concept, ...] = (_volume("urine", 5000), _volume("intake", 10000), _volume("output", 10000))
"""Volumes of one cell of intakeOutput; urine is a part of output."""
