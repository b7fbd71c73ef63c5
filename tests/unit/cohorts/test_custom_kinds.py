"""Categories, events, images and times of texts in a custom cohort."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from data_modules.cohorts.build import COHORT, MODALITIES
from data_modules.cohorts.columns import ContractError
from data_modules.cohorts.config import CustomCohortConfig
from data_modules.cohorts.custom import build_custom
from data_modules.cohorts.fitting import Words
from data_modules.features import series, store
from data_modules.raw.errors import SourceError
from data_modules.stage import MANIFEST, read_json

VECTORS = "vectors"


def imported(source: Path, words: Words | None = None) -> Path:
    return build_custom(source, CustomCohortConfig(name="custom"), source.parent / "data", words=words)


def refused(source: Path, error: type[Exception] = ContractError) -> str:
    with pytest.raises(error) as caught:
        imported(source)
    return str(caught.value)


def table_of(folder: Path, modality: str) -> pl.DataFrame:
    place = folder / MODALITIES / modality
    return pl.DataFrame(np.array(store.open_values(place)), store.read_columns(place), orient="row")


def entries(folder: Path) -> dict[str, str]:
    return {entry["name"]: entry["kind"] for entry in read_json(folder / MANIFEST)["modalities"]}


@pytest.fixture
def rows(custom_cohort: Path) -> pl.DataFrame:
    """Its rows; `vectors` is present in some of them."""
    return pl.read_parquet(custom_cohort / COHORT)


@pytest.fixture
def place(custom_cohort: Path) -> Path:
    """The folder of the modality `vectors`, emptied."""
    (custom_cohort / MODALITIES / VECTORS / "vectors.npy").unlink()
    return custom_cohort / MODALITIES / VECTORS


def with_levels(custom_cohort: Path, values: pl.Expr) -> Path:
    path = custom_cohort / MODALITIES / "table" / "table.parquet"
    pl.read_parquet(path).with_columns(unit=values).write_parquet(path)
    return path


def test_text_columns_become_indicators_of_levels_with_enough_train_subjects(custom_cohort: Path) -> None:
    level = pl.when(pl.col("row_id") % 40 == 7).then(pl.lit("Burns"))
    texts = (
        level.when(pl.col("row_id") % 5 == 0).then(pl.lit(" micu ")).when(pl.col("row_id") % 5 == 1).then(pl.lit(" "))
    )
    path = with_levels(custom_cohort, texts.otherwise(pl.lit("SICU")))
    folder = imported(custom_cohort)
    found = table_of(folder, "table")
    assert found.columns == ["c0", "c1", "c2", "c3", "c4", "unit/micu", "unit/sicu", "unit/rare"]
    assert [entry["width"] for entry in read_json(folder / MANIFEST)["modalities"]] == [8, 8]
    cells = pl.read_parquet(path).sort("row_id")["unit"].str.strip_chars().str.to_lowercase()
    for row, cell in enumerate(cells):
        expected = [cell == "micu", cell == "sicu", cell == "burns"] if cell else [np.nan] * 3
        assert np.array_equal(found.row(row)[5:], np.array(expected, float), equal_nan=True), cell
    lines = read_json(folder / MANIFEST)["dropped"]
    assert lines == [
        "table: 1 of 3 levels of column unit of table.parquet are of fewer than 10 train subjects, or beyond the 200 "
        "most frequent ones, and count as rare"
    ]


def test_levels_follow_train_subjects_not_rows_nor_other_splits(custom_cohort: Path, rows: pl.DataFrame) -> None:
    subjects = rows["subject_id"].unique().sort()
    split = {name: "train" if number < 60 else "test" for number, name in enumerate(subjects)}
    placed = rows.with_columns(split=pl.col("subject_id").replace_strict(split))
    placed.write_parquet(custom_cohort / COHORT)
    one = subjects[3]
    own = placed.select(
        "row_id", unit=pl.when(pl.col("split") == "test").then(pl.lit("tested")).otherwise(pl.lit("train"))
    ).with_columns(unit=pl.when(placed["subject_id"] == one).then(pl.lit("one")).otherwise("unit"))
    own.write_parquet(custom_cohort / MODALITIES / "table" / "table.parquet")
    assert table_of(imported(custom_cohort), "table").columns == ["unit/train", "unit/rare"]
    folder = imported(custom_cohort, Words(min_subjects=1))
    assert table_of(folder, "table").columns == ["unit/one", "unit/train", "unit/rare"]


def test_the_columns_of_a_model_replace_the_fitted_levels(custom_cohort: Path) -> None:
    with_levels(custom_cohort, pl.lit("sicu"))
    known = ["c0", "c1", "c2", "c3", "c4", "unit/micu", "unit/nicu", "unit/rare"]
    folder = imported(custom_cohort, Words(columns={"table": known}))
    found = table_of(folder, "table")
    assert found.columns == known
    assert found.select("unit/micu", "unit/nicu", "unit/rare").unique().rows() == [(0.0, 0.0, 1.0)]
    assert folder != imported(custom_cohort)
    assert "unknown to the model, and count as rare" in read_json(folder / MANIFEST)["dropped"][0]


def test_a_level_with_the_name_of_a_column_is_refused(custom_cohort: Path) -> None:
    path = with_levels(custom_cohort, pl.lit("sicu"))
    pl.read_parquet(path).with_columns(pl.col("c0").alias("unit/sicu")).write_parquet(path)
    assert "'unit/sicu': is the name of a column and of a level of another" in refused(custom_cohort)


def events_of(rows: pl.DataFrame) -> pl.DataFrame:
    present = rows.filter(f"present/{VECTORS}")["row_id"]
    moments = [(-5.0, "Lactate", 2.0), (-3.0, "lactate ", 4.0), (-3.0, "lactate", 6.0), (0.0, "cultured", None)]
    return pl.DataFrame(
        [(row, *moment) for row in present for moment in moments],
        {"row_id": pl.Int64, "hours": pl.Float64, "name": pl.String, "value": pl.Float64},
        orient="row",
    )


def test_events_become_the_summaries_of_labs(custom_cohort: Path, place: Path, rows: pl.DataFrame) -> None:
    events_of(rows).sample(fraction=1.0, shuffle=True, seed=3).write_parquet(place / "events.parquet")
    folder = imported(custom_cohort)
    assert entries(folder) == {"table": "table", VECTORS: "table"}
    found = table_of(folder, VECTORS)
    names = [f"{name}/{part}" for name in ("cultured", "lactate") for part in series.CHARTED]
    assert found.columns == names
    present = rows["present/vectors"].to_numpy()
    own = found.filter(pl.Series(present)).unique()
    assert own.height == 1
    cells = own.row(0, named=True)
    of_lactate = {part: cells[f"lactate/{part}"] for part in series.CHARTED}
    assert of_lactate == {
        "count": 2, "first": 2, "last": 5, "min": 2, "max": 5, "mean": 3.5, "slope": 1.5, "hours_since_last": 3,
        "observed": 1,
    }  # fmt: skip
    assert (cells["cultured/count"], cells["cultured/observed"]) == (0, 0)
    assert np.isnan(cells["cultured/last"])


def test_rare_names_of_events_have_no_column_and_a_line_says_so(
    custom_cohort: Path, place: Path, rows: pl.DataFrame
) -> None:
    rare = pl.DataFrame(
        {"row_id": [int(rows.filter("present/vectors")["row_id"][0])], "hours": -1.0, "name": "once", "value": 1.0}
    )
    pl.concat([events_of(rows), rare]).write_parquet(place / "events.parquet")
    folder = imported(custom_cohort)
    assert not [name for name in table_of(folder, VECTORS).columns if name.startswith("once/")]
    assert "vectors: 1 of 3 names of events.parquet are of fewer than 10 train subjects" in "".join(
        read_json(folder / MANIFEST)["dropped"]
    )
    known = [f"{name}/{part}" for name in ("once", "never") for part in series.CHARTED]
    again = table_of(imported(custom_cohort, Words(columns={VECTORS: known})), VECTORS)
    assert again.columns == known
    assert again["once/count"].sum() == 1
    rare.write_parquet(place / "events.parquet")
    rows.with_columns(**{"present/vectors": pl.col("row_id") == rare["row_id"][0]}).write_parquet(
        custom_cohort / COHORT
    )
    assert "'name': has no name of at least 10 train subjects" in refused(custom_cohort)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"hours": pl.when(pl.col("hours") < 0).then("hours").otherwise(0.5)},
            r"'hours' \(\d+ rows\): counts from the ",
        ),
        ({"hours": pl.lit(None, pl.Float64)}, r"'hours' \(\d+ rows\): must be known"),
        ({"hours": pl.lit(-np.inf)}, r"'hours' \(\d+ rows\): must be finite"),
        ({"hours": pl.lit("-3")}, "'hours': must be numeric, but is String"),
        ({"name": pl.lit(" ")}, r"'name' \(\d+ rows\): must not be null or empty"),
        ({"value": pl.lit("high")}, "'value': must exist and be numeric, but is String"),
        ({"value": pl.lit(1e39)}, r"'value' \(\d+ rows\): has infinite values"),
        ({"row_id": pl.col("row_id") + 1000}, r"'row_id' \(\d+ rows\): must lie in"),
        ({"row_id": pl.lit(0)}, r"'present/vectors' \(\d+ rows\): is True, but there is no event"),
    ],
)
def test_what_is_wrong_with_events_is_named(
    custom_cohort: Path, place: Path, rows: pl.DataFrame, columns, said
) -> None:
    events_of(rows).with_columns(**columns).write_parquet(place / "events.parquet")
    message = refused(custom_cohort)
    assert pl.Series([message]).str.contains(said).item(), message


def write_images(place: Path, rows: pl.DataFrame, **columns: pl.Expr) -> pl.DataFrame:
    present = rows.filter("present/vectors").select("row_id")
    index = present.with_columns(path=pl.format("pictures/{}.png", "row_id"), view=pl.lit("PA"), hours=pl.lit(-2.0))
    (place / "pictures").mkdir(exist_ok=True)
    for file in index["path"]:
        Image.fromarray(np.full((8, 8), 7, np.uint8)).save(place / file)
    index.with_columns(**columns).write_parquet(place / "images.parquet")
    return index


def test_images_become_the_index_of_a_built_cohort(custom_cohort: Path, place: Path, rows: pl.DataFrame) -> None:
    index = write_images(place, rows)
    folder = imported(custom_cohort)
    assert entries(folder)[VECTORS] == "images"
    stored = pl.read_parquet(folder / MODALITIES / VECTORS / "images.parquet")
    assert stored.columns == ["row_id", "dicom_id", "study_id", "view", "hours", "file"]
    assert stored["file"].to_list() == [f"modalities/vectors/{path}" for path in index.sort("row_id")["path"]]
    assert all((custom_cohort / file).is_file() for file in stored["file"])
    assert not read_json(folder / MANIFEST)["dropped"]


def test_images_elsewhere_missing_ones_and_such_of_absent_rows(
    custom_cohort: Path, place: Path, rows: pl.DataFrame
) -> None:
    index = write_images(place, rows)
    absent = int(rows.filter(~pl.col("present/vectors"))["row_id"][0])
    index = pl.concat([index, index.head(1).with_columns(row_id=pl.lit(absent, index["row_id"].dtype))])
    elsewhere = index.select("row_id", path=pl.lit(f"{place}/") + pl.col("path"))
    elsewhere.write_parquet(place / "images.parquet")
    (place / index["path"][1]).unlink()
    folder = imported(custom_cohort)
    stored = pl.read_parquet(folder / MODALITIES / VECTORS / "images.parquet")
    assert set(stored["file"]) == set(elsewhere["path"])
    assert absent not in stored["row_id"]
    assert stored["view"].null_count() == stored.height
    assert read_json(folder / MANIFEST)["dropped"] == ["vectors: 1 of its image files do not exist"]
    index.with_columns(path="no/" + pl.col("path")).write_parquet(place / "images.parquet")
    assert "no file exists; paths are absolute, or begin in" in refused(custom_cohort)
    index.with_columns(hours=3.0).write_parquet(place / "images.parquet")
    assert "counts from the prediction" in refused(custom_cohort)


def test_texts_keep_their_hours_and_later_ones_are_refused(
    custom_cohort: Path, place: Path, rows: pl.DataFrame
) -> None:
    texts = rows.filter("present/vectors").select("row_id", text=pl.lit("a note"), hours=pl.lit(-1.5))
    texts.write_parquet(place / "documents.parquet")
    stored = pl.read_parquet(imported(custom_cohort) / MODALITIES / VECTORS / "documents.parquet")
    assert stored["hours"].unique().to_list() == [-1.5]
    texts.with_columns(hours=pl.lit(0.1)).write_parquet(place / "documents.parquet")
    assert "counts from the prediction" in refused(custom_cohort)


def test_a_folder_with_two_files_names_both(custom_cohort: Path, place: Path, rows: pl.DataFrame) -> None:
    events_of(rows).write_parquet(place / "events.parquet")
    write_images(place, rows)
    message = refused(custom_cohort, SourceError)
    assert (
        "has events.parquet, images.parquet; expected exactly one of table.parquet, vectors.npy, events.parquet"
        in message
    )


def test_cohorts_without_words_keep_their_folder_whatever_the_words(custom_cohort: Path) -> None:
    assert imported(custom_cohort) == imported(custom_cohort, Words(min_subjects=3, columns={"table": ["c0"]}))
