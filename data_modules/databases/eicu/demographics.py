"""Who the subject is, the way into the unit and the kind of hospital, as known when the stay begins."""

import polars as pl

from data_modules.databases.eicu.concepts import NamedConcept

PATIENT_COLUMNS = (
    "patientunitstayid", "hospitalid", "gender", "age", "ethnicity", "admissionheight", "admissionweight",
    "hospitaladmitoffset", "hospitaladmitsource", "unittype", "unitadmitsource", "unitvisitnumber", "unitstaytype",
)  # fmt: skip
HOSPITAL_COLUMNS = ("hospitalid", "numbedscategory", "teachingstatus", "region")

SOURCES = (
    "Emergency Department", "Floor", "Acute Care/Floor", "Operating Room", "Recovery Room", "PACU", "Direct Admit",
    "Step-Down Unit (SDU)", "ICU to SDU", "ICU", "Other ICU", "Other Hospital", "Chest Pain Center",
)  # fmt: skip
CATEGORIES: dict[str, tuple[str, ...]] = {
    "gender": ("Female", "Male"),
    "ethnicity": ("African American", "Asian", "Caucasian", "Hispanic", "Native American", "Other/Unknown"),
    "unittype": (
        "Med-Surg ICU", "MICU", "SICU", "Cardiac ICU", "CCU-CTICU", "CTICU", "CSICU", "Neuro ICU",
    ),
    "unitstaytype": ("admit", "readmit", "transfer", "stepdown/other"),
    "unitadmitsource": SOURCES,
    "hospitaladmitsource": SOURCES,
    "numbedscategory": ("<100", "100 - 249", "250 - 499", ">= 500"),
    "region": ("Midwest", "Northeast", "South", "West"),
}  # fmt: skip
"""Column -> its values, compared without regard to case."""
UNKNOWN = "unknown"

BODY = (
    NamedConcept(name="height", label="admissionheight", unit="cm", low=100, high=250),
    NamedConcept(name="weight", label="admissionweight", unit="kg", low=20, high=400),
)
"""Outside its plausible range a value is an error of the record."""


def indicators() -> list[pl.Expr]:
    """1 where a category stands, 0 where another one does, null where the cell is empty or says `Unknown`."""
    return [
        (_told(column) == value.lower()).cast(pl.Float64).alias(f"{column}/{value}")
        for column, values in CATEGORIES.items()
        for value in values
    ]


def _told(column: str) -> pl.Expr:
    text = pl.col(column).str.strip_chars().str.to_lowercase()
    return pl.when(text != UNKNOWN).then(text)


def plausible(concept: NamedConcept) -> pl.Expr:
    """The column of a concept, null outside its range."""
    value = pl.col(concept.label)
    return pl.when(value.is_between(concept.low, concept.high)).then(value)


def demographics(rows: pl.DataFrame, patients: pl.DataFrame, hospitals: pl.DataFrame) -> pl.DataFrame:
    """All columns of the demographics modality, Float64, one row per `row_id` in order; null is unknown.

    Args:
        rows: `row_id`, `stay_id`, `prediction_offset_minutes`.
        patients: `PATIENT_COLUMNS`, age in years.
        hospitals: `HOSPITAL_COLUMNS`.
    """
    keyed = rows.select("row_id", "prediction_offset_minutes", patientunitstayid="stay_id")
    joined = keyed.join(patients, on="patientunitstayid", how="left").join(hospitals, on="hospitalid", how="left")
    sizes = [plausible(one).alias(f"{one.name}_{one.unit}") for one in BODY]
    # A few stays enter the unit "before" the hospital: an error, and by how much is a fact of the future.
    before = -pl.col("hospitaladmitoffset")
    return joined.sort("row_id").select(
        pl.col("age").cast(pl.Float64),
        *sizes,
        *indicators(),
        teaching=(pl.col("teachingstatus").str.to_lowercase() == "t").cast(pl.Float64),
        earlier_unit_stays=(pl.col("unitvisitnumber") - 1).cast(pl.Float64),
        hours_in_hospital_before=pl.when(before >= 0).then(before).cast(pl.Float64) / 60,
        hours_in_unit=pl.col("prediction_offset_minutes").cast(pl.Float64) / 60,
    )
