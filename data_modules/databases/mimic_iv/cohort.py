"""The MIMIC-IV cohort: selects the index admissions, applies the inclusion rules and derives the outcomes.

`build_rows` returns one row per unit of analysis; `cohorts/rows.py` documents the columns that later stages read, and
`cohorts/columns.py` those that the cohort file keeps.
"""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from data_modules.cohorts import icd_blocks, phenotypes
from data_modules.cohorts.attrition import Rule, apply_rules
from data_modules.cohorts.labels import after_death
from data_modules.cohorts.rows import CohortRows
from data_modules.cohorts.value_tasks import LENGTH_OF_STAY, prefix_of
from data_modules.databases.mimic_iv import deaths, outcomes, tasks
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.linking import admission_intervals
from data_modules.raw.errors import SourceError
from data_modules.raw.reader import Release

OBSERVATION_TYPES = ("EU OBSERVATION", "AMBULATORY OBSERVATION", "DIRECT OBSERVATION")
ELECTIVE_TYPES = ("ELECTIVE", "SURGICAL SAME DAY ADMISSION")
LANDMARK_HOURS = 24
SECONDS_A_DAY = 86_400


def build_rows(release: Release, config: MIMICCohortConfig) -> CohortRows:
    """Select the index admissions, apply the inclusion rules and derive the outcomes.

    Returns:
        One row per unit of analysis with labels, the attrition and counts for the manifest.

    Raises:
        SourceError: for duplicate keys, too many stays with dischtime before admittime, or an empty cohort.
    """
    admissions = read_admissions(release)
    stays = read_stays(release)
    _check_reversed(release, admissions, config)
    counted = _counting_admissions(admissions, config)
    candidates = _add_outcomes(_candidates(counted, stays, config), counted, stays, config)
    candidates = _add_phenotypes(release, candidates, config)
    rules = _rules(config)
    rows, attrition = apply_rules(candidates, rules, f"{config.index} index")
    attrition = pl.concat([_before_index(release, admissions, counted), attrition])
    if rows.is_empty():
        emptied = attrition.filter(pl.col("rows") == 0)["rule"][0]
        raise SourceError(
            release.files["admissions"],
            f"no rows are left after the rule {emptied!r}",
            "relax the rules under cohort. (index, landmark, min_age, anchor_year_groups, ...)",
        )
    intervals = admission_intervals(admissions.lazy()).collect()
    keyed = _keyed(rows, intervals).with_row_index("row_id")
    if config.fold_by == "year_group":
        keyed = keyed.with_columns(era="anchor_year_group")
    counts = _counts(admissions, stays, candidates, rows, config)
    if not config.pretraining_rows:
        return CohortRows(keyed, attrition, counts)
    others = _candidates(counted, stays, replace(config, index="every")).join(rows, on="hadm_id", how="anti")
    return CohortRows(keyed, attrition, counts, _keyed(others, intervals), [rule for rule in rules if rule.needed])


def _keyed(rows: pl.DataFrame, intervals: pl.DataFrame) -> pl.DataFrame:
    """The rows in the order of the cohort, with their keys and the intervals of their admissions."""
    ordered = rows.sort("subject_id", "admittime", "hadm_id")
    placed = ordered.join(intervals.drop("subject_id"), on="hadm_id", how="left", maintain_order="left")
    return placed.with_columns(
        subject_key=pl.col("subject_id").cast(pl.String), admission_id="hadm_id", year_group="anchor_year_group"
    )


