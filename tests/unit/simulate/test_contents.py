"""Notes, reports and images carry their readings, and a simple reader finds them."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import Ridge

from data_modules.databases.mimic_iv import images
from data_modules.databases.mimic_iv.tables import EMBEDDINGS, IMAGE_PROJECT
from data_modules.features import documents
from data_modules.features import images as image_index
from data_modules.simulate import image, text
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.release import TRUTH, read_truth, simulate
from mmnar_lightning.encoders.image.vectors import read_release
from mmnar_lightning.encoders.text.hashed import hashed_ngrams
from tests.helpers.simulated_scores import Floats

FIRST_ADMISSION, FIRST_STUDY = 20_000_000, 50_000_000


def explained(vectors: NDArray[Any], reading: Floats) -> float:
    """Share of the variance of a reading that a ridge regression finds, fitted on one half and scored on the other."""
    half = np.arange(len(reading)) % 2 == 0
    return float(Ridge(alpha=0.3).fit(vectors[half], reading[half]).score(vectors[~half], reading[~half]))


@pytest.mark.parametrize(
    ("modality", "file", "reading", "least"),
    [
        ("discharge_note", documents.DOCUMENTS, "note/0", 0.5),
        ("discharge_note", documents.DOCUMENTS, "note/1", 0.3),
        ("radiology_report", documents.DOCUMENTS, "report/0", 0.4),
        ("cxr", image_index.IMAGES, "image/0", 0.6),
        ("cxr", image_index.IMAGES, "image/1", 0.6),
    ],
)
def test_the_reading_is_in_the_file(
    modality: str, file: str, reading: str, least: float, folder: Path, cohort_folder: Path, cohort, survivors
) -> None:
    listed = pl.read_parquet(cohort_folder / "modalities" / modality / file)
    embeddings = folder / EMBEDDINGS / "1.0"
    rows, vectors = image_means(listed, embeddings) if modality == "cxr" else hashed_ngrams(listed, 1024)
    drawn = cohort.join(survivors, left_on="admission_id", right_on="hadm_id").sort("row_id")
    assert rows.tolist() == drawn.filter(f"present/{modality}")["row_id"].to_list()
    assert explained(vectors, drawn[f"reading/{reading}"].to_numpy()[rows]) > least


def image_means(listed: pl.DataFrame, release: Path) -> tuple[np.ndarray, np.ndarray]:
    """Rows with a frontal image, and the mean of their images' embeddings."""
    frontal = listed.filter(pl.col("view").is_in(["AP", "PA"])).sort("row_id")
    found, vectors = read_release([release / f"{file}.tfrecord" for file in frontal["file"]], 0)
    assert found.all()
    rows, start, counts = np.unique(frontal["row_id"].to_numpy(), return_index=True, return_counts=True)
    return rows, np.add.reduceat(vectors, start) / counts[:, None]


@pytest.mark.parametrize("aspects", [text.FUNCTION, text.COURSE, text.FINDINGS])
def test_grades_rise_with_the_reading_and_fill_all_shades(aspects: tuple[tuple[str, ...], ...]) -> None:
    generator = np.random.default_rng(1)
    assert {len(aspect) for aspect in aspects} == {6}
    assert len({sentence for aspect in aspects for sentence in aspect}) == 6 * len(aspects)
    spread = 1.3
    grade = text.grades(spread * generator.standard_normal(20_000), spread, aspects, generator)
    shares = np.apply_along_axis(np.bincount, 0, grade, minlength=6) / len(grade)
    assert np.abs(shares - 1 / 6).max() < 0.015
    means = [
        text.grades(np.full(4000, reading), spread, aspects, generator).mean(0) for reading in np.linspace(-3, 3, 7)
    ]
    assert (np.diff(means, axis=0) > 0).all()
    assert np.max(means[0]) < 0.3
    assert np.min(means[-1]) > 4.7


def test_the_spreads_of_the_grades_are_those_of_the_readings(truth: pl.DataFrame) -> None:
    for name, spread in (
        ("note/0", text.NOTE_SPREAD), ("note/1", text.SEVERITY_SPREAD), ("report/0", text.REPORT_SPREAD)
    ):  # fmt: skip
        assert abs(truth[f"reading/{name}"].std() / spread - 1) < 3 / np.sqrt(2 * truth.height)


