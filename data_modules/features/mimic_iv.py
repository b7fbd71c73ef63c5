"""The modalities that MIMIC-IV offers: declarations, and the tables that each reads."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from data_modules.cohorts.linking import link
from data_modules.features import codes, documents, harmonised, images, series, structured
from data_modules.features.concepts import LABS, VITALS, Concept, convert
from data_modules.features.modality import Block, Definition, Sources
from data_modules.features.store import BoolArray, FloatArray

EVENT_COLUMNS = ("subject_id", "hadm_id", "itemid", "charttime", "storetime", "valuenum", "valueuom")
BILLING = "billing codes of the index stay; they are written after discharge"
NOTE_HOURS = (0, 24, 72)


def _demographics(sources: Sources) -> Block:
    return _always(structured.demographics(sources.rows, sources.tables["admissions"], sources.tables["icustays"]))


def _harmonised_person(sources: Sources) -> Block:
    columns = harmonised.person(pl.col("age"), pl.col("gender") == "F")
    return _always(sources.rows.sort("row_id").select(columns))


def _always(frame: pl.DataFrame) -> Block:
    """Columns that every row has."""

    def write(out: FloatArray) -> BoolArray:
        out[:] = frame.cast(pl.Float32).fill_null(float("nan")).to_numpy()
        return np.ones(frame.height, dtype=np.bool_)

    return Block(frame.columns, write)


def _keep(sources: Sources, table: str, concepts: Sequence[Concept], specimen: str | None, path: Path) -> None:
    """Read a table of events once, keep the named concepts of the cohort's subjects in a scratch file."""
    columns = [*EVENT_COLUMNS, *([specimen] if specimen else [])]
    subjects = sources.rows.select("subject_id").unique().lazy()
    events = convert(sources.release.scan(table, columns), concepts)
    kept = events.join(subjects, on="subject_id", how="semi").select(
        "subject_id",
        "hadm_id",
        pl.col("charttime").alias("event_at"),
        pl.col("storetime").alias("available_at"),
        "concept",
        pl.col("value").cast(pl.Float32),
        (pl.col(specimen) if specimen else pl.lit(None, pl.Int64)).alias("specimen"),
    )
    kept.sink_parquet(path, compression="lz4")


def _series(sources: Sources, table: str, concepts: Sequence[Concept], specimen: str | None) -> Block:
    path = sources.scratch / f"{table}.parquet"
    _keep(sources, table, concepts, specimen, path)

    def write(out: FloatArray) -> BoolArray:
        present = series.write(path, sources.windows, len(concepts), out)
        path.unlink()
        return present

    return Block(series.column_names(concepts), write)


def _harmonised_scratch(sources: Sources, table: str) -> Path:
    """The shared concepts of a table, in a file that its modalities share."""
    concepts, specimen = {
        "labevents": (harmonised.MIMIC_LABORATORY, "specimen_id"),
        "chartevents": (harmonised.MIMIC_CHARTED, None),
    }[table]
    path = sources.scratch / f"harmonised_{table}.parquet"
    if not path.is_file():
        _keep(sources, table, concepts, specimen, path)
    return path


def _hourly(sources: Sources, path: Path, concepts: Sequence[Concept], chosen: slice) -> Block:
    """Hourly summaries of the concepts of a slice of a scratch file."""

    def known(events: pl.LazyFrame, windows: pl.DataFrame) -> pl.LazyFrame:
        return harmonised.hourly(series.by_admission(harmonised.within(events, chosen), windows))

    def write(out: FloatArray) -> BoolArray:
        return series.write(path, sources.windows, len(concepts), out, known)

    return Block(series.column_names(concepts), write)


def _harmonised_labs(panel: str, sources: Sources) -> Block:
    chosen = harmonised.of_panel(panel)
    return _hourly(sources, _harmonised_scratch(sources, "labevents"), harmonised.MIMIC_LABS[chosen], chosen)


