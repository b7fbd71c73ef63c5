"""What pandas, NumPy and other programs write in place of the contract of docs/cohort.md."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from data_modules.cohorts.build import COHORT, MODALITIES
from data_modules.cohorts.columns import ContractError
from data_modules.cohorts.config import CustomCohortConfig
from data_modules.cohorts.custom import build_custom
from data_modules.errors import UserError
from data_modules.features import store
from data_modules.raw.errors import SourceError
from data_modules.stage import MANIFEST, read_json


def imported(source: Path) -> Path:
    return build_custom(source, CustomCohortConfig(name="custom"), source.parent / "data")


def dropped(source: Path) -> list[str]:
    return read_json(imported(source) / MANIFEST)["dropped"]


def refused(source: Path, error: type[UserError] = ContractError) -> str:
    with pytest.raises(error) as caught:
        imported(source)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def change(path: Path, **columns: Any) -> None:
    pl.read_parquet(path).with_columns(**columns).write_parquet(path)


@pytest.fixture
def cohort(custom_cohort: Path) -> Path:
    """Its cohort.parquet."""
    return custom_cohort / COHORT


@pytest.fixture
def table(custom_cohort: Path) -> Path:
    """A table of its modalities."""
    return custom_cohort / MODALITIES / "table" / "table.parquet"


@pytest.fixture
def vectors(custom_cohort: Path) -> Path:
    """Its vectors."""
    return custom_cohort / MODALITIES / "vectors" / "vectors.npy"


@pytest.fixture
def texts(custom_cohort: Path, vectors: Path) -> Path:
    """Documents in place of its vectors, one for every row, present or not."""
    vectors.unlink()
    path = vectors.with_name("documents.parquet")
    rows = pl.read_parquet(custom_cohort / COHORT)["row_id"]
    pl.DataFrame({"row_id": rows, "text": ["a note"] * len(rows)}).write_parquet(path)
    return path


@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt8, pl.Float32])
def test_labels_and_presence_as_0_and_1_are_cast(custom_cohort, cohort, dtype):
    before = pl.read_parquet(imported(custom_cohort) / COHORT)
    flags = pl.col("^(label|present)/.*$").cast(dtype)
    pl.read_parquet(cohort).with_columns(flags).write_parquet(cohort)
    after = pl.read_parquet(imported(custom_cohort) / COHORT)
    assert after.equals(before)
    assert before["label/second"].null_count() > 0


def test_an_unknown_label_that_pandas_writes_as_nan_is_null(custom_cohort, cohort):
    before = pl.read_parquet(imported(custom_cohort) / COHORT)
    change(cohort, **{"label/second": pl.col("label/second").cast(pl.Float64).fill_null(float("nan"))})
    assert pl.read_parquet(imported(custom_cohort) / COHORT).equals(before)


@pytest.mark.parametrize(("column", "value"), [("label/first", 2), ("present/table", -1), ("label/first", 0.5)])
def test_other_numbers_are_no_labels(custom_cohort, cohort, column, value):
    change(cohort, **{column: pl.when(pl.col("row_id") < 3).then(value).otherwise(pl.col(column).cast(pl.Int8))})
    assert f"{cohort}: column {column!r} (3 rows): must be Boolean, or 0 and 1" in refused(custom_cohort)


def test_a_missing_presence_that_pandas_writes_as_nan_is_refused(custom_cohort, cohort):
    change(cohort, **{"present/vectors": pl.when(pl.col("row_id") > 1).then(1.0).otherwise(float("nan"))})
    assert "'present/vectors' (2 rows): must be True or False, never null" in refused(custom_cohort)


@pytest.mark.parametrize(
    ("column", "what"),
    [
        ("__index_level_0__", "the index of a pandas frame"),
        ("__index_level_1__", "the index of a pandas frame"),
        ("Unnamed: 0", "the index of a pandas frame"),
        ("hadm_id", "an identifier"),
        ("admission_id", "an identifier"),
        ("SUBJECT_ID", "an identifier"),
        ("patientunitstayid", "an identifier"),
    ],
)
def test_the_index_of_pandas_and_identifiers_are_no_inputs_and_a_line_says_so(custom_cohort, table, column, what):
    before = store.open_values(imported(custom_cohort) / MODALITIES / "table").copy()
    change(table, **{column: pl.col("row_id") * 7})
    assert dropped(custom_cohort) == [f"table: column {column} of table.parquet is left out: it is {what}"]
    assert np.array_equal(store.open_values(imported(custom_cohort) / MODALITIES / "table"), before, equal_nan=True)


def test_a_text_identifier_is_left_out_as_well(custom_cohort, table):
    change(table, subject_id=pl.lit("p1"))
    assert dropped(custom_cohort) == ["table: column subject_id of table.parquet is left out: it is an identifier"]


def test_a_table_of_identifiers_alone_has_no_input(custom_cohort, table):
    pl.read_parquet(table).select("row_id", stay_id="row_id").write_parquet(table)
    assert "there is no column besides row_id" in refused(custom_cohort)


@pytest.mark.parametrize("column", ["label/first", "present/vectors", "split", "fold"])
def test_a_label_that_is_left_in_a_table_is_refused(custom_cohort, table, column):
    change(table, **{column: pl.lit(1)})
    assert f"{table}: column {column!r}: is a column of cohort.parquet and no input" in refused(custom_cohort)


@pytest.mark.parametrize("value", [pl.lit([1.0]), pl.date(2150, 1, 1), pl.lit(None), pl.lit(b"high")])
def test_columns_that_are_neither_numbers_nor_texts_are_refused_by_name(custom_cohort, table, value):
    change(table, c3=value)
    assert f"{table}: column 'c3': must be numeric or text, but is" in refused(custom_cohort)


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), 1e300])
def test_infinities_of_present_rows_are_counted(custom_cohort, cohort, table, value):
    change(cohort, **{"present/table": pl.col("row_id") != 1})
    change(table, c2=pl.when(pl.col("row_id").is_in([0, 1, 5])).then(value).otherwise(pl.col("c2")))
    message = refused(custom_cohort)
    assert (
        f"{table}: column 'c2' (2 rows): has infinite values, or numbers beyond float32, where present/table" in message
    )


def test_infinities_of_vectors_are_counted_and_those_of_absent_rows_ignored(custom_cohort, cohort, vectors):
    values = np.load(vectors)
    seen = pl.read_parquet(cohort)["present/vectors"].to_numpy()
    values[~seen] = np.inf
    np.save(vectors, values)
    imported(custom_cohort)
    values[np.flatnonzero(seen)[:4], 1] = np.inf
    np.save(vectors, values)
    assert "'component 1' (4 rows): has infinite values, or numbers beyond float32" in refused(custom_cohort)


def test_present_vectors_of_nan_are_refused_and_a_single_nan_is_not(custom_cohort, cohort, vectors):
    values, seen = np.load(vectors), pl.read_parquet(cohort)["present/vectors"].to_numpy()
    values[np.flatnonzero(seen)[:3], 1:] = np.nan
    np.save(vectors, values)
    imported(custom_cohort)
    values[np.flatnonzero(seen)[:3]] = np.nan
    np.save(vectors, values)
    assert "'present/vectors' (3 rows): is True, but every component of the vector is NaN" in refused(custom_cohort)


def test_present_rows_of_a_table_without_any_value_are_counted(custom_cohort, table):
    empty = pl.when(pl.col("row_id") >= 4).then(pl.col("^c.*$"))
    pl.read_parquet(table).with_columns(empty).write_parquet(table)
    assert dropped(custom_cohort) == ["table: 4 rows with present/table have no value in table.parquet"]


def test_vectors_without_components_are_refused(custom_cohort, vectors):
    np.save(vectors, np.load(vectors)[:, :0])
    assert "its vectors have no component" in refused(custom_cohort, SourceError)


@pytest.mark.parametrize("row", [10_000, -1, 2**31])
def test_documents_of_rows_that_do_not_exist_are_counted(custom_cohort, texts, row):
    documents = pl.read_parquet(texts)
    pl.concat([documents, pl.DataFrame({"row_id": [row, row], "text": ["a", "b"]})]).write_parquet(texts)
    message = refused(custom_cohort)
    assert f"{texts}: column 'row_id' (2 rows): must lie in 0 to {documents.height - 1}" in message


@pytest.mark.parametrize("row", [pl.lit(None, pl.Int64), pl.col("row_id").cast(pl.String), pl.col("row_id") + 0.5])
def test_documents_whose_row_is_no_integer_are_refused(custom_cohort, texts, row):
    change(texts, row_id=row)
    assert f"{texts}: column 'row_id': must exist, be integer and never null" in refused(custom_cohort)


def test_a_folder_without_a_presence_column_is_named(custom_cohort):
    for name in ("ecg", ".cache"):
        (custom_cohort / MODALITIES / name).mkdir()
    (custom_cohort / MODALITIES / "README.md").touch()
    assert dropped(custom_cohort) == ["modalities/ecg is not read: cohort.parquet has no column present/ecg"]


@pytest.mark.parametrize("prefix", ["label/", "present/"])
@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "must not be empty"),
        ("a" * 300, "must have at most 100 characters"),
        (".hidden", "must not contain a slash"),
        ("a/b", "must not contain a slash"),
        ("a\nb", "must not contain a slash or control character"),
    ],
)
def test_names_that_cannot_name_a_file_are_refused(custom_cohort, cohort, prefix, name, rule):
    change(cohort, **{prefix + name: pl.lit(value=True)})
    message = refused(custom_cohort)
    assert rule in message
    assert len(message) < len(str(cohort)) + 300


@pytest.mark.parametrize("column", ["admission_id", "stay_id", "hospital_id", "fold"])
def test_identifiers_beyond_64_bits_are_counted(custom_cohort, cohort, column):
    change(cohort, **{column: pl.when(pl.col("row_id") < 2).then(2**63).otherwise(1).cast(pl.UInt64)})
    assert f"{column!r} (2 rows): must lie below 2**63" in refused(custom_cohort)


def test_a_subject_beyond_64_bits_is_read_as_text(custom_cohort, cohort):
    change(cohort, subject_id=pl.lit(2**63, pl.UInt64) + pl.col("row_id").cast(pl.UInt64))
    assert pl.read_parquet(imported(custom_cohort) / COHORT)["subject_id"][1] == str(2**63 + 1)


def test_rows_beyond_64_bits_are_refused(custom_cohort, cohort, table):
    change(table, row_id=pl.lit(2**63, pl.UInt64))
    assert f"{table}: column 'row_id'" in refused(custom_cohort)
    change(cohort, row_id=pl.lit(2**63, pl.UInt64))
    assert f"{cohort}: column 'row_id': must be the integers 0 to" in refused(custom_cohort)


@pytest.mark.parametrize("subject", [pl.col("row_id") + 0.5, pl.lit(value=True), pl.date(2150, 1, 1)])
def test_a_subject_is_text_or_integer(custom_cohort, cohort, subject):
    change(cohort, subject_id=subject)
    assert "'subject_id': must be text or integer, but is" in refused(custom_cohort)


@pytest.mark.parametrize("split", [pl.lit(1), pl.lit(0.5), pl.lit(value=True)])
def test_splits_that_are_no_text_are_refused(custom_cohort, cohort, split):
    change(cohort, split=split)
    assert "'split': must be text, one of train, calibration, val, test, but is" in refused(custom_cohort)


def test_splits_of_a_categorical_column_are_read(custom_cohort, cohort):
    split = pl.when(pl.col("subject_id") < "s0060").then(pl.lit("train")).otherwise(pl.lit("test"))
    change(cohort, split=split.cast(pl.Categorical))
    found = pl.read_parquet(imported(custom_cohort) / COHORT)["split"]
    assert found.to_list() == pl.read_parquet(cohort)["split"].to_list()


@pytest.mark.parametrize("dtype", [pl.Null, pl.Int64, pl.Int8])
@pytest.mark.parametrize("column", ["fold", "split"])
def test_a_split_or_fold_that_is_null_is_refused(custom_cohort, cohort, column, dtype):
    change(cohort, **{column: pl.lit(None, dtype if column == "fold" else pl.String if dtype != pl.Null else dtype)})
    message = refused(custom_cohort)
    assert f"{column!r} ({pl.read_parquet(cohort).height} rows): must" in message


def test_a_renamed_npz_is_named(custom_cohort, vectors):
    values = np.load(vectors)
    with vectors.open("wb") as handle:
        np.savez(handle, values)
    assert f"{vectors}: this file is an .npz archive" in refused(custom_cohort, SourceError)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"1.0 2.0\n"])
def test_other_files_are_no_vectors(custom_cohort, vectors, content):
    vectors.write_bytes(content)
    assert f"{vectors}: this file is not a readable .npy array" in refused(custom_cohort, SourceError)


def test_vectors_of_python_objects_are_refused(custom_cohort, vectors):
    np.save(vectors, np.load(vectors).astype(object))
    assert f"{vectors}: this file is not a readable .npy array" in refused(custom_cohort, SourceError)


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_documents_without_text_are_no_data_of_a_present_row(custom_cohort, cohort, texts, text):
    row = pl.read_parquet(cohort).filter("present/vectors")["row_id"][0]
    change(texts, text=pl.when(pl.col("row_id") != row).then("text").otherwise(pl.lit(text, dtype=pl.String)))
    message = refused(custom_cohort)
    assert f"{texts}: column 'present/vectors' (1 rows): is True, but there is no document with text" in message
