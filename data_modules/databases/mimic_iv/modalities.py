"""The modalities of MIMIC-IV: declarations, and their derivation from events known at the landmark."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from data_modules.databases.mimic_iv import demographics, images, notes
from data_modules.databases.mimic_iv.concepts import LABS, VITALS
from data_modules.databases.mimic_iv.events import summaries
from data_modules.databases.mimic_iv.linking import link, windows
from data_modules.features import codes, documents
from data_modules.features import images as image_index
from data_modules.features.modality import BuildContext, ColumnBlock, ModalitySpec, always

BILLING = "billing codes of the index stay; they are written after discharge"
NOTE_HOURS = (0, 24, 72)


def _demographics(context: BuildContext) -> ColumnBlock:
    return always(demographics.demographics(context.rows, context.tables["admissions"], context.tables["icustays"]))


def _labs(context: BuildContext) -> ColumnBlock:
    return summaries(context, "labevents", LABS, "specimen_id")


def _vitals(context: BuildContext) -> ColumnBlock:
    return summaries(context, "chartevents", VITALS, None)


def _medications(context: BuildContext) -> ColumnBlock:
    orders = context.release.scan("prescriptions", ["subject_id", "hadm_id", "starttime", "drug_type", "drug"])
    drugs = orders.filter(pl.col("drug_type") == "MAIN")
    linked = link(drugs, windows(context.rows).lazy(), at="starttime")
    return codes.block(context, linked.select("row_id", word=codes.clean("drug")), "drug")


def _microbiology(context: BuildContext) -> ColumnBlock:
    names = ["subject_id", "hadm_id", "chartdate", "charttime", "storetime", "spec_type_desc", "org_name"]
    day_over = pl.col("chartdate") + pl.duration(days=1)
    cultures = context.release.scan("microbiologyevents", names).with_columns(
        event_at=pl.coalesce("charttime", "chartdate"),
        available_at=pl.coalesce("storetime", "charttime", day_over),
    )
    linked = link(cultures, windows(context.rows).lazy(), at="event_at", available="available_at")
    words = pl.concat(
        [
            linked.select("row_id", word="specimen/" + codes.clean("spec_type_desc")),
            linked.select("row_id", word="organism/" + codes.clean("org_name")),
        ]
    )
    return codes.block(context, words, "culture")


def _procedures(context: BuildContext) -> ColumnBlock:
    events = context.release.scan("procedureevents", ["subject_id", "hadm_id", "starttime", "storetime", "itemid"])
    linked = link(events, windows(context.rows).lazy(), at="starttime", available="storetime")
    return codes.block(context, linked.select("row_id", word=pl.col("itemid").cast(pl.String)), "procedure")


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
    known = windows(context.rows, pl.col("prediction_at")).lazy()
    stored = notes.notes(context.release, "discharge_notes", known, own_admission_only=True)
    return documents.write(stored, folder)


def _radiology_reports(context: BuildContext, folder: Path) -> pl.Series:
    known = windows(context.rows).lazy()
    return documents.write(notes.notes(context.release, "radiology_notes", known, own_admission_only=False), folder)


def _images(context: BuildContext, folder: Path) -> pl.Series:
    return image_index.write(images.linked(context.release, windows(context.rows).lazy()), folder)


def note_presence(context: BuildContext) -> dict[str, int]:
    """Hours after the landmark -> number of rows whose discharge summary was stored by then."""
    counts = {}
    for hours in NOTE_HOURS:
        known = windows(context.rows, pl.col("landmark_at") + pl.duration(hours=hours)).lazy()
        stored = notes.notes(context.release, "discharge_notes", known, own_admission_only=True)
        counts[f"{hours} h"] = stored.select(pl.col("row_id").n_unique()).collect(engine="streaming").item()
    return counts


STRUCTURED_PARTS = ("demographics", "labs", "vitals", "medications", "microbiology", "procedures")

MIMIC_MODALITIES: Mapping[str, ModalitySpec] = {
    "demographics": ModalitySpec(kind="table", block=_demographics),
    "labs": ModalitySpec(kind="table", tables=("labevents",), block=_labs),
    "vitals": ModalitySpec(kind="table", tables=("chartevents",), block=_vitals),
    "medications": ModalitySpec(kind="table", tables=("prescriptions",), block=_medications),
    "microbiology": ModalitySpec(kind="table", tables=("microbiologyevents",), block=_microbiology),
    "procedures": ModalitySpec(kind="table", tables=("procedureevents",), block=_procedures),
    "diagnosis_codes": ModalitySpec(kind="table", tables=("diagnoses_icd",), block=_diagnosis_codes, declares=BILLING),
    "drg_codes": ModalitySpec(kind="table", tables=("drgcodes",), block=_drg_codes, declares=BILLING),
    "structured": ModalitySpec(kind="table", parts=STRUCTURED_PARTS),
    "cxr": ModalitySpec(kind="images", tables=("cxr_metadata",), files=_images),
    "discharge_note": ModalitySpec(kind="documents", tables=("discharge_notes",), files=_discharge_notes),
    "radiology_report": ModalitySpec(kind="documents", tables=("radiology_notes",), files=_radiology_reports),
}
