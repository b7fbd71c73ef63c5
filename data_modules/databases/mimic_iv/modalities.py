"""The modalities of MIMIC-IV: declarations, and their derivation from events known at the landmark."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from data_modules.databases.mimic_iv import demographics, images, notes, sets
from data_modules.databases.mimic_iv.concepts import LABS, VITALS
from data_modules.databases.mimic_iv.electrocardiograms import ELECTROCARDIOGRAMS
from data_modules.databases.mimic_iv.emergency import EMERGENCY
from data_modules.databases.mimic_iv.events import CHARTED, block, linked, scratch
from data_modules.databases.mimic_iv.events import LABS as LABS_TABLE
from data_modules.databases.mimic_iv.further import FURTHER
from data_modules.databases.mimic_iv.linking import link, windows
from data_modules.features import codes, documents
from data_modules.features import images as image_index
from data_modules.features.modality import BuildContext, ColumnBlock, ModalitySpec, always

BILLING = "billing codes of the index stay; they are written after discharge"
NOTE_HOURS = (0, 24, 72)


def _demographics(context: BuildContext) -> ColumnBlock:
    return always(demographics.demographics(context.rows, context.tables["admissions"], context.tables["icustays"]))


def _labs(context: BuildContext) -> ColumnBlock:
    return block(context, sets.events(context, LABS_TABLE, "labs"), LABS_TABLE, LABS)


def _vitals(context: BuildContext) -> ColumnBlock:
    return block(context, sets.events(context, CHARTED, "vitals"), CHARTED, VITALS)


def _medications(context: BuildContext) -> ColumnBlock:
    """Drugs ordered by the landmark; an order is known once it was entered."""
    columns = ["subject_id", "hadm_id", "pharmacy_id", "starttime", "drug_type", "drug"]
    orders = linked(context, "prescriptions", columns, at="starttime").filter(pl.col("drug_type") == "MAIN")
    if context.release.has("pharmacy"):
        # An order repeated in pharmacy was entered with its first row.
        entries = context.release.scan("pharmacy", ["subject_id", "pharmacy_id", "entertime"])
        of_cohort = entries.join(context.rows.select("subject_id").unique().lazy(), on="subject_id", how="semi")
        entered = of_cohort.group_by("pharmacy_id").agg(pl.col("entertime").min())
        orders = orders.join(entered, on="pharmacy_id", how="left").filter(
            pl.coalesce("entertime", "starttime") <= pl.col("landmark_at")
        )
    return codes.block(context, orders.select("row_id", word=codes.clean("drug")), "drug")


CANCELLED = "cancelled"
"""Text of org_name for a culture that was not made."""


def _microbiology(context: BuildContext) -> ColumnBlock:
    """Specimens from the time they were taken, organisms from the time their result was stored."""
    names = ["subject_id", "hadm_id", "chartdate", "charttime", "storedate", "storetime", "spec_type_desc", "org_name"]
    taken_at = pl.coalesce("charttime", "chartdate")
    path = scratch(context, "microbiologyevents", names, taken_at)
    cultures = pl.scan_parquet(path).with_columns(
        taken_at=taken_at,
        taken_by=pl.coalesce("charttime", _day_over("chartdate")),
        stored_by=pl.coalesce("storetime", _day_over("storedate")),
    )
    rows = windows(context.rows).lazy()
    taken = link(cultures, rows, at="taken_at", available="taken_by")
    grown = pl.col("stored_by") <= pl.col("landmark_at")
    organism = codes.clean("org_name")
    words = pl.concat(
        [
            taken.select("row_id", word="specimen/" + codes.clean("spec_type_desc")),
            taken.filter(grown & (organism != CANCELLED)).select("row_id", word="organism/" + organism),
        ]
    )
    return codes.block(context, words, "culture")


def _day_over(date: str) -> pl.Expr:
    """The end of a day of which the time is unknown."""
    return pl.col(date) + pl.duration(days=1)


def _procedures(context: BuildContext) -> ColumnBlock:
    columns = ["subject_id", "hadm_id", "starttime", "storetime", "itemid"]
    events = linked(context, "procedureevents", columns, at="starttime", available="storetime")
    return codes.block(context, events.select("row_id", word=pl.col("itemid").cast(pl.String)), "procedure")


def _diagnosis_codes(context: BuildContext) -> ColumnBlock:
    coded = context.release.scan("diagnoses_icd", ["hadm_id", "icd_code", "icd_version"])
    category = pl.format("{}/{}", pl.col("icd_version"), pl.col("icd_code").str.strip_chars().str.slice(0, 3))
    return codes.block(context, _of_index(context, coded).select("row_id", word=category), "icd")


def _drg_codes(context: BuildContext) -> ColumnBlock:
    coded = context.release.scan("drgcodes", ["hadm_id", "drg_type", "drg_code"])
    code = pl.format("{}/{}", pl.col("drg_type"), pl.col("drg_code"))
    return codes.block(context, _of_index(context, coded).select("row_id", word=code), "drg")


def _of_index(context: BuildContext, coded: pl.LazyFrame) -> pl.LazyFrame:
    return coded.join(context.rows.select("row_id", "hadm_id").lazy(), on="hadm_id")


def _discharge_notes(context: BuildContext, folder: Path) -> pl.Series:
    return documents.write(notes.texts(context, "discharge_notes", _own_summaries(context, "prediction_at")), folder)


def _own_summaries(context: BuildContext, at: str | pl.Expr) -> pl.LazyFrame:
    """The discharge summaries of the rows that were stored by a time."""
    rows = windows(context.rows, pl.col(at) if isinstance(at, str) else at)
    return notes.known(context, "discharge_notes", rows, own_admission_only=True)


def _radiology_reports(context: BuildContext, folder: Path) -> pl.Series:
    known = notes.known(context, "radiology_notes", windows(context.rows), own_admission_only=False)
    return documents.write(notes.texts(context, "radiology_notes", known), folder)


def _images(context: BuildContext, folder: Path) -> pl.Series:
    return image_index.write(images.linked(context.release, windows(context.rows).lazy()), folder)


def note_presence(context: BuildContext) -> dict[str, int]:
    """Hours after the landmark -> number of rows whose discharge summary was stored by then."""
    counts = {}
    for hours in NOTE_HOURS:
        stored = _own_summaries(context, pl.col("landmark_at") + pl.duration(hours=hours))
        counts[f"{hours} h"] = stored.select(pl.col("row_id").n_unique()).collect(engine="streaming").item()
    return counts


STRUCTURED_PARTS = ("demographics", "labs", "vitals", "medications", "microbiology", "procedures")

MIMIC_MODALITIES: Mapping[str, ModalitySpec] = {
    "demographics": ModalitySpec(kind="table", block=_demographics),
    "labs": ModalitySpec(kind="table", tables=("labevents",), block=_labs),
    "vitals": ModalitySpec(kind="table", tables=("chartevents",), block=_vitals),
    "medications": ModalitySpec(
        kind="table",
        tables=("prescriptions",),
        optional={"pharmacy": "an order counts from its start, also if it was entered later"},
        block=_medications,
    ),
    "microbiology": ModalitySpec(kind="table", tables=("microbiologyevents",), block=_microbiology),
    "procedures": ModalitySpec(kind="table", tables=("procedureevents",), block=_procedures),
    "diagnosis_codes": ModalitySpec(kind="table", tables=("diagnoses_icd",), block=_diagnosis_codes, declares=BILLING),
    "drg_codes": ModalitySpec(kind="table", tables=("drgcodes",), block=_drg_codes, declares=BILLING),
    **FURTHER,
    **EMERGENCY,
    **ELECTROCARDIOGRAMS,
    "structured": ModalitySpec(kind="table", parts=STRUCTURED_PARTS),
    "cxr": ModalitySpec(kind="images", tables=("cxr_metadata",), files=_images),
    "discharge_note": ModalitySpec(kind="documents", tables=("discharge_notes",), files=_discharge_notes),
    "radiology_report": ModalitySpec(kind="documents", tables=("radiology_notes",), files=_radiology_reports),
}
