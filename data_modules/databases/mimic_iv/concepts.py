"""Clinical concepts of MIMIC-IV: item ids, units, plausible ranges and conversions.

Item ids and limits follow the concepts of MIT-LCP/mimic-code (vitalsign, chemistry, complete_blood_count, coagulation,
enzyme, blood_differential, bg); where it gives no upper limit, the limit is one that no living person exceeds. A value
outside its range is a recording error and is not used. Blood gases record inspired oxygen as item 50816.
"""

from data_modules.features.concepts import Concept
from data_modules.features.concepts import lab as _lab

LABS: tuple[Concept, ...] = (
    _lab("albumin", "g/dL", 0.5, 10, 50862),
    _lab("anion_gap", "mEq/L", -10, 100, 50868),
    _lab("bicarbonate", "mEq/L", 1, 100, 50882),
    _lab("bun", "mg/dL", 1, 300, 51006),
    _lab("calcium", "mg/dL", 1, 30, 50893),
    _lab("chloride", "mEq/L", 50, 200, 50902),
    _lab("creatinine", "mg/dL", 0.1, 150, 50912),
    _lab("glucose", "mg/dL", 1, 10000, 50931, 50809),
    _lab("magnesium", "mg/dL", 0.1, 20, 50960),
    _lab("phosphate", "mg/dL", 0.1, 40, 50970),
    _lab("potassium", "mEq/L", 0.5, 30, 50971),
    _lab("sodium", "mEq/L", 50, 200, 50983),
    _lab("total_protein", "g/dL", 0.5, 20, 50976),
    _lab("hematocrit", "%", 5, 80, 51221),
    _lab("hemoglobin", "g/dL", 1, 30, 51222),
    _lab("mch", "pg", 5, 80, 51248),
    _lab("mchc", "g/dL", 10, 60, 51249),
    _lab("mcv", "fL", 30, 180, 51250),
    _lab("platelets", "K/uL", 1, 10000, 51265),
    _lab("rbc", "m/uL", 0.1, 20, 51279),
    _lab("rdw", "%", 5, 60, 51277),
    _lab("wbc", "K/uL", 0.01, 1000, 51301),
    _lab("neutrophils", "%", 0, 100, 51256),
    _lab("lymphocytes", "%", 0, 100, 51244, 51245),
    _lab("monocytes", "%", 0, 100, 51254),
    _lab("eosinophils", "%", 0, 100, 51200),
    _lab("basophils", "%", 0, 100, 51146),
    _lab("bands", "%", 0, 100, 51144),
    _lab("d_dimer", "ng/mL", 1, 100000, 51196, 50915),
    _lab("fibrinogen", "mg/dL", 10, 3000, 51214),
    _lab("inr", "1", 0.5, 50, 51237),
    _lab("pt", "s", 5, 300, 51274),
    _lab("ptt", "s", 5, 300, 51275),
    _lab("alt", "IU/L", 1, 30000, 50861),
    _lab("alp", "IU/L", 1, 10000, 50863),
    _lab("ast", "IU/L", 1, 30000, 50878),
    _lab("amylase", "IU/L", 1, 30000, 50867),
    _lab("bilirubin_total", "mg/dL", 0.05, 100, 50885),
    _lab("bilirubin_direct", "mg/dL", 0.01, 70, 50883),
    _lab("ck", "IU/L", 1, 500000, 50910),
    _lab("ck_mb", "ng/mL", 0.1, 3000, 50911),
    _lab("ldh", "IU/L", 1, 50000, 50954),
    _lab("lactate", "mmol/L", 0.1, 50, 50813),
    _lab("ph", "1", 6.5, 8.0, 50820),
    _lab("po2", "mmHg", 5, 800, 50821),
    _lab("pco2", "mmHg", 5, 250, 50818),
    _lab("base_excess", "mEq/L", -50, 50, 50802),
    _lab("ionized_calcium", "mmol/L", 0.2, 5, 50808),
    _lab("troponin_t", "ng/mL", 0, 200, 51003),
    _lab("nt_probnp", "pg/mL", 1, 200000, 50963),
    _lab("crp", "mg/L", 0, 1000, 50889),
    Concept(name="fio2", unit="%", low=20, high=100, names=(50816,), fraction=True),
)