def test_a_note_says_one_grade_of_every_aspect_and_varies_otherwise() -> None:
    readings = np.tile([[2.5, -2.5]], (200, 1))
    notes = text.discharge_notes(readings, np.random.default_rng(2))
    for aspect in text.FUNCTION:
        assert all(sum(note.split("Social History")[1].count(sentence) for sentence in aspect) == 1 for note in notes)
    assert sum("Bedbound." in note for note in notes) > 100
    assert sum("The stay was uneventful." in note for note in notes) > 100
    assert len(set(notes)) == 200
    assert 0.25 < np.mean(["No history of pulmonary embolism." in note for note in notes]) < 0.45
    reports = text.radiology_reports(np.full(200, -2.5), np.random.default_rng(2))
    assert sum("The lungs are clear." in report for report in reports) > 100
    assert not any("Severe pulmonary edema." in report for report in reports)


def test_embeddings_are_a_function_of_the_readings_and_noise() -> None:
    generator = np.random.default_rng(3)
    readings = np.repeat([[1.0, -1.0], [-1.0, 1.0]], 400, axis=0)
    vectors = image.embeddings(readings, generator)
    assert vectors.shape == (800, image.EMBEDDING_WIDTH)
    assert vectors.dtype == np.float32
    means = vectors.reshape(2, 400, -1).mean(1)
    assert np.abs(means[0] + means[1]).mean() < 0.06, "odd in the readings"
    assert np.abs(means[0]).mean() > 0.3


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame]:
    """A small release with pictures, and its truth."""
    target = tmp_path_factory.mktemp("pictures") / "release"
    simulate(SimulateConfig(databases=["mimic_iv"], subjects=260, image_rate=0.6), target)
    return target, read_truth(target)


def test_images_are_grey_pictures_that_brighten_with_opacities(pictures: tuple[Path, pl.DataFrame]) -> None:
    target, known = pictures
    opacity = dict(known.select("hadm_id", "reading/image/0").iter_rows())
    light, reading = [], []
    for path in (target / IMAGE_PROJECT / "2.1.0").rglob("*.jpg"):
        with Image.open(path) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "L", (image.SIDE, image.SIDE))
            study = int(path.parent.name.removeprefix("s"))
            admission = FIRST_ADMISSION + (study - FIRST_STUDY) // 2
            if admission in opacity:
                light.append(np.asarray(picture).mean())
                reading.append(opacity[admission])
    assert len(light) > 100
    assert np.corrcoef(light, reading)[0, 1] > 0.7


def test_the_truth_holds_what_every_absent_image_note_and_report_would_say(
    pictures: tuple[Path, pl.DataFrame],
) -> None:
    target, known = pictures
    names = {int(path.stem) for path in (target / TRUTH).rglob("*.jpg")}
    assert names == set(known["subject_id"])
    light = []
    for subject in known["subject_id"]:
        (path,) = (target / TRUTH).rglob(f"{subject}.jpg")
        with Image.open(path) as picture:
            light.append(np.asarray(picture).mean())
    assert np.corrcoef(light, known["reading/image/0"])[0, 1] > 0.7
    for column, reading in (("content/discharge_note", "note/0"), ("content/radiology_report", "report/0")):
        assert known[column].null_count() == 0
        _, vectors = hashed_ngrams(known.with_row_index("row_id").select("row_id", text=column), 512)
        assert explained(vectors, known[f"reading/{reading}"].to_numpy()) > 0.3


def test_a_file_of_a_image_lies_where_the_tables_say(pictures: tuple[Path, pl.DataFrame]) -> None:
    target, _ = pictures
    table = pl.read_csv(target / IMAGE_PROJECT / "2.1.0" / "mimic-cxr-2.0.0-metadata.csv.gz")
    expected = set(table.select(images.file_name()).to_series())
    found = {
        str(path.relative_to(target / IMAGE_PROJECT / "2.1.0").with_suffix(""))
        for path in (target / IMAGE_PROJECT / "2.1.0").rglob("*.jpg")
    }
    assert found == expected