def _harmonised_vitals(sources: Sources) -> Block:
    vitals = harmonised.MIMIC_VITALS
    chosen = harmonised.of_concepts(vitals, harmonised.MIMIC_CHARTED)
    return _hourly(sources, _harmonised_scratch(sources, "chartevents"), vitals, chosen)


def _harmonised_oxygen(sources: Sources) -> Block:
    """Inspired oxygen, charted or told with a blood gas."""
    told = {
        "chartevents": harmonised.of_concepts(harmonised.MIMIC_OXYGEN, harmonised.MIMIC_CHARTED),
        "labevents": harmonised.of_concepts(harmonised.MIMIC_GAS_OXYGEN, harmonised.MIMIC_LABORATORY),
    }
    events = [
        harmonised.within(pl.scan_parquet(_harmonised_scratch(sources, table)), chosen)
        for table, chosen in told.items()
    ]
    path = sources.scratch / "harmonised_oxygen.parquet"
    pl.concat(events).sink_parquet(path, compression="lz4")
    return _hourly(sources, path, harmonised.MIMIC_OXYGEN, slice(0, 1))


def _harmonised_body(sources: Sources) -> Block:
    """Height and weight on admission, as last told by the landmark."""
    path = _harmonised_scratch(sources, "chartevents")
    chosen = harmonised.of_concepts(harmonised.MIMIC_BODY, harmonised.MIMIC_CHARTED)

    def write(out: FloatArray) -> BoolArray:
        events = harmonised.within(pl.scan_parquet(path), chosen)
        found = harmonised.latest(series.by_admission(events, sources.windows)).collect()
        out[:] = np.nan
        out[found["row_id"].to_numpy(), found["concept"].to_numpy()] = found["value"].to_numpy()
        present: BoolArray = np.logical_or.reduce(np.isfinite(out), axis=1)
        return present

    return Block([concept.name for concept in harmonised.MIMIC_BODY], write)


def _labs(sources: Sources) -> Block:
    return _series(sources, "labevents", LABS, "specimen_id")


def _vitals(sources: Sources) -> Block:
    return _series(sources, "chartevents", VITALS, None)


def _medications(sources: Sources) -> Block:
    orders = sources.release.scan("prescriptions", ["subject_id", "hadm_id", "starttime", "drug_type", "drug"])
    drugs = orders.filter(pl.col("drug_type") == "MAIN")
    linked = link(drugs, sources.windows.lazy(), at="starttime")
    return codes.block(sources, linked.select("row_id", word=_clean("drug")), "drug")


def _microbiology(sources: Sources) -> Block:
    names = ["subject_id", "hadm_id", "chartdate", "charttime", "storetime", "spec_type_desc", "org_name"]
    day_over = pl.col("chartdate") + pl.duration(days=1)
    cultures = sources.release.scan("microbiologyevents", names).with_columns(
        event_at=pl.coalesce("charttime", "chartdate"),
        available_at=pl.coalesce("storetime", "charttime", day_over),
    )
    linked = link(cultures, sources.windows.lazy(), at="event_at", available="available_at")
    words = pl.concat(
        [
            linked.select("row_id", word="specimen/" + _clean("spec_type_desc")),
            linked.select("row_id", word="organism/" + _clean("org_name")),
        ]
    )
    return codes.block(sources, words, "culture")


def _procedures(sources: Sources) -> Block:
    events = sources.release.scan("procedureevents", ["subject_id", "hadm_id", "starttime", "storetime", "itemid"])
    linked = link(events, sources.windows.lazy(), at="starttime", available="storetime")
    return codes.block(sources, linked.select("row_id", word=pl.col("itemid").cast(pl.String)), "procedure")


def _diagnosis_codes(sources: Sources) -> Block:
    coded = sources.release.scan("diagnoses_icd", ["hadm_id", "icd_code", "icd_version"])
    category = pl.format("{}/{}", pl.col("icd_version"), pl.col("icd_code").str.strip_chars().str.slice(0, 3))
    return codes.block(sources, _of_index(sources, coded).select("row_id", word=category), "icd")


