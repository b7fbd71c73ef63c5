"""The eICU cohort: selects unit stays, applies the inclusion rules and derives the outcomes.

All times are minutes since the unit admission of the row. `build_rows` returns one row per unit stay; `cohorts/rows.py`
documents the columns that later stages read, and `cohorts/columns.py` those that the cohort file keeps.
"""

from collections.abc import Sequence

import polars as pl

from data_modules.cohorts import icd_blocks, phenotypes
from data_modules.cohorts.attrition import Rule, apply_rules
from data_modules.cohorts.labels import after_death
from data_modules.cohorts.rows import CohortRows
from data_modules.cohorts.value_tasks import LENGTH_OF_STAY, UNIT_LENGTH_OF_STAY, prefix_of
from data_modules.databases.eicu.config import OLDEST, EICUCohortConfig
from data_modules.databases.eicu.hospitals import home_hospitals, split_keys
from data_modules.raw.errors import SourceError
from data_modules.raw.reader import Release

LANDMARK_MINUTES = 24 * 60
STEP_DOWN = "stepdown/other"
MUSE_MINUTES = 15 * 24 * 60
COLUMNS = (
    "patientunitstayid", "patienthealthsystemstayid", "uniquepid", "hospitalid", "age", "hospitaladmitoffset",
    "hospitaldischargeoffset", "hospitaldischargeyear", "hospitaldischargestatus", "unitvisitnumber", "unitstaytype",
    "unitdischargeoffset", "unitdischargestatus",
)  # fmt: skip
"""Columns of `patient` for rules and outcomes; features have their own list."""
WITHIN_ADMISSION = ("start", "unitvisitnumber", "stay_id")
"""Order of the unit stays of a hospital stay."""
ROW_COLUMNS = (
    "subject_id", "subject_key", "split_key", "admission_id", "stay_id", "hospital_id", "year",
    "prediction_offset_minutes",
)  # fmt: skip


def build_rows(release: Release, config: EICUCohortConfig) -> CohortRows:
    """Select unit stays, apply the inclusion rules and derive the outcomes.

    Returns:
        One row per unit stay with labels, the attrition and counts for the manifest.

    Raises:
        SourceError: for duplicate keys, invalid ages or discharge states, or an empty cohort.
    """
    stays = read_stays(release)
    placed = stays.filter(pl.col("admission_id").is_not_null())
    is_known = pl.col("subject_id").is_not_null()
    known = placed.filter(is_known)
    # Before the filter: a next unit stay without a subject is still a readmission.
    outcomes = _with_outcomes(placed, config).filter(is_known).with_columns(prediction_offset_minutes=_landmark(config))
    outcomes = outcomes.join(home_hospitals(known), on="subject_id", maintain_order="left")
    outcomes = _with_phenotypes(release, outcomes, config)
    rules = _rules(config)
    rows, attrition = apply_rules(_pick(outcomes, config.index), rules, f"{config.index} index")
    attrition = pl.concat([_before_index(stays, known), attrition])
    if rows.is_empty():
        emptied = attrition.filter(pl.col("rows") == 0)["rule"][0]
        raise SourceError(
            release.files["patient"],
            f"no rows are left after the rule {emptied!r}",
            "relax the rules under cohort. (index, landmark, min_age)",
        )
    labels = [prefix_of(task) + task for task in config.tasks]
    kept = [*ROW_COLUMNS, *(["era"] if config.fold_by == "year_group" else [])]
    keyed = _keyed(rows, config).select(*kept, *labels).with_row_index("row_id")
    counts = _counts(outcomes) | _phenotype_counts(release, keyed, config)
    if not config.pretraining_rows:
        return CohortRows(keyed, attrition, counts)
    others = _keyed(outcomes.join(rows, on="stay_id", how="anti"), config).drop(labels)
    return CohortRows(keyed, attrition, counts, others, [rule for rule in rules if rule.needed])


def _keyed(stays: pl.DataFrame, config: EICUCohortConfig) -> pl.DataFrame:
    """The unit stays in the order of the cohort, with the keys of subjects and splits."""
    split_key = split_keys("home") if config.fold_by == "hospital" else pl.col("subject_id")
    keyed = stays.sort("stay_id").with_columns(subject_key="subject_id", split_key=split_key)
    return keyed.with_columns(era=pl.col("year").cast(pl.String)) if config.fold_by == "year_group" else keyed


