"""A release as it stood at the landmarks of some rows: everything that became known later is taken out."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import polars as pl

from data_modules.databases.mimic_iv.cohort import read_admissions, read_stays
from data_modules.databases.mimic_iv.linking import admission_intervals
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.features.modality import BuildContext
from data_modules.features.store import create
from data_modules.raw.reader import Release

EVENTS: Mapping[str, tuple[str, ...]] = {
    "admissions": ("admittime",),
    "icustays": ("intime",),
    "labevents": ("charttime",),
    "chartevents": ("storetime", "charttime"),
    "microbiologyevents": ("charttime", "end of chartdate"),
    "prescriptions": ("starttime",),
    "pharmacy": ("starttime",),
    "procedureevents": ("storetime", "starttime"),
    "inputevents": ("storetime", "starttime"),
    "outputevents": ("storetime", "charttime"),
    "services": ("transfertime",),
    "diagnoses_icd": ("dischtime",),
    "discharge_notes": ("storetime", "charttime"),
    "radiology_notes": ("storetime", "charttime"),
    "cxr_metadata": ("taken",),
}
"""Table -> when a row of it was available: the first of these that is filled. A specimen is known when it is taken, a
diagnosis, whose table has no time, when its admission ends."""

CELLS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "patients": {"dod": ("dod",)},
    "admissions": {
        "dischtime": ("dischtime", "discharge_location", "hospital_expire_flag"),
        "deathtime": ("deathtime",),
        "edouttime": ("edouttime",),
    },
    "icustays": {"outtime": ("outtime", "los", "last_careunit")},
    "labevents": {"storetime": ("value", "valuenum", "flag", "comments")},
    "microbiologyevents": {"storetime": ("org_itemid", "org_name", "isolate_num", "quantity", "ab_name", "comments")},
    "prescriptions": {"stoptime": ("stoptime",)},
    "procedureevents": {"endtime": ("endtime", "value", "statusdescription")},
    "inputevents": {"endtime": ("endtime", "amount", "totalamount", "statusdescription")},
}
"""Table -> time -> cells that are not known before it."""


def _time(column: str) -> pl.Expr:
    if column == "end of chartdate":
        return _time("chartdate") + pl.duration(days=1)
    text = pl.col(column)
    if column == "dod":
        return text.str.to_datetime("%Y-%m-%d", strict=False) + pl.duration(hours=23, minutes=59, seconds=59)
    if column == "taken":
        clock = pl.col("StudyTime").str.split(".").list.first().str.zfill(6)
        return (pl.col("StudyDate") + clock).str.to_datetime("%Y%m%d%H%M%S", strict=False)
    return text.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False)


def _without_early_ends(kept: pl.DataFrame) -> pl.DataFrame:
    """Blank the ends of rates in the last hours that no later row of the same item shows."""
    begun, landmark = _time("starttime"), pl.col("landmark_at")
    is_rate = pl.col("rate").is_not_null() & (begun <= landmark)
    last = pl.max_horizontal(begun, _time("storetime")).filter(is_rate).max().over("subject_id", "hadm_id", "itemid")
    end = _time("endtime")
    hidden = is_rate & (end > landmark - timedelta(hours=4)) & (end > last)
    return kept.with_columns(endtime=pl.when(~hidden.fill_null(value=False)).then("endtime"))


def mutilate(release: Release, landmarks: pl.DataFrame, folder: Path) -> tuple[Release, dict[str, int]]:
    """Copy the tables of the subjects of `landmarks` without what came after; also counts of deletions.

    Args:
        release: the whole.
        landmarks: `subject_id`, each once, and `landmark_at`.
        folder: where the copy goes.
    """
    counts = {}
    known = landmarks.select(pl.col("subject_id").cast(pl.String), "landmark_at").lazy()
    for name in (*EVENTS, "patients"):
        if not release.has(name):
            continue
        raw = pl.scan_csv(release.files[name], infer_schema=False).join(known, on="subject_id").collect()
        if name == "diagnoses_icd":
            ends = pl.read_csv(release.files["admissions"], infer_schema=False).select("hadm_id", "dischtime")
            raw = raw.join(ends, on="hadm_id", how="left")
        kept = raw
        if name in EVENTS:
            available = pl.coalesce(_time(column) for column in EVENTS[name])
            kept = raw.filter((available <= pl.col("landmark_at")).fill_null(value=False))
        if name == "prescriptions" and release.has("pharmacy"):
            entries = pl.read_csv(release.files["pharmacy"], infer_schema=False)
            entered = entries.select("pharmacy_id", _time("entertime")).rename({"entertime": "entered"})
            order = kept.join(entered, on="pharmacy_id", how="left")
            kept = order.filter((pl.col("entered") <= pl.col("landmark_at")).fill_null(value=True)).drop("entered")
        if name == "inputevents":
            kept = _without_early_ends(kept)
        for time, cells in CELLS.get(name, {}).items():
            later = (_time(time) > pl.col("landmark_at")).fill_null(value=False)
            counts[f"{name}.{time}"] = kept.select(later.sum()).item()
            blank = [pl.when(~later).then(pl.col(cell)).alias(cell) for cell in cells]
            kept = kept.with_columns(blank)
        counts[name] = raw.height - kept.height
        file = folder / f"{MIMIC_IV.tables[name].path}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        added = ["landmark_at", *(["dischtime"] if name == "diagnoses_icd" else [])]
        kept.drop(added).write_csv(file)
    return Release(MIMIC_IV, [folder]), counts


def sources_at(
    release: Release,
    rows: pl.DataFrame,
    scratch: Path,
    vocabularies: Mapping[str, list[str]],
    modalities: Sequence[str] = (),
) -> BuildContext:
    """What the writers see of `rows` in a release; only ids and times of prediction come from `rows`.

    Args:
        release: the release.
        rows: of a cohort.
        scratch: a new folder for what is read.
        vocabularies: those that are not to be made from the rows.
        modalities: all that will be written, so that each table is read once for all of them, as for a cohort.
    """
    scratch.mkdir()
    ids = rows.select("row_id", "hadm_id", "stay_id", "landmark_at", "prediction_at")
    admissions = read_admissions(release)
    intervals = admission_intervals(admissions.lazy()).drop("subject_id").collect()
    seen = ids.join(admissions, on="hadm_id", how="left").join(intervals, on="hadm_id", how="left").sort("row_id")
    return BuildContext(
        release=release,
        rows=seen,
        tables={"admissions": admissions, "icustays": read_stays(release)},
        train=seen.select("row_id", "subject_id"),
        scratch=scratch,
        min_vocabulary_subjects=1,
        max_vocabulary=500,
        vocabularies=vocabularies,
        modalities=modalities,
    )


def features(sources: BuildContext, names: list[str], folder: Path) -> tuple[dict[str, object], dict[str, list[str]]]:
    """Modality -> everything that a row gets of it, as bytes or sorted rows; and the vocabularies used."""
    written: dict[str, object] = {}
    vocabularies: dict[str, list[str]] = {}
    for name in names:
        definition = database("mimic").modalities[name]
        if definition.files is not None:
            in_files = definition.files(sources, folder / name)
            (file,) = (folder / name).glob("*.parquet")
            written[name] = sorted(pl.read_parquet(file).rows(), key=repr)
            written[f"present/{name}"] = in_files.to_list()
            continue
        block = definition.block(sources)
        values = create(folder / name, sources.rows.height, block.columns)
        present = block.write(values)
        prefix = block.columns[-1].split("/")[0]
        if block.columns[-1] == f"{prefix}/distinct":
            vocabularies[prefix] = [column.removeprefix(f"{prefix}/") for column in block.columns[:-1]]
        written[name] = [values[row].tobytes() for row in range(len(values))]
        written[f"present/{name}"] = present.tolist()
        written[f"columns/{name}"] = block.columns
    return written, vocabularies