def _drg_codes(sources: Sources) -> Block:
    coded = sources.release.scan("drgcodes", ["hadm_id", "drg_type", "drg_code"])
    code = pl.format("{}/{}", pl.col("drg_type"), pl.col("drg_code"))
    return codes.block(sources, _of_index(sources, coded).select("row_id", word=code), "drg")


def _of_index(sources: Sources, coded: pl.LazyFrame) -> pl.LazyFrame:
    return coded.join(sources.rows.select("row_id", "hadm_id").lazy(), on="hadm_id")


def _clean(column: str) -> pl.Expr:
    return pl.col(column).str.strip_chars().str.to_lowercase()


def _discharge_notes(sources: Sources, folder: Path) -> pl.Series:
    windows = sources.windows_until(pl.col("prediction_at"))
    notes = documents.notes(sources.release, "discharge_notes", windows, own_admission_only=True)
    return documents.write(notes, folder)


def _radiology_reports(sources: Sources, folder: Path) -> pl.Series:
    windows = sources.windows.lazy()
    return documents.write(
        documents.notes(sources.release, "radiology_notes", windows, own_admission_only=False), folder
    )


def _films(sources: Sources, folder: Path) -> pl.Series:
    return images.write(images.films(sources.release, sources.windows.lazy()), folder)


def note_presence(sources: Sources) -> dict[str, int]:
    """Rows whose own discharge summary was stored by so many hours after discharge."""
    counts = {}
    for hours in NOTE_HOURS:
        windows = sources.windows_until(pl.col("landmark_at") + pl.duration(hours=hours))
        notes = documents.notes(sources.release, "discharge_notes", windows, own_admission_only=True)
        counts[f"{hours} h"] = notes.select(pl.col("row_id").n_unique()).collect(engine="streaming").item()
    return counts


STRUCTURED_PARTS = ("demographics", "labs", "vitals", "medications", "microbiology", "procedures")

MIMIC_MODALITIES: Mapping[str, Definition] = {
    "demographics": Definition(kind="table", block=_demographics),
    "labs": Definition(kind="table", tables=("labevents",), block=_labs),
    "vitals": Definition(kind="table", tables=("chartevents",), block=_vitals),
    "medications": Definition(kind="table", tables=("prescriptions",), block=_medications),
    "microbiology": Definition(kind="table", tables=("microbiologyevents",), block=_microbiology),
    "procedures": Definition(kind="table", tables=("procedureevents",), block=_procedures),
    "diagnosis_codes": Definition(kind="table", tables=("diagnoses_icd",), block=_diagnosis_codes, declares=BILLING),
    "drg_codes": Definition(kind="table", tables=("drgcodes",), block=_drg_codes, declares=BILLING),
    "structured": Definition(kind="table", parts=STRUCTURED_PARTS),
    "cxr": Definition(kind="images", tables=("cxr_metadata",), files=_films),
    "discharge_note": Definition(kind="documents", tables=("discharge_notes",), files=_discharge_notes),
    "radiology_report": Definition(kind="documents", tables=("radiology_notes",), files=_radiology_reports),
    "harmonised_person": Definition(kind="table", block=_harmonised_person),
    "harmonised_body": Definition(kind="table", tables=("chartevents",), block=_harmonised_body),
    "harmonised_demographics": Definition(kind="table", parts=harmonised.DEMOGRAPHICS),
    "harmonised_vitals": Definition(kind="table", tables=("chartevents",), block=_harmonised_vitals),
    "harmonised_oxygen": Definition(kind="table", tables=("chartevents", "labevents"), block=_harmonised_oxygen),
    **{
        f"harmonised_{panel}": Definition(kind="table", tables=("labevents",), block=partial(_harmonised_labs, panel))
        for panel in harmonised.PANELS
    },
}