def read_stays(release: Release) -> pl.DataFrame:
    """Read all unit stays; duplicate keys and invalid ages or discharge states are a `SourceError`.

    Returns:
        One row per stay: `stay_id`, `admission_id`, `subject_id`, `hospital_id`, `age` (years, null = unknown),
        `start` and `end` (minutes since admission to the hospital), `unitdischargeoffset`, `hospitaldischargeoffset`,
        `unitvisitnumber`, `unitstaytype`, `year`, `died_in_unit`, `died_in_hospital` (null = unknown), `doubtful` (the
        death contradicts other rows).
    """
    raw = release.scan("patient", COLUMNS).filter(pl.col("patientunitstayid").is_not_null()).collect()
    refuse_repeats(release, "patient", raw, "patientunitstayid")
    _refuse_unread(release, raw, "age", age_in_years(), "a whole number or '> 89'")
    for column in ("unitdischargestatus", "hospitaldischargestatus"):
        _refuse_unread(release, raw, column, _died(column), "Alive or Expired")
    start = -pl.col("hospitaladmitoffset")
    return raw.select(
        pl.col("patientunitstayid").alias("stay_id"),
        pl.col("patienthealthsystemstayid").alias("admission_id"),
        pl.col("uniquepid").alias("subject_id"),
        pl.col("hospitalid").alias("hospital_id"),
        age_in_years().alias("age"),
        start.alias("start"),
        (start + pl.col("unitdischargeoffset")).alias("end"),
        "unitdischargeoffset",
        "hospitaldischargeoffset",
        "unitvisitnumber",
        pl.col("unitstaytype").str.strip_chars().str.to_lowercase(),
        pl.col("hospitaldischargeyear").alias("year"),
        _died("unitdischargestatus").alias("died_in_unit"),
        _died("hospitaldischargestatus").alias("died_in_hospital"),
    ).with_columns(doubtful=_doubtful())


def age_in_years() -> pl.Expr:
    """Return the age in years, Int64; null if empty or unreadable.

    >>> pl.DataFrame({"age": ["17", "> 89", None, "-1"]}).select(age_in_years()).to_series().to_list()
    [17, 90, None, None]
    """
    years = pl.col("age").str.replace_all(" ", "").str.replace(r"^>89$", str(OLDEST))
    return pl.when(years.str.contains(r"^\d+$")).then(years).cast(pl.Int64, strict=False)


def refuse_repeats(release: Release, table: str, frame: pl.DataFrame, key: str) -> None:
    """Refuse a table with repeats of a key that later joins rely on.

    Raises:
        SourceError: naming the key and the number of repeated rows.
    """
    repeated = frame.height - frame[key].n_unique()
    if repeated:
        raise SourceError(
            release.files[table],
            f"key {key!r} repeats in {repeated} of {frame.height} rows",
            "every key must be unique; remove the repeated rows",
        )


def _died(column: str) -> pl.Expr:
    state = pl.col(column).str.strip_chars().str.to_lowercase()
    return state.replace_strict({"expired": True, "alive": False}, default=None, return_dtype=pl.Boolean)


def _doubtful() -> pl.Expr:
    # The rows of a hospital stay have one state, and a subject has no hospital stay in a year after that of the death.
    died = pl.col("died_in_hospital").fill_null(value=False)
    states = pl.col("died_in_hospital").drop_nulls().n_unique().over("admission_id")
    died_in = pl.col("year").filter(died).min().over("subject_id")
    later = (pl.col("year").max().over("subject_id") > died_in).fill_null(value=False)
    returned = died & pl.col("subject_id").is_not_null() & later
    return (pl.col("admission_id").is_not_null() & (states > 1)) | returned


def _refuse_unread(release: Release, raw: pl.DataFrame, column: str, read: pl.Expr, expected: str) -> None:
    unread = raw.filter(pl.col(column).is_not_null() & read.is_null()).height
    if unread:
        raise SourceError(
            release.files["patient"],
            f"column {column!r} holds {unread} of {raw.height} values that are not {expected}",
            "fix these cells, or empty those whose value is unknown",
        )


