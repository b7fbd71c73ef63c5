"""Writes notes, reports and images of a chunk of subjects: in time, too late, and counterfactual."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_modules.databases.mimic_iv.tables import EMBEDDINGS, IMAGE_PROJECT
from data_modules.databases.mimic_iv.tfrecord import encode
from data_modules.simulate import image, text
from data_modules.simulate.frames import Tables
from data_modules.simulate.latent import Array, Patients
from data_modules.simulate.mimic_iv.keys import admission_ids, subject_ids, table
from data_modules.simulate.mimic_iv.timeline import DAY, HOUR, Admissions, Bool, Int, Timeline

Floats = NDArray[np.float32]

CXR, NOTE, REPORT = 0, 1, 2
IMAGES_FOLDER, EMBEDDINGS_FOLDER = f"{IMAGE_PROJECT}/2.1.0", f"{EMBEDDINGS}/1.0"
GRACE_HOURS = 72
"""An ordered note is stored within these hours after discharge (`cohort.note_grace_hours` of mimic.yaml)."""
LEAKS = ("", " ADDENDUM: the patient was readmitted after this stay.", " ADDENDUM: the patient has died.")


@dataclass(frozen=True)
class Chart:
    """Source data of the documents.

    Attributes:
        patients: of the chunk.
        admissions: of the chunk.
        subject: (A,) subject_id of each admission.
        hadm: (A,) hadm_id of each admission.
        nuisance: strength of what notes and embeddings contain that depends on nothing else.
    """

    patients: Patients
    admissions: Admissions
    subject: Int
    hadm: Int
    nuisance: float

    @classmethod
    def of(cls, patients: Patients, timeline: Timeline, start: int, nuisance: float) -> "Chart":
        """Build the chart of a chunk whose first subject is number `start`."""
        admissions = timeline.admissions
        subject = subject_ids(start, len(patients.worry))[admissions.person]
        return cls(patients, admissions, subject, admission_ids(start, admissions), nuisance)

    def notes(self, who: Int, generator: np.random.Generator) -> list[str]:
        """Write the summaries of some admissions (positions, (N,))."""
        (own,) = generator.spawn(1)
        further = text.further_sentences(self.admissions.phrase[who], self.nuisance, own)
        return text.discharge_notes(self.admissions.readings[who][:, 3:5], generator, further)

    def ordered(self, modality: int, later_share: float, generator: np.random.Generator) -> Bool:
        """(A,) presence of a modality in time: as drawn for the index admission, random for later ones."""
        index = self.admissions.number == 0
        later = generator.random(len(index)) < later_share
        return np.asarray(np.where(index, self.patients.present[self.admissions.person, modality], later))

    def absent_index(self, modality: int, share: float, generator: np.random.Generator) -> Bool:
        """(A,) a random share of the index admissions without a modality."""
        index = (self.admissions.number == 0) & (generator.random(len(self.hadm)) < share)
        return np.asarray(index & ~self.patients.present[self.admissions.person, modality])


def discharge_notes(chart: Chart, generator: np.random.Generator) -> pl.DataFrame:
    """Write summaries: ordered ones are stored within the grace, some others long after it, with leaked outcomes."""
    admissions = chart.admissions
    ordered = chart.ordered(NOTE, 0.7, generator)
    late = chart.absent_index(NOTE, 0.3, generator)
    who = np.flatnonzero(ordered | late)
    texts = chart.notes(who, generator)
    outcome = chart.patients.outcome[admissions.person[who]]
    leak = np.where(late[who], np.where(outcome[:, 2], 2, np.where(outcome[:, 0], 1, 0)), 0)
    prompt = np.minimum(np.exp(np.log(14) + generator.standard_normal(len(who))), GRACE_HOURS - 0.5)
    delay = np.where(late[who], generator.uniform(GRACE_HOURS + 8, 500, len(who)), prompt)
    return table(
        "discharge_notes",
        {
            "note_id": [
                f"{subject}-DS-{hadm % 4 + 1}"
                for subject, hadm in zip(chart.subject[who], chart.hadm[who], strict=True)
            ],
            "subject_id": chart.subject[who],
            "hadm_id": chart.hadm[who],
            "note_type": np.repeat("DS", len(who)),
            "note_seq": admissions.number[who] + 1,
            "charttime": admissions.ends[who] // DAY * DAY,
            "storetime": admissions.ends[who] + (delay * HOUR).astype(np.int64),
            "text": [content + LEAKS[kind] for content, kind in zip(texts, leak, strict=True)],
        },
    )


def radiology_reports(chart: Chart, generator: np.random.Generator) -> pl.DataFrame:
    """Write reports: ordered ones are stored during the stay, some others charted before discharge, stored after."""
    admissions = chart.admissions
    ordered = chart.ordered(REPORT, 0.5, generator)
    late = chart.absent_index(REPORT, 0.2, generator)
    who = np.concatenate(
        [np.flatnonzero(ordered | late), np.flatnonzero(ordered & (generator.random(len(late)) < 0.3))]
    )
    texts = text.radiology_reports(admissions.readings[who, 7], generator)
    first_half = (admissions.ends[who] - admissions.begins[who]) // 2
    at = admissions.begins[who] + (generator.random(len(who)) * first_half).astype(np.int64) // 60 * 60
    at = np.where(late[who], admissions.ends[who] - HOUR, at)
    number = np.arange(len(who))
    return table(
        "radiology_notes",
        {
            "note_id": [f"{subject}-RR-{seq}" for subject, seq in zip(chart.subject[who], number, strict=True)],
            "subject_id": chart.subject[who],
            "hadm_id": pl.Series(chart.hadm[who]).set(pl.Series(generator.random(len(who)) < 0.25), None),
            "note_type": np.repeat("RR", len(who)),
            "note_seq": number,
            "charttime": at,
            "storetime": at + np.where(late[who], 5 * HOUR, 2 * HOUR),
            "text": texts,
        },
    )


def images(
    chart: Chart, generator: np.random.Generator, pixels: np.random.Generator, folder: Path, *, write_jpeg: bool
) -> Tables:
    """Write images: metadata and split, and the JPEG and embedding files below `folder`.

    Some images are taken in the emergency department, some in hours that two admissions share, and some after
    discharge, outside of any admission.

    Args:
        chart: of the chunk.
        generator: of times, views and names.
        pixels: generator of the contents.
        folder: of the release.
        write_jpeg: whether JPEG files are written.

    Returns:
        The tables `cxr_metadata` and `cxr_split`.
    """
    admissions = chart.admissions
    ordered = chart.ordered(CXR, 0.25, generator) | (admissions.number == 2)
    after = chart.absent_index(CXR, 0.15, generator)
    who = np.concatenate(
        [np.flatnonzero(ordered | after), np.flatnonzero(ordered & (generator.random(len(after)) < 0.3))]
    )
    half = (admissions.ends[who] - admissions.begins[who]) // 2
    at = admissions.begins[who] + (generator.random(len(who)) * half).astype(np.int64)
    emergency = (admissions.arrives[who] < admissions.begins[who]) & (generator.random(len(who)) < 0.3)
    at = np.where(emergency, (admissions.arrives[who] + admissions.begins[who]) // 2, at)
    at = np.where(after[who], admissions.ends[who] + DAY, at)
    view = generator.choice(["AP", "PA", "LATERAL"], len(who), p=[0.6, 0.3, 0.1])
    view = np.where(np.arange(len(who)) < int((ordered | after).sum()), np.where(view == "LATERAL", "AP", view), view)
    study = 50_000_000 + (chart.hadm[who] - 20_000_000) * 2 + (np.arange(len(who)) >= int((ordered | after).sum()))
    names = [
        "-".join(f"{part:08x}" for part in parts) for parts in generator.integers(0, 2**32, (len(who), 5)).tolist()
    ]
    readings = admissions.readings[who][:, 5:7]
    vectors = image.embeddings(readings, pixels, chart.nuisance)
    _write_files(folder, chart.subject[who], study, names, view, readings, vectors, pixels, write_jpeg=write_jpeg)
    clock = at % DAY
    keys = {"dicom_id": names, "subject_id": chart.subject[who], "study_id": study}
    metadata = {
        **keys,
        "PerformedProcedureStepDescription": np.repeat("CHEST (PORTABLE AP)", len(who)),
        "ViewPosition": view,
        "Rows": np.full(len(who), image.SIDE),
        "Columns": np.full(len(who), image.SIDE),
        "StudyDate": pl.from_epoch(pl.Series(at), time_unit="s").dt.strftime("%Y%m%d").cast(pl.Int64),
        "StudyTime": clock // HOUR * 10000 + clock % HOUR // 60 * 100 + clock % 60 + 0.75,
    }
    return {
        "cxr_metadata": table("cxr_metadata", metadata),
        "cxr_split": table("cxr_split", {**keys, "split": np.repeat("train", len(who))}),
    }


def _write_files(
    folder: Path, subject: Int, study: Int, names: list[str], view: Array, readings: Array, vectors: Floats,
    generator: np.random.Generator, *, write_jpeg: bool,
) -> None:  # fmt: skip
    for row, name in enumerate(names):
        place = Path("files") / f"p{str(subject[row])[:2]}" / f"p{subject[row]}" / f"s{study[row]}"
        if view[row] != "LATERAL":
            _write(folder / EMBEDDINGS_FOLDER / place / f"{name}.tfrecord", encode(vectors[row], name))
        if write_jpeg:
            _write(
                folder / IMAGES_FOLDER / place / f"{name}.jpg", image.jpeg(image.draw_image(readings[row], generator))
            )


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def counterfactuals(
    chart: Chart, generator: np.random.Generator, folder: Path, *, write_jpeg: bool
) -> Mapping[str, list[str]]:
    """Write the note, report and image of every index admission, whether ordered or not; images go to `folder`."""
    index = np.flatnonzero(chart.admissions.number == 0)
    readings = chart.admissions.readings[index]
    contents = {
        "content/discharge_note": chart.notes(index, generator),
        "content/radiology_report": text.radiology_reports(readings[:, 7], generator),
    }
    vectors = folder / "image_embeddings"
    vectors.mkdir(parents=True, exist_ok=True)
    shown = image.embeddings(readings[:, 5:7], generator, chart.nuisance).astype(np.float16)
    np.save(vectors / f"{chart.subject.min()}.npy", shown)
    if write_jpeg:
        for subject, reading in zip(chart.subject[index], readings[:, 5:7], strict=True):
            _write(folder / "images" / f"{subject}.jpg", image.jpeg(image.draw_image(reading, generator)))
    return contents
