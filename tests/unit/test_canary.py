"""No cell, note, id or date of a refused input reaches the screen, a log or the text of an error."""

import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from data_modules.databases.eicu.tables import EICU
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.mimic_iv.tfrecord import encode
from data_modules.errors import UserError
from data_modules.raw.reader import Release
from data_modules.raw.schema import ReleaseSchema
from mmnar_lightning.cli import main
from mmnar_lightning.encoders.image.vectors import read_embedding, read_vectors
from mmnar_lightning.tracebacks import describe
from tests.conftest import write_custom_cohort

CANARY = "Mrs-Canary-2171-03-04"
VALID = {pl.Int64: "1", pl.Float64: "1.5", pl.String: "a", pl.Boolean: "1", pl.Date: "2150-01-02"}
TABLES = [
    pytest.param(schema, name, id=f"{schema.name}-{name}")
    for schema in (MIMIC_IV, EICU)
    for name in sorted(schema.tables)
]


def lines(schema: ReleaseSchema, name: str, **cells: str) -> list[str]:
    """A header and three rows; the second has the given cells."""
    columns = schema.tables[name].columns
    usual = {column: VALID.get(type_of(dtype), "2150-01-02 03:04:05") for column, dtype in columns.items()}
    return [",".join(row.values()) for row in ({column: column for column in columns}, usual, usual | cells, usual)]


def type_of(dtype: Any) -> Any:
    return dtype if isinstance(dtype, type) else type(dtype)


def refused(schema: ReleaseSchema, name: str, folder: Path, content: bytes, column: str) -> list[str]:
    """Every text that a user could see of the error when a column is read; none if it is read."""
    file = folder / f"{schema.tables[name].path}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    release = Release(schema, [folder])
    try:
        with release.explained():
            release.scan(name, [column]).collect()
    except Exception as error:
        return [str(error), describe(error), traceback.format_exc()]
    return []


@pytest.mark.parametrize(("schema", "name"), TABLES)
def test_no_cell_of_a_raw_table_is_shown(
    schema: ReleaseSchema, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    kinds = {column: type_of(dtype) for column, dtype in schema.tables[name].columns.items()}
    for column, kind in kinds.items():
        shown = refused(schema, name, tmp_path, "\n".join(lines(schema, name, **{column: CANARY})).encode(), column)
        assert kind == pl.String or shown, f"{column} is {kind}, which is refused"
        assert not [text for text in shown if CANARY in text]
    header, first, second, third = lines(schema, name, **dict.fromkeys(kinds, CANARY))
    for rows in (
        [header, first, f"{second},{CANARY}", third],
        [header, first, f'{CANARY},"{second}', third],
        [header, first, CANARY, third],
    ):
        shown = refused(schema, name, tmp_path, "\n".join(rows).encode(), next(iter(kinds)))
        assert shown
        assert not [text for text in shown if CANARY in text]
    broken = "\n".join([header, first]).encode() + f"\n{CANARY}".encode() + b"\xff\xfe\x00" + second.encode()
    assert not [text for text in refused(schema, name, tmp_path, broken, next(iter(kinds))) if CANARY in text]
    assert CANARY not in caplog.text


def cell(column: str, value: Any = CANARY) -> Callable[[Path], None]:
    """A column of cohort.parquet as text, one cell of it the canary."""

    def change(given: Path) -> None:
        path = given / "cohort.parquet"
        table = pl.read_parquet(path)
        before = table[column].cast(pl.String).to_list() if column in table.columns else ["train"] * table.height
        table.with_columns(pl.Series(column, [value, *before[1:]])).write_parquet(path)

    return change


def named_twice(given: Path) -> None:
    path = given / "cohort.parquet"
    table = pl.read_parquet(path)
    splits = ["train", "val"] * table.height
    table.with_columns(subject_id=pl.lit(CANARY), split=pl.Series(splits[: table.height])).write_parquet(path)


def in_table(given: Path) -> None:
    path = given / "modalities/table/table.parquet"
    pl.read_parquet(path).with_columns(c0=pl.lit(CANARY)).write_parquet(path)


def id_of_table(given: Path) -> None:
    path = given / "modalities/table/table.parquet"
    pl.read_parquet(path).with_columns(row_id=pl.lit(CANARY)).write_parquet(path)


def in_vectors(given: Path) -> None:
    np.save(given / "modalities/vectors/vectors.npy", np.array([[CANARY]]))


def not_parquet(name: str) -> Callable[[Path], None]:
    def change(given: Path) -> None:
        (given / name).write_text(f"row_id,text\n1,{CANARY}\n")

    return change


def documents(**columns: Any) -> Callable[[Path], None]:
    def change(given: Path) -> None:
        folder = given / "modalities/table"
        (folder / "table.parquet").unlink()
        pl.DataFrame(columns).write_parquet(folder / "documents.parquet")

    return change


CUSTOM = {
    "row_id": cell("row_id"),
    "subject_id": cell("subject_id", None),
    "label": cell("label/first"),
    "presence": cell("present/table"),
    "split": cell("split"),
    "fold": cell("fold"),
    "hospital": cell("hospital_id"),
    "admission": cell("admission_id"),
    "subject in two splits": named_twice,
    "row_id of a table": id_of_table,
    "text in vectors": in_vectors,
    "cohort is CSV": not_parquet("cohort.parquet"),
    "table is CSV": not_parquet("modalities/table/table.parquet"),
    "documents without rows": documents(text=[CANARY]),
    "documents of other rows": documents(row_id=[10**6], text=[CANARY]),
    "documents with text ids": documents(row_id=[CANARY], text=[CANARY]),
    "documents of lists": documents(row_id=[0], text=[[CANARY]]),
}


@pytest.mark.parametrize("change", CUSTOM.values(), ids=CUSTOM.keys())
def test_no_cell_of_a_custom_cohort_is_shown(
    change: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    change(write_custom_cohort(tmp_path / "given"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main(["cohort", "dataset=custom", f"paths.cohort={tmp_path / 'given'}"]) == 1
    shown = capfd.readouterr()
    assert "defect" not in shown.out + shown.err
    assert str(tmp_path / "given") in shown.out + shown.err, "the file is named"
    for text in (shown.out, shown.err, caplog.text):
        assert CANARY not in text
    left = [path for path in (tmp_path / "here").rglob("*") if path.is_file()]
    assert not [path for path in left if CANARY.encode() in path.read_bytes()]


def test_no_image_is_named_by_its_content_or_id(tmp_path: Path) -> None:
    path = tmp_path / f"{CANARY}.tfrecord"
    whole = encode(np.ones(7, np.float32), CANARY)
    for content in (whole, whole[:-1], whole[:40] + CANARY.encode(), CANARY.encode() * 3):
        path.write_bytes(content)
        assert CANARY not in read_embedding(path)
    vectors = tmp_path / "vectors.parquet"
    for columns in ({"dicom_id": [CANARY, CANARY], "vector": [[1.0]] * 2}, {"dicom_id": [CANARY], "vector": [CANARY]}):
        pl.DataFrame(columns).write_parquet(vectors)
        with pytest.raises(UserError) as caught:
            read_vectors(vectors)
        assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_a_level_of_few_subjects_is_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    in_table(write_custom_cohort(tmp_path / "given"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main(["cohort", "dataset=custom", f"paths.cohort={tmp_path / 'given'}"]) == 0
    shown = capfd.readouterr()
    assert CANARY not in shown.out + shown.err
    left = [path for path in (tmp_path / "here").rglob("*") if path.is_file()]
    assert len(left) > 5
    assert not [path for path in left if CANARY.encode() in path.read_bytes()]
