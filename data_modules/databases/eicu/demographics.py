"""Demographics, admission source and hospital characteristics, as known at unit admission."""

import polars as pl

from data_modules.cohorts.subgroups import age_band
from data_modules.features import categories
from data_modules.features.concepts import Concept

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
"""Column -> its categories, compared ignoring case."""
UNKNOWN = "unknown"
SEX = {name: [name] for name in ("female", "male")}
RACE = {
    "asian": ["asian"],
    "black": ["african american"],
    "hispanic": ["hispanic"],
    "native": ["native american"],
    "white": ["caucasian"],
}
"""Level of a subgroup, named as in MIMIC-IV -> category of `ethnicity`."""

WEIGHT = Concept(name="weight", names=("admissionweight",), unit="kg", low=20, high=400)
BODY = (Concept(name="height", names=("admissionheight",), unit="cm", low=100, high=250), WEIGHT)
"""A value outside its plausible range is a recording error."""


def indicators() -> list[pl.Expr]:
    """Return the indicators of all categories; null = empty or `Unknown`. See `categories.indicators`.

    >>> frame = pl.DataFrame({column: ["Unknown", None, "Male"] for column in CATEGORIES})
    >>> frame.select(indicators())["gender/Male"].to_list()
    [None, None, 1.0]
    """
    return [
        one
        for column, values in CATEGORIES.items()
        for one in categories.indicators(_known(column), column, {v: [v.lower()] for v in values}, exact=True)
    ]


def _known(column: str) -> pl.Expr:
    text = pl.col(column)
    return pl.when(text.str.strip_chars().str.to_lowercase() != UNKNOWN).then(text)


def subgroups(rows: pl.DataFrame, patients: pl.DataFrame) -> pl.DataFrame:
    """The attributes of the rows by which an evaluation is divided.

    Args:
        rows: `row_id`, `stay_id`, `year` (of discharge from the hospital).
        patients: `patientunitstayid`, `gender`, `ethnicity`, `age` in years.

    Returns:
        `row_id`, `sex`, `age_band`, `race`, `year_group`, text; null = unknown.

    >>> rows = pl.DataFrame({"row_id": [0], "stay_id": [5], "year": [2014]})
    >>> patient = {"patientunitstayid": 5, "gender": "Unknown", "ethnicity": "African American", "age": 90}
    >>> subgroups(rows, pl.DataFrame([patient], schema_overrides={"age": pl.Int64})).row(0)
    (0, None, '85 or more', 'black', '2014')
    """
    joined = rows.join(patients, left_on="stay_id", right_on="patientunitstayid", how="left", maintain_order="left")
    return joined.select(
        "row_id",
        categories.group_of(_known("gender"), SEX, exact=True).alias("sex"),
        age_band(pl.col("age")),
        categories.group_of(_known("ethnicity"), RACE, exact=True).alias("race"),
        pl.col("year").cast(pl.String).alias("year_group"),
    )


def plausible(concept: Concept) -> pl.Expr:
    """Return the column of a concept, null outside its plausible range.

    >>> pl.DataFrame({"admissionheight": [172.0, 1.72]}).select(plausible(BODY[0])).to_series().to_list()
    [172.0, None]
    """
    value = pl.col(str(concept.names[0]))
    return pl.when(value.is_between(concept.low, concept.high)).then(value)


def demographics(rows: pl.DataFrame, patients: pl.DataFrame, hospitals: pl.DataFrame) -> pl.DataFrame:
    """Derive the columns of the demographics modality.

    Args:
        rows: `row_id`, `stay_id`, `prediction_offset_minutes`.
        patients: `PATIENT_COLUMNS`, age in years.
        hospitals: `HOSPITAL_COLUMNS`.

    Returns:
        One row per `row_id`, in order, Float64; null = unknown.
    """
    keyed = rows.select("row_id", "prediction_offset_minutes", patientunitstayid="stay_id")
    joined = keyed.join(patients, on="patientunitstayid", how="left").join(hospitals, on="hospitalid", how="left")
    sizes = [plausible(one).alias(f"{one.name}_{one.unit}") for one in BODY]
    # A few stays enter the unit before the hospital: an error whose size is known only after the landmark.
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
