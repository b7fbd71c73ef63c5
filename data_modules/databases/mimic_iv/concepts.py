"""Clinical concepts of MIMIC-IV: item ids, units, plausible ranges and conversions.

Item ids and limits follow the concepts of MIT-LCP/mimic-code (vitalsign, chemistry, complete_blood_count, coagulation,
enzyme, blood_differential, bg); where it gives no upper limit, the limit is one that no living person exceeds. A value
outside its range is a recording error and is dropped.
"""

from collections.abc import Sequence

import polars as pl

from data_modules.features.concepts import UNIT_FACTORS, Concept


def _lab(name: str, unit: str, low: float, high: float, *items: int) -> Concept:
    return Concept(name=name, unit=unit, low=low, high=high, items=items, unit_factors=UNIT_FACTORS.get(name, {}))


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
    _lab("lymphocytes", "%", 0, 100, 51244),
    _lab("monocytes", "%", 0, 100, 51254),
    _lab("eosinophils", "%", 0, 100, 51200),
    _lab("basophils", "%", 0, 100, 51146),
    _lab("bands", "%", 0, 100, 51144),
    _lab("d_dimer", "ng/mL", 1, 100000, 51196),
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
)

MORE_LABS: tuple[Concept, ...] = (
    _lab("oxygen_saturation", "%", 10, 100, 50817),
    _lab("methemoglobin", "%", 0, 100, 50814),
    _lab("troponin_i", "ng/mL", 0, 1000, 51002),
)
"""Labs of eICU that few subjects of MIMIC-IV have, for the harmonised modalities; `labs` does not read them."""

_FAHRENHEIT = (1 / 1.8, -32 / 1.8)

VITALS: tuple[Concept, ...] = (
    Concept(name="heart_rate", unit="1/min", low=1, high=299, items=(220045,)),
    Concept(name="sbp", unit="mmHg", low=1, high=399, items=(220179, 220050, 225309)),
    Concept(name="dbp", unit="mmHg", low=1, high=299, items=(220180, 220051, 225310)),
    Concept(name="mbp", unit="mmHg", low=1, high=299, items=(220181, 220052, 225312)),
    Concept(name="respiratory_rate", unit="1/min", low=1, high=69, items=(220210, 224690)),
    Concept(name="temperature", unit="C", low=21.2, high=49, items=(223762,), scaled={223761: _FAHRENHEIT}),
    Concept(name="spo2", unit="%", low=1, high=100, items=(220277,)),
    Concept(name="glucose_bedside", unit="mg/dL", low=1, high=10000, items=(225664, 220621, 226537)),
    Concept(name="gcs_eye", unit="points", low=1, high=4, items=(220739,)),
    Concept(name="gcs_verbal", unit="points", low=1, high=5, items=(223900,)),
    Concept(name="gcs_motor", unit="points", low=1, high=6, items=(223901,)),
    Concept(name="fio2", unit="%", low=20, high=100, items=(223835,), fraction=True),
    Concept(name="weight", unit="kg", low=20, high=500, items=(226512, 224639)),
    Concept(name="height", unit="cm", low=120, high=230, items=(226730,), scaled={226707: (2.54, 0.0)}),
)


def item_ids(concepts: Sequence[Concept]) -> list[int]:
    """Return the item ids of the concepts.

    >>> item_ids([concept for concept in VITALS if concept.name == "temperature"])
    [223762, 223761]
    """
    return [item for concept in concepts for item in (*concept.items, *concept.scaled)]


def item_table(concepts: Sequence[Concept]) -> pl.DataFrame:
    """Return one row per item: `itemid`, `concept` (position), `factor`, `offset`, `low`, `high`, `fraction`.

    >>> item_table([concept for concept in VITALS if concept.name == "height"]).rows()
    [(226730, 0, 1.0, 0.0, 120.0, 230.0, False), (226707, 0, 2.54, 0.0, 120.0, 230.0, False)]
    """
    rows = []
    for position, concept in enumerate(concepts):
        conversions = dict.fromkeys(concept.items, (1.0, 0.0)) | dict(concept.scaled)
        for item, (factor, offset) in conversions.items():
            rows.append((item, position, factor, offset, concept.low, concept.high, concept.fraction))
    schema = {
        "itemid": pl.Int64,
        "concept": pl.UInt16,
        "factor": pl.Float64,
        "offset": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "fraction": pl.Boolean,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def unit_table(concepts: Sequence[Concept]) -> pl.DataFrame:
    """Return one row per item and other recorded unit: `itemid`, `unit` (lower case), `unit_factor`.

    >>> unit_table([concept for concept in LABS if concept.name == "crp"]).rows()
    [(50889, 'mg/dl', 10.0)]
    """
    rows = [
        (item, unit, factor)
        for concept in concepts
        for item in concept.items
        for unit, factor in concept.unit_factors.items()
    ]
    schema = {"itemid": pl.Int64, "unit": pl.String, "unit_factor": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def convert(events: pl.LazyFrame, concepts: Sequence[Concept]) -> pl.LazyFrame:
    """Convert recorded items to concepts in one unit, and drop implausible values.

    A unit without a known conversion counts as the unit of the concept; the plausible range still applies.

    Args:
        events: `itemid`, `valuenum`, `valueuom` and any other columns.
        concepts: the concepts to keep.

    Returns:
        The events with `concept` (UInt16 position) and `value` (Float64) instead of these three columns.

    >>> raw = pl.LazyFrame({"itemid": [223761, 1], "valuenum": [98.6, 5.0], "valueuom": ["°F", None]})
    >>> convert(raw, VITALS).select(pl.col("value").round(3)).collect().to_series().to_list()
    [37.0]
    """
    known = events.filter(pl.col("itemid").is_in(item_ids(concepts)) & pl.col("valuenum").is_not_null())
    typed = known.join(item_table(concepts).lazy(), on="itemid")
    units = unit_table(concepts)
    if not units.is_empty():
        recorded = typed.with_columns(unit=pl.col("valueuom").str.strip_chars().str.to_lowercase())
        typed = recorded.join(units.lazy(), on=["itemid", "unit"], how="left").drop("unit")
    else:
        typed = typed.with_columns(unit_factor=pl.lit(None, pl.Float64))
    value = pl.col("valuenum") * pl.col("unit_factor").fill_null(1.0) * pl.col("factor") + pl.col("offset")
    percent = pl.when(pl.col("fraction") & (value <= 1)).then(value * 100).otherwise(value)
    return (
        typed.with_columns(value=percent)
        .filter(pl.col("value").is_between("low", "high"))
        .drop("itemid", "valuenum", "valueuom", "unit_factor", "factor", "offset", "low", "high", "fraction")
    )