def read_admissions(release: Release) -> pl.DataFrame:
    """Admissions of the subjects in `patients`, with its columns and the age in years."""
    names = [
        "subject_id", "hadm_id", "admittime", "dischtime", "deathtime", "admission_type", "admission_location",
        "discharge_location", "insurance", "language", "marital_status", "race", "edregtime",
        "hospital_expire_flag",
    ]  # fmt: skip
    admissions = release.scan("admissions", names).filter(pl.col("hadm_id").is_not_null()).collect()
    patients = release.scan("patients", list(release.schema.tables["patients"].columns)).collect()
    _check_unique(release, "admissions", admissions, ["hadm_id"])
    _check_unique(release, "patients", patients, ["subject_id"])
    joined = admissions.join(patients, on="subject_id", how="inner")
    age = pl.col("anchor_age") + pl.col("admittime").dt.year() - pl.col("anchor_year")
    return deaths.with_deaths(joined.with_columns(age=age.cast(pl.Float64))).sort("subject_id", "admittime", "hadm_id")


def read_stays(release: Release) -> pl.DataFrame:
    """ICU stays by subject and unit admission."""
    stays = release.scan("icustays", ["subject_id", "hadm_id", "stay_id", "intime", "outtime"]).collect()
    _check_unique(release, "icustays", stays, ["stay_id"])
    return stays.sort("subject_id", "intime", "stay_id")


def _check_unique(release: Release, name: str, frame: pl.DataFrame, key: list[str]) -> None:
    repeated = frame.height - frame.n_unique(key)
    if repeated:
        raise SourceError(
            release.files[name],
            f"key {', '.join(key)!r} repeats in {repeated} of {frame.height} rows",
            "every key must be unique; remove the repeated rows",
        )


def _check_reversed(release: Release, admissions: pl.DataFrame, config: MIMICCohortConfig) -> None:
    num_reversed = admissions.filter(pl.col("dischtime") < pl.col("admittime")).height
    if num_reversed > config.max_reversed_share * admissions.height:
        raise SourceError(
            release.files["admissions"],
            f"column 'dischtime' is before 'admittime' in {num_reversed} of {admissions.height} rows; the release "
            f"has a few such rows, at most {config.max_reversed_share:.1%}",
            "fix these rows, or raise cohort.max_reversed_share to drop and count them",
        )


def _in_order() -> pl.Expr:
    return pl.col("dischtime") >= pl.col("admittime")


def _counting_admissions(admissions: pl.DataFrame, config: MIMICCohortConfig) -> pl.DataFrame:
    """Admissions that count as an index or an outcome."""
    keep = _in_order()
    if not config.observation_stays:
        keep &= ~pl.col("admission_type").is_in(OBSERVATION_TYPES).fill_null(value=False)
    if not config.organ_donors:
        keep &= ~deaths.begins_after()
    return admissions.filter(keep)


def _before_index(release: Release, admissions: pl.DataFrame, counted: pl.DataFrame) -> pl.DataFrame:
    """The attrition table of the steps before the index is selected."""
    frames = {
        "admissions": release.scan("admissions", ["subject_id"]).collect(),
        "of a subject in patients": admissions,
        "discharged at or after admission": admissions.filter(_in_order()),
        "that count (observation_stays, organ_donors)": counted,
    }
    return pl.DataFrame(
        {
            "rule": list(frames),
            "rows": [frame.height for frame in frames.values()],
            "subjects": [frame["subject_id"].n_unique() for frame in frames.values()],
        }
    )


def _pick(frame: pl.DataFrame, index: str) -> pl.DataFrame:
    if index == "every":
        return frame
    return frame.unique("subject_id", keep="first" if index == "first" else "last", maintain_order=True)


def _candidates(counted: pl.DataFrame, stays: pl.DataFrame, config: MIMICCohortConfig) -> pl.DataFrame:
    """The index admissions with their landmarks."""
    return _discharge(counted, config) if config.landmark == "discharge" else _icu(counted, stays, config)


def _discharge(counted: pl.DataFrame, config: MIMICCohortConfig) -> pl.DataFrame:
    grace = pl.duration(seconds=round(config.note_grace_hours * 3600))
    return _pick(counted, config.index).with_columns(
        stay_id=pl.lit(None, pl.Int64),
        landmark_at=pl.col("dischtime"),
        prediction_at=pl.col("dischtime") + grace,
    )