MORE_LABS: tuple[Concept, ...] = (
    _lab("oxygen_saturation", "%", 10, 100, 50817),
    _lab("methemoglobin", "%", 0, 100, 50814),
    _lab("troponin_i", "ng/mL", 0, 1000, 51002),
)
"""Labs of eICU that few subjects of MIMIC-IV have, for the harmonised modalities; `labs` does not read them."""

SPECIAL_LABS: tuple[Concept, ...] = (
    _lab("lipase", "IU/L", 1, 50000, 50956),
    _lab("hba1c", "%", 2, 25, 50852),
    _lab("tsh", "uIU/mL", 0, 1000, 50993),
    _lab("neutrophils_absolute", "K/uL", 0, 1000, 52075),
    _lab("lymphocytes_absolute", "K/uL", 0, 1000, 51133, 52769),
    _lab("monocytes_absolute", "K/uL", 0, 1000, 52074, 51253),
    _lab("eosinophils_absolute", "K/uL", 0, 1000, 52073, 51199),
    _lab("basophils_absolute", "K/uL", 0, 1000, 52069),
    _lab("sodium_gas", "mEq/L", 50, 200, 50824),
    _lab("potassium_gas", "mEq/L", 0.5, 30, 50822),
    _lab("chloride_gas", "mEq/L", 50, 200, 50806),
    _lab("bicarbonate_gas", "mEq/L", 1, 100, 50803),
    _lab("total_co2_gas", "mEq/L", 1, 100, 50804),
    _lab("hemoglobin_gas", "g/dL", 1, 30, 50811),
    _lab("hematocrit_gas", "%", 5, 80, 50810),
)
"""Labs of `special_labs`: less often drawn, or measured a second way on a blood gas."""

_AMOUNT = {
    "neg": 0.0, "none": 0.0, "tr": 1.0, "trace": 1.0, "rare": 1.0, "occ": 1.0, "sm": 2.0, "few": 2.0, "mod": 3.0,
    "lg": 4.0, "many": 4.0, "pos": 1.0,
}  # fmt: skip
"""Word of a test strip or of a microscopist -> grade."""


def _graded(name: str, item: int) -> Concept:
    return Concept(name=name, unit="grade", low=0, high=4, names=(item,), grades=_AMOUNT)


def _strip(name: str, lowest: float, high: float, item: int) -> Concept:
    """A concentration of a test strip, mg/dL: negative is 0, a trace half of the lowest usual step."""
    grades = {"neg": 0.0, "none": 0.0, "normal": 0.0, "tr": lowest / 2, "trace": lowest / 2}
    return Concept(name=name, unit="mg/dL", low=0, high=high, names=(item,), grades=grades)


URINALYSIS: tuple[Concept, ...] = (
    _lab("urine_ph", "1", 3, 10, 51491, 51094),
    _lab("urine_specific_gravity", "1", 1, 1.1, 51498),
    _strip("urine_protein", 30, 5000, 51492),
    _strip("urine_glucose", 100, 10000, 51478),
    _strip("urine_ketones", 10, 1000, 51484),
    _strip("urine_urobilinogen", 1, 100, 51514),
    _graded("urine_bilirubin", 51464),
    _graded("urine_blood", 51466),
    _graded("urine_leukocyte_esterase", 51486),
    _graded("urine_nitrite", 51487),
    _graded("urine_bacteria", 51463),
    _graded("urine_yeast", 51519),
    Concept(name="urine_red_cells", unit="1/hpf", low=0, high=10000, names=(51493,), grades={"none": 0.0}),
    Concept(name="urine_white_cells", unit="1/hpf", low=0, high=10000, names=(51516,), grades={"none": 0.0}),
    Concept(name="urine_epithelial_cells", unit="1/hpf", low=0, high=10000, names=(51476,), grades={"none": 0.0}),
)
"""Labs of `urinalysis`; items of d_labitems with the fluid urine. A specimen of urine is an act of its own."""