def _landmark(config: EICUCohortConfig) -> pl.Expr:
    return pl.lit(LANDMARK_MINUTES, pl.Int64) if config.landmark == "unit_24h" else pl.col("unitdischargeoffset")


def _pick(stays: pl.DataFrame, index: str) -> pl.DataFrame:
    """Return all stays, or the first of each subject.

    Hospital stays are ordered by year of discharge; within a year their order is unknown, so their ids order them.
    """
    if index == "every":
        return stays
    in_order = stays.sort("subject_id", "year", "admission_id", *WITHIN_ADMISSION, nulls_last=True)
    return in_order.unique("subject_id", keep="first", maintain_order=True)


def _rules(config: EICUCohortConfig) -> list[Rule]:
    rules = [
        Rule(name="age known", keep=pl.col("age").is_not_null()),
        Rule(name=f"age >= {config.min_age}", keep=pl.col("age") >= config.min_age),
    ]
    offset = pl.col("unitdischargeoffset")
    if config.landmark == "unit_24h":
        rules += [Rule(name="still in the unit 24 h later", keep=offset > LANDMARK_MINUTES, needed=True)]
    else:
        alive = ~pl.col("died_in_unit").fill_null(value=False)
        rules += [
            Rule(name="left the unit at or after entering it", keep=offset >= 0, needed=True),
            Rule(name="not expired in the unit", keep=alive),
        ]
    if config.fold_by == "hospital":
        # In another hospital, rows of a subject would be in another split than their hospital, or in two splits.
        at_home = pl.col("hospital_id").eq_missing(pl.col("home"))
        rules += [Rule(name="in the subject's hospital of the lowest id", keep=at_home, needed=True)]
    if config.fold_by == "year_group":
        rules += [Rule(name="year of discharge known", keep=pl.col("year").is_not_null(), needed=True)]
    return rules


def _with_outcomes(stays: pl.DataFrame, config: EICUCohortConfig) -> pl.DataFrame:
    """Add labels or values, and `gap`, minutes from the end of a unit stay to the next one of its hospital stay."""
    has_next = pl.int_range(pl.len()).over("admission_id") < pl.len().over("admission_id") - 1
    following = pl.col("start", "unitstaytype").shift(-1).over("admission_id").name.prefix("next_")
    gap = pl.col("next_start") - pl.col("end")
    if config.readmission == "muse":
        again = pl.col("next_start") - pl.col("start") <= MUSE_MINUTES
    else:
        again = (pl.col("gap") > config.min_gap_hours * 60) & pl.col("next_unitstaytype").ne_missing(STEP_DOWN)
    alone = pl.len().over("admission_id") == 1
    # A stay without a start may follow any other stay of its hospital stay.
    ordered = alone | pl.col("start").is_not_null().all().over("admission_id")
    known = pl.when(ordered & pl.col("has_next")).then(again).when(ordered).then(pl.lit(value=False))
    reversed_stay = (pl.col("unitdischargeoffset") < 0).fill_null(value=False)
    readmitted = pl.when(~reversed_stay).then(known)
    died_in_hospital, died_in_unit = (
        pl.when(~pl.col("doubtful")).then(pl.col(column)) for column in ("died_in_hospital", "died_in_unit")
    )
    outcomes = {
        "in_hospital_mortality": died_in_hospital,
        "unit_mortality": died_in_unit,
        "icu_readmission": after_death(readmitted, died_in_hospital, config.death_in_window),
        LENGTH_OF_STAY: _days_until("hospitaldischargeoffset", config),
        UNIT_LENGTH_OF_STAY: _days_until("unitdischargeoffset", config),
    }
    return (
        stays.sort("admission_id", *WITHIN_ADMISSION, nulls_last=True)
        .with_columns(following, has_next=has_next)
        .with_columns(gap=gap)
        .with_columns(outcomes[task].alias(prefix_of(task) + task) for task in config.tasks if task in outcomes)
    )