def _icu(counted: pl.DataFrame, stays: pl.DataFrame, config: MIMICCohortConfig) -> pl.DataFrame:
    """The first ICU stay of the index admission; with index=first, of the subject."""
    in_order = stays.filter(pl.col("intime").is_not_null()).sort("intime", "stay_id")
    first = in_order.unique("hadm_id", keep="first", maintain_order=True).drop("subject_id")
    if config.index == "first":
        with_stay = counted.join(first, on="hadm_id").sort("subject_id", "intime", "stay_id")
        candidates = with_stay.unique("subject_id", keep="first", maintain_order=True)
    else:
        candidates = _pick(counted, config.index).join(first, on="hadm_id", how="left")
    landmark = pl.col("intime") + pl.duration(hours=LANDMARK_HOURS)
    return candidates.with_columns(landmark_at=landmark, prediction_at=landmark)


def _rules(config: MIMICCohortConfig) -> list[Rule]:
    rules = [Rule(name=f"age >= {config.min_age}", keep=pl.col("age") >= config.min_age)]
    if config.anchor_year_groups is not None:
        groups = pl.col("anchor_year_group").is_in(config.anchor_year_groups)
        rules.append(Rule(name=f"anchor year group in {', '.join(config.anchor_year_groups)}", keep=groups))
    if config.fold_by == "year_group":
        rules.append(Rule(name="anchor year group known", keep=pl.col("anchor_year_group").is_not_null()))
    if not config.overlapping_admissions:
        rules.append(Rule(name="no overlapping admission", keep=~pl.col("overlaps")))
    if config.landmark == "discharge":
        alive = (pl.col("hospital_expire_flag") == 0) & deaths.alive_at("dischtime")
        rules.append(Rule(name="discharged alive", keep=alive))
        if config.note_grace_hours > 0 and config.early_events == "exclude":
            name = f"no outcome within {config.note_grace_hours:g} h of discharge"
            rules.append(Rule(name=name, keep=~pl.col("early_event")))
        return rules
    left_at = pl.max_horizontal("dischtime", "deathtime")
    alive = deaths.alive_at("landmark_at")
    in_hospital = alive & (left_at > pl.col("landmark_at"))
    rules.append(Rule(name="has an ICU stay", keep=pl.col("stay_id").is_not_null(), needed=True))
    rules.append(Rule(name="alive and in hospital 24 h later", keep=in_hospital, needed=True))
    if config.in_unit:
        in_unit = pl.min_horizontal("outtime", left_at) > pl.col("landmark_at")
        rules.append(Rule(name="still in the unit 24 h later", keep=in_unit))
    return rules


def _add_outcomes(
    candidates: pl.DataFrame, counted: pl.DataFrame, stays: pl.DataFrame, config: MIMICCohortConfig
) -> pl.DataFrame:
    """Add `label/<task>` or `value/<task>`, `overlaps` and `early_event`."""
    gap = config.min_gap_hours
    readmission = outcomes.next_event(candidates, counted, "admittime", gap)
    if not config.elective_readmissions:
        elective = counted.filter(pl.col("admission_type").is_in(ELECTIVE_TYPES))
        readmission = readmission.filter(~pl.col("other").is_in(elective["hadm_id"].implode()))
    in_counted = stays.join(counted.select("hadm_id"), on="hadm_id", how="semi")
    for name, found in (
        ("readmission", readmission),
        ("icu", outcomes.next_event(candidates, in_counted, "intime", gap)),
    ):
        when = found.select("hadm_id", pl.col("event_at").alias(f"{name}_at"))
        candidates = candidates.join(when, on="hadm_id", how="left", maintain_order="left")
    parsed = [task for task in map(tasks.parse_task, config.tasks) if task.kind != tasks.PHENOTYPE]
    labels = {task.name: _outcome(task, config) for task in parsed}
    early = [_early(task) & labels[task.name] for task in parsed if task.kind != LENGTH_OF_STAY]
    return candidates.with_columns(
        *(label.alias(prefix_of(task) + task) for task, label in labels.items()),
        overlaps=pl.col("hadm_id").is_in(_overlapping(counted)["hadm_id"].implode()),
        early_event=pl.any_horizontal(*early, pl.lit(value=False)).fill_null(value=False),
    )