_INTUBATED = ("no response-ett",)
"""Text of the verbal score of a subject who cannot speak because of a tube; its number is 1."""

VITALS: tuple[Concept, ...] = (
    Concept(name="heart_rate", unit="1/min", low=1, high=299, names=(220045,)),
    Concept(name="sbp", unit="mmHg", low=1, high=399, names=(220179, 220050, 225309)),
    Concept(name="dbp", unit="mmHg", low=1, high=299, names=(220180, 220051, 225310)),
    Concept(name="mbp", unit="mmHg", low=1, high=299, names=(220181, 220052, 225312)),
    Concept(name="respiratory_rate", unit="1/min", low=1, high=69, names=(220210, 224690)),
    Concept(name="temperature", unit="C", low=21.2, high=49, names=(223762, 223761), recorded_in={223761: "f"}),
    Concept(name="spo2", unit="%", low=1, high=100, names=(220277,)),
    Concept(name="glucose_bedside", unit="mg/dL", low=1, high=10000, names=(225664, 220621, 226537)),
    Concept(name="gcs_eye", unit="points", low=1, high=4, names=(220739,)),
    Concept(name="gcs_verbal", unit="points", low=1, high=5, names=(223900,), lacking=_INTUBATED),
    Concept(name="intubated", unit="1", low=0, high=1, names=(223900,), states=_INTUBATED),
    Concept(name="gcs_motor", unit="points", low=1, high=6, names=(223901,)),
    Concept(name="fio2", unit="%", low=20, high=100, names=(223835,), fraction=True),
    Concept(name="weight", unit="kg", low=20, high=500, names=(226512, 224639)),
    Concept(name="height", unit="cm", low=120, high=230, names=(226730, 226707), recorded_in={226707: "in"}),
)

INFUSED: tuple[Concept, ...] = (
    Concept(name="propofol", unit="ug/kg/min", low=0, high=500, names=(222168,)),
    Concept(name="fentanyl", unit="ug/h", low=0, high=1000, names=(221744, 225942)),
    Concept(name="midazolam", unit="mg/h", low=0, high=50, names=(221668,)),
    Concept(name="dexmedetomidine", unit="ug/kg/h", low=0, high=5, names=(225150, 229420)),
    Concept(name="insulin", unit="units/h", low=0, high=200, names=(223258,)),
    Concept(name="heparin", unit="units/h", low=0, high=10000, names=(225152,)),
    Concept(name="amiodarone", unit="mg/min", low=0, high=20, names=(221347, 228339, 229654)),
    Concept(name="diltiazem", unit="mg/h", low=0, high=50, names=(221468,)),
    Concept(name="nicardipine", unit="mg/h", low=0, high=50, names=(222042,)),
)
"""Rates of inputevents beside those of vasoactive drugs, in the units of eICU, for `harmonised_infusion_rates`."""

NEUROLOGY: tuple[Concept, ...] = (
    *(concept for concept in VITALS if concept.name in {"gcs_eye", "gcs_verbal", "gcs_motor"}),
    *(concept for concept in VITALS if concept.name == "intubated"),
    Concept(name="rass", unit="points", low=-5, high=4, names=(228096,)),
)
"""What `neurology` reads: the parts of the coma scale, whether a tube prevents speech, and the agitation scale."""
GCS_TOTAL = Concept(name="gcs_total", unit="points", low=3, high=15, names=())
"""The sum of the parts that were charted together; none where the subject cannot speak because of a tube."""