def _days_until(offset: str, config: EICUCohortConfig) -> pl.Expr:
    """Days from the prediction to an offset; unknown where it is earlier."""
    days = (pl.col(offset) - _landmark(config)) / (24 * 60)
    return pl.when(days >= 0).then(days)


def label_tables(names: Sequence[str]) -> tuple[str, ...]:
    """The raw tables, besides the core tables, that the labels of some tasks are derived from."""
    return ("diagnosis",) if icd_blocks.of_tasks(names) else ()


def _codes(release: Release) -> pl.LazyFrame:
    """`stay_id`, `at` (minutes) and `category` of the diagnoses of every unit stay that have a code."""
    entries = release.scan("diagnosis", ["patientunitstayid", "diagnosisoffset", "icd9code"])
    coded = entries.filter(pl.col("icd9code").is_not_null()).with_columns(
        category=phenotypes.mixed_categories(pl.col("icd9code"))
    )
    return coded.explode("category").select("category", stay_id="patientunitstayid", at="diagnosisoffset")


def _with_phenotypes(release: Release, stays: pl.DataFrame, config: EICUCohortConfig) -> pl.DataFrame:
    """Add the phenotypes of each unit stay, from all its diagnoses; unknown where none has a code."""
    blocks = icd_blocks.of_tasks(config.tasks)
    return phenotypes.labels(stays, _codes(release), "stay_id", blocks) if blocks else stays


def _phenotype_counts(release: Release, rows: pl.DataFrame, config: EICUCohortConfig) -> dict[str, int]:
    """Counts for the manifest: how many labels an input with the entries by the landmark already shows."""
    blocks = icd_blocks.of_tasks(config.tasks)
    if not blocks:
        return {}
    timed = _codes(release).join(rows.lazy().select("stay_id", "prediction_offset_minutes"), on="stay_id")
    entered = timed.filter(pl.col("at") <= pl.col("prediction_offset_minutes"))
    labelled = [f"label/{task}" for task in icd_blocks.TASKS if task in config.tasks]
    shown = phenotypes.labels(rows.select("stay_id"), entered, "stay_id", blocks)
    return {
        "rows without a diagnosis code (phenotypes unknown)": rows[labelled[0]].null_count(),
        "phenotypes that are True": sum(int(rows[name].sum()) for name in labelled),
        "of these entered by the prediction": sum(int(shown[name].sum()) for name in labelled),
    }


def _before_index(stays: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """The attrition table of the steps before the index is selected."""
    frames = {"unit stays": stays, "of a known subject and hospital stay": known}
    return pl.DataFrame(
        {
            "rule": list(frames),
            "rows": [frame.height for frame in frames.values()],
            "subjects": [frame["subject_id"].drop_nulls().n_unique() for frame in frames.values()],
        }
    )


def _counts(stays: pl.DataFrame) -> dict[str, int]:
    """Counts over the whole release, for the manifest."""
    by_subject = stays.group_by("subject_id").agg(
        pl.col("hospital_id").n_unique(), pl.struct("admission_id", "year").unique().struct.field("year")
    )
    years = pl.col("year").list
    undated = by_subject.filter((years.len() > 1) & (years.drop_nulls().list.n_unique() < years.len())).height
    return {
        "died in the unit, but left the hospital alive": stays.filter(
            pl.col("died_in_unit") & ~pl.col("died_in_hospital")
        ).height,
        "next unit stay begins as the stay ends": stays.filter(pl.col("gap") == 0).height,
        "next unit stay begins later": stays.filter(pl.col("gap") > 0).height,
        "next unit stay begins within an hour": stays.filter(pl.col("gap").is_between(1, 60)).height,
        "last unit stays of a hospital stay that ended in death": stays.filter(
            pl.col("died_in_hospital") & ~pl.col("has_next")
        ).height,
        "unit stays whose death contradicts other stays (outcomes unknown)": stays.filter("doubtful").height,
        "unit stays that end before they begin": stays.filter(pl.col("unitdischargeoffset") < 0).height,
        "subjects in several hospitals": by_subject.filter(pl.col("hospital_id") > 1).height,
        "subjects with hospital stays in an unknown order": undated,
    }