def label_tables(names: Sequence[str]) -> tuple[str, ...]:
    """The raw tables, besides the core tables, that the labels of some tasks are derived from."""
    return ("diagnoses_icd",) if icd_blocks.of_tasks(names) else ()


def _add_phenotypes(release: Release, candidates: pl.DataFrame, config: MIMICCohortConfig) -> pl.DataFrame:
    """Add the phenotypes of the index admission, unknown where it has no diagnosis code."""
    blocks = icd_blocks.of_tasks(config.tasks)
    if not blocks:
        return candidates
    coded = release.scan("diagnoses_icd", ["hadm_id", "icd_code", "icd_version"])
    category = phenotypes.categories(pl.col("icd_code"), pl.col("icd_version"))
    return phenotypes.labels(candidates, coded.select("hadm_id", category=category), "hadm_id", blocks)


def _outcome(task: tasks.Task, config: MIMICCohortConfig) -> pl.Expr:
    if task.kind == LENGTH_OF_STAY:
        remaining = (pl.col("dischtime") - pl.col("prediction_at")).dt.total_seconds() / SECONDS_A_DAY
        return pl.when(remaining >= 0).then(remaining)
    if task.window_days is None:
        return deaths.during()
    if task.kind == "mortality":
        return deaths.within(task.window_days)
    event = outcomes.within_days(f"{task.kind}_at", task.window_days)
    return after_death(event, deaths.within(task.window_days), config.death_in_window)


def _early(task: tasks.Task) -> pl.Expr:
    """Whether the outcome occurs by the time of the prediction."""
    if task.kind == "mortality":
        return pl.col("died_on") <= pl.col("prediction_at").dt.date()
    if task.window_days is None:
        return pl.lit(value=False)
    return pl.col(f"{task.kind}_at") <= pl.col("prediction_at")


def _overlapping(admissions: pl.DataFrame) -> pl.DataFrame:
    """Admissions that overlap another one of the subject."""
    ends = pl.col("dischtime").cum_max().shift(1).over("subject_id")
    begins = pl.col("admittime").shift(-1).over("subject_id")
    overlaps = (pl.col("admittime") < ends) | (begins < pl.col("dischtime"))
    return admissions.sort("subject_id", "admittime", "hadm_id").filter(overlaps).select("hadm_id")


def _counts(
    admissions: pl.DataFrame,
    stays: pl.DataFrame,
    candidates: pl.DataFrame,
    rows: pl.DataFrame,
    config: MIMICCohortConfig,
) -> dict[str, int]:
    """Counts for the manifest: contradictions of the release, and rows about which settings decide."""
    counts = deaths.contradictions(admissions)
    counts["ICU stays that end before they begin"] = stays.filter(pl.col("outtime") < pl.col("intime")).height
    for task in map(tasks.parse_task, config.tasks):
        if not task.needs_later_admission or task.window_days is None:
            continue
        inside = outcomes.within_days(f"{task.kind}_at", task.window_days)
        soon = pl.col(f"{task.kind}_at") - pl.col("dischtime") <= pl.duration(hours=1)
        died = ~inside & deaths.within(task.window_days)
        counts[f"{task.name}: events within an hour of discharge"] = rows.filter(inside & soon).height
        counts[f"{task.name}: deaths in the window without an event"] = rows.filter(died).height
    coded = [f"label/{task}" for task in config.tasks if icd_blocks.is_phenotype(task)]
    if coded:
        counts["rows without a diagnosis code (phenotypes unknown)"] = rows[coded[0]].null_count()
    if config.note_grace_hours:
        counts["index admissions with an outcome inside the grace"] = int(candidates["early_event"].sum())
    return counts
